"""The parser: text to syntax, layout, precedence, and recovery after errors."""

import random
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerva_dsl import syntax
from nerva_dsl.check import check_source, read_source
from nerva_dsl.errors import DiagnosticError
from nerva_dsl.grammar.lexer import lexemes
from nerva_dsl.grammar.parser import parse, parse_all, parse_expression
from nerva_dsl.grammar.tables import grammar_text, lark_parser
from nerva_dsl.source import Source

ROOT = Path(__file__).parents[1]
MODELS = sorted((ROOT / "models").glob("*.nerva"))


def words(text):
    return text.split()


def tree(node):
    """An expression as nested tuples, which shows how it was grouped."""
    match node:
        case syntax.Binary():
            return (node.operator, tree(node.left), tree(node.right))
        case syntax.Unary():
            return (node.operator, tree(node.operand))
        case syntax.Conditional():
            return ("if", tree(node.condition), tree(node.chosen), tree(node.otherwise))
        case syntax.Call():
            return (node.name.text, *(tree(a.value) for a in node.arguments))
        case syntax.ListLiteral():
            return [tree(item) for item in node.items]
        case syntax.Truth():
            return node.value
    return node.text


def expression(text):
    return tree(parse_expression(Source("text", text)))


def statements(text):
    return parse(Source("text", text)).statements


PRECEDENCE = {
    "a + b * c": ("+", "a", ("*", "b", "c")),
    "a - b - c": ("-", ("-", "a", "b"), "c"),
    "a / b // c % d": ("%", ("//", ("/", "a", "b"), "c"), "d"),
    "a ^ b ^ c": ("^", "a", ("^", "b", "c")),
    "-a ^ b": ("-", ("^", "a", "b")),
    "a ^ -b": ("^", "a", ("-", "b")),
    "-2 ^ -2": ("-", ("^", "2", ("-", "2"))),
    "-a * b": ("*", ("-", "a"), "b"),
    "a < b + 1": ("<", "a", ("+", "b", "1")),
    "not a < b": ("not", ("<", "a", "b")),
    "not a and b": ("and", ("not", "a"), "b"),
    "a or b and c": ("or", "a", ("and", "b", "c")),
    "if a then b else c + 1": ("if", "a", "b", ("+", "c", "1")),
    "if a then b else if c then d else e": ("if", "a", "b", ("if", "c", "d", "e")),
    "(a + b) * c": ("*", ("+", "a", "b"), "c"),
    "f(a, g(b), n = 3)": ("f", "a", ("g", "b"), "3"),
    "[1, 2.5, [], -1]": ["1", "2.5", [], ("-", "1")],
    "[1, 2,]": ["1", "2"],
    "true != false": ("!=", True, False),
    "1.5e-3 + .5 + 2. + 1e5": ("+", ("+", ("+", "1.5e-3", ".5"), "2."), "1e5"),
}


@pytest.mark.parametrize("text", PRECEDENCE)
def test_precedence(text):
    assert expression(text) == PRECEDENCE[text]


@pytest.mark.parametrize(
    "text",
    [
        "y = f(\n    a,\n    b\n)",
        "y =\n    f(a, b)",
        "y = f(a,  # first\n\n      b)  # second",
        "y = f(a, b); # and nothing else",
        "; ;\n\ny = f(a, b) ;;",
        "y\t=\tf(a,\r\n\tb)".replace("\r", ""),
        "y = f(a, b,)",
    ],
)
def test_lines_that_go_on(text):
    (binding,) = statements(text)
    assert (binding.name.text, tree(binding.value)) == ("y", ("f", "a", "b"))


OPERATORS = words("+ - * / // % ^ < <= > >= == != and or then else")


@pytest.mark.parametrize("word", OPERATORS)
def test_a_line_goes_on_after_an_operator(word):
    before, after = {"then": ("if a", "b else c"), "else": ("if a then b", "c")}.get(
        word, ("a", "b")
    )
    (binding,) = statements(f"y = {before} {word} # why\n\n  {after}\n")
    assert isinstance(binding, syntax.Binding)


