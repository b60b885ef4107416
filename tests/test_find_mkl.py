"""Finding MKL in its wheels, whatever the number in its libraries' names."""

import dataclasses
import importlib.metadata
import subprocess
import sys

import pytest

from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime import build as build_module
from nerva_dsl.runtime import commands
from nerva_dsl.runtime.mkl import Mkl, find_libraries, find_mkl
from nerva_dsl.runtime.target import resolve_target
from nerva_dsl.runtime.toolchain import Compiler
from runtime_fixture.tiny import generate

NAMES = ("libmkl_intel_lp64", "libmkl_sequential", "libmkl_core")


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Install wheels in a folder that is all this process can import from."""
    site = tmp_path / "lib" / "python" / "site-packages"
    site.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(site)])

    def install(name, version, files):
        information = site / f"{name.replace('-', '_')}-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        for file in files:
            path = site / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        record = [*files, f"{information.name}/METADATA", f"{information.name}/RECORD"]
        (information / "RECORD").write_text("".join(f"{file},,\n" for file in record))
        return site

    return install


@pytest.mark.parametrize("number", ["3", "2", "4.1"])
def test_the_libraries_of_a_wheel(wheels, tmp_path, number):
    libraries = [f"../../{name}.so.{number}" for name in (*NAMES, "libmkl_rt", "libmkl_core_x")]
    wheels("mkl", "2031.1.0", libraries)
    wheels("mkl-include", "2031.1.0", ["../../../include/mkl.h", "../../../include/mkl_blas.h"])
    mkl = find_mkl()
    lib = tmp_path / "lib"
    assert mkl == Mkl(
        "2031.1.0", tmp_path / "include", tuple(lib / f"{name}.so.{number}" for name in NAMES)
    )
    assert mkl.compile_flags == ("-isystem", str(tmp_path / "include"))
    words = list(mkl.link_flags)
    assert words[:2] == [f"-L{lib}", "-Wl,--no-as-needed"]
    assert words[2:5] == [f"-l:{name}.so.{number}" for name in NAMES]
    assert words[-4:] == ["-Xlinker", "-rpath", "-Xlinker", str(lib)]


def test_headers_of_another_version(wheels):
    wheels("mkl", "2031.1.0", [f"../../{name}.so.3" for name in NAMES])
    assert find_mkl() is None
    assert len(find_libraries()) == 3  # enough for a module that is already built
    wheels("mkl-include", "2030.0.0", ["../../../include/mkl.h"])
    assert find_mkl().version == "2031.1.0, headers 2030.0.0"


def test_no_mkl(wheels):
    assert find_mkl() is None
    assert find_libraries() == ()


def test_headers_alone(wheels):
    wheels("mkl-include", "2031.1.0", ["../../../include/mkl.h"])
    assert find_mkl() is None


def test_a_wheel_with_a_file_missing(wheels, tmp_path):
    wheels("mkl", "2031.1.0", [f"../../{name}.so.3" for name in NAMES])
    wheels("mkl-include", "2031.1.0", ["../../../include/mkl.h"])
    (tmp_path / "lib" / "libmkl_core.so.3").unlink()
    assert find_mkl() is None


def test_a_wheel_without_a_list_of_files(wheels):
    """As some packagers leave it."""
    site = wheels("mkl", "2031.1.0", [f"../../{name}.so.3" for name in NAMES])
    (site / "mkl-2031.1.0.dist-info" / "RECORD").unlink()
    assert find_mkl() is None


def test_a_model_that_needs_mkl_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(build_module, "find_mkl", lambda: None)
    generated = dataclasses.replace(generate(), uses_mkl=True)
    with pytest.raises(ToolchainError, match="`pip install mkl mkl-include`") as caught:
        build_module.build(generated, resolve_target("native"))
    assert caught.value.exit_status == 3


def test_the_key_and_the_commands_depend_on_mkl(tmp_path, monkeypatch):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))
    compiler, target = Compiler(("cc",), "cc 1"), resolve_target("x86-64-v2")
    first = Mkl("1", tmp_path, tuple(tmp_path / f"{name}.so.3" for name in NAMES))
    second = dataclasses.replace(first, version="2")
    keys = set()
    for mkl in (None, first, second):
        made = commands.build_commands("tiny", "_tiny.so", compiler, target, mkl=mkl)
        assert ("-l:libmkl_core.so.3" in made.link) == (mkl is not None)
        assert ("-isystem" in made.kernel) == (mkl is not None)
        assert "-isystem" not in made.wrapper
        keys.add(build_module._key(generate(), compiler, made, target, mkl))
    assert len(keys) == 3


def test_a_model_without_mkl_does_not_look_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(build_module, "find_mkl", lambda: pytest.fail("it looks for MKL"))
    assert build_module.build(generate(), resolve_target("native")).is_dir()


def test_the_installed_mkl_links_and_computes(tmp_path):
    mkl = find_mkl()
    if mkl is None:
        pytest.skip("MKL is not installed")
    assert mkl.version.startswith(importlib.metadata.version("mkl"))
    (tmp_path / "a.c").write_text(
        "#include <mkl.h>\n#include <stdio.h>\n"
        "int main(void)\n{\n"
        "    float a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8}, c[4];\n"
        "    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2, 2, 2, 1, a, 2, b, 2, 0, c,\n"
        "                2);\n"
        '    printf("%g %g %g %g", c[0], c[1], c[2], c[3]);\n}\n'
    )
    subprocess.run(
        ["cc", *mkl.compile_flags, "a.c", "-o", "a", *mkl.link_flags], cwd=tmp_path, check=True
    )
    done = subprocess.run([tmp_path / "a"], capture_output=True, text=True, check=True)
    assert done.stdout == "19 22 43 50"
