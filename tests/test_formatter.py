"""The formatter: one layout for every way to write a file, and nothing else changes."""

import errno
import os
import random
import re
import stat
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from generate import generate
from nerva_dsl.check import check_source
from nerva_dsl.cli.app import app
from nerva_dsl.driver import emit_model
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.grammar.formatter import format_source
from nerva_dsl.grammar.layout import CONTINUES, Block, split
from nerva_dsl.grammar.lexer import comments, lexemes
from nerva_dsl.grammar.parser import parse_all
from nerva_dsl.source import Source

ROOT = Path(__file__).parents[1]
SHIPPED = [*sorted((ROOT / "models").glob("*.nerva")), ROOT / "grammar" / "prelude.nerva"]
FILES = [
    *SHIPPED,
    *(
        path
        for path in sorted((ROOT / "tests" / "errors").glob("*.nerva"))[::4]
        if not parse_all(Source(path.name, path.read_bytes().decode("utf-8", "replace")))[1]
    ),
]


def formatted(text):
    return format_source(Source("f.nerva", text))


def pieces_of(text):
    """The tokens of each statement, header and line, with their kinds."""
    found = []
    for part in split(lexemes(Source("f.nerva", text))):
        pieces = [part.header, *part.lines] if isinstance(part, Block) else [part]
        found += [[(token.type, str(token)) for token in piece.tokens] for piece in pieces]
        if isinstance(part, Block):
            found.append([("RBRACE", "}")])
    return found


def scrambled(text, randomly, *, commented=False):
    """The same statements with other blanks and ends of lines, without comments or with others."""
    result = [randomly.choice(["", "\n", " \n\t\n"])] if commented else []
    number = 0

    def end_of_line():
        nonlocal number
        number += 1
        comment = f"  # {number}" if commented and randomly.random() < 0.5 else ""
        return randomly.choice(["", " ", "\t"]) + comment + "\n"

    for piece in pieces_of(text):
        depth = 0
        for at, (kind, token) in enumerate(piece):
            result.append(token)
            depth += (kind in ("LPAR", "LSQB")) - (kind in ("RPAR", "RSQB"))
            if at == len(piece) - 1:
                break
            # Blanks are needed between words, and between what would be one operator or number.
            blanks = " " if re.search(r"[\w.=<>/]$", token) else randomly.choice(["", " ", "\t "])
            may_end = (depth or kind in CONTINUES) and not starts(piece[at + 1 : at + 3], kind)
            if may_end and randomly.random() < 0.2:
                for _ in range(randomly.randint(1, 3)):
                    blanks += end_of_line()
            result.append(blanks + " " * randomly.randint(0, 2))
        closes = piece[-1][0] in ("LBRACE", "RBRACE")
        if closes or commented or randomly.random() < 0.7:
            result.append(end_of_line())
        else:
            result.append(randomly.choice([";", " ; ", ";\n"]))
    return "".join(result)


def starts(following, before):
    """Whether a line that begins so would be taken for a statement, in brackets that are open."""
    if [kind for kind, _ in following[1:]] == ["EQUALS"]:
        return before not in ("COMMA", "LPAR", "SEMICOLON")
    return False


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_formatted(path):
    assert formatted(path.read_text(encoding="utf-8")) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_one_layout(path):
    """It depends neither on blanks nor on where lines end; formatting again changes nothing."""
    text = path.read_bytes().decode("utf-8", "replace")
    once = formatted(text)
    assert formatted(once) == once
    assert pieces_of(once) == pieces_of(text)
    first, second = (scrambled(text, random.Random(seed)) for seed in (path.stem, path.name))
    assert formatted(first) == formatted(second)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_comments_are_kept(path):
    """All of them in their order, wherever a line may end, and none of them joins two."""
    randomly = random.Random(path.name)
    text = scrambled(path.read_bytes().decode("utf-8", "replace"), randomly, commented=True)
    once = formatted(text)
    wanted = [str(comment).rstrip() for comment in comments(Source("f.nerva", text))]
    assert [str(comment) for comment in comments(Source("f.nerva", once))] == wanted
    assert formatted(once) == once


def compiled(text, name="f.nerva"):
    """The C without comments, which quote the file, and what else is made of a model."""
    made = emit_model(check_source(Source(name, text)).model, backend="native", target="x86-64-v3")
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", made.c_source, flags=re.DOTALL), made.declarations


