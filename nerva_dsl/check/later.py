"""Parts of the language that this version recognises and does not have yet.

Whoever adds one deletes it from its table; what each is called in messages stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from nerva_dsl.check.report import Report
from nerva_dsl.check.terms import Unknown
from nerva_dsl.source import Span

DEFINITIONS = {"derivative": "a stated `derivative`"}
SCHEDULES = {"product": "`product`", "arithmetic": "arithmetic of schedules"}


def not_yet(report: Report, table: Mapping[str, str], name: str, span: Span) -> Unknown:
    """Report a part of the language that this version does not have."""
    return report.error(
        "N0190",
        f"{table[name]} is not in this version yet",
        span,
        help="it belongs to the language; a later version of nervac will have it",
    )
