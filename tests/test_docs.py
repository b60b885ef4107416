"""The documentation says what is so: models compile, commands exist and print what is shown.

Conventions of the pages: a ```nerva block is a whole file, ```nerva-fragment are lines of one, both
as `nervac fmt` has them; ```nerva-as-written is a whole file in another layout, ```nerva-wrong one
with errors. In a ```console block lines after `$ ` are commands; a backslash continues them. What
`check`, `ir`, `explain` and `from-nerva` print after theirs is compared; a line `…` stands for any
lines. A file of a command is the model of that name above it on the page, or one of the repository.
The ```python blocks of a page are one program.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nerva_dsl.check import attempt, check, check_source
from nerva_dsl.check.initialisers import OPTIONS
from nerva_dsl.check.prelude import prelude
from nerva_dsl.check.regrowing import KEYS
from nerva_dsl.check.values import SETTINGS
from nerva_dsl.cli.app import app
from nerva_dsl.driver import compile_model, explain
from nerva_dsl.grammar.automaton import Automaton
from nerva_dsl.grammar.builder import Builder
from nerva_dsl.grammar.formatter import format_source
from nerva_dsl.grammar.layout import Block, split
from nerva_dsl.grammar.lexer import lexemes
from nerva_dsl.grammar.parser import parse
from nerva_dsl.grammar.tables import tables
from nerva_dsl.machine import Machine
from nerva_dsl.passes import pipeline
from nerva_dsl.runtime.spec import ModelSpec
from nerva_dsl.source import Source

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if "node_modules" not in page.parts  # of the extension for VS Code, once it is installed
)
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
FENCE = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRAIN = (
    "python3 -m venv .venv && .venv/bin/pip install -e . && "
    ".venv/bin/nervac train models/digits.nerva"
)
TEST = ".venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest -n auto"
SHOWN = ("check", "ir", "explain")


def _blocks(language):
    """Page, number and text of every block in a language."""
    found = []
    for page, text in TEXTS.items():
        of_page = [content for kind, content in FENCE.findall(text) if kind == language]
        found += [(page, number, content) for number, content in enumerate(of_page, 1)]
    return found


def _commands():
    """Every `nervac` command in a console block, with what it prints, and those in running text."""
    found = []
    for page, _, block in _blocks("console"):
        for part in re.split(r"^\$ ", block.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            for command in line.split("&&"):
                words = shlex.split(command)
                if words and Path(words[0]).name == "nervac":
                    found.append((page, " ".join(words[1:]), output))
    for page, text in TEXTS.items():
        prose = FENCE.sub("", text)
        inline = re.findall(r"`nervac ([^`]+)`", prose) + re.findall(r"# nervac (.*)$", prose, re.M)
        found += [(page, command, "") for command in inline]
    return found


def _named(blocks):
    return [pytest.param(*block, id=f"{block[0]}-{block[1]}") for block in blocks]


def test_the_pages_are_there():
    wanted = {"index", "architecture", "language", "command-line", "python"}
    assert {f"docs/{name}.md" for name in wanted} <= set(TEXTS)
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"} <= set(TEXTS)


MODELS = _named(_blocks("nerva"))
AS_WRITTEN = _named(_blocks("nerva-as-written"))
FRAGMENTS = _named(_blocks("nerva-fragment"))


@pytest.mark.parametrize(("page", "number", "text"), MODELS + AS_WRITTEN)
def test_models_are_correct(page, number, text):
    assert not check_source(Source(f"{page}.{number}.nerva", text), {}).warnings


@pytest.mark.parametrize(("page", "number", "text"), MODELS + FRAGMENTS)
def test_models_and_fragments_are_formatted(page, number, text):
    assert format_source(Source(f"{page}.{number}.nerva", text)) == text


AROUND = {
    "model": "model fragment",
    "input": "input x : float32[384]",
    "target": "target t : class[10]",
    "h": "h = linear(x, 384, density = 0.5)",
    "y": "y = linear(h, 10)",
    "output": "output = y",
    "loss": "loss = softmax_cross_entropy(y, t)",
}
"""What a fragment may leave out, by what it would say itself: the parts of a model, in order."""


def _defined(statement):
    """What a statement is, in the words of `AROUND`."""
    name = getattr(statement, "name", None)
    kind = getattr(statement, "kind", "")
    return kind if kind in AROUND or name is None else name.text


def _whole(text):
    """A fragment in a model: declarations before it, and what is missing behind it."""
    own = {_defined(statement) for statement in parse(Source("fragment", text)).statements}
    missing = [name for name in AROUND if name not in own]
    # What reads an input or a value of the fragment comes behind it.
    later = {"output", "loss"} | ({"h", "y"} if own & {"input", "h"} else set())
    before = [AROUND[name] for name in missing if name not in later]
    after = [AROUND[name] for name in missing if name in later]
    return "\n".join([*before, text, *after])


@pytest.mark.parametrize(("page", "number", "text"), FRAGMENTS)
def test_fragments_are_correct_in_a_model(page, number, text):
    """In the folder of the models, where the libraries are."""
    attempted = attempt(Source(str(ROOT / "models" / "fragment.nerva"), _whole(text)))
    errors = [each for each in attempted.diagnostics if each.severity == "error"]
    assert not errors, "\n".join(error.render() for error in errors)


def test_every_construct_of_the_grammar_is_in_the_language_page():
    """Each alternative of each rule, but those that pass on their only part."""
    seen = set()

    def noting(rule, build):
        def build_and_note(parts):
            seen.add(rule)
            return build(parts)

        return build_and_note

    @cache
    def automaton(start):
        made = Automaton(tables(), start, Builder())
        made._builds = [noting(number, build) for number, build in enumerate(made._builds)]
        return made

    kinds = ("nerva", "nerva-as-written", "nerva-fragment")
    for page, number, text in (block for kind in kinds for block in _blocks(kind)):
        if page != "docs/language.md":
            continue
        for part in split(lexemes(Source(f"{number}.nerva", text))):
            pieces = [part.header, *part.lines] if isinstance(part, Block) else [part]
            for piece in pieces:
                automaton(piece.start).parse(piece.tokens)
    rules = tables().rules
    wanted = {number for number, rule in enumerate(rules) if not rule.passes}
    assert len(wanted) > 80
    assert not [rules[number] for number in wanted - seen]


def test_the_readmes_lines():
    """The two lines a newcomer copies; the second is what continuous integration runs."""
    assert TRAIN in TEXTS["README.md"]
    assert TEST in TEXTS["README.md"]
    assert TEST in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(("page", "command"), sorted({(p, c) for p, c, _ in _commands()}))
def test_commands_exist(page, command):
    known = typer.main.get_command(app)
    name, *words = shlex.split(command)
    if name.startswith("-"):
        assert name in ("--help", "--version")
        return
    assert name in known.commands, f"{page}: there is no command {name}"
    options = {option for each in known.commands[name].params for option in each.opts}
    words = words[: words.index("--")] if "--" in words else words
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
    unknown = set(given) - options - {"--help"}
    assert not unknown, f"{page}: `nervac {name}` has no {unknown}"


@pytest.mark.parametrize(
    ("page", "command", "output"),
    [
        each
        for each in _commands()
        if each[2].strip() and each[1].split()[0] in SHOWN and (ROOT / each[1].split()[1]).exists()
    ],
)
def test_commands_print_what_is_shown(page, command, output):
    done = subprocess.run(
        [sys.executable, "-c", "from nerva_dsl.cli import main; main()", *shlex.split(command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    said, shown = _lines(done.stdout + done.stderr), _lines(output)
    assert _agree(shown, said), "\n".join(["it prints", *said, "", "the page shows", *shown])


@pytest.mark.parametrize("page", [page for page, text in TEXTS.items() if "$ nervac" in text])
def test_commands_on_models_of_the_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, content in FENCE.findall(TEXTS[page]):
        if kind in ("nerva", "nerva-wrong"):
            name = re.search(r"^model (\w+)", content, re.MULTILINE)[1]
            (tmp_path / f"{name}.nerva").write_text(content, encoding="utf-8")
        joined = content.replace("\\\n", "")
        for part in re.split(r"^\$ nervac ", joined, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            command = shlex.split(line)
            file = next((word for word in command if word.endswith(".nerva")), "")
            shown = command[0] in SHOWN and output.strip() and (tmp_path / file).is_file()
            if shown or command[0] == "from-nerva" or command[:2] == ["explain", "--prelude"]:
                done = CliRunner().invoke(app, command)
                assert _agree(_lines(output), _lines(done.stderr + done.stdout)), done.output


def _lines(text):
    """The lines that are not blank, without blanks at their ends."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _agree(shown, said):
    """Whether lines are as shown, where `…` stands for any."""
    if not shown:
        return not said
    first, *rest = shown
    if first == "…":
        return any(_agree(rest, said[skipped:]) for skipped in range(len(said) + 1))
    return said[:1] == [first] and _agree(rest, said[1:])


