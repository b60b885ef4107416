"""gcc makes vectors of the loops of generated kernels, whatever the instruction set."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from nerva_dsl import driver
from nerva_dsl.runtime.commands import KERNEL_FLAGS
from nerva_dsl.runtime.target import resolve_target

# In one file: every function, in an epilogue, over the features of a sample, and in an update.
EVERYTHING = """
model everything

input x : float32[32]

function all_of(x) = exp(-x * x) + expm1(0.1 * x) + log(1 + x * x) + log1p(x * x) + tanh(x) + erf(x)

optimizer bounded(w, g, lr) {
    w = w - lr * tanh(g)
}

loss distance(y, t) = sum(log1p((y - t)^2))

hidden  = all_of(linear(x, 48))
image   = linear(hidden, 32)

output = image
loss   = distance(image, x)

train {
    batch         = 40
    epochs        = 1
    optimizer     = bounded()
    learning_rate = 0.01
}
"""


def loops(source):
    """First and last line of each loop that is marked to become vectors, counted from 1."""
    lines = source.splitlines()
    for number, line in enumerate(lines):
        if line.strip() == "#pragma omp simd":
            indent = lines[number + 1][: -len(lines[number + 1].lstrip())]
            last = lines.index(indent + "}", number)
            yield number + 2, last + 1


@pytest.mark.skipif(shutil.which("gcc") is None, reason="reads what gcc reports")
@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("name", ["cifar10", "everything"])
def test_marked_loops_become_vectors(name, target, models, tmp_path):
    if name == "everything":
        file = tmp_path / "everything.nerva"
        file.write_text(EVERYTHING, encoding="utf-8")
    else:
        file = models / f"{name}.nerva"
    generated = driver.emit_c(file, {}, backend="native", target=target)
    (tmp_path / "kernels.c").write_text(generated.c_source, encoding="utf-8")
    flags = resolve_target(target).flags
    # A loop that only copies would become a call of memcpy, which gcc does not report as vectors.
    report = ("-fno-tree-loop-distribute-patterns", "-fopt-info-vec-optimized")
    done = subprocess.run(
        ["gcc", *KERNEL_FLAGS, *flags, *report, "-c", "kernels.c"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.findall(r"^kernels\.c:(\d+):.*loop vectorized", done.stderr, re.MULTILINE)
    vectorized = {int(line) for line in found}
    marked = list(loops(generated.c_source))
    assert len(marked) >= 10
    text = generated.c_source.splitlines()
    # gcc reads what only one branch of an `if` needs inside that branch, which takes masked loads
    # to make vectors of. Without them, the loops that call functions are what matters.
    masks = target != "x86-64-v2"
    scalar = [
        "\n".join(text[first - 1 : last])
        for first, last in marked
        if not vectorized.intersection(range(first, last + 1))
        and (masks or "_float(" in "".join(text[first - 1 : last]))
    ]
    assert not scalar, "\n".join(scalar)
    # None of C's own is called for one number at a time.
    symbols = subprocess.run(
        ["nm", "-u", "kernels.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert not re.search(r"\b(exp|expm1|log|log1p|tanh|erf)f?\b", symbols), symbols
