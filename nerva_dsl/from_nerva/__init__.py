"""The `.nerva` file that equals a command line of Nerva's `mlp` tool.

words → values of options → network, loss and training → a file, formatted and checked

Source: the tool's own code and documentation (Wesselink et al., github.com/wiegerw/nerva-rowwise
and nerva-colwise, 2022-2025). Where the meaning of an option is not what its name suggests, the
meaning counts, and a sentence says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from nerva_dsl.check import check_source
from nerva_dsl.errors import Diagnostic
from nerva_dsl.from_nerva.calls import MlpError
from nerva_dsl.from_nerva.network import Network, layer_sizes, network
from nerva_dsl.from_nerva.options import quoted, read_options
from nerva_dsl.from_nerva.training import loss, regrow, settings
from nerva_dsl.grammar.formatter import WIDTH, format_source
from nerva_dsl.source import Source

__all__ = ["MlpError", "Translation", "translate"]

NAME = "mlp"
"""Of the model."""


@dataclass(frozen=True)
class Translation:
    """What a command line is translated to.

    Attributes:
        text: of the file.
        warnings: a sentence on whatever has no equal, or another than it seems.
        diagnostics: the warnings that the checker has of the file.
    """

    text: str
    warnings: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]


def translate(words: Sequence[str]) -> Translation:
    """Translate a command line.

    Args:
        words: as the shell splits it; the tool's name may stand first.

    Raises:
        MlpError: an option is unknown, wrong, or contradicts another.
        DiagnosticError: the compiler refuses the network; its places are in the file.
    """
    options, advice = read_options(words)
    sizes = layer_sizes(options)
    data, source, declared = _input(options, sizes[0])
    translated = network(options, sizes, source)
    warnings = [*advice, *data, *translated.warnings]
    regrown = regrow(options, translated, list(pairwise(sizes)), warnings)
    parts = [
        *_introduction(words),
        f"model {NAME}\n",
        *([f"param density = {translated.overall}\n"] if translated.overall else []),
        f"input x : {declared}[{sizes[0]}]\ntarget t : class[{sizes[-1]}]\n",
        *([f"sparsity = {translated.sparsity}\n"] if translated.sparsity else []),
        *(["scaled = normalize(x / 255, mean = 0.5, std = 0.5)"] if source == "scaled" else []),
        *translated.bindings,
        f"\noutput = y\nloss = {loss(options)}\n",
        _block("train", settings(options, translated, warnings)),
        *(["", _block("regrow", regrown)] if regrown else []),
    ]
    text = format_source(Source(f"{NAME}.nerva", "\n".join(parts) + "\n"))
    diagnostics = check_source(Source(f"{NAME}.nerva", text)).warnings
    if _idle_relu(translated, diagnostics):
        warnings.append(
            "ReLU: the derivative at exactly 0 is 1 in mlp, and here that of the branch below; it "
            "matters where neurons have no weight"
        )
    return Translation(text, tuple(warnings), diagnostics)


def _introduction(words: Sequence[str]) -> list[str]:
    """A comment: where the file is from."""
    wrapped = textwrap.wrap(
        f"What Nerva's mlp trains with {quoted(words)}",
        WIDTH - 2,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [f"# {line}" for line in wrapped]


def _input(options: Mapping[str, str], features: int) -> tuple[list[str], str, str]:
    """Where the data are, the value that the first layer reads, and the type of the input.

    Both of the tool's own data sets are scaled from bytes to -1 … 1.
    """
    for key, option, size, data in (
        ("cifar10", "--cifar10", 3072, "cifar10:{}"),
        ("mnist", "--mnist", 784, "idx:DIR` after `nervac data mnist -o DIR"),
    ):
        if key not in options:
            continue
        if key == "cifar10" and "mnist" in options:
            raise MlpError("--cifar10 and --mnist contradict each other: leave one of them out")
        if features != size:
            raise MlpError(f"{option} has {size} inputs, and --layer-sizes begins with {features}")
        where = data.format(options[key])
        return [f"{option}: give the data to `nervac train … --data {where}`"], "scaled", "uint8"
    return [], "x", "float32"


def _block(name: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{name} {{", *lines, "}"])


def _idle_relu(translated: Network, diagnostics: Sequence[Diagnostic]) -> bool:
    """Whether there are neurons without a weight, and a ReLU that they matter to."""
    idle = any(diagnostic.code == "N0253" for diagnostic in diagnostics)
    kinked = ("relu", "all_relu", "leaky_relu")
    functions = (binding.partition(" = ")[2].partition("(")[0] for binding in translated.bindings)
    return idle and any(function in kinked for function in functions)
