"""The IR: its text reads back to the same program, and `verify` finds what is broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerva_dsl.check import check
from nerva_dsl.driver import ir_stages
from nerva_dsl.ir.maps import compact
from nerva_dsl.ir.operations import (
    Group,
    Load,
    LogSoftmax,
    Map,
    Product,
    Reduce,
    Softmax,
    TransposedProduct,
    Update,
    WeightGradient,
)
from nerva_dsl.ir.parse import parse_program
from nerva_dsl.ir.program import Buffer, Constant, Graph, Parameter, Program, Rule
from nerva_dsl.ir.text import print_program
from nerva_dsl.ir.types import Layout, Place, Type, Value
from nerva_dsl.ir.verify import InvalidProgram, lifetimes, verify
from nerva_dsl.machine import Machine
from nerva_dsl.record import replace
from nerva_dsl.scalar import OPERATORS, Number, Var, apply

# Every operation, layout, format and kind of group once.
EVERYTHING = """\
program everything float32 batch 4 arena 512

input %x: uint8[B, 3] sample_major/3
input %t: int32[B, 1] sample_major/1
parameter %h.1.weight: float32[3, 3] csr nnz 5 rule own initial uniform(-0.5, 0.5)
parameter %h.1.bias: float32[3, 1] nnz 3 rule own initial uniform(0, 0)
parameter %y.weight: float32[2, 3] nnz 6 rule sgd initial normal(0, 1e-05)
constant %scaled.mean: float32[3, 1] = [-0.5, 0, 1e+30]
constant %scaled.std: float32[3, 1] = [2]

rule own {
  state m = 0
  state v = -1.5
  m = 0.9 * m + 0.1 * g
  v = if g > 0 and not m < 0 or step == 1 then v else -v
  w = w - lr * m / (sqrt(v * v) + 1e-08)
}

rule sgd {
  w = w - lr * g
}

schedule 0.1 * 0.5 ^ (floor(epoch / 10) - -1)

graph step {
  %scaled: float32[3, B] feature_major/16 = group kernel gather because "a reason: (1), it's" phase 0 {
    %x.batch: float32[3, B] feature_major/16 = load(%x) @ models/a-b.nerva:3:1
    %scaled: float32[3, B] feature_major/16 = map normalize(%x.batch, %scaled.mean, %scaled.std) { (a0 - a1) / a2 } @ models/a-b.nerva:12:10
  } @ models/a-b.nerva:3:1 @ models/a-b.nerva:12:10
  %z: float32[3, B] feature_major/16 = product(%h.1.weight, %scaled)
  %h: float32[3, B] feature_major/16 = map linear(%z, %h.1.bias) { a0 + a1 }
  %p: float32[3, B] feature_major/16 = softmax(%h)
  %l: float32[3, B] feature_major/16 = log_softmax(%h)
  %s: float32[1, B] feature_major/16 = reduce sum features(%p)
  %m: float32[1, B] feature_major/16 = reduce max features(%l) @ a:1:2 @ b:3:4 @ a:1:2
  %k: float32[3, B] feature_major/16 = map constant() { -1e-07 }
  %dx: float32[3, B] feature_major/16 = transposed_product(%h.1.weight, %k)
  %b: float32[3, 1] = reduce sum batch(%dx)
  %w: float32[3, 3] csr = weight_gradient(%h.1.weight, %k, %scaled)
  group phase 3 {
    update own(%h.1.weight, %w)
  } @ c:1:1
  group {
    update own(%h.1.bias, %b)
  }
  %q: float32[3, B] feature_major/16, %r: float32[3, B] feature_major/16 = group kernel elementwise {
    %q: float32[3, B] feature_major/16 = map a(%h) { a0 }
    %r: float32[3, B] feature_major/16 = map b(%q) { a0 * a0 }
  }
  result loss = %s
  result h.1.weight = %w
  buffer %scaled at 16 size 48
  buffer %q at 0 size 48
}

