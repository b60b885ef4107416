"""The pages of `nervac explain`: each wrong example has its message, each right one has none."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from typer.testing import CliRunner

from nerva_dsl.check import check
from nerva_dsl.cli.app import app
from nerva_dsl.errors import CODES, DiagnosticError
from nerva_dsl.grammar.formatter import format_source
from nerva_dsl.lower import lower
from nerva_dsl.pages import known_code, page
from nerva_dsl.source import Source

FOLDER = Path(__file__).parents[1] / "nerva_dsl" / "explanations"
BLOCK = re.compile(r"^```nerva ([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# What an example leaves out, in the order in which it is written.
BEFORE = {
    "model": "model example",
    "input": "input x : float32[8]",
    "target": "target t : class[3]",
}
AFTER = {"output": "output = y", "loss +=": "loss = softmax_cross_entropy(y, t)"}


def examples(code):
    """The examples of a page: how each is marked, its text, and the files that go with it."""
    found = []
    for mark, text in BLOCK.findall(page(code)):
        if mark.split()[0] in ("wrong", "right"):
            found.append((shlex.split(mark), text, {}))
        else:
            found[-1][2][mark] = text
    return found


def completed(text):
    """A whole model, with the lines that an example leaves out."""

    def missing(parts):
        return [line for start, line in parts.items() if not re.search(rf"^{start}", text, re.M)]

    last = [] if re.search("^y +=", text, re.M) else ["y = linear(h, 3)"]
    if last and not re.search("^h +=", text, re.M):
        last = ["y = linear(x, 3)"]
    return "\n".join([*missing(BEFORE), text, *last, *missing(AFTER), ""])


def codes_of(folder, marks, text, files):
    """The codes of what is said of an example."""
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    path = folder / "example.nerva"
    encoding = "latin-1" if "latin-1" in marks else "utf-8"
    text = text if "whole" in marks else completed(text)
    # A model line of an example's own comes first.
    lines = sorted(text.split("\n"), key=lambda line: not line.startswith("model "))
    path.write_text(text if "whole" in marks else "\n".join(lines), encoding=encoding)
    overrides = {}
    if "-D" in marks:
        name, _, value = marks[marks.index("-D") + 1].partition("=")
        overrides[name] = value
    try:
        checked = check(path, overrides)
        if "lower" in marks:
            lower(checked.model)
    except DiagnosticError as error:
        return {problem.code for problem in error.diagnostics}
    return {problem.code for problem in checked.warnings}


AS_WRITTEN = {"N0101"}
"""Codes whose right examples show where a line may end."""


@pytest.mark.parametrize("code", sorted(set(CODES) - AS_WRITTEN))
def test_right_examples_are_formatted(code):
    for marks, text, _ in examples(code):
        if marks[0] == "right":
            assert format_source(Source(f"{code}.md", text)) == text


@pytest.fixture(scope="module")
def mask(tmp_path_factory):
    path = tmp_path_factory.mktemp("pattern") / "mask.npz"
    scipy.sparse.save_npz(path, scipy.sparse.csr_array(np.ones((16, 8))))
    return path.read_bytes()


@pytest.mark.parametrize("code", CODES)
def test_examples_of_a_page(code, tmp_path, mask):
    assert page(code).startswith(f"# {code}: {CODES[code]}\n\n")
    kinds = [marks[0] for marks, _, _ in examples(code)]
    assert kinds == ["wrong", "right"]
    for marks, text, files in examples(code):
        folder = tmp_path / marks[0]
        folder.mkdir()
        (folder / "mask.npz").write_bytes(mask)
        said = codes_of(folder, marks, text, files)
        assert said == ({code} if marks[0] == "wrong" else set())


def test_there_are_no_other_pages():
    assert {path.stem for path in FOLDER.iterdir()} == set(CODES)


@pytest.mark.parametrize("text", ["N0203", "n0203", "203", " 0203 "])
def test_a_code_may_be_written_in_several_ways(text):
    assert known_code(text) == "N0203"


@pytest.mark.parametrize("text", ["", "N", "N9999", "relu", "N02030"])
def test_what_is_no_code(text):
    assert known_code(text) == ""


def test_the_command_prints_a_page():
    done = CliRunner().invoke(app, ["explain", "--code", "n0203"])
    assert done.exit_code == 0
    assert done.output == page("N0203")


@pytest.mark.parametrize(
    "words", [[], ["model.nerva", "--code", "N0203"], ["--code", "N9999"]], ids=str
)
def test_what_the_command_line_has_wrong(words):
    assert CliRunner().invoke(app, ["explain", *words]).exit_code == 2
