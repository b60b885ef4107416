"""What is said of wrong files: every file under errors/ has its expected text beside it."""

import re
import tomllib
from pathlib import Path

import pytest

from nerva_dsl.check import check, check_source, read_source
from nerva_dsl.errors import CODES, Diagnostic, DiagnosticError, Note
from nerva_dsl.source import Source, Span

ERRORS = Path(__file__).with_name("errors")
FILES = sorted(path.stem for path in ERRORS.glob("*.nerva"))

# These need something that a file under errors/ does not have: -D.
WITHOUT_FILE = {"N0310", "N0311"}


NEWCOMERS = tomllib.loads((ERRORS / "newcomers.toml").read_text(encoding="utf-8"))


def diagnostics_of(path):
    """Errors, or else warnings, of a file, with the file's bare name."""
    try:
        return check_source(Source(path.name, read_source(path).text)).warnings
    except DiagnosticError as error:
        return error.diagnostics


def said_of(path):
    """Everything that is said of a file."""
    rendered = "\n\n".join(diagnostic.render() for diagnostic in diagnostics_of(path))
    return rendered.replace(str(path), path.name)  # of one that cannot be read


@pytest.mark.parametrize("name", FILES)
def test_broken_file(name, request, monkeypatch):
    monkeypatch.chdir(ERRORS)  # what a file imports is found from there
    said = said_of(ERRORS / f"{name}.nerva") + "\n"
    expected = ERRORS / f"{name}.txt"
    if request.config.getoption("refresh"):
        expected.write_text(said, encoding="utf-8")
    assert expected.exists(), f"no expected text; after reading it: pytest --refresh\n{said}"
    assert said == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NEWCOMERS)
def test_a_newcomers_mistake(name):
    """The first message points at the mistake, and names what puts it right."""
    wanted = NEWCOMERS[name]
    problem, *others = diagnostics_of(ERRORS / f"{name}.nerva")
    source, line = problem.span.source, wanted["line"]
    start = sum(len(source.line(number)) + 1 for number in range(1, line))
    start += source.line(line).index(wanted["at"])
    assert problem.span.start <= start + len(wanted["at"])
    assert max(problem.span.end, problem.span.start + 1) > start
    notes = [f"{note.span.line} {note.text}" for note in problem.notes]
    said = "\n".join([problem.message, problem.label, problem.help, *notes])
    assert [name for name in wanted["names"] if name not in said] == []
    assert {other.code for other in others} <= {problem.code}, "one mistake, several messages"


def test_all_mistakes_of_newcomers_have_their_file():
    assert {name for name in FILES if name[:2].isdigit()} == set(NEWCOMERS)
    assert len(NEWCOMERS) == 60


def test_no_expected_text_without_its_file():
    assert {path.stem for path in ERRORS.glob("*.txt")} == set(FILES)


def test_every_code_is_produced_by_some_file():
    said = "".join(path.read_text(encoding="utf-8") for path in ERRORS.glob("*.txt"))
    produced = set(re.findall(r"(?:error|warning)\[(N\d{4})\]", said))
    assert produced == set(CODES) - WITHOUT_FILE


def test_every_code_in_the_compiler_is_in_the_table():
    package = Path(__file__).parents[1]
    files = [*package.glob("nerva_dsl/check/*.py"), *package.glob("grammar/*.py")]
    files.append(package / "nerva_dsl" / "lower" / "__init__.py")
    used = set(re.findall(r'"(N\d{4})"', "".join(p.read_text("utf-8") for p in files)))
    assert used == set(CODES)


GOOD = """\
model good
param density = 0.5
param width = 32
param bias = true
param fan = "sparse"
let size = 10
input x : float32[64]
target t : class[size]
h = relu(linear(x, width, density = density, bias = bias, weights = he(fan_in = fan)))
y = linear(h, size)
output = y
loss = softmax_cross_entropy(y, t)
"""

OVERRIDES = [
    ({"densty": 0.1}, "N0310", "did you mean `density`?"),
    ({"size": 3}, "N0310", "`size` is a `let`"),
    ({"width": 0.5}, "N0311", "0.5 is a number, not an integer"),
    ({"width": "0.5"}, "N0311", "0.5 is a number, not an integer"),
    ({"width": True}, "N0311", "true is a truth value, not an integer"),
    ({"density": "true"}, "N0311", "true is a truth value, not a number"),
    ({"bias": 1}, "N0311", "1 is an integer, not a truth value"),
    ({"fan": 1}, "N0311", "1 is an integer, not a string"),
    ({"width": None}, "N0311", "a NoneType is not a constant"),
    ({"width": [1]}, "N0311", "a list is not a constant"),
    ({"width": "[1]"}, "N0311", "[1] is a list, not an integer"),
    ({"width": 2**63}, "N0301", "64 bits"),
    ({"density": float("nan")}, "N0301", "not a finite number"),
    ({"width": ""}, "N0101", "expected an expression"),
    ({"width": "1 +"}, "N0101", "expected an expression"),
    ({"width": "1 / 0"}, "N0302", "division by zero"),
    ({"width": "width"}, "N0201", "nothing is called `width`"),
    ({"width": "(" * 5000}, "N0107", "nested"),
    ({"density": 0}, "N0209", "above 0"),
    ({"density": 1.01}, "N0209", "at most 1"),
    ({"width": -1}, "N0208", "between 1"),
]


@pytest.mark.parametrize(("overrides", "code", "text"), OVERRIDES)
def test_bad_override(overrides, code, text):
    with pytest.raises(DiagnosticError) as caught:
        check_source(Source("good.nerva", GOOD), overrides)
    (problem,) = caught.value.diagnostics
    assert problem.code == code
    assert text in problem.render()