graph predict {
  %x.batch: float32[3, B] = load(%x)
  result output = %x.batch
}
"""  # noqa: E501 -- one operation a line, as it is printed


def test_text_of_everything():
    program = parse_program(EVERYTHING)
    assert print_program(program) == EVERYTHING
    operations = program.graph("step").operations
    kinds = {type(op) for op in operations} | {type(p) for p in operations[0].body}
    kinds |= {type(part) for part in operations[-2].body}
    assert kinds == {
        *(Load, Map, Product, TransposedProduct, WeightGradient, Reduce),
        *(Softmax, LogSoftmax, Update, Group),
    }


def test_everything_is_read_as_it_is_meant():
    program = parse_program(EVERYTHING)
    assert (program.name, program.precision, program.batch, program.arena) == (
        *("everything", "float32"),
        *(4, 512),
    )
    x, t = program.inputs
    assert x == Value("x", Type("uint8", ("B", 3), layout=Layout("sample_major", 3)))
    assert t.type.element == "int32"
    weight = Value("h.1.weight", Type("float32", (3, 3), "csr"))
    assert program.parameters[0] == Parameter(weight, 5, "own", ("uniform", -0.5, 0.5))
    assert program.constants[0] == Constant(
        Value("scaled.mean", Type("float32", (3, 1))), (-0.5, 0.0, 1e30)
    )
    assert program.rule("own").states == (("m", 0.0), ("v", -1.5))
    assert program.rule("sgd") == Rule(
        "sgd",
        (),
        (("w", apply("sub", Var("w"), apply("mul", Var("lr"), Var("g")))),),
    )
    graph = program.graph("step")
    gather = graph.operations[0]
    assert (gather.kernel, gather.reason, gather.phase) == ("gather", "a reason: (1), it's", 0)
    assert gather.origin == (Place("models/a-b.nerva", 3, 1), Place("models/a-b.nerva", 12, 10))
    assert gather.operands == (x, *(constant.value for constant in program.constants))
    assert graph.operations[-2].phase == -1
    assert graph.buffers[0] == Buffer(gather.result, 16, 48)
    assert graph.results[0][0] == "loss"


@pytest.mark.parametrize(
    "expression",
    [
        Number(0.0),
        Number(-0.0),
        Number(-3.0),
        Number(1e-300),
        Number(5e-324),
        Number(1.7976931348623157e308),
        Number(0.1 + 0.2),
        apply("neg", Number(3.0)),
        apply("neg", Number(-3.0)),
        apply("neg", apply("neg", Var("a0"))),
        apply("pow", Number(-2.0), Number(-2.0)),
        apply("neg", apply("pow", Var("a0"), Number(2.0))),
        apply("pow", apply("neg", Var("a0")), apply("pow", Var("a0"), Var("a0"))),
        apply("pow", apply("pow", Var("a0"), Var("a0")), Var("a0")),
        apply("sub", Var("a0"), apply("sub", Var("a0"), Number(-1.0))),
        apply("div", Var("a0"), apply("mul", Var("a0"), Var("a0"))),
        apply("select", apply("lt", Var("a0"), Number(0.0)), Number(1.0), Number(0.0)),
        apply(
            "add",
            apply("select", apply("eq", Var("a0"), Var("feature")), Number(1.0), Var("count")),
            Number(1.0),
        ),
    ],
)
def test_expressions_read_back(expression):
    operation = Map((_wide("y"),), (), expression, (_wide("x.batch"),), "f")
    _assert_reads_back(_with(operation))


_LEAVES = st.one_of(
    st.sampled_from(["a0", "count", "feature"]).map(Var),
    st.floats(allow_nan=False, allow_infinity=False).map(Number),
)


def _applications(parts):
    numbers = [name for name, operator in OPERATORS.items() if not operator.truth]
    comparisons = ["lt", "le", "gt", "ge", "eq", "ne"]
    truths = st.builds(apply, st.sampled_from(comparisons), parts, parts)
    truths |= st.builds(apply, st.sampled_from(["and", "or"]), truths, truths)
    truths |= st.builds(apply, st.just("not"), truths)
    by_arity = {
        n: [name for name in numbers if OPERATORS[name].arity == n and name != "select"]
        for n in (1, 2)
    }
    return (
        st.builds(apply, st.sampled_from(by_arity[1]), parts)
        | st.builds(apply, st.sampled_from(by_arity[2]), parts, parts)
        | st.builds(apply, st.just("select"), truths, parts, parts)
    )


@given(st.recursive(_LEAVES, _applications, max_leaves=12))
def test_any_expression_reads_back(expression):
    operation = Map((_wide("y"),), (), expression, (_wide("x.batch"),), "f")
    _assert_reads_back(_with(operation))


@pytest.mark.parametrize("name", ["digits", "custom", "residual"])
def test_places_in_a_directory_with_spaces(name, models, tmp_path):
    path = tmp_path / "my models: 2, @ home" / f"{name}.nerva"
    path.parent.mkdir()
    path.write_text((models / path.name).read_text(encoding="utf-8"), encoding="utf-8")
    for _, program in ir_stages(check(path, {}).model, backend="native", machine=Machine(32)):
        _assert_reads_back(program)


def _assert_reads_back(program: Program) -> None:
    text = print_program(program)
    again = parse_program(text)
    assert again == program
    assert print_program(again) == text  # 0 and -0 are equal


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("program everything", "programme everything"),
        ("float32 batch", "float16 batch"),
        ("batch 4", "batch four"),
        ("= softmax(%h)", "= softmax(%h"),
        ("= softmax(%h)", "= sotfmax(%h)"),
        ("= softmax(%h)", "= softmax(%nowhere)"),
        ("= softmax(%h)", "= softmax(%h, %h)"),
        ("product(%h.1.weight, %scaled)", "product(%h.1.weight)"),
        ("{ a0 + a1 }", "{ a0 + }"),
        ("{ a0 + a1 }", "{ a0 < a1 < a0 }"),
        ("{ a0 + a1 }", "{ sinh(a0) }"),
        ("{ a0 + a1 }", "{ exp(a0, a1) }"),
        ("{ a0 + a1 }", ""),
        ("reduce sum features", "reduce features"),
        ("reduce sum features", "reduce mean features"),
        ("reduce sum batch", "reduce sum rows"),
        ("result loss = %s", "result loss = %lost"),
        ("buffer %scaled at", "buffer %gone at"),
        ("[3, B] feature_major/16 = softmax", "[3, B, 1] = softmax"),
        ("nnz 5", ""),
        ("state m = 0", "state m = x"),
        ("schedule 0.1", "schedule"),
        ("  %p: ", "  p: "),
        ("\ngraph predict", "}\ngraph predict"),
        ("@ c:1:1", "@ c:1"),
    ],
)
def test_wrong_text_is_a_value_error(old, new):
    assert old in EVERYTHING
    with pytest.raises(ValueError, match=r"not the text of a program|no operator"):
        parse_program(EVERYTHING.replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "program", "\x00", "graph g { }", EVERYTHING[:-3]])
def test_incomplete_text_is_a_value_error(text):
    with pytest.raises(ValueError, match="not the text of a program"):
        parse_program(text)


# Verification

HEAD = """\
program p float64 batch 4 arena {arena}
input %x: float64[B, 3]
parameter %w: float64[3, 3] csr nnz 4 rule sgd initial uniform(0, 1)
parameter %b: float64[3, 1] nnz 3 rule sgd initial uniform(0, 1)
constant %c: float64[3, 1] = [1]
rule sgd {{ state m = 0 half = 0.5 * g w = w - lr * half + m * step }}
schedule 0.1
graph g {{
  %x.batch: float64[3, B] = load(%x)
  %y: float64[3, B] = product(%w, %x.batch)
  {body}
}}
"""


def _program(body: str, arena: int = 0) -> Program:
    return parse_program(HEAD.format(arena=arena, body=body))


def _with(*operations) -> Program:
    """A program with more operations, which its text could not name."""
    program = _program("")
    (graph,) = program.graphs
    return replace(program, graphs=(replace(graph, operations=graph.operations + operations),))


def _wide(name: str) -> Value:
    return Value(name, Type("float64", (3, "B")))


def _group(name: str, phase: int, body: str) -> str:
    return f"%{name}: float64[3, B] = group phase {phase} {{ {body} }}\n"


COPY_X = "%a: float64[3, B] = map f(%x.batch) { a0 }"
COPY_Y = "%b2: float64[3, B] = map f(%y) { a0 }"
COPY_A = "%b2: float64[3, B] = map f(%a) { a0 }"
GRADIENT = "%g: float64[3, 3] csr = weight_gradient(%w, %y, %x.batch)\n"
UPDATE = GRADIENT + "update sgd(%w, %g)\n"
A, B, C = _group("a", 0, COPY_X), _group("b2", 0, COPY_Y), _group("b2", 1, COPY_A)

SOUND = {
    "nothing more": "",
    "an update": UPDATE,
    "operands that repeat": "%z: float64[3, B] = map f(%y, %b, %c) { a0 * a1 + a2 * feature }",
    "a constant": "%z: float64[1, B] = map f() { 1 / count }",
    "a reduction": "%z: float64[3, 1] = reduce sum batch(%y)",
    "another parameter after an update": UPDATE + "%z: float64[3, B] = map f(%y, %b) { a0 + a1 }",
    "a group": A + C,
    "groups of one phase": A + B,
    "buffers apart": A + B + "buffer %a at 0 size 8 buffer %b2 at 8 size 8",
    "buffers one after the other": A
    + C
    + _group("d", 2, "%d: float64[3, B] = map f(%b2) { a0 }")
    + "buffer %a at 0 size 8 buffer %b2 at 8 size 8 buffer %d at 0 size 8",
}

BROKEN = {
    "product of a wrong shape": (
        "%z: float64[2, B] = product(%w, %y)",
        r"Product %z: %z is float64\[2, B\], expected \(3, 'B'\)",
    ),
    "product with a wrong operand": (
        "%s: float64[1, B] = reduce sum features(%y) %z: float64[3, B] = product(%w, %s)",
        "Product %z: %s is",
    ),
    "transposed product of a wrong shape": (
        "%z: float64[3, 1] = transposed_product(%w, %y)",
        "TransposedProduct %z",
    ),
    "load of a wrong shape": ("%z: float64[2, B] = load(%x)", "Load %z"),
    "softmax of a wrong shape": ("%z: float64[1, B] = softmax(%y)", "Softmax %z"),
    "log_softmax of a wrong shape": ("%z: float64[1, B] = log_softmax(%y)", "LogSoftmax %z"),
    "reduction of a wrong shape": ("%z: float64[3, B] = reduce max features(%y)", "Reduce %z"),
    "sum over the batch of a wrong shape": (
        "%z: float64[1, B] = reduce sum batch(%y)",
        "Reduce %z",
    ),
    "operand that does not repeat": (
        "%s: float64[2, B] = map f() { 1 } %z: float64[3, B] = map f(%s) { a0 }",
        "Map %z: shapes differ",
    ),
    "sparse operand of a map": (
        "%z: float64[3, 3] = map f(%w) { 2 * a0 }",
        "elementwise on a sparse matrix",
    ),
    "dense gradient of a sparse weight": (
        "%g: float64[3, 3] = weight_gradient(%w, %y, %x.batch)",
        "the gradient's type is not the weight's",
    ),
    "gradient of another shape": (
        "%g: float64[3, 1] = reduce sum batch(%y) update sgd(%w, %g)",
        "the gradient's shape is not the parameter's",
    ),
    "two results": (
        "%z: float64[3, B], %v: float64[3, B] = softmax(%y)",
        "wrong number of results",
    ),
    "no result": ("softmax(%y)", "wrong number of results"),
    "name used twice": ("%y: float64[3, B] = softmax(%x.batch)", "%y is defined twice"),
    "name of a parameter": ("%b: float64[3, B] = softmax(%x.batch)", "%b is defined twice"),
    "name used twice in a group": (
        "%y: float64[3, B] = group { %y: float64[3, B] = softmax(%x.batch) }",
        "%y is defined twice",
    ),
    "unknown variable": ("%z: float64[3, B] = map f(%y) { a0 + a1 }", r"reads \['a1'\]"),
    "variable of an optimizer": ("%z: float64[3, B] = map f(%y) { a0 * lr }", r"reads \['lr'\]"),
    "parameter read after its update": (
        UPDATE + "%z: float64[3, B] = product(%w, %y)",
        "Product %z reads %w after it was updated",
    ),
    "parameter updated twice": (UPDATE + "update sgd(%w, %g)", "reads %w after it was updated"),
    "parameter read after its update in a group": (
        "%g: float64[3, 3] csr = group { " + UPDATE + " }"
        "%z: float64[3, B] = group { %z: float64[3, B] = product(%w, %y) }",
        "Group %z reads %w after it was updated",
    ),
    "group result not in its body": (
        "%z: float64[3, B] = group { %q: float64[3, B] = softmax(%y) }",
        "group result %z is not defined in its body",
    ),
    "group result of another type": (
        "%z: float64[1, B] = group { %z: float64[3, B] = softmax(%y) }",
        "group result %z is not defined in its body",
    ),
    "phase after a later one": (_group("a", 1, COPY_X) + B, "%b2 is listed after a later phase"),
    "value read in its own phase": (
        A + _group("b2", 0, COPY_A),
        "%b2 reads %a in the phase that changes it",
    ),
    "parameter read in the phase of its update": (
        "%z: float64[3, B] = group phase 0 { %z: float64[3, B] = product(%w, %y) }"
        f"%g: float64[3, 3] csr = group phase 0 {{ {UPDATE} }}",
        "%z reads %w in the phase that changes it",
    ),
    "buffers that overlap": (
        A + C + "buffer %a at 0 size 8 buffer %b2 at 7 size 8",
        "%b2 and %a share memory while both are alive",
    ),
    "a result's buffer used again": (
        A
        + C
        + _group("d", 2, "%d: float64[3, B] = map f(%b2) { a0 }")
        + "result a = %a buffer %a at 0 size 8 buffer %b2 at 8 size 8 buffer %d at 4 size 2",
        "%d and %a share memory while both are alive",
    ),
    "buffer beyond the arena": (A + "buffer %a at 12 size 8", "%a ends beyond the arena"),
    "buffer of what is not stored": (A + "buffer %y at 0 size 8", "buffers of %y, which no group"),
}


@pytest.mark.parametrize("body", SOUND.values(), ids=SOUND)
def test_sound_program(body):
    program = _program(body, arena=16)
    assert verify(program, "test") is program


@pytest.mark.parametrize(("body", "problem"), BROKEN.values(), ids=BROKEN)
def test_broken_program(body, problem):
    program = _program(body, arena=16)
    with pytest.raises(InvalidProgram, match=problem) as caught:
        verify(program, "a test")
    assert str(caught.value).startswith("after a test: graph g: ")


def test_undefined_value():
    with pytest.raises(InvalidProgram, match="Softmax %z reads %nowhere"):
        verify(_with(Softmax((_wide("z"),), (), _wide("nowhere"))), "test")


def test_value_that_is_defined_otherwise():
    other = Value("y", Type("float64", (2, "B")))
    with pytest.raises(InvalidProgram, match=r"reads %y: float64\[2, B\], which is not defined so"):
        verify(_with(Softmax((replace(other, name="z"),), (), other)), "test")


def test_value_read_before_it_is_defined():
    first = Softmax((_wide("z"),), (), _wide("later"))
    second = Softmax((_wide("later"),), (), _wide("y"))
    with pytest.raises(InvalidProgram, match="Softmax %z reads %later"):
        verify(_with(first, second), "test")


def test_value_inside_another_group():
    inner = Softmax((_wide("inner"),), (), _wide("y"))
    outer = Softmax((_wide("outer"),), (), _wide("inner"))
    with pytest.raises(InvalidProgram, match="Group %inner reads %inner"):
        verify(_with(Group((), (), (inner,)), Group((), (), (outer,))), "test")


def test_undefined_result():
    (graph,) = _program("").graphs
    broken = replace(_program(""), graphs=(replace(graph, results=(("loss", _wide("nowhere")),)),))
    with pytest.raises(InvalidProgram, match="result loss is %nowhere"):
        verify(broken, "test")


@pytest.mark.parametrize(
    ("assignments", "unknown"),
    [
        ((("w", Var("v")),), "v"),
        ((("w", Var("later")), ("later", Var("g"))), "later"),
        ((("own", Var("own")),), "own"),
        ((("w", Var("epoch")),), "epoch"),
        ((("w", Var("a0")),), "a0"),
    ],
)
def test_rule_that_reads_what_is_not_assigned(assignments, unknown):
    broken = replace(_program(""), rules=(Rule("sgd", (("m", 0.0),), assignments),))
    with pytest.raises(InvalidProgram, match=rf"rule sgd reads \['{unknown}'\] before"):
        verify(broken, "test")


# Values and operations


def test_nodes_are_frozen():
    operation = Softmax((_wide("z"),), (), _wide("y"))
    with pytest.raises(AttributeError):
        operation.x = _wide("x")
    with pytest.raises(AttributeError):
        operation.x.name = "x"


def test_operands_of_a_group_are_what_it_reads_from_outside():
    a, b, c = _wide("a"), _wide("b"), _wide("c")
    add = apply("add", Var("a0"), Var("a1"))
    group = Group((c,), (), (Softmax((b,), (), a), Map((c,), (), add, (b, a), "add")))
    assert group.operands == (a,)


def test_map_values_reaches_into_groups_and_leaves_places():
    a, b = _wide("a"), _wide("b")
    group = Group((b,), (Place("f", 1, 2),), (Softmax((b,), (Place("f", 3, 4),), a),), phase=2)
    renamed = group.map_values(lambda value: replace(value, name=value.name.upper()))
    assert renamed == Group(
        (_wide("B"),),
        (Place("f", 1, 2),),
        (Softmax((_wide("B"),), (Place("f", 3, 4),), _wide("A")),),
        phase=2,
    )


def test_lifetimes_reach_from_the_first_phase_to_the_last_reader():
    body = A + C + _group("d", 3, "%d: float64[3, B] = map f(%a) { a0 }") + "result b = %b2"
    (graph,) = _program(body).graphs
    assert lifetimes(graph) == {"a": (0, 3), "b2": (1, 3), "d": (3, 3)}
    assert lifetimes(Graph("empty", (), ())) == {}


def test_compact_numbers_what_is_read():
    a, b, c = _wide("a"), _wide("b"), _wide("c")
    expression = apply("sub", Var("a3"), apply("mul", Var("a1"), Var("count")))
    assert compact(expression, (a, b, c, b)) == (
        apply("sub", Var("a0"), apply("mul", Var("a0"), Var("count"))),
        (b,),
    )
    assert compact(apply("sub", Var("a2"), Var("a0")), (a, b, c)) == (
        apply("sub", Var("a1"), Var("a0")),
        (a, c),
    )
