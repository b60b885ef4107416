"""The checker: `import`, and the positions that a file gives to a `linear`."""

import numpy as np
import pytest
import scipy.sparse as sp

from nerva_dsl.check import check
from nerva_dsl.check.patterns import PatternError, read_pattern
from nerva_dsl.cli.copies import copies
from nerva_dsl.driver import emit_c
from nerva_dsl.errors import DiagnosticError

MODEL = """\
model main
{imports}
input  x : float32[8]
target t : class[3]
{values}
output = y
loss = {loss}
train {{
    {train}
}}
"""


def write(folder, name="main.nerva", text=None, **parts):
    given = {"imports": "", "values": "y = linear(x, 3)", "train": ""}
    given |= {"loss": "softmax_cross_entropy(y, t)", **parts}
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MODEL.format(**given) if text is None else text, encoding="utf-8")
    return path


def codes(path):
    with pytest.raises(DiagnosticError) as caught:
        check(path, {})
    return [problem.code for problem in caught.value.diagnostics]


def test_every_kind_of_definition_is_imported(tmp_path):
    text = """\
let base = 2
function f(x) = x * base
loss l(y, t) = sum(f(y) - t)
optimizer o(w, g, lr) { w = w - lr * f(g) }
schedule s(epoch; lr) = f(lr)
layer b(x; n) { return f(linear(x, n)) }
"""
    write(tmp_path, "lib/all.nerva", text)
    train = "optimizer = o()\n learning_rate = s(0.1)"
    path = write(
        tmp_path,
        imports='import "lib/all.nerva"',
        values="let base = 3\nh = b(x, base + 1)\ny = f(linear(h, 3))",
        loss="l(y, t)",
        train=train,
    )
    result = check(path, {})
    assert [layer.name for layer in result.model.layers] == ["h", "y"]
    assert result.model.rules[0].label == "o"
    assert [source.name for source in result.model.imports] == [str(tmp_path / "lib/all.nerva")]
    assert not result.warnings


def test_a_whole_model_can_be_imported_and_only_its_definitions_come(tmp_path):
    write(
        tmp_path,
        "other.nerva",
        imports="param p = 3\nlet own = 2 * p\nfunction f(x) = own * x\nsparsity = uniform(0.5)",
        values="h = linear(z, 2)\nmetric m = l(h)\ny = linear(x, 3)",
    )
    path = write(tmp_path, imports='import "other.nerva"', values="y = f(linear(x, 3))")
    result = check(path, {}).model
    assert result.params == ()
    assert [layer.density for layer in result.layers] == [1.0]
    path = write(tmp_path, imports='import "other.nerva"', values="y = linear(x, own)")
    assert codes(path) == ["N0201"]


def test_a_diamond_is_read_once(tmp_path):
    write(tmp_path, "d/base.nerva", "function f(x) = 2 * x\n")
    write(tmp_path, "d/left.nerva", 'import "base.nerva"\nfunction g(x) = f(x)\n')
    write(tmp_path, "right.nerva", 'import "d/../d/base.nerva"\nfunction h(x) = f(x)\n')
    (tmp_path / "link.nerva").symlink_to(tmp_path / "d/base.nerva")
    imports = 'import "d/left.nerva"\nimport "right.nerva"\nimport "link.nerva"'
    path = write(tmp_path, imports=imports, values="y = f(g(h(linear(x, 3))))")
    result = check(path, {})
    assert [source.name.rpartition("/")[2] for source in result.model.imports] == [
        "left.nerva", "base.nerva", "right.nerva",
    ]  # fmt: skip
    assert len(result.imports) == 5


def test_definitions_that_clash(tmp_path):
    write(tmp_path, "a.nerva", "function f(x) = 2 * x\n")
    write(tmp_path, "b.nerva", "layer f(x) { return -x }\n")
    assert codes(write(tmp_path, imports='import "a.nerva"\nimport "b.nerva"')) == ["N0202"]


