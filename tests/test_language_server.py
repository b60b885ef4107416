"""The language server: over its pipes as an editor uses it, and its parts by themselves."""

import sys
from pathlib import Path

import pytest

from editor_session import Session
from nerva_dsl.check import attempt
from nerva_dsl.check.bodies import BUILT_IN
from nerva_dsl.check.initialisers import OPTIONS
from nerva_dsl.check.metrics import LABELLED
from nerva_dsl.check.regrowing import GROWERS, KEYS, PRUNERS, UNITS
from nerva_dsl.check.values import SETTINGS
from nerva_dsl.cli.lsp import run_server
from nerva_dsl.editor import words
from nerva_dsl.editor.completion import proposals
from nerva_dsl.editor.context import context_at
from nerva_dsl.editor.desk import Desk
from nerva_dsl.editor.lookup import meaning_at
from nerva_dsl.editor.positions import Place, Positions
from nerva_dsl.faults import ToolchainError
from nerva_dsl.grammar import parser
from nerva_dsl.source import Source

MODEL = """\
model small                          # 𝄞 é
import "blocks.nerva"

param width = 8

input  x : float32[4]
target t : class[3]

sparsity = uniform(0.5)

h = relu(linear(x, width))
k = block(h, width = 6)
y = linear(k, 3, density = 1)

output = y
loss   = softmax_cross_entropy(y, t)

train {
    batch     = 10
    optimizer = nesterov(momentum = 0.8)
}
"""
BLOCKS = """\
# Two in one.
layer block(x; width, scale = 0.5) {
    inner = relu(linear(x, width))
    return scale * inner
}
"""


def marked(text):
    """A text without its `|`, and where that was."""
    offset = text.index("|")
    return text[:offset] + text[offset + 1 :], offset


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.nerva").write_text(MODEL)
    (tmp_path / "blocks.nerva").write_text(BLOCKS)
    return tmp_path


# ------------------------------------------------------------------------------- as editors do


@pytest.fixture
def editor():
    session = Session()
    yield session
    session.kill()


