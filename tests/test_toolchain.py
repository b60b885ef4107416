"""Targets, compiler discovery, and what is said where a part of the toolchain is missing."""

import stat
import subprocess

import pytest

from nerva_dsl.faults import NervaError, ToolchainError
from nerva_dsl.runtime import build as build_module
from nerva_dsl.runtime import commands, instruction_sets, toolchain
from nerva_dsl.runtime import target as target_module
from nerva_dsl.runtime.target import TARGET_NAMES, resolve_target
from runtime_fixture.tiny import generate


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)


def executable(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


# Targets


@pytest.mark.parametrize(
    ("flags", "width"),
    [
        ("flags\t: fpu avx avx2 avx512f sse2", 64),
        ("flags : avx avx2", 32),
        ("flags : avx", 32),
        ("flags : sse2 ssse3", 16),
        ("Features : fp asimd", 16),
        ("", 16),
    ],
)
def test_native(tmp_path, monkeypatch, flags, width):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\n{flags}\n\nprocessor : 1\nflags : avx512f\n")
    monkeypatch.setattr(target_module, "_CPUINFO", cpuinfo)
    target = resolve_target("native")
    assert target.vector_bytes == width
    assert target.flags[0] == "-march=native"
    assert ("-mprefer-vector-width=512" in target.flags) == (width == 64)
    assert list(target.features) == sorted(target.features)
    assert target.features


def test_native_without_cpuinfo(tmp_path, monkeypatch):
    monkeypatch.setattr(target_module, "_CPUINFO", tmp_path / "missing")
    assert resolve_target("native").vector_bytes == 16


@pytest.mark.parametrize(
    ("name", "width"), [("x86-64-v2", 16), ("x86-64-v3", 32), ("x86-64-v4", 64), ("armv8-a", 16)]
)
def test_named_targets(name, width):
    target = resolve_target(name)
    assert target.vector_bytes == width
    assert f"-march={name}" in target.flags
    assert target.features == ()
    assert name in TARGET_NAMES


def test_unknown_target():
    with pytest.raises(NervaError) as caught:
        resolve_target("x86-64-v5")
    text = str(caught.value)
    assert "`x86-64-v5`" in text
    assert all(name in text for name in TARGET_NAMES)
    assert "did you mean" in text


def test_the_best_named_target(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(target_module, "_CPUINFO", cpuinfo)
    v2 = "pni ssse3 sse4_1 sse4_2 popcnt"
    v3 = f"{v2} abm movbe bmi1 bmi2 f16c fma avx avx2"
    v4 = f"{v3} avx512f avx512cd avx512bw avx512dq avx512vl"
    for flags, level in (("fpu", None), (v2, "x86-64-v2"), (v3, "x86-64-v3"), (v4, "x86-64-v4")):
        cpuinfo.write_text(f"model name : A processor\nflags : {flags}\n")
        assert instruction_sets.level() == level
    assert target_module.processor_name() == "A processor"


# Compilers


def test_cc_may_hold_arguments(tmp_path, monkeypatch):
    compiler = executable(tmp_path / "my cc", "echo mycc 1.0")
    monkeypatch.setenv("CC", f"'{compiler}' -m64 '-DNAME=a b'")
    command = toolchain.find_compiler_command()
    assert command == (str(compiler), "-m64", "-DNAME=a b")
    assert toolchain.compiler_version(command) == "mycc 1.0"


def test_gcc_before_clang(tmp_path, monkeypatch):
    executable(tmp_path / "clang", "echo clang")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.find_compiler_command() == (str(tmp_path / "clang"),)
    executable(tmp_path / "gcc", "echo gcc")
    assert toolchain.find_compiler_command() == (str(tmp_path / "gcc"),)


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "find_zig", lambda: None)
    wanted = r"no C compiler.*ziglang.*apt install gcc.*pip install ziglang intel-openmp"
    with pytest.raises(ToolchainError, match=wanted) as caught:
        build_module.build(generate(), resolve_target("native"))
    assert caught.value.exit_status == 3


def test_cc_that_does_not_exist(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    with pytest.raises(ToolchainError, match=r"\$CC is .*no executable `no-such-compiler`"):
        toolchain.find_compiler_command()


def test_cc_with_unbalanced_quotes(monkeypatch):
    monkeypatch.setenv("CC", "gcc '")
    with pytest.raises(ToolchainError, match=r"\$CC is"):
        toolchain.find_compiler_command()


def test_cc_that_is_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", str(executable(tmp_path / "cc", "exit 7")))
    with pytest.raises(ToolchainError, match=r"exit status 7.*is \$CC a C compiler"):
        build_module.build(generate(), resolve_target("native"))


def test_cc_that_does_not_start(tmp_path, monkeypatch):
    path = executable(tmp_path / "cc", "")
    path.write_text("#!/no/such/interpreter\n")
    monkeypatch.setenv("CC", str(path))
    with pytest.raises(ToolchainError, match="does not start"):
        build_module.build(generate(), resolve_target("native"))


def test_missing_python_headers(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "python_includes", lambda: (str(tmp_path),))
    with pytest.raises(ToolchainError, match=r"Python\.h.*python3-dev"):
        build_module.build(generate(), resolve_target("native"))


def test_missing_openmp(tmp_path, monkeypatch):
    script = """case "$*" in
*--version*) echo cc 1.0 ;;
*-fopenmp*) echo "cc: error: unsupported option '-fopenmp'" >&2; exit 1 ;;
esac"""
    monkeypatch.setenv("CC", str(executable(tmp_path / "cc", script)))
    with pytest.raises(ToolchainError, match="has no OpenMP; install it"):
        build_module.build(generate(), resolve_target("native"))


def test_a_compiler_that_is_killed(tmp_path, monkeypatch):
    script = """case "$*" in
*--version*) echo cc 1.0 ;;
*) echo "cc: fatal error: Killed signal terminated program cc1" >&2; exit 1 ;;
esac"""
    monkeypatch.setenv("CC", str(executable(tmp_path / "cc", script)))
    with pytest.raises(ToolchainError, match="was killed, most likely for want of memory"):
        build_module.build(generate(), resolve_target("native"))


def test_missing_c_library_headers():
    log = "tiny.c:1:10: fatal error: stdint.h: No such file or directory"
    assert "libc6-dev" in toolchain.explain_failure(log)
    assert toolchain.explain_failure("tiny.c:3:1: error: expected ';'") is None


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3"])
def test_the_kernel_file_compiles_with_strict_warnings(tmp_path, target):
    generated = generate()
    (tmp_path / "tiny.c").write_text(generated.c_source)
    command = toolchain.find_compiler_command()
    flags = (*commands.KERNEL_FLAGS, *commands.STRICT_WARNINGS)
    done = subprocess.run(
        [*command, *flags, *resolve_target(target).flags, "-c", "tiny.c", "-o", "tiny.o"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "march" in done.stderr:
        pytest.skip("not an x86 machine")
    assert done.returncode == 0, done.stderr