def test_every_kind_of_statement():
    text = """
        model m
        import "other.nerva"
        param p = 1
        let q = "text"  # with a comment
        input x : uint8[3]
        target t : class[p]
        sparsity = uniform(0.1)
        function f(x; learn a, b = 2) = a * x derivative a
        loss l(y, t) = sum(y - t)
        schedule s(epoch; lr) = product(i in 1 .. epoch, lr)
        optimizer o(w, g, lr; m = 1) { state v = 0; v = g; w = w - v }
        layer b(x; n) { h = linear(x, n); return h }
        y = b(x)
        output = y
        loss = l(y, t)
        metric a = top(y)
        train { batch = 3; optimizer = o() }
        regrow { every = epochs(1) }
    """
    kinds = [type(node).__name__ for node in statements(text)]
    assert kinds == words(
        "ModelName Import Constant Constant Declaration Declaration Role Definition Definition "
        "Definition BlockDefinition BlockDefinition Binding Role Role Metric Settings Settings"
    )


def test_every_node_knows_its_text():
    source = Source("text", "y  =  f( a + (b), n = [1, 2] )  # end")
    (binding,) = parse(source).statements
    assert binding.span.text == "y  =  f( a + (b), n = [1, 2] )"
    call = binding.value
    assert call.span.text == "f( a + (b), n = [1, 2] )"
    first, second = call.arguments
    assert first.span.text == "a + (b)"
    assert (second.span.text, second.name.text) == ("n = [1, 2]", "n")
    assert first.value.right.span.text == "(b)"
    assert (binding.span.line, binding.span.column) == (1, 1)


def test_names_that_contain_words_of_the_language():
    (binding,) = statements("iffy = thenx + model_ + in_ + nothing")
    assert tree(binding.value) == ("+", ("+", ("+", "thenx", "model_"), "in_"), "nothing")


def test_line_ends_tabs_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "file.nerva"
    path.write_bytes("\ufeffmodel m\r\n\ty = f(a,\r\n\t\tb)\rz = 1 # größe 日本".encode())
    source = read_source(path)
    assert source.text == "model m\n\ty = f(a,\n\t\tb)\nz = 1 # größe 日本"
    assert len(parse(source).statements) == 3


def test_200_nested_parentheses():
    assert expression("(" * 200 + "a" + ")" * 200) == "a"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "1" + ")" * 5000,
        "[" * 5000,
        "-" * 5000 + "1",
        "not " * 5000 + "true",
        "2 ^ " * 5000 + "1",
        "f(" * 5000 + "1" + ")" * 5000,
        "if a then b else " * 5000 + "c",
    ],
)
def test_too_deep_is_a_diagnostic(text):
    _, problems = parse_all(Source("text", f"let a = {text}"))
    assert [problem.code for problem in problems] == ["N0107"]


def test_long_sums_are_not_deep():
    (let,) = statements("let a = " + " + ".join(["1"] * 5000))
    assert isinstance(let, syntax.Constant)


def test_an_error_stays_in_its_statement():
    file, problems = parse_all(
        Source("text", "a = f(1\nb = 2 +\noutput = = 3\ntrain { batch = ; epochs = 3\n }\nc = 4")
    )
    assert [type(node).__name__ for node in file.statements] == (
        ["Broken", "Broken", "Broken", "Settings", "Binding"]
    )
    assert [problem.code for problem in problems] == ["N0105", "N0101", "N0101", "N0101"]
    settings_block = file.statements[3]
    assert [type(line).__name__ for line in settings_block.lines] == ["Broken", "Binding"]
    assert file.statements[0].name.text == "a"
    assert file.statements[2].keyword == "output"


