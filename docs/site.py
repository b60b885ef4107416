"""What MkDocs does beside its plugins: pages from elsewhere in the repository join the site.

Those of the root are written to be read where they are, as are the pages here that link to them; so
the links are changed on the way. Those of the messages are what `nervac explain --code` prints.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from nerva_dsl.errors import CODES
from nerva_dsl.pages import page as explanation

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
    """Add the files of the root, the pages of the messages, and a page that lists these."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    listed = [_INTRODUCTION]
    for code, meaning in CODES.items():
        text = re.sub(r"^```nerva (.*)$", _fence, explanation(code), flags=re.MULTILINE)
        files.append(File.generated(config, f"messages/{code}.md", content=text))
        listed.append(f"| [{code}](messages/{code}.md) | {meaning} |\n")
    files.append(File.generated(config, "messages.md", content="".join(listed)))
    return files


def _fence(match: re.Match[str]) -> str:
    """The beginning of an example: the name of its file, if that is what stands there."""
    title = f' title="{match[1]}"' if re.fullmatch(r"[\w-]+\.\w+", match[1]) else ""
    return f"```nerva{title}"


_INTRODUCTION = """\
# Messages

Every message about a `.nerva` file has a code, which never changes its meaning.
`nervac explain --code N0203` prints the page of one.

| code | what it is about |
|---|---|
"""


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