def test_a_longer_circle(tmp_path):
    write(tmp_path, "a.nerva", 'import "b.nerva"\nfunction f(x) = g(x)\n')
    write(tmp_path, "b.nerva", 'import "a.nerva"\nfunction g(x) = 2 * x\n')
    assert codes(write(tmp_path, imports='import "a.nerva"')) == ["N0113"]


@pytest.mark.parametrize("name", ["nowhere.nerva", "", ".", "a\0b", "x" * 5000, "main.nerva/x"])
def test_a_file_that_cannot_be_read_is_one_message(tmp_path, name):
    imports = f'import "{name}"'
    assert codes(write(tmp_path, imports=imports, values="y = f(linear(x, 3))")) == ["N0110"]


def test_a_misspelt_file_is_looked_for_beside_the_one_that_imports_it(tmp_path):
    write(tmp_path, "blocks.nerva", "function f(x) = 2 * x\n")
    with pytest.raises(DiagnosticError) as caught:
        check(write(tmp_path, imports='import "block"'), {})
    assert [problem.help for problem in caught.value.diagnostics] == [
        "did you mean `blocks.nerva`?"
    ]


def test_messages_come_in_the_order_of_files(tmp_path):
    write(tmp_path, "a.nerva", "function f(x) = a\n")
    path = write(tmp_path, imports='import "a.nerva"', values="y = linear(x, 3) + b")
    with pytest.raises(DiagnosticError) as caught:
        check(path, {})
    assert [p.span.source.name for p in caught.value.diagnostics] == [
        str(path), str(tmp_path / "a.nerva"),
    ]  # fmt: skip


def test_the_generated_c_shows_lines_of_imported_files(tmp_path):
    write(tmp_path, "blocks.nerva", "layer b(x; n) {\n    return relu(linear(x, n))\n}\n")
    path = write(tmp_path, imports='import "blocks.nerva"', values="y = b(x, 3)")
    assert "blocks.nerva:2: return relu(linear(x, n))" in emit_c(path).c_source


# ----------------------------------------------------------------------------------- patterns

RANDOM = sp.random_array((3, 8), density=0.4, rng=np.random.default_rng(1), format="csr")


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr"])
def test_the_positions_of_a_saved_matrix(tmp_path, kind):
    blocks = {"blocksize": (3, 4)} if kind == "bsr" else {}
    matrix = RANDOM.tobsr(**blocks) if blocks else RANDOM.asformat(kind)
    sp.save_npz(tmp_path / "p.npz", matrix)
    path = write(tmp_path, values='y = linear(x, 3, pattern = "p.npz")')
    (layer,) = check(path, {}).model.layers
    expected = sp.csr_array(np.ones((3, 8)) if kind == "bsr" else (RANDOM.toarray() != 0))
    assert layer.pattern.row_start.tolist() == expected.indptr.tolist()
    assert layer.pattern.column.tolist() == expected.indices.tolist()
    assert layer.pattern.row_start.dtype == np.int64
    assert layer.pattern.column.dtype == np.int32
    assert layer.nnz == expected.nnz


def test_zeros_are_positions_and_positions_count_once(tmp_path):
    matrix = sp.coo_array(([0.0, 1.0, 2.0], ([2, 0, 0], [5, 7, 7])), shape=(3, 8))
    sp.save_npz(tmp_path / "p.npz", matrix)
    pattern = read_pattern(tmp_path / "p.npz", 3, 8)
    assert (pattern.row_start.tolist(), pattern.column.tolist()) == ([0, 1, 1, 2], [7, 5])


def test_a_layer_with_a_pattern_is_left_out_of_the_spreading(tmp_path):
    sp.save_npz(tmp_path / "p.npz", sp.csr_array(np.eye(8)))
    values = 'h = linear(x, 8, pattern = "p.npz")\ny = linear(h, 3)\nsparsity = erdos_renyi(0.5)'
    layers = check(write(tmp_path, values=values), {}).model.layers
    assert [layer.nnz for layer in layers] == [8, 12]


