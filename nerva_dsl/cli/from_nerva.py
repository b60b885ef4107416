"""`nervac from-nerva`: a command line of Nerva's `mlp` as a `.nerva` file."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nerva_dsl.cli.fmt import print_source
from nerva_dsl.from_nerva import translate


def print_translation(words: Sequence[str]) -> None:
    """Print the equal file; what has no equal goes to standard error.

    Raises:
        MlpError: the command line is wrong.
    """
    translation = translate(words)
    for warning in translation.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for diagnostic in translation.diagnostics:
        print(diagnostic.render(), file=sys.stderr, end="\n\n")
    print_source(translation.text)