def test_a_session(editor, folder):
    """Open, break, see it, mend it, hover, complete, follow names, format, leave."""
    model, blocks = folder / "small.nerva", folder / "blocks.nerva"
    uri, text = model.as_uri(), MODEL
    document = {"uri": uri}

    def at(before, text=text):
        """The place behind some text, counted in UTF-16."""
        lines = text[: text.index(before) + len(before)].split("\n")
        place = {"line": len(lines) - 1, "character": len(lines[-1].encode("utf-16-le")) // 2}
        return {"textDocument": document, "position": place}

    def change(uri, text, version):
        editor.notify(
            "textDocument/didChange",
            {
                "textDocument": {"uri": uri, "version": version},
                "contentChanges": [{"text": text}],
            },
        )

    can = editor.start()
    assert can["positionEncoding"] == "utf-16"
    assert can["textDocumentSync"]["change"] == 1
    for feature in ("hoverProvider", "definitionProvider", "documentFormattingProvider"):
        assert can[feature]

    opened = {"uri": uri, "languageId": "nerva", "version": 1, "text": text}
    editor.notify("textDocument/didOpen", {"textDocument": opened})
    assert editor.diagnostics(uri) == []

    # Two mistakes; the second is behind a character that UTF-16 counts twice.
    broken = text.replace("relu(linear", "rellu(linear").replace("= 8", '= len("𝄞") + oops')
    change(uri, broken, 2)
    second, first = editor.diagnostics(uri)
    assert first["code"] == "N0201"
    assert "did you mean `relu`?" in first["message"]
    assert first["range"]["start"] == {"line": 10, "character": 4}
    assert first["range"]["end"] == {"line": 10, "character": 9}
    assert second["range"]["start"] == {"line": 3, "character": 25}
    change(uri, text, 3)
    assert editor.diagnostics(uri) == []

    # A mistake in an imported file that is open and not saved, in the file where it is.
    opened = {"uri": blocks.as_uri(), "languageId": "nerva", "version": 1, "text": BLOCKS}
    editor.notify("textDocument/didOpen", {"textDocument": opened})
    assert editor.diagnostics(blocks.as_uri()) == []  # it is a library and lacks no model
    change(blocks.as_uri(), BLOCKS.replace("scale * inner", "scales * inner"), 2)
    (problem,) = editor.diagnostics(blocks.as_uri())
    assert "`scales`" in problem["message"]
    change(blocks.as_uri(), BLOCKS, 3)
    assert editor.diagnostics(blocks.as_uri()) == []

    shown = editor.request("textDocument/hover", at("y = lin"))
    assert "`y.weight`: 3 × 6, dense, density 1, 18 non-zeros" in shown["contents"]["value"]
    assert shown["range"]["start"] == {"line": 12, "character": 4}
    assert editor.request("textDocument/hover", at("model ")) is None

    found = editor.request("textDocument/definition", at("k = bl"))
    assert found["uri"] == blocks.as_uri()
    assert found["range"]["start"] == {"line": 1, "character": 6}
    found = editor.request("textDocument/definition", at("softmax_cross"))
    assert found["uri"] == Path(parser.__file__).with_name("prelude.nerva").as_uri()

    half = text.replace("linear(k, 3, density = 1)", "linear(k, 3, ")
    change(uri, half, 4)
    items = editor.request("textDocument/completion", at("linear(k, 3, ", half))["items"]
    inserted = [item["insertText"] for item in items]
    assert inserted.index("density = ") < inserted.index("relu")
    assert "h" in inserted

    formatting = {"textDocument": document, "options": {"tabSize": 4, "insertSpaces": True}}
    ugly = text.replace("param width = 8\n", "param  width=8").replace("}\n", "}")
    change(uri, ugly, 5)
    edits = editor.request("textDocument/formatting", formatting)
    assert applied(ugly, edits) == text.replace("param width = 8\n", "param width = 8")
    change(uri, text.replace("relu(", "relu(("), 6)
    edits = editor.request("textDocument/formatting", formatting)
    assert edits is None

    editor.notify("textDocument/didClose", {"textDocument": document})
    assert editor.stop() == 0


def applied(text, edits):
    """A text after edits, which are places in the text as it was."""
    positions = Positions(Source("f", text))

    def offset(place):
        return positions.offset(Place(place["line"], place["character"]))

    for edit in sorted(edits, key=lambda edit: offset(edit["range"]["start"]), reverse=True):
        start, end = offset(edit["range"]["start"]), offset(edit["range"]["end"])
        text = text[:start] + edit["newText"] + text[end:]
    return text


def test_without_pygls(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygls", None)
    monkeypatch.setitem(sys.modules, "pygls.lsp.server", None)
    monkeypatch.delitem(sys.modules, "nerva_dsl.editor.server", raising=False)
    with pytest.raises(ToolchainError, match=r"pip install 'nervac\[lsp\]'"):
        run_server()


# --------------------------------------------------------------------------------- in its parts


@pytest.mark.parametrize(("encoding", "units"), [("utf-8", 4), ("utf-16", 2), ("utf-32", 1)])
def test_positions(encoding, units):
    text = "a\n\nb𝄞c\u2028d\n"
    positions = Positions(Source("f", text), encoding)
    for offset in range(len(text) + 1):
        assert positions.offset(positions.place(offset)) == offset
    assert positions.place(text.index("c")) == (2, 1 + units)
    assert positions.place(text.index("d"))[0] == 2  # only newlines end lines
    assert positions.offset(Place(0, 99)) == 1
    assert positions.offset(Place(99, 0)) == len(text)
    if units > 1:
        assert positions.offset(Place(2, 2)) == text.index("𝄞")  # in the middle of it


@pytest.mark.parametrize(
    ("text", "start", "block", "callee", "key"),
    [
        ("|", "statement", "", "", ""),
        ("model a\nh = relu(|", "statement", "", "relu", "h"),
        ("h = relu(x)\n|", "statement", "", "", ""),
        ("h = relu(x) +\n  |", "statement", "", "", "h"),
        ("h = f(g(x), a = b(|", "statement", "", "b", "a"),
        ("h = f(g(x), a = b(1), c|", "statement", "", "f", "h"),
        ("train {\n  |", "setting", "train", "", ""),
        ("train {\n  batch = 1; learning_rate = cos|", "setting", "train", "", "learning_rate"),
        ("train { }\n|", "statement", "", "", ""),
        ("optimizer o(w, g, lr) {\n  state v = 0\n  w = |", "update", "optimizer", "", "w"),
        ("layer l(x) {\n  return |", "step", "layer", "", ""),
        ("optimizer o(|", "header", "", "o", ""),
    ],
)
def test_contexts(text, start, block, callee, key):
    text, offset = marked(text)
    context = context_at(Source("f.nerva", text), offset)
    assert (context.start, context.block, context.callee, context.key) == (
        start, block, callee, key,
    )  # fmt: skip


def proposed(text):
    text, offset = marked(text)
    return [each.text for each in proposals(attempt(Source("f.nerva", text)), offset)]


BEFORE = (
    "model a\nparam n = 1\ninput x : float32[4]\ntarget t : class[3]\nlet c = 2\n"
    "function own(x; slope = 1) = slope * x\nlayer mine(x; width) {\n return linear(x, width)\n}\n"
)


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("|", ["model", "train", "optimizer"], ["if", "relu", "state", "return"]),
        (f"{BEFORE}h = |", ["x", "n", "own", "mine", "linear", "tanh", "if"], ["t", "sgd", "sum"]),
        (f"{BEFORE}h = own(x, |", ["slope = ", "x"], ["optimizer"]),
        (f"{BEFORE}h = own(x, slope = |", ["c", "n"], ["slope = "]),
        (f"{BEFORE}h = linear(x, 3, bias = true, we|", ["weights = "], ["bias = "]),
        (f"{BEFORE}h = linear(x, 3, weights = |", ["he", "xavier"], ["x", "relu"]),
        (f"{BEFORE}h = linear(x, 3, weights = uniform(|", ["low = ", "fan_in = "], []),
        (f"{BEFORE}h = linear(x, 3, optimizer = |", ["adam", "sgd"], ["x", "relu", "cosine"]),
        (f"{BEFORE}h = linear(x, n) |", ["and"], ["x", "relu", "model"]),
        (f"{BEFORE}loss = |", ["squared_error", "t", "x"], ["accuracy"]),
        (f"{BEFORE}metric m = |", ["top_k", "squared_error", "t"], ["adam"]),
        (f"{BEFORE}sparsity = |", ["erdos_renyi", "uniform", "n"], ["relu", "x"]),
        (f"{BEFORE}let d = |", ["n", "c", "len"], ["x", "relu", "linear"]),
        ("input x : |", ["uint8", "float32"], ["class"]),
        ("target t : |", ["class", "float32"], ["uint8"]),
        ("train {\n batch = 3\n |", ["epochs = ", "optimizer = "], ["batch = ", "if", "model"]),
        ("train {\n optimizer = |", ["nesterov"], ["cosine", "relu"]),
        ("train {\n optimizer = adam(|", ["beta1 = ", "epsilon = "], ["momentum = ", "sgd"]),
        (f"{BEFORE}train {{\n learning_rate = |", ["cosine", "n"], ["adam", "x"]),
        ("train {\n precision = |", ["float32", "float64"], ["adam"]),
        ("regrow {\n |", ["every = ", "until = "], ["batch = "]),
        ("regrow {\n prune = |", ["magnitude", "set"], ["adam", "random"]),
        ("function f(x; a = 1) = |", ["x", "a", "tanh", "relu"], ["linear", "sum", "sgd"]),
        ("loss l(y, t) = |", ["y", "t", "sum", "log_softmax"], ["linear"]),
        ("schedule s(epoch; lr) = |", ["epoch", "lr", "count", "product"], ["linear"]),
        ("optimizer o(w, g, lr; a = 1) {\n state v = 0\n |", ["state", "w", "v"], ["return"]),
        ("optimizer o(w, g, lr; a = 1) {\n state v = 0\n w = |", ["v", "g", "a"], ["linear"]),
        (f"{BEFORE}layer l(z; k) {{\n h = |", ["z", "k", "linear", "mine"], ["x", "state"]),
        ("model a # h|", [], ["model"]),
        ('import "bl|', [], ["model"]),
        ("h = = |", [], ["x", "if"]),
    ],
)  # fmt: skip
def test_completion(text, wanted, unwanted):
    found = proposed(text)
    assert set(wanted) <= set(found)
    assert not set(unwanted) & set(found)
    assert len(found) == len(set(found))


