"""The generated C: no warnings, small, no names that clash, no allocation, nothing in padding."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import twins
from benchmarks.vector_math.library import own_functions
from nerva_dsl.check import check, check_source
from nerva_dsl.codegen.generated import Generated
from nerva_dsl.codegen.names import RESERVED, Names
from nerva_dsl.codegen.render import generate
from nerva_dsl.codegen.updates import update_function
from nerva_dsl.driver import ir_stages, optimize
from nerva_dsl.ir.program import Program, Rule
from nerva_dsl.machine import Machine
from nerva_dsl.model import CheckedModel
from nerva_dsl.passes import pipeline
from nerva_dsl.record import replace
from nerva_dsl.runtime.commands import STRICT_WARNINGS
from nerva_dsl.runtime.spec import ModelSpec
from nerva_dsl.runtime.toolchain import find_compiler_command
from nerva_dsl.scalar import Number, Var, apply
from nerva_dsl.source import Source
from oracle import assert_interpreter_agrees, compiled, dense, lively, observe, programs

MODELS = sorted(twins.TWINS)
FOLDER = Path(__file__).parent.parent / "models"
WIDTHS = (16, 32, 64)
BATCHES = (1, 7, 100, 130, 1000, 65536)
STRICT = ("-std=c11", *STRICT_WARNINGS, "-Wvla", "-fopenmp")


def _check(text: str) -> CheckedModel:
    return check_source(Source("m.nerva", text), {}).model


def _shipped(name: str) -> CheckedModel:
    return check(FOLDER / f"{name}.nerva", {}).model


def _generate(model: CheckedModel, vector_bytes: int = 32) -> Generated:
    program = optimize(model, backend="native", machine=Machine(vector_bytes))
    return _generate_from(model, program, vector_bytes)


def _generate_from(model: CheckedModel, program: Program, vector_bytes: int) -> Generated:
    machine = Machine(vector_bytes)
    return generate(model, program, backend="native", target="native", machine=machine)


def _run(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr[:5000]
    return done.stdout


def _assert_strict(folder: Path, *sources: str) -> None:
    """The C compiler has nothing to say about any of these files."""
    files = []
    for number, source in enumerate(sources):
        files.append(folder / f"{number}.c")
        files[-1].write_text(source, encoding="utf-8")
    _run(*find_compiler_command(), *STRICT, "-fsyntax-only", *files)
    # Some warnings need the optimiser's view.
    _run(*find_compiler_command(), *STRICT, "-O1", "-S", "-o", folder / "0.s", files[0])


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_no_warning_at_any_width_and_batch(name, precision, tmp_path):
    model = replace(_shipped(name), precision=precision)
    stages = ir_stages(model, backend="native", machine=Machine(32))
    fused = next(program for stage, program in stages if stage == "one-sample")  # for every width
    sources = []
    for width in WIDTHS:
        passes = pipeline(backend="native", machine=Machine(width))
        after = [part.name for part in passes].index("one-sample") + 1
        for batch in BATCHES:
            program = replace(fused, batch=batch)
            for part in passes[after:]:
                program = part(program)
            sources.append(_generate_from(model, program, width).c_source)
    _assert_strict(tmp_path, *sources)


# Size


def _deep(layers: int, *, dense_layers: bool = False) -> CheckedModel:
    density = "" if dense_layers else "sparsity = uniform(0.2)"
    chain = [f"h{i} = relu(linear(h{i - 1}, 16))" for i in range(1, layers + 1)]
    return _check(
        "\n".join(
            [
                "model deep\ninput x : float32[16]\ntarget t : class[16]",
                f"{density}\nh0 = x / 2",
                *chain,
                f"y = linear(h{layers}, 16)\noutput = y\nloss = softmax_cross_entropy(y, t)",
                "train {\n    batch = 8\n}\n",
            ]
        )
    )


def _functions(source: str) -> list[str]:
    return re.findall(r"^(?:static |inline )*[\w]+ \*?(\w+)\([^;]*?\)\n\{", source, re.MULTILINE)


@pytest.mark.parametrize("dense_layers", [False, True])
def test_equal_layers_share_their_kernels(dense_layers, tmp_path):
    small, large = (_generate(_deep(n, dense_layers=dense_layers)).c_source for n in (3, 30))
    assert _functions(small) == _functions(large)
    family = "gemm" if dense_layers else "spmm"
    assert len(re.findall(rf"^KERNEL {family}_(?!transposed|gradient)", large, re.MULTILINE)) == 2
    # A layer adds its calls, in four graphs; its parameters; and its line above each kernel.
    lines = len(large.splitlines()) - len(small.splitlines())
    assert lines <= 27 * 36
    _assert_strict(tmp_path, large)


def test_functions_are_found():
    source = _generate(_shipped("digits")).c_source
    found = set(_functions(source))
    assert {"nerva_create", "spmm_relu", "step_update", "nerva_train"} <= found
    assert any(name.startswith("sparse_tile_") for name in found)


# Names

AWKWARD = """\
model awkward
input x : float32[6]
target t : float32[3]
function std(a) = a * a
function transposed(a) = 0.5 * a
function row(a; count = 2) = if a > 0 then a else a / count
function int_(a) = tanh(a)
optimizer own(w, g, lr; momentum = 0.9) {
    state int = 0
    state w_ = 1
    state lr_ = 0.5
    state weight = 0
    state count = 0
    int = momentum * int + g
    lr_ = 0.5 * lr_ + lr
    double = int * int
    weight_state = double + 1
    w_ = w_ + weight_state
    weight = weight + g / w_
    count = count + double
    w = w - lr * lr_ * weight - lr * int
}
gather = normalize(x, mean = [1, 2, 3], std = [1, 2, 4])
scaled = std(gather)
H1 = row(linear(scaled, 4, density = 0.5))
h1 = transposed(linear(H1, 4))
H_1 = int_(linear(h1, 4))
step = std(linear(H_1, 4, density = 0.5))
arrays = transposed(linear(step, 4, density = 0.5))
model_ = row(linear(arrays, 4, density = 0.5), count = 3)
y = linear(model_, 3) + linear(h1, 3)
output = y
loss = squared_error(y, t)
train {
    batch = 5
    optimizer = own()
}
"""


def test_awkward_names(tmp_path):
    model = _check(AWKWARD)
    sources = [_generate(replace(model, precision=p)).c_source for p in ("float32", "float64")]
    _assert_strict(tmp_path, *sources)
    module = compiled(model, "float64")
    net = module.Model(seed=1)
    rng = np.random.default_rng(1)
    net.set_parameters(lively(net.parameters(), rng))
    assert {"H1.weight", "h1.weight", "y.1.bias", "y.2.bias"} <= set(net.parameters())
    x = rng.normal(size=(5, 6)).astype(np.float32)
    t = rng.normal(size=(5, 3)).astype(np.float32)
    seen = observe(module.Model, net, x, t)
    for stage, program in programs(model, "float64"):
        assert_interpreter_agrees(program, seen, "float64", stage)


def test_a_learned_number_named_weight_is_no_layer():
    """Layers are counted by their products: a function may call what it learns as it likes."""
    model = _check(
        """\