def test_override_text_is_shown_with_a_caret():
    with pytest.raises(DiagnosticError) as caught:
        check_source(Source("good.nerva", GOOD), {"width": "64 +* 2"})
    assert str(caught.value) == (
        "error[N0101]: unexpected `*`: expected an expression\n"
        " --> -D width:1:5\n"
        "  |\n"
        "1 | 64 +* 2\n"
        "  |     ^"
    )


def test_a_diagnostic_looks_as_promised():
    text = "\n" * 11 + "h2 = relu(linear(h1, 512))\n\njoined = h2 + skip\n"
    source = Source("models/residual.nerva", text)
    first, second = text.index("h2"), text.index("h2 + skip")
    problem = Diagnostic(
        "N0203",
        "`h2` has 512 features but `skip` has 1024",
        Span(source, second, second + 9),
        notes=(Note(Span(source, first, first + 2), "defined here with 512 features"),),
        help="a sum needs equal widths; try linear(h1, 1024)",
    )
    assert (
        problem.render()
        == """\
error[N0203]: `h2` has 512 features but `skip` has 1024
  --> models/residual.nerva:14:10
   |
12 | h2 = relu(linear(h1, 512))
   | -- defined here with 512 features
14 | joined = h2 + skip
   |          ^^^^^^^^^
   = help: a sum needs equal widths; try linear(h1, 1024)"""
    )


def rendered(text, start, end, **more):
    return Diagnostic("N0101", "message", Span(Source("f", text), start, end), **more).render()


def test_the_caret_stays_under_the_text_after_tabs():
    *_, line, carets = rendered("\ta\tbc", 3, 5).split("\n")
    assert line == "1 |     a   bc"
    assert carets == "  |         ^^"


def test_the_caret_counts_columns_of_wide_characters():
    *_, line, carets = rendered('a = "日本" $', 9, 10).split("\n")
    assert line == '1 | a = "日本" $'
    assert carets == "  |            ^"  # one column less than it looks: each of the two is wide


def test_a_span_over_lines_is_shown_on_its_first():
    *_, line, carets = rendered("a = (1 +\n  2)", 4, 14).split("\n")
    assert (line, carets) == ("1 | a = (1 +", "  |     ^^^^")


def test_a_span_at_the_end_of_a_file_has_a_caret():
    *_, line, carets = rendered("a = ", 4, 4).split("\n")
    assert (line, carets) == ("1 | a =", "  |     ^")


def test_a_long_line_is_clipped_around_the_caret():
    *_, line, carets = rendered("x" * 500 + "$" + "x" * 500, 500, 501).split("\n")
    assert len(line) < 170
    assert line[carets.index("^")] == "$"
    assert line.startswith("1 | …") and line.endswith("…")


def test_control_characters_do_not_reach_the_terminal():
    assert "\x1b" not in rendered("\x1b[31mred", 0, 1)


def test_two_marks_on_one_line_and_a_note_in_another_file():
    text = "a = b"
    source, other = Source("f", text), Source("g", "\n\nelsewhere")
    problem = Diagnostic(
        "N0202",
        "message",
        Span(source, 0, 1),
        label="this",
        notes=(Note(Span(source, 4, 5), "that"), Note(Span(other, 2, 11), "there")),
    )
    assert problem.render().split("\n")[1:] == [
        " --> f:1:1",
        "  |",
        "1 | a = b",
        "  | ^ this",
        "  |     - that",
        " --> g:3:1",
        "  |",
        "3 | elsewhere",
        "  | --------- there",
    ]


def test_a_missing_file(tmp_path):
    with pytest.raises(DiagnosticError) as caught:
        check(tmp_path / "nowhere.nerva", {})
    assert "there is no such file" in str(caught.value)
    assert caught.value.diagnostics[0].code == "N0110"
    assert caught.value.exit_status == 1


@pytest.mark.parametrize("name", ["digit.nerva", "digits", "Digits.nerva", "digits.nerv"])
def test_a_misspelt_file(tmp_path, name):
    (tmp_path / "digits.nerva").touch()
    with pytest.raises(DiagnosticError) as caught:
        check(tmp_path / name, {})
    assert caught.value.diagnostics[0].help == "did you mean `digits.nerva`?"


def test_a_directory(tmp_path):
    with pytest.raises(DiagnosticError, match="it is a directory"):
        check(tmp_path, {})


def test_an_unreadable_file(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DiagnosticError, match="permission denied"):
        check(tmp_path / "secret.nerva", {})


def test_one_mistake_is_one_message():
    text = GOOD.replace("relu(linear(x", "relu(linear(z") + "w = y + h\nv = w * 2\n"
    with pytest.raises(DiagnosticError) as caught:
        check_source(Source("good.nerva", text), {})
    assert [problem.code for problem in caught.value.diagnostics] == ["N0201"]


def test_a_syntax_error_hides_no_other_and_causes_none():
    text = GOOD.replace("param width = 32", "param width = = 32").replace("softmax_", "softmx_")
    with pytest.raises(DiagnosticError) as caught:
        check_source(Source("good.nerva", text), {"width": 3})
    assert [problem.code for problem in caught.value.diagnostics] == ["N0101", "N0201"]


def test_errors_come_in_the_order_of_the_file():
    text = GOOD + "a = b\nc = = 3\nd = e\n"
    with pytest.raises(DiagnosticError) as caught:
        check_source(Source("good.nerva", text), {})
    lines = [problem.span.line for problem in caught.value.diagnostics]
    assert lines == sorted(lines) and len(lines) == 3