def meaning(text):
    text, offset = marked(text)
    known = attempt(Source("f.nerva", text))
    return meaning_at(known, known.checked, offset), text


@pytest.mark.parametrize(
    ("text", "said", "defined"),
    [
        ("param n = 3\nlet m = |n + 1", "param n = 3", "n = 3"),
        ("input x : float32[4]\nh = x| + 1", "`x`: the input of 4 features", "x : float"),
        ("input x : float32[4]\n|h = linear(x, 2)", "`h`: a value of 2 features", "h = linear"),
        ("h = re|lu(x)", "function relu(x) = if x > 0 then x else 0", None),
        ("# Mine.\nfunction f(x; a = 1) = a * x\nh = f(x, |a = 2)", "an option of `f`", "a = 1"),
        ("# Mine.\nfunction f(x) = 2 * x\nh = |f(x)", "Mine.", "f(x) ="),
        ("function |f(x) = 2 * x", "function f(x) = 2 * x", "f(x) ="),
        ("function f(x; a) = a * |x", "x", "x; a"),
        ("optimizer o(w, g, lr) {\n state v = 0\n w = w - |v\n}", "state v = 0", "state v"),
        ("train {\n optimizer = mo|mentum()\n}", "optimizer momentum(w, g, lr", None),
        ("train {\n bat|ch = 3\n}", "`batch`: most samples", None),
        ("regrow {\n grow = |momentum()\n}", "momentum()", None),
        ("h = linear(x, 3, |bias = false)", "an option of `linear(", None),
        ("h = |dropout(x, 0.5)", "in training, 0 with probability", None),
        ("input x : ui|nt8[3]", "whole numbers from 0 to 255", None),
        ("tr|ain {\n}", "settings of the training", None),
    ],
)
def test_meanings(text, said, defined):
    found, text = meaning(text)
    assert said in found.text
    if defined is not None:
        assert text[found.defined.start :].startswith(defined)