model m
input  x : float32[8]
target t : class[3]

function scaled(x; learn weight = 1) = x * weight

h = scaled(linear(x, 6, density = 0.5))
y = linear(h, 3, density = 0.5)

output = y
loss   = softmax_cross_entropy(y, t)

regrow { every = epochs(1); prune = magnitude(0.3); grow = random() }
"""
    )
    program = optimize(model, backend="native", machine=Machine(32))
    assert program.weights == ("h.weight", "y.weight")
    generated = _generate_from(model, program, 32)
    spec = ModelSpec.read(generated.spec)
    assert [weight.name for weight in spec.weights] == ["h.weight", "y.weight"]
    assert spec.by_name["h.1.weight"].shape == (1,)
    growing = re.findall(r"^    \{ \w+, -1, (\d),", generated.c_source, re.MULTILINE)
    assert growing == ["0", "1"]


@pytest.mark.parametrize(
    "name", ["int", "exp", "expf", "w_", "lr_", "restrict", "INFINITY", "weight", "N", "_Bool", "I"]
)
def test_any_name_of_an_optimizer_s_state(name, tmp_path):
    """Whatever the language lets through: the update keeps its meaning in C."""
    square = apply("mul", Var("g"), Var("g"))
    rule = Rule(
        "own",
        ((name, 0.5),),
        (
            (name, apply("add", Var(name), apply("exp", square))),
            (f"{name}_state", apply("mul", Var(name), Var("lr"))),
            ("w", apply("sub", Var("w"), Var(f"{name}_state"))),
        ),
    )
    function = update_function(rule, "update_own", "float64")
    arguments = "".join(f", real *{state}" for state in function.states)
    body = "\n".join(function.lines)
    path = tmp_path / "update.c"
    path.write_text(
        f"{own_functions()}\n#include <stdio.h>\n#include <complex.h>\ntypedef double real;\n"
        f"static void update_own(real *weight, real g{arguments}, real lr, real step)\n"
        f"{{\n{body}\n}}\n"
        "int main(void)\n{\n    real w = 1, state = 0.5;\n"
        "    update_own(&w, 2, &state, 0.25, 1);\n"
        '    printf("%.17g %.17g\\n", w, state);\n    return 0;\n}\n'
    )
    program = tmp_path / "update"
    _run(*find_compiler_command(), *STRICT, path, "-o", program, "-lm")
    w, state = map(float, _run(program).split())
    assert state == pytest.approx(0.5 + np.exp(4), rel=1e-15)
    assert w == pytest.approx(1 - 0.25 * state, rel=1e-15)


def test_update_keeps_the_order_of_its_assignments():
    """Reading a state before and after it is assigned are two things."""
    v, w, g, lr = Var("v"), Var("w"), Var("g"), Var("lr")
    rule = Rule(
        "own",
        (("v", 0.0), ("u", 0.0)),
        (
            ("old", v),
            ("v", apply("sub", apply("mul", Number(0.9), v), apply("mul", lr, g))),
            ("w", apply("add", w, v)),
            ("u", apply("add", v, Var("old"))),
            ("v", apply("mul", Number(2.0), v)),
            ("w", apply("sub", w, v)),
        ),
    )
    function = update_function(rule, "update_own", "float32")
    assert function.states == ("v_state", "u_state")
    assert function.lines == (
        "real w = *weight;",
        "real v = *v_state;",
        "real u = *u_state;",
        "real old = v;",
        "v = 0.9f * v - lr * g;",
        "w = w + v;",
        "u = v + old;",
        "v = 2.0f * v;",
        "w = w - v;",
        "*weight = w;",
        "*v_state = v;",
        "*u_state = u;",
        "(void)step;",
    )


def test_names_are_distinct_identifiers():
    names = Names()
    given = [names.fresh(name) for name in ("a", "a", "a.b", "a_b", "int", "größe", "gr__e", "exp")]
    assert given == ["a", "a_2", "a_b", "a_b_2", "int_2", "gr__e", "gr__e_2", "exp_2"]
    assert not set(given) & RESERVED
    copy = names.copy()
    assert copy.fresh("a") == names.fresh("a") == "a_3"


# Memory

_ALLOCATION = re.compile(r"\b(malloc|calloc|realloc|aligned_alloc|posix_memalign|alloca|strdup)\b")


def _bodies(source):
    """The bodies of the functions of a C file, by name."""
    found = re.finditer(r"^[\w *()]+?\b(\w+)\([^;{}]*\)\n\{\n(.*?)^\}\n", source, re.M | re.S)
    return {function[1]: function[2] for function in found}


@pytest.mark.parametrize("name", MODELS)
def test_no_step_allocates(name):
    """Only what makes a model does, and what changes its patterns between two steps."""
    model = _shipped(name)
    bodies = _bodies(_generate(model).c_source)
    allocating = {name for name, body in bodies.items() if _ALLOCATION.search(body)}
    reached = set()
    rest = ["step", "step_update", "evaluate", "predict", "predict_one", "gradients"]
    while rest:
        function = rest.pop()
        reached.add(function)
        called = set(re.findall(r"\b(\w+)\(", bodies[function]))
        rest += [inner for inner in called if inner in bodies and inner not in reached]
    assert not allocating & reached
    assert "nerva_create" in allocating
    assert allocating == {"nerva_create"} or model.regrow is not None


# Takes the place of the C library's functions in the whole process, OpenMP's library included.
# After the first calls nothing may allocate, and no lane of padding may hold anything but 0.
DRIVER = r"""
#include <stddef.h>
#include <stdio.h>
static long allocations;
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t n) { allocations++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { allocations++; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { allocations++; return __libc_realloc(p, n); }
void *aligned_alloc(size_t a, size_t n) { allocations++; return __libc_memalign(a, n); }
void *memalign(size_t a, size_t n) { allocations++; return __libc_memalign(a, n); }

static double noise(void)
{
    static unsigned int state = 1;
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 24);
}

enum { GIVEN = 2 * BATCH };
static ELEMENT x[GIVEN * INPUTS];
static TARGET t[GIVEN * TARGETS];
static real output[GIVEN * RESULTS];
static int64_t counts[1 << 16];

/* How many numbers in the padding of the activations in the arena are not 0. */
static long dirty(const nerva_model *model, int count)
{
    long found = 0;
    for (long i = 0; i < ARENA; i++)
        found += PADDED[i] && i % STRIDE >= count && model->arena[i] != 0;
    return found;
}

int main(void)
{
    nerva_model *const model = nerva_create();
    for (int i = 0; i < ARRAYS; i++) {
        const int64_t rows = SHAPE[i].rows, columns = SHAPE[i].columns, all = rows * columns;
        const int64_t numbers = SHAPE[i].numbers;
        for (int64_t q = 0; q < numbers; q++)
            nerva_value(model, i)[q] = (real)(0.2 * noise() - 0.1);
        if (SHAPE[i].sparse) {
            int64_t q = 0;
            for (int64_t p = 0; p < all; p++) {
                if (p % columns == 0)
                    nerva_row_start(model, i)[p / columns] = q;
                if ((p + 1) * numbers / all > p * numbers / all)
                    nerva_column(model, i)[q++] = (Index)(p % columns);
            }
            nerva_row_start(model, i)[rows] = q;
        }
        nerva_index(model, i);
    }
    for (int i = 0; i < GIVEN * INPUTS; i++)
        x[i] = (ELEMENT)(16 * noise());
    for (int i = 0; i < GIVEN * TARGETS; i++)
        t[i] = (TARGET)(10 * noise());
    real **const gradient = __libc_calloc(ARRAYS, sizeof *gradient);
    for (int i = 0; i < ARRAYS; i++)
        gradient[i] = __libc_calloc((size_t)SHAPE[i].numbers, sizeof(real));

    nerva_job job = { .x = x, .t = t, .learning_rate = 0.001, .epochs = 1, .threads = 2 };
    nerva_report report = { 0 };
    int error = 0;
    for (int call = 0; call < 110; call++) {
        if (call == 10)
            allocations = 0;
        job.samples = call % 2 ? GIVEN : GIVEN - 1;
        error |= nerva_train(model, &job, &report);
        error |= nerva_predict(model, &job, &report, output);
        error |= nerva_evaluate(model, &job, &report, counts);
        error |= nerva_gradients(model, &job, &report, gradient);
    }
    const long counted = allocations;

    /* A full batch first, then short ones over what it left. */
    long wrong = 0;
    for (int count = BATCH; count > 0; count -= 1 + count / 3) {
        job.samples = count;
        error |= nerva_train(model, &job, &report);
        wrong += dirty(model, count);
    }
    /* Last, for its rows have no padding. */
    allocations = 0;
    error |= nerva_predict_few(model, x, 2, &report, output);
    printf("%ld %ld %d\n", counted + allocations, wrong, error);
    return 0;
}
"""

INVERSE = """\
model inverse
input x : float32[6]
target t : class[10]
function one_over(a) = 1 / a
function shifted(a) = exp(a) + 1 / (a * a)
sparsity = uniform(0.5)
h1 = one_over(linear(x, 9))
h2 = shifted(linear(h1, 7, density = 1))
g = 1 / h2
y = linear(g, 10)
output = y
loss = softmax_cross_entropy(y, t)
train {
    batch = BATCH
}
"""


def _driver(model: CheckedModel, generated: Generated, folder: Path) -> tuple[int, int, int]:
    element = "uint8_t" if model.input.element == "uint8" else "real"
    kind, targets = "int32_t", 1
    if model.target is not None and model.target.kind == "real":
        kind, targets = "real", model.target.size
    path = folder / "driver.c"
    # Columns and gradients lie in the arena too, and have no padding.
    program = optimize(model, backend="native", machine=Machine(generated.spec["vector_bytes"]))
    padded = np.ones(program.arena, int)
    for graph in program.graphs:
        for buffer in graph.buffers:
            if not buffer.value.type.batched:
                padded[buffer.offset : buffer.offset + buffer.size] = 0
    table = f"static const char PADDED[] = {{ {', '.join(map(str, padded))} }};\n"
    path.write_text(generated.c_source + table + DRIVER, encoding="utf-8")
    _run(
        *(*find_compiler_command(), "-std=gnu11", "-O1", "-fopenmp", "-fno-builtin-malloc"),
        *(f"-DELEMENT={element}", f"-DINPUTS={model.input.features}", f"-DTARGET={kind}"),
        *(f"-DTARGETS={targets}", f"-DRESULTS={model.output.width}"),
        *(path, "-o", folder / "driver", "-lm"),
    )
    allocations, dirty, error = map(int, _run(folder / "driver").split())
    return allocations, dirty, error


@pytest.mark.parametrize("batch", [30, 3])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "cifar10"])
def test_a_step_allocates_nothing_and_keeps_its_padding_zero(name, batch, tmp_path):
    model = replace(_shipped(name), batch=batch)
    assert _driver(model, _generate(model), tmp_path) == (0, 0, 0)


def test_bytes_and_functions_that_are_infinite_at_0_keep_the_padding_zero(tmp_path):
    text = INVERSE.replace("BATCH", "21").replace("float32[6]", "uint8[6]")
    model = _check(text.replace("linear(x, 9)", "linear(x / 255, 9)"))
    allocations, dirty, _ = _driver(model, _generate(model), tmp_path)
    assert (allocations, dirty) == (0, 0)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_padding_does_not_reach_gradients(precision):
    """1 / x is infinite where x is 0, as it is in the padding."""
    rng = np.random.default_rng(2)
    x, t = rng.normal(size=(5, 6)).astype(np.float32), rng.integers(0, 10, 5)
    nets = []
    for batch in (5, 32):
        model = _check(INVERSE.replace("BATCH", str(batch)))
        nets.append(compiled(model, precision).Model(seed=1))
    for net in nets:
        parameters = nets[0].parameters()
        for name, value in parameters.items():
            if name.endswith(".bias"):
                value[:] = 1 + np.arange(len(value)) / 10  # 1 / x not near a pole
        net.set_parameters(parameters)
    exact, padded = (net.gradients(x, t) for net in nets)
    tolerance = 1e-9 if precision == "float64" else 2e-3
    for name, gradient in exact.items():
        own, expected = dense(padded[name]), dense(gradient)
        assert np.isfinite(expected).all()
        assert np.abs(own - expected).max() <= tolerance * np.abs(expected).max()
    np.testing.assert_allclose(nets[1].predict(x), nets[0].predict(x), tolerance, tolerance)
    assert nets[1].loss(x, t) == pytest.approx(nets[0].loss(x, t), rel=tolerance)


# Kernels that work sample by sample

LOSSES = {
    # A number a sample may be read in the loop that computes it, and again in a later one.
    "chain of numbers": (3, "sum(y * tanh(sum(y))) + tanh(tanh(sum(y))) * tanh(sum(y))"),
    "one feature": (1, "max(tanh(softmax(y))) + log(1 + mean((y - t) / (2 + sum(y)^2))^2)"),
    "reductions of reductions": (
        4,
        "max(log_softmax(y) - max(abs(y - t))) * mean(softmax(tanh(y)) * t) - max(tanh(y * t))",
    ),
}


def _assert_written_before_read(source: str) -> None:
    """Compilers do not warn of an array that is read too early."""
    declared = list(re.finditer(r"\breal (\w+_of\w*)\[LANES\];", source))
    assert declared
    for place in declared:
        first = re.compile(rf"\b{place[1]}\[lane\]( = )?").search(source, place.end())
        assert first is not None, place[1]
        assert first[1], f"{place[1]} is read before it is written"


@pytest.mark.parametrize("name", MODELS)
def test_no_sum_of_a_sample_is_read_before_it_is_written(name):
    _assert_written_before_read(_generate(_shipped(name)).c_source)


@pytest.mark.parametrize("case", LOSSES)
def test_losses_of_several_loops(case):
    outputs, loss = LOSSES[case]
    model = _check(
        f"model samples\ninput x : float32[3]\ntarget t : float32[{outputs}]\n"
        f"loss own(y, t) = {loss}\nh = tanh(linear(x, 5))\ny = linear(h, {outputs})\n"
        "output = y\nloss = own(y, t)\ntrain {\n    batch = 6\n}\n"
    )
    _assert_written_before_read(_generate(model).c_source)
    module = compiled(model, "float64")
    rng = np.random.default_rng(3)
    net = module.Model(seed=1)
    net.set_parameters(lively(net.parameters(), rng))
    x, t = (rng.normal(size=(5, n)).astype(np.float32) for n in (3, outputs))
    seen = observe(module.Model, net, x, t)
    for stage, program in programs(model, "float64"):
        assert_interpreter_agrees(program, seen, "float64", stage)


# Agreement of the text with the plan


@pytest.mark.parametrize("name", MODELS)
def test_declarations_are_in_the_c_file(name):
    generated = _generate(_shipped(name))
    real, _, rest = generated.declarations.partition("\n")
    assert real == "typedef float real;"
    assert rest.strip() in generated.c_source


def test_source_lines_stand_above_their_kernels():
    source = _generate(_shipped("digits")).c_source
    head = source[: source.index("KERNEL spmm_relu(")]
    comment = head[head.rindex("/*") :]
    assert "digits.nerva:14: h1 = relu(linear(x / 16, width" in comment
    assert "digits.nerva:15: h2 = relu(linear(h1, width // 2" in comment


def test_a_comment_in_the_source_cannot_end_one_in_the_c(tmp_path):
    text = AWKWARD.replace(
        "h1 = transposed(linear(H1, 4))", "h1 = transposed(linear(H1, 4))  # */ int x; /* \\"
    )
    source = _generate(_check(text)).c_source
    assert "* / int x; / *" in source
    _assert_strict(tmp_path, source)
