"""The cache of built models, and loading them by path."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime import build as build_module
from nerva_dsl.runtime.build import EXTENSION_SUFFIX, build
from nerva_dsl.runtime.cache import Cache, cache_root, digest
from nerva_dsl.runtime.commands import Failure
from nerva_dsl.runtime.loading import load_extension, load_module
from nerva_dsl.runtime.target import Target, resolve_target
from runtime_fixture.tiny import generate

NATIVE = resolve_target("native")
TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A cache with one entry, and the entry."""
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVAC_CACHE_DIR", str(root))
        yield root, build(generate(), NATIVE)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_no_home(monkeypatch):
    monkeypatch.delenv("NERVAC_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError()))
    with pytest.raises(ToolchainError, match=r"no home directory; set \$NERVAC_CACHE_DIR"):
        cache_root()
    monkeypatch.setenv("NERVAC_CACHE_DIR", "~nobody-of-that-name/cache")
    with pytest.raises(ToolchainError, match="no home directory"):
        cache_root()


def test_root(monkeypatch, tmp_path):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("NERVAC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root().name == "nervac"


def test_keys_do_not_run_together():
    assert digest([("a", "bc")]) != digest([("ab", "c")])
    assert digest([("a", "b"), ("c", "d")]) != digest([("a", "b:1:d")])
    assert digest([("a", "b")]) == digest([("a", "b")])


def test_an_entry_has_its_files_and_nothing_else(built):
    root, entry = built
    assert sorted(file.name for file in entry.iterdir()) == sorted(
        [f"_tiny{EXTENSION_SUFFIX}", "manifest.json", "tiny.c", "tiny.py"]
    )
    assert (entry / "tiny.c").read_text() == generate().c_source
    assert not list((root / "building").iterdir())


def test_a_hit_is_cheap_and_starts_no_process(built, monkeypatch):
    def no_process(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    generated = generate()
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        assert build(generated, NATIVE) == built[1]
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.03


def test_a_hit_does_not_import_cffi(built):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from runtime_fixture.tiny import generate\n"
        "from nerva_dsl.runtime.build import build\n"
        "from nerva_dsl.runtime.target import resolve_target\n"
        "build(generate(), resolve_target('native'))\n"
        "print([name for name in ('cffi', 'numpy', 'filelock', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(TESTS)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_what_the_key_depends_on(built, monkeypatch):
    failure = Failure("cc", "error: stop here", "not built")
    monkeypatch.setattr(build_module, "run_commands", lambda *_: failure)

    def rebuilds(generated, target=NATIVE, **options):
        try:
            build(generated, target, **options)
        except ToolchainError:
            return True
        return False

    generated = generate()
    assert not rebuilds(generated)
    assert rebuilds(dataclasses.replace(generated, c_source=generated.c_source + "\n"))
    assert rebuilds(dataclasses.replace(generated, declarations=generated.declarations + "\n"))
    assert rebuilds(dataclasses.replace(generated, module_source=generated.module_source + "\n"))
    assert rebuilds(generated, dataclasses.replace(NATIVE, features=("other",)))
    assert rebuilds(generated, extra_flags=["-g"])
    monkeypatch.setenv("CC", "gcc -DOTHER")
    assert rebuilds(generated)


def test_a_new_compiler_is_asked_for_its_version(tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("1")
    cache = Cache(tmp_path / "cache")
    answers = iter(["first", "second"])
    command = (str(compiler),)
    assert cache.remembered_version(command, lambda: next(answers)) == "first"
    assert cache.remembered_version(command, lambda: next(answers)) == "first"
    compiler.write_text("22")
    assert cache.remembered_version(command, lambda: next(answers)) == "second"


def test_a_failed_build_keeps_its_log_and_its_c(fresh):
    broken = dataclasses.replace(generate(), c_source="int main(void) { return undeclared; }\n")
    with pytest.raises(ToolchainError) as caught:
        build(broken, NATIVE)
    text = str(caught.value)
    assert "the C compiler fails on model `tiny`" in text
    assert "error: 'undeclared' undeclared" in text or "undeclared identifier" in text
    paths = [Path(line.split(":", 1)[1].strip()) for line in text.splitlines()[-2:]]
    log, c_source = paths
    assert "undeclared" in log.read_text()
    command = next(line for line in text.splitlines() if line.startswith("  command: "))
    assert f"$ {command.removeprefix('  command: ')}\n" in log.read_text()
    assert f"in {log.parent}:" in log.read_text()
    again = subprocess.run(
        command.removeprefix("  command: "),
        shell=True,
        cwd=log.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode != 0
    assert "undeclared" in again.stderr
    assert c_source.read_text() == broken.c_source
    assert not list((fresh / "building").iterdir())
    assert not (fresh / "entries").exists()
    with pytest.raises(ToolchainError):  # the same again: what was kept is replaced
        build(broken, NATIVE)
    assert len(list((fresh / "failed").iterdir())) == 1


def test_a_link_that_fails(fresh):
    source = generate().c_source.replace(
        "double nerva_learning_rate(double epoch, double epochs, double step)\n{",
        "double another_name(double epoch, double epochs, double step);\n"
        "double another_name(double epoch, double epochs, double step)\n{",
    )
    with pytest.raises(ToolchainError, match="fails on model `tiny`"):
        load_module(
            build(
                dataclasses.replace(generate(), c_source=source), NATIVE, extra_flags=["-Wl,-zdefs"]
            )
        )


def test_only_the_entry_point_is_visible(built):
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed")
    done = subprocess.run(
        [nm, "-D", "--defined-only", str(built[1] / f"_tiny{EXTENSION_SUFFIX}")],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split()[-1] for line in done.stdout.splitlines()}
    assert {name for name in names if "nerva" in name} == set()
    assert "PyInit__tiny" in names


# Loading


def test_loading_by_directory_and_by_file(built):
    by_directory, by_file = load_module(built[1]), load_module(built[1] / "tiny.py")
    assert by_directory.SPEC == by_file.SPEC
    assert by_directory.__all__ == ["SPEC", "Model"]


def test_two_builds_of_one_name_in_one_process(fresh):
    before = set(sys.modules)
    narrow = load_module(build(generate(), NATIVE))
    wide = load_module(build(generate(features=7), NATIVE))
    assert narrow.Model().predict([[0.0] * 4]).shape == (1, 2)
    assert wide.Model().predict([[0.0] * 7]).shape == (1, 2)
    assert narrow.Model().parameters()["h.weight"].shape == (3, 4)
    new = set(sys.modules) - before
    assert not [name for name in new if "tiny" in name]


def test_a_module_that_was_built_again_loads_again(fresh, tmp_path):
    place = tmp_path / "build"
    shutil.copytree(build(generate(), NATIVE), place)
    first = load_module(place)
    shutil.rmtree(place)
    shutil.copytree(build(generate(features=6), NATIVE), place)
    second = load_module(place)
    assert second.Model().predict([[0.0] * 6]).shape == (1, 2)
    assert first.Model().predict([[0.0] * 4]).shape == (1, 2)


def test_an_existing_module_of_the_name_stays(built, monkeypatch):
    monkeypatch.setitem(sys.modules, "_tiny", json)
    load_extension(built[1] / "tiny.py", "_tiny")
    assert sys.modules["_tiny"] is json


def test_an_import_from_the_path(built):
    script = "import tiny; m = tiny.Model(seed=1); print(m.nnz['total'], tiny.Model.__module__)"
    environment = {**os.environ, "PYTHONPATH": str(built[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split() == ["12", "tiny"]


def test_extension_missing(built, tmp_path):
    shutil.copy(built[1] / "tiny.py", tmp_path)
    with pytest.raises(ImportError, match="is missing: compile the model again"):
        load_module(tmp_path)


def test_extension_of_another_python(built, tmp_path):
    shutil.copy(built[1] / "tiny.py", tmp_path)
    (tmp_path / "_tiny.cpython-39-x86_64-linux-gnu.so").touch()
    with pytest.raises(ImportError, match=r"built for another Python \(_tiny\.cpython-39"):
        load_module(tmp_path)


def test_extension_that_is_damaged(built, tmp_path):
    shutil.copy(built[1] / "tiny.py", tmp_path)
    (tmp_path / f"_tiny{EXTENSION_SUFFIX}").write_bytes(b"not an extension")
    with pytest.raises(ImportError, match="does not load"):
        load_module(tmp_path)


def test_nothing_to_load(tmp_path):
    with pytest.raises(ImportError, match="expected one compiled model"):
        load_module(tmp_path)
    with pytest.raises(ImportError, match="there is no compiled model"):
        load_module(tmp_path / "tiny.py")


def test_target_is_data():
    assert resolve_target("armv8-a") == Target("armv8-a", 16, ("-march=armv8-a",), ())
