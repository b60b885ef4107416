"""The last step of checking: what needs the whole file, and the checked model."""

from __future__ import annotations

from collections.abc import Sequence

from nerva_dsl import model
from nerva_dsl.check.graph import reaching, with_slope
from nerva_dsl.check.report import Report
from nerva_dsl.check.settings import Training
from nerva_dsl.errors import Note

_TRAINED = (model.Linear, model.BatchNorm, model.Learned)


def check_learning(report: Report, loss: model.Value) -> None:
    """Report a loss that no parameter can make smaller."""
    if any(isinstance(value, _TRAINED) for value in reaching([loss], with_slope)):
        return
    if any(isinstance(value, _TRAINED) for value in reaching([loss])):
        message = "the loss has the same value for all near weights"
        help_ = "`sign`, `floor` and comparisons have no slope: use smooth functions"
    else:
        message, help_ = "the loss depends on no `linear`", ""
    report.error("N0214", f"{message}, so there is nothing to learn", loss.span, help=help_)


def check_batch(report: Report, training: Training, norms: Sequence[model.BatchNorm]) -> None:
    """Report a batch normalisation over a batch of one sample, whose variance is always 0."""
    if training.batch > 1 or not norms:
        return
    report.error(
        "N0503",
        "`batch_norm` needs batches of at least 2 samples",
        training.places["batch"],
        notes=[Note(norms[0].span, "used here")],
        help="one sample by itself has no variance",
    )