@pytest.mark.parametrize("text", ["h = 1|2", "|", "model a|", "h = unknown|", "h = f(|x)"])
def test_nothing_to_say(text):
    assert meaning(text)[0] is None


def test_sizes_of_layers_stay_while_a_file_is_wrong(folder):
    desk, name = Desk(), str(folder / "small.nerva")
    desk.put(name, MODEL)
    known, checked = desk.known(name)
    offset = MODEL.index("h = relu")
    sizes = "`h.weight`: 8 × 4, sparse, density 0.5, 16 non-zeros"
    assert sizes in meaning_at(known, checked, offset).text
    desk.put(name, MODEL.replace("loss   =", "loss"))
    known, checked = desk.known(name)
    assert known.checked is None
    assert sizes in meaning_at(known, checked, offset).text


def test_files_are_read_as_they_are_in_the_editor(folder):
    desk, name, library = Desk(), str(folder / "small.nerva"), str(folder / "blocks.nerva")
    desk.put(name, MODEL)
    assert desk.diagnostics() == {name: []}
    (folder / "blocks.nerva").write_text("layer block(x; width) {\n    return y\n}\n")
    desk.put(name, MODEL)
    assert [each.code for each in desk.diagnostics()[library]] == ["N0201", "N0206"][:1]
    desk.put(library, BLOCKS)
    assert desk.diagnostics() == {name: [], library: []}
    desk.remove(library)
    assert desk.diagnostics()[library]


def test_all_words_are_described():
    assert set(words.BUILT_IN) == BUILT_IN | set(LABELLED)
    assert set(words.SETTINGS["train"]) == set(SETTINGS)
    assert set(words.SETTINGS["regrow"]) == set(KEYS)
    assert set(words.INITIALISERS) == set(OPTIONS)
    assert set(words.PRUNERS) == set(PRUNERS)
    assert set(words.GROWERS) == set(GROWERS)
    assert set(words.UNITS) == set(UNITS)