BAD = {
    "N0220 is not a sparse matrix": lambda p: np.savez(p, a=np.arange(3)),
    "N0220 never loaded": lambda p: np.savez(p, format=np.array([{}], dtype=object)),
    "N0220 format 'dia'": lambda p: sp.save_npz(p, sp.dia_array(np.eye(3, 8))),
    "N0220 transpose": lambda p: sp.save_npz(p, sp.csr_array(np.ones((8, 3)))),
    "N0220 3 × 9": lambda p: sp.save_npz(p, sp.csr_array(np.ones((3, 9)))),
    "N0220 has no position": lambda p: sp.save_npz(p, sp.csr_array((3, 8))),
    "N0220 is damaged": lambda p: np.savez(
        p, format=b"csr", shape=[3, 8], data=[1.0], indices=[9], indptr=[0, 1, 1, 1]
    ),
    "N0220 damaged: its positions": lambda p: np.savez(
        p, format=b"coo", shape=[3, 8], data=[1.0], row=[0.5], col=[1]
    ),
    "N0220 saved by SciPy": lambda p: p.write_bytes(b"PK\x03\x04 cut short"),
}


@pytest.mark.parametrize("expected", BAD)
def test_a_file_that_gives_no_pattern(tmp_path, expected):
    BAD[expected](tmp_path / "p.npz")
    path = write(tmp_path, values='y = linear(x, 3, pattern = "p.npz")')
    with pytest.raises(DiagnosticError) as caught:
        check(path, {})
    code, _, words = expected.partition(" ")
    (problem,) = caught.value.diagnostics
    assert problem.code == code
    assert words in problem.render()


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    np.savez(tmp_path / "p.npz", format=np.array(Trap(), dtype=object), shape=[3, 8])
    with pytest.raises(PatternError):
        read_pattern(tmp_path / "p.npz", 3, 8)


# ------------------------------------------------------------------------------------- copies


def test_the_copies_of_a_model_mean_the_same_without_the_originals(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    write(here, "../far/blocks.nerva", 'import "../here/f.nerva"\nlayer b(x) { return f(x) }\n')
    write(here, "../far/f.nerva", "function g(x) = -x  # é\n")
    write(here, "f.nerva", "function f(x) = 2 * x\n")
    sp.save_npz(here / "p.npz", RANDOM)
    sp.save_npz(tmp_path / "far" / "p.npz", sp.csr_array(np.eye(8)))
    path = write(
        here,
        imports='param which = "p.npz"\nimport "../far/blocks.nerva"; import "../far/f.nerva"',
        values='h = b(g(linear(x, 8, pattern = which)))\ny = linear(h, 3, pattern = "p.npz")',
    )
    overrides = {"which": "../far/p.npz"}
    checked = check(path, overrides)
    kept = copies(checked, overrides)
    assert set(kept.files) == {
        "imports/blocks.nerva", "imports/f.nerva", "imports/f_2.nerva",
        "patterns/p.npz", "patterns/p_2.npz",
    }  # fmt: skip
    there.mkdir()
    for name, content in {**kept.files, "model.nerva": kept.model}.items():
        (there / name).parent.mkdir(exist_ok=True)
        (there / name).write_bytes(content)
    for file in [*here.iterdir(), *(tmp_path / "far").iterdir()]:
        file.unlink()
    again = check(there / "model.nerva", kept.overrides).model
    assert [x.nnz for x in again.layers] == [x.nnz for x in checked.model.layers]
    values = zip(again.values, checked.model.values, strict=True)
    assert all(getattr(a, "expression", 0) == getattr(b, "expression", 0) for a, b in values)


def test_a_file_without_imports_is_kept_as_it_is(tmp_path):
    path = write(tmp_path)
    assert copies(check(path, {}), {}).model == path.read_bytes()
