"""The command line, `nervac`.

`app` declares commands and options and imports nothing else, so that `--help` is quick; each
command's work is in a module of its own, imported when the command runs.
"""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run `nervac` with the arguments of this process; always raises `SystemExit`."""
    from nerva_dsl.cli.failures import finish

    if sys.stdout is None:  # closed, `>&-`
        sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    elif isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot show is escaped, as on stderr
        sys.stdout.reconfigure(errors="backslashreplace")
    with finish():
        from nerva_dsl.cli.app import app

        app(prog_name="nervac")