@pytest.mark.parametrize("page", sorted({page for page, _, _ in _blocks("python")}))
def test_python_examples_run(page, tmp_path):
    (tmp_path / "models").symlink_to(ROOT / "models")
    code = "\n".join(text for where, _, text in _blocks("python") if where == page)
    file = tmp_path / "example.py"
    file.write_text(code, encoding="utf-8")
    module = compile_model(ROOT / "models" / "digits.nerva")
    paths = os.pathsep.join([str(module), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_the_readmes_table_of_densities():
    rows = re.findall(r"^\| ([\d.]+) \|((?: [\d,]+ \|){5})$", TEXTS["README.md"], re.MULTILINE)
    assert len(rows) > 3
    for density, cells in rows:
        layers = explain(ROOT / "models/cifar10.nerva", {"density": float(density)}).layers
        nnz = [layer.nnz for layer in layers]
        expected = [*nnz, sum(nnz), sum(layer.bytes for layer in layers)]
        assert [int(cell.replace(",", "")) for cell in re.findall("[\\d,]+", cells)] == expected


@pytest.mark.parametrize("page", TEXTS)
def test_paths_exist(page):
    """Files and folders named in code, and the targets of links."""
    place = (ROOT / page).parent
    text = FENCE.sub("", TEXTS[page])
    rooms = r"(?:nerva_dsl|grammar|codegen|runtime|tests|models|docs|\.ci)/"
    for name in re.findall(rf"`({rooms}[\w./-]*)`", text):
        assert (ROOT / name).exists(), f"{page} names {name}"
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", text):
        linked = place / target if target else ROOT / page
        assert linked.exists(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {_slug(heading) for heading in headings}, f"{page}: {anchor}"


def _slug(heading):
    """A heading as GitHub and mkdocs make an anchor of it."""
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def test_the_language_page_is_complete():
    page = TEXTS["docs/language.md"]
    described = page.partition("### The prelude")[2]
    scope = prelude()
    for names in (scope.functions, scope.losses, scope.optimizers, scope.schedules):
        for name in names:
            assert f"| `{name}(" in described, f"{name} of the prelude is not described"
    for name in SETTINGS:
        assert f"| `{name}` |" in described, f"{name} of train is not described"
    for name in KEYS:
        assert f"| `{name}` |" in page.partition("## `regrow`")[2], f"{name} is not described"
    for name in OPTIONS:
        assert f"| `{name}(" in page, f"the initialiser {name} is not described"


def test_the_stages_are_listed():
    names = [
        "lower",
        "differentiate",
        *(p.name for p in pipeline(backend="auto", machine=Machine(64))),
    ]
    for name in names:
        assert f"| `{name}` |" in TEXTS["docs/architecture.md"]
        assert f"`{name}`" in TEXTS["docs/command-line.md"]


def test_every_method_and_key_is_described():
    page = TEXTS["docs/python.md"]
    model = compile_model(ROOT / "models" / "digits.nerva")
    spec = _load(model).SPEC
    assert ModelSpec.read(spec).name == "digits"
    for key in spec:
        assert f"`{key}`" in page.partition("## `SPEC`")[2], f"SPEC's {key} is not described"
    for name in vars(_load(model).Model.__mro__[1]):
        if not name.startswith("_"):
            assert re.search(rf"`{name}\b", page), f"Model.{name} is not described"


def _load(entry):
    from nerva_dsl.runtime.loading import load_module

    return load_module(entry)


def test_shipped_models_are_listed():
    for path in (ROOT / "models").glob("*.nerva"):
        assert f"`{path.stem}`" in TEXTS["CHANGELOG.md"]
        if "\nmodel " in path.read_text():  # a library has none
            assert not check(path, {}).warnings
