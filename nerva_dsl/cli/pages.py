"""Pages in Markdown."""

from __future__ import annotations


def print_page(markdown: str) -> None:
    """Print a page: laid out on a terminal, as Markdown elsewhere."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    if console.is_terminal:
        console.print(Markdown(markdown))
    else:
        print(markdown, end="")
