"""Disks that are full or can only be read, and homes that cannot be written."""

import dataclasses
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime import build as build_module
from nerva_dsl.runtime import cache as cache_module
from nerva_dsl.runtime.build import build
from nerva_dsl.runtime.target import resolve_target
from runtime_fixture.tiny import generate

NATIVE = resolve_target("native")
NERVAC = [sys.executable, "-c", "from nerva_dsl.cli import main; main()"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(tmp_path, monkeypatch, code):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))

    def write(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(build_module, "_write", write)
    with pytest.raises(ToolchainError, match="no space is left on its disk") as caught:
        build(generate(), NATIVE)
    assert str(tmp_path) in str(caught.value)
    assert "$NERVAC_CACHE_DIR" in str(caught.value)
    assert caught.value.exit_status == 3
    assert not list((tmp_path / "building").iterdir())


def test_a_disk_that_is_full_for_the_compiler(tmp_path, monkeypatch):
    compiler = tmp_path / "cc"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo cc 1.0; exit 0;; esac\n'
        'echo "tiny.c:1: fatal error: error writing to tiny.o: No space left on device"; exit 1\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ToolchainError, match="no space is left on its disk"):
        build(generate(), NATIVE)


def test_files_that_may_not_grow(tmp_path):
    """RLIMIT_FSIZE: what a small disk does to a process, without a disk."""
    pytest.importorskip("resource")
    script = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from runtime_fixture.tiny import generate\n"
        "from nerva_dsl.errors import ToolchainError\n"
        "from nerva_dsl.runtime.build import build\n"
        "from nerva_dsl.runtime.target import resolve_target\n"
        "generated = generate()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: build(generated, resolve_target('native'))\n"
        "except ToolchainError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NERVAC_CACHE_DIR": str(tmp_path)},
    )
    assert f"the cache directory {tmp_path} cannot be used: file too large" in done.stdout
    assert not list((tmp_path / "building").iterdir())


def test_a_failed_build_on_a_full_disk_still_says_what_the_compiler_said(tmp_path, monkeypatch):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache_module.Cache, "keep_failed", full)
    broken = dataclasses.replace(generate(), c_source="int broken(\n")
    with pytest.raises(ToolchainError, match=r"fails on model `tiny`(.|\n)*command: "):
        build(broken, NATIVE)


@pytest.fixture
def no_cache(tmp_path):
    """Environment of a process whose home is a file, and whose cache is in it."""
    (tmp_path / "home").touch()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NERVAC_CACHE_DIR", "XDG_CACHE_HOME")
    }
    return {**environment, "HOME": str(tmp_path / "home")}


def nervac(*arguments, env, cwd, status=0):
    done = subprocess.run(
        [*NERVAC, *map(str, arguments)],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_what_needs_no_build_works_without_a_cache(no_cache, models, tmp_path):
    model = models / "digits.nerva"
    for command in (
        ("check", model),
        ("ir", model),
        ("explain", model),
        ("compile", model, "--emit", "c", "-o", "out"),
    ):
        assert nervac(*command, env=no_cache, cwd=tmp_path).stderr == ""
    assert (tmp_path / "out" / "digits.c").is_file()
    done = nervac("compile", model, env=no_cache, cwd=tmp_path, status=3)
    assert done.stderr.startswith(f"error: the cache directory {tmp_path}/home")
    assert "$NERVAC_CACHE_DIR" in done.stderr


def test_tables_on_a_full_disk(models, tmp_path):
    """The tables of the grammar and the compiled templates cannot be written."""
    pytest.importorskip("resource")
    env = {**os.environ, "NERVAC_CACHE_DIR": str(tmp_path / "cache")}
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "from nerva_dsl import driver; import sys\n"
        "print(len(driver.emit_c(sys.argv[1]).c_source))"
    )
    for _ in range(2):  # the second reads what the first has left
        done = subprocess.run(
            [sys.executable, "-B", "-c", limited, str(models / "digits.nerva")],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        assert int(done.stdout) > 1000


def test_a_cache_that_can_only_be_read_still_serves(tmp_path, monkeypatch):
    root = tmp_path / "cache"
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(root))
    entry = build(generate(), NATIVE)
    shutil.rmtree(root / "compilers")
    real = Path.mkdir

    def mkdir(path, *arguments, **options):
        if root in path.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        real(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert build(generate(), NATIVE) == entry
    with pytest.raises(ToolchainError, match="cannot be used: read-only file system"):
        build(generate(features=5), NATIVE)