@pytest.mark.parametrize("path", SHIPPED[:-1], ids=lambda path: path.stem)
def test_models_compile_to_the_same_c(path):
    text = path.read_text(encoding="utf-8")
    if "\nmodel " in text:  # a library has none
        assert compiled(scrambled(text, random.Random(1)), str(path)) == compiled(text, str(path))


def test_generated_programs_compile_to_the_same_c(program_seeds):
    for seed in program_seeds:
        text = generate(seed).text
        once = formatted(text)
        assert formatted(once) == once, seed
        assert compiled(once) == compiled(text), seed


def test_statements_and_columns():
    assert formatted(
        "model   a;input x:float32[3]\n"
        "target  t :class[ 2 ]\n"
        "param p=1 # one\nlet q=2\n\n\n\n# apart\nh1=relu(linear(x,3))\ny = linear(h1,2)\n"
        "output=y;loss=softmax_cross_entropy(y,t)\nmetric m=accuracy(y,t)\n"
        "train{\n\nbatch=1;epochs = 2   # two\n\n}"
    ) == (
        "model a\n"
        "input  x : float32[3]\n"
        "target t : class[2]\n"
        "param p = 1                          # one\n"
        "let   q = 2\n"
        "\n"
        "# apart\n"
        "h1 = relu(linear(x, 3))\n"
        "y  = linear(h1, 2)\n"
        "output = y\n"
        "loss   = softmax_cross_entropy(y, t)\n"
        "metric m = accuracy(y, t)\n"
        "train {\n"
        "    batch  = 1\n"
        "    epochs = 2                       # two\n"
        "}\n"
    )


def test_operators():
    assert formatted("let a=-2^-b*(c+ d)//e%f\nlet b=not a<b and c==d or true\n") == (
        "let a = -2 ^ -b * (c + d) // e % f\nlet b = not a < b and c == d or true\n"
    )
    assert formatted("schedule s(epoch;n)=product(i in 1..n ,1/i)\n") == (
        "schedule s(epoch; n) = product(i in 1 .. n, 1 / i)\n"
    )


def test_long_lines_are_broken():
    long = "a_rather_long_name_of_a_value"
    assert formatted(f"h = f({long}, {long}, {long}, {long})\n") == (
        f"h = f(\n    {long},\n    {long},\n    {long},\n    {long}\n)\n"
    )
    assert formatted(f"h = {long} + {long} * {long} + {long}\n") == (
        f"h =\n    {long} +\n    {long} * {long} +\n    {long}\n"
    )
    assert formatted(f"function f(x) = if x > 1 then {long} * {long} else {long}\n") == (
        f"function f(x) =\n    if x > 1 then {long} * {long} else\n    {long}\n"
    )
    assert formatted(f"optimizer o(w, g, lr; {long} = 1, {long}_2 = 2, {long}_3 = 3) {{}}\n") == (
        f"optimizer o(\n    w, g, lr;\n    {long} = 1,\n    {long}_2 = 2,\n    {long}_3 = 3\n"
        ") {\n}\n"
    )


def test_a_last_comma_asks_for_lines():
    assert formatted("let a = [1, 2,]\n") == "let a = [\n    1,\n    2,\n]\n"


def test_comments_inside_statements():
    assert formatted(
        "y = linear(x, # the input\n  # ten classes\n 10,\n\n"
        "  bias # none\n = false\n  # so far\n)\n"
    ) == (
        "y = linear(\n"
        "    x,                               # the input\n"
        "    # ten classes\n"
        "    10,\n"
        "    bias =                           # none\n"
        "        false\n"
        "    # so far\n"
        ")\n"
    )


def test_ends_of_lines_and_encodings():
    assert formatted("") == ""
    assert formatted("\n\n") == ""
    assert formatted("# é 图 \n\n") == "# é 图\n"


def test_sums_of_any_length_and_deep_brackets():
    long = "y = " + " + ".join(["x"] * 5000) + "\n"
    assert formatted(long).count("\n") == 5001
    deep = "y = " + "(" * 200 + "x" + ")" * 200 + "\n"
    assert pieces_of(formatted(deep)) == pieces_of(deep)


