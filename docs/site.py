"""What MkDocs does beside its plugins: the pages of the repository's root become part of the site.

They are written to be read where they are, as are the pages here that link to them; so the links
are changed on the way.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]

PAGES = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""The files of the root, and the pages that they become."""

_LINK_OR_CODE = re.compile(
    r"^```.*?^```|`[^`\n]*`|\[(?P<text>[^]]*)\]\((?P<target>[^)#\s:]+)(?P<anchor>#[^)]*)?\)",
    re.MULTILINE | re.DOTALL,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the root."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to the pages of the site."""
    source = page.file.src_uri
    at_root = source in PAGES.values()

    def relinked(match: re.Match[str]) -> str:
        text, target, anchor = match["text"], match["target"], match["anchor"] or ""
        if target is None:
            return match[0]
        if at_root and not target.startswith("docs/") and target not in PAGES:
            return text  # a folder of the repository
        if at_root:
            target = PAGES.get(target, target.removeprefix("docs/"))
        elif PurePosixPath(target).name in PAGES:
            target = "../" * source.count("/") + PAGES[PurePosixPath(target).name]
        return f"[{text}]({target}{anchor})"

    return _LINK_OR_CODE.sub(relinked, markdown)
