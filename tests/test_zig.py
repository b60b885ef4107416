"""The C compiler of the wheel ziglang, with the OpenMP of the wheel intel-openmp."""

import importlib.metadata
import os
import stat
import sys

import pytest

from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime import toolchain, zig
from nerva_dsl.runtime.build import EXTENSION_SUFFIX, build
from nerva_dsl.runtime.commands import build_commands
from nerva_dsl.runtime.instruction_sets import required
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import resolve_target
from nerva_dsl.runtime.toolchain import Compiler
from runtime_fixture.models import data
from runtime_fixture.tiny import generate


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel in which zig only says its version; the only compiler there is."""
    site = tmp_path / "site"
    (site / "ziglang").mkdir(parents=True)
    (site / "ziglang" / "__init__.py").touch()
    program = site / "ziglang" / "zig"
    program.write_text('#!/bin/sh\n[ "$*" = version ] && echo 0.99.0\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "ziglang", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    return program


@pytest.fixture
def intel_openmp(tmp_path, monkeypatch):
    for name in ("omp.h", "libiomp5.so"):
        (tmp_path / name).touch()
    files = [importlib.metadata.PackagePath(name) for name in ("omp.h", "libiomp5.so")]
    for file in files:
        file.dist = importlib.metadata.PathDistribution(tmp_path / "some.dist-info")
    monkeypatch.setattr(zig.importlib.metadata, "files", lambda _: files)
    return tmp_path


def test_zig_is_the_last_resort(wheel, tmp_path):
    assert toolchain.find_compiler_command() == (str(wheel), "cc")
    assert toolchain.compiler_version((str(wheel), "cc")) == "zig 0.99.0"
    for name in ("clang", "gcc"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert toolchain.find_compiler_command() == (str(tmp_path / name),)


def test_a_wheel_without_its_program(wheel):
    wheel.unlink()
    assert zig.find_zig() is None


def test_zig_without_openmp(wheel, monkeypatch, tmp_path):
    def files(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(zig.importlib.metadata, "files", files)
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ToolchainError, match=r"no OpenMP of its own: `pip install intel-openmp`"):
        build(generate(), resolve_target("native"))


def test_the_options_of_zig(wheel, intel_openmp):
    compiler = Compiler((str(wheel), "cc"), "zig 0.99.0")
    made = build_commands("tiny", "_tiny.so", compiler, resolve_target("x86-64-v3"))
    assert "-march=x86_64_v3" in made.kernel
    assert "-march=x86_64_v3" in made.wrapper
    assert "-fno-sanitize=all" in made.kernel
    assert made.kernel[made.kernel.index("-isystem") + 1] == str(intel_openmp)
    assert str(intel_openmp / "libiomp5.so") in made.link
    gcc = build_commands("tiny", "_tiny.so", Compiler(("gcc",), ""), resolve_target("x86-64-v3"))
    assert "-march=x86-64-v3" in gcc.kernel
    assert not any("libiomp5" in word or "sanitize" in word for word in (*gcc.kernel, *gcc.link))


@pytest.mark.parametrize(
    ("command", "version"),
    [
        (("/usr/bin/zig", "cc"), ("/usr/bin/zig", "version")),
        (("python", "-m", "ziglang", "cc"), ("python", "-m", "ziglang", "version")),
    ],
)
def test_zig_in_cc(command, version):
    assert zig.is_zig(command)
    assert zig.version_command(command) == version
    assert not zig.is_zig(("/usr/bin/gcc", "-m64"))


def installed():
    try:
        zig.find_openmp()
    except ToolchainError:
        return False
    return zig.find_zig() is not None


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    """Zig's own cache takes long to fill."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.skipif(not installed(), reason="the wheels ziglang and intel-openmp are not installed")
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_zig_builds_what_gcc_builds(tmp_path, monkeypatch, shared_cache, target):
    """With nothing but the wheels, and a home that cannot be written."""
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(shared_cache))
    gcc = load_module(build(generate(), resolve_target(target))).Model(seed=1)
    (tmp_path / "home").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    entry = build(generate(), resolve_target(target))
    model = load_module(entry).Model(seed=1)
    needed = required(entry / f"_tiny{EXTENSION_SUFFIX}")
    assert "sse4_2" in needed or os.uname().machine != "x86_64"
    X, t = data()
    for net in (gcc, model):
        net.fit(X, t, epochs=3)
    assert abs(gcc.predict(X) - model.predict(X)).max() < 1e-5
    assert list((shared_cache / "zig").iterdir())