def test_messages_have_no_names_of_terminals():
    """No NAME, LPAR or __ANON_3 in what is said of any token in any place."""
    tokens = words('model x = ( [ ) ] { } , ; : + if then else 3 1.5 true "s" in .. == function')
    for first in tokens:
        for second in tokens:
            _, problems = parse_all(Source("text", f"y = f({first} {second}\nloss l({second}"))
            for problem in problems:
                assert not re.search(r"[A-Z]{3,}|_ANON|\$END", problem.message), problem.message


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_models_with_parts_left_out(path):
    """A file with tokens removed, doubled or swapped is right or wrong, but never a traceback."""
    text = path.read_text(encoding="utf-8")
    tokens = re.findall(r"\w+|[^\w\s]|\s+", text)
    dice = random.Random(1)
    for _ in range(60):
        broken = list(tokens)
        for _ in range(dice.choice([1, 1, 2, 5, 20])):
            at, other = dice.randrange(len(broken)), dice.randrange(len(broken))
            match dice.randrange(4):
                case 0:
                    del broken[at]
                case 1:
                    broken.insert(at, broken[other])
                case 2:
                    broken[at], broken[other] = broken[other], broken[at]
                case 3:
                    del broken[at : at + 5]
        attempt("".join(broken))


WORDS = words(
    "model param let input target sparsity output loss metric import function derivative learn "
    "schedule optimizer state layer return train regrow if then else and or not in true false = : "
    ", ; ( ) [ ] { } + - * / // % ^ < <= > >= == != .. x y t h w g lr linear relu normalize sum "
    'softmax max class float32 uint8 batch epochs uniform 0 1 2 10 0.5 1e300 "s" " # é $'
)


@given(st.lists(st.sampled_from([*WORDS, "\n", "\n"]), max_size=60))
@settings(max_examples=300, deadline=None)
def test_random_words(words):
    attempt(" ".join(words))


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_random_text(text):
    attempt(text.replace("\r", "\n"))


PREFIX = "model m\ninput x : float32[4]\ntarget t : float32[4]\nlet c = [1, 2]\nparam p = 0.5\n"
EXPRESSION_WORDS = words(
    'x y t p c 0 1 2 -1 0.5 true "s" + - * / // % ^ < == and or not if then else ( ) , [ ] '
    "linear( relu( normalize( sum( max( min( exp( len( squared_error( density= bias= weights= "
    "he( mean= std= count( softmax( g lr step 9 100"
)


@given(st.lists(st.sampled_from(EXPRESSION_WORDS), max_size=25), st.sampled_from("ylof"))
@settings(max_examples=500, deadline=None)
def test_random_expressions(words, place):
    body = " ".join(words)
    body += "".join({"(": ")", "[": "]"}[c] for c in reversed(body) if c in "([")
    line = {
        "y": f"y = {body}",
        "l": f"y = linear(x, 4)\noutput = y\nloss = {body}",
        "o": f"optimizer o(w, g, lr; x = 1, p) {{\n w = {body}\n}}",
        "f": f"function f(x, y; t = 1) = {body}\nloss q(x, y; t = 1) = {body}",
    }[place]
    attempt(PREFIX + line)


def attempt(text):
    """Check a text; anything but a diagnostic is a fault of the compiler."""
    try:
        check_source(Source("text", text))
    except DiagnosticError as error:
        assert error.diagnostics
        assert str(error)


# -------------------------------------------------------------------------------------- tokens

PIECES = st.sampled_from(
    [
        *("if", "ifx", "in", "1", "1.", "1.5e3", "1e", "1..2", ".5", "1.x", "007", "1_000"),
        *("a_b", "é日", "model", "layer", "learn", '"s"', '"open', "#", "c\n", "\n", "\t", " "),
        *("-", "--", "//", "/", "^", "==", "=", "<=", "..", ".", "(", ")", "[", "]", "{", "}"),
        *(";", ":", ",", "$", "\r", "\x00", "@"),
    ]
)


@cache
def lark():
    return lark_parser(grammar_text())


def assert_tokens_are_larks(text):
    state = lark().parse_interactive(text, start="statement")
    expected = list(state.lexer_thread.lex(state.parser_state))
    found = lexemes(Source("f", text))
    assert [(t.type, str(t), t.span.start, t.span.end) for t in found] == [
        (t.type, str(t), t.start_pos, t.end_pos) for t in expected
    ]


@pytest.mark.parametrize("path", sorted(ROOT.glob("**/*.nerva")), ids=lambda path: path.stem)
def test_the_tokens_of_files_are_those_of_larks_lexer(path):
    assert_tokens_are_larks(path.read_text(encoding="utf-8", errors="replace"))


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_the_tokens_of_any_text_are_those_of_larks_lexer(text):
    assert_tokens_are_larks(text)
