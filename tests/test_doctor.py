"""`nervac doctor` and `nervac cache`."""

import json
import shutil
import stat

import pytest
from typer.testing import CliRunner

from nerva_dsl.cli.app import app
from nerva_dsl.runtime import build as build_module
from nerva_dsl.runtime import commands, doctor, toolchain
from nerva_dsl.runtime.quantities import models as count
from nerva_dsl.runtime.quantities import size
from nerva_dsl.runtime.target import resolve_target
from runtime_fixture.tiny import generate

NAMES = ["versions", "processor", "threads", "C compiler", "Python headers", "OpenMP", "MKL"]
NAMES += ["cache"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "cache"


def nervac(*arguments, status=0):
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    return done.output


def examined(status=0):
    found = json.loads(nervac("doctor", "--json", status=status))
    assert list(found) == ["can_train", *NAMES]
    assert found["can_train"] == (status == 0)
    return found


def compiler(path, script):
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) echo mycc 1.0; exit 0;; esac\n{script}\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_machine_that_has_all(cache):
    found = examined()
    assert all(finding["ok"] for name, finding in found.items() if name in NAMES and name != "MKL")
    assert found["C compiler"]["command"][0].startswith("/")
    assert found["C compiler"]["version"]
    assert found["threads"]["cores"] >= found["threads"]["usable"] >= 1
    assert found["OpenMP"]["threads"] >= 1
    assert found["processor"]["vector_bytes"] in (16, 32, 64)
    assert set(found["versions"]) >= {"nervac", "Python", "numpy", "scipy", "cffi"}
    assert found["cache"]["path"] == str(cache)
    assert found["cache"]["entries"] == 0
    assert found["cache"]["writable"] is True
    assert not list((cache / "building").iterdir())
    text = nervac("doctor")
    assert all(name in text for name in NAMES)
    assert text.endswith("Models can be compiled and trained here.\n")


def test_threads(cache, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = examined()
    assert found["threads"]["OMP_NUM_THREADS"] == "1"
    assert found["OpenMP"]["threads"] == 1
    assert "OMP_NUM_THREADS is `1`" in found["threads"]["text"]


def test_no_compiler(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "find_zig", lambda: None)
    found = examined(status=3)
    assert not found["C compiler"]["ok"]
    assert "apt install gcc" in found["C compiler"]["mend"]
    assert "pip install ziglang intel-openmp" in found["C compiler"]["mend"]
    assert found["OpenMP"]["text"] == "not tried"
    text = nervac("doctor", status=3)
    assert "✗ C compiler" in text
    assert "mend what is marked ✗" in text


def test_a_wrong_cc(cache, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    found = examined(status=3)
    assert "no executable `no-such-compiler`" in found["C compiler"]["text"]
    assert "unset $CC" in found["C compiler"]["mend"]


def test_a_compiler_without_openmp(cache, monkeypatch, tmp_path):
    script = "echo \"cc: error: unsupported option '-fopenmp'\" >&2; exit 1"
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", script))
    found = examined(status=3)
    assert found["C compiler"]["ok"]
    assert "does not compile: cc: error: unsupported option" in found["OpenMP"]["text"]
    assert "libomp-dev" in found["OpenMP"]["mend"]


@pytest.mark.parametrize(
    ("program", "wanted"),
    [("exit 7", "fails: exit status 7"), ("echo no threads >&2; exit 1", "fails: no threads")],
)
def test_a_program_that_fails(cache, monkeypatch, tmp_path, program, wanted):
    script = f"printf '#!/bin/sh\\n{program}\\n' > program; chmod +x program"
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", script))
    assert wanted in examined(status=3)["OpenMP"]["text"]


def test_a_program_that_does_not_run(cache, monkeypatch, tmp_path):
    """As on a file system that is mounted with noexec."""
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", "echo 1 > program"))
    found = examined(status=3)["OpenMP"]
    assert "does not run in" in found["text"]
    assert "$NERVAC_CACHE_DIR" in found["mend"]


def test_no_headers(cache, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "python_includes", lambda: (str(tmp_path),))
    found = examined(status=3)["Python headers"]
    assert "no Python.h" in found["text"]
    assert "apt install python3-dev" in found["mend"]


def test_no_mkl_is_no_obstacle(cache, monkeypatch):
    monkeypatch.setattr(doctor, "find_mkl", lambda: None)
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    found = examined()["MKL"]
    assert not found["ok"]
    assert not found["needed"]
    assert found["mend"] == "`pip install mkl mkl-include`"
    assert "– MKL" in nervac("doctor")
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    assert examined()["MKL"]["mend"] is None


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path / "file" / "cache"))
    found = examined(status=3)
    assert found["OpenMP"]["ok"]
    assert found["cache"]["writable"] is False
    assert str(tmp_path / "file" / "cache") in found["cache"]["text"]
    assert "$NERVAC_CACHE_DIR" in found["cache"]["mend"]


def test_a_missing_package(cache, monkeypatch):
    monkeypatch.setattr(doctor, "_PACKAGES", ("numpy", "no-such-package"))
    found = examined(status=3)["versions"]
    assert found["mend"] == "`pip install no-such-package`"


@pytest.mark.parametrize(
    ("text", "quota"), [("max 100000", None), ("150000 100000", 1.5), ("nonsense", None)]
)
def test_the_limit_of_a_container(tmp_path, monkeypatch, text, quota):
    (tmp_path / "cpu.max").write_text(f"{text}\n")
    monkeypatch.setattr(doctor, "_CGROUP", tmp_path / "cpu.max")
    finding = doctor._threads()
    assert finding.facts["quota"] == quota
    assert ("limited to the time of 1.5" in finding.text) == (quota is not None)


def test_cache(cache):
    assert nervac("cache") == f"{cache}\n0 models, 0 bytes\n"
    entry = build_module.build(generate(), resolve_target("native"))
    shown = nervac("cache").splitlines()
    assert shown[0] == str(cache)
    assert shown[1].startswith("1 model, ")
    assert nervac("cache", "--clear").startswith("removed 1 model, ")
    assert not entry.exists()
    assert nervac("cache") == f"{cache}\n0 models, 0 bytes\n"
    assert nervac("cache", "--clear") == f"removed 0 models, 0 bytes, from {cache}\n"


def test_a_cache_that_cannot_be_emptied(cache, monkeypatch):
    build_module.build(generate(), resolve_target("native"))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("nerva_dsl.runtime.housekeeping._discard", refuse)
    assert "cannot be used: permission denied" in nervac("cache", "--clear", status=3)


def test_quantities():
    assert [size(n) for n in (0, 1, 999, 1000, 1_500_000, 2_000_000_000)] == [
        *("0 bytes", "1 byte", "999 bytes", "1.0 kB", "1.5 MB", "2.0 GB")
    ]
    assert count(1) == "1 model"
    assert count(1234) == "1,234 models"


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_clang(cache, monkeypatch, tmp_path):
    """By discovery, with nothing else on the path but what it starts."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("clang", "ld", "as"):
        (folder / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(folder))
    found = examined()
    assert found["C compiler"]["command"] == [str(folder / "clang")]
    assert "clang" in found["C compiler"]["version"]


def test_the_options_are_those_of_the_kernels(cache, monkeypatch, tmp_path):
    log = tmp_path / "log"
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", f'echo "$*" > {log}; exit 1'))
    examined(status=3)
    assert all(flag in log.read_text().split() for flag in commands.KERNEL_FLAGS)


def test_help_says_what_is_looked_at(cache):
    text = nervac("doctor", "--help")
    assert "nervac doctor --json" in text
    assert "--clear" in nervac("cache", "--help")
