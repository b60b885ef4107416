"""The documentation as a site."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_it_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    """Strictly: each page is in the navigation, each link and its anchor lead somewhere."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # an announcement of Material's authors
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"?(https?:)?//", text)
        loaded += re.findall(r"<link[^>]* href=\"?(?:https?:)?//[^>]*>", text)
        assert not loaded, page
    for name in ("tutorial", "language", "how-to/data", "messages/N0211"):
        text = (tmp_path / name / "index.html").read_text(encoding="utf-8")
        assert '<span class="kd">model</span>' in text, f"{name} is not highlighted"
    changes = (tmp_path / "overview" / "index.html").read_text(encoding="utf-8")
    assert '<a href="../language/">' in changes
    assert not (tmp_path / "editors" / "vscode").exists()