@pytest.fixture
def nervac(tmp_path, monkeypatch):
    """Run `nervac fmt` in an empty folder; checks the exit status."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, status=0, given=None):
        done = CliRunner().invoke(app, ["fmt", *map(str, arguments)], input=given)
        assert done.exit_code == status, done.output
        assert "Traceback" not in done.stderr
        return done

    return run


UGLY = "model  a # b\n"
NICE = "model a                              # b\n"


def test_files_are_formatted_in_place(nervac, tmp_path):
    ugly, nice = tmp_path / "ugly.nerva", tmp_path / "nice.nerva"
    ugly.write_text(UGLY)
    ugly.chmod(0o640)
    nice.write_text(NICE)
    before = nice.stat()
    link = tmp_path / "link.nerva"
    link.symlink_to(ugly)
    assert nervac(link, nice).stdout == f"{link}: formatted\n"
    assert ugly.read_text() == NICE
    assert link.is_symlink()
    assert stat.S_IMODE(ugly.stat().st_mode) == 0o640
    assert (nice.stat().st_ino, nice.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "link.nerva", "nice.nerva", "ugly.nerva",
    ]  # fmt: skip
    assert nervac("--check", ugly, nice).output == ""


def test_any_ends_of_lines_become_newlines(nervac, tmp_path):
    file = tmp_path / "f.nerva"
    file.write_bytes(b"\xef\xbb\xbfmodel a\r\n\r\nparam b = 1\r")
    assert "would be formatted" in nervac("--check", file, status=1).stderr
    nervac(file)
    assert file.read_bytes() == b"model a\n\nparam b = 1\n"


def test_check_and_diff_write_nothing(nervac, tmp_path):
    file = tmp_path / "ugly.nerva"
    file.write_text(UGLY)
    assert nervac("--check", file, status=1).stderr == f"{file}: would be formatted\n"
    shown = nervac("--diff", file).stdout
    assert nervac("--diff", "--check", file, status=1).stdout == shown
    assert file.read_text() == UGLY
    subprocess.run(["patch", "--silent", str(file)], input=shown, text=True, check=True)
    assert file.read_text() == NICE


def test_a_diff_without_a_last_newline(nervac, tmp_path):
    file = tmp_path / "f.nerva"
    file.write_text("model a")
    shown = nervac("--diff", file).stdout
    assert shown.endswith("-model a\n\\ No newline at end of file\n+model a\n")


def test_standard_input(nervac):
    assert nervac("-", given=UGLY).stdout == NICE
    assert nervac("-", given=NICE).stdout == NICE
    assert nervac("--check", "-", given=UGLY, status=1).stdout == ""
    assert "<stdin>:1:7" in nervac("-", given="model 1", status=1).stderr
    assert "by itself" in nervac("-", "f.nerva", given="", status=2).stderr


def test_a_file_that_is_not_there_is_looked_for_beside(nervac, tmp_path):
    (tmp_path / "network.nerva").write_text(NICE)
    done = nervac(tmp_path / "netwrk.nerva", status=1)
    assert "there is no such file; did you mean `network.nerva`?" in done.stderr


def test_wrong_files_are_left_alone(nervac, tmp_path):
    broken, binary, ugly = (tmp_path / f"{name}.nerva" for name in ("broken", "binary", "ugly"))
    broken.write_text("model  a\nh = relu(\nparam = 2")
    binary.write_bytes(b"model \xff")
    ugly.write_text(UGLY)
    done = nervac(broken, binary, "missing.nerva", tmp_path, ugly, status=1)
    assert done.stderr.count("error[N01") == 3  # two of them in `broken`
    assert "there is no such file" in done.stderr
    assert "did you mean" not in done.stderr
    assert "it is a directory" in done.stderr
    assert broken.read_text() == "model  a\nh = relu(\nparam = 2"
    assert ugly.read_text() == NICE


def test_a_machine_that_fails(nervac, tmp_path, monkeypatch):
    """The file is what it was, nothing is left beside it, and the others are formatted."""
    full, other = tmp_path / "full.nerva", tmp_path / "other.nerva"
    full.write_text(UGLY)
    other.write_text(UGLY)
    replace = Path.replace

    def fail(self, target):
        if target.name == "full.nerva":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    assert "no space left" in nervac(full, other, status=3).stderr
    assert (full.read_text(), other.read_text()) == (UGLY, NICE)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_mistake_that_is_not_of_syntax_is_no_hindrance():
    with pytest.raises(DiagnosticError):
        check_source(Source("f.nerva", "let a = b\n"))
    assert formatted("let  a = b\n") == "let a = b\n"
