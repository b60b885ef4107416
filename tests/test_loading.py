"""Modules that were built elsewhere: for another processor, with libraries that are not here."""

import shutil
import subprocess
import sys

import pytest

from nerva_dsl.cli.failures import describe
from nerva_dsl.runtime import instruction_sets, shared_libraries
from nerva_dsl.runtime import mkl as mkl_module
from nerva_dsl.runtime import target as target_module
from nerva_dsl.runtime.build import EXTENSION_SUFFIX, build
from nerva_dsl.runtime.loading import LoadError, load_module
from nerva_dsl.runtime.target import processor_features, resolve_target
from runtime_fixture.tiny import generate

EXTENSION = f"_tiny{EXTENSION_SUFFIX}"
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVAC_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield build(generate(), resolve_target("native"))


@pytest.fixture
def folder(built, tmp_path):
    """What `nervac compile -o build` leaves, on another machine."""
    place = tmp_path / "build"
    place.mkdir()
    for name in ("tiny.py", EXTENSION):
        shutil.copy(built / name, place)
    return place


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Give this machine another processor."""

    def be(flags, field="flags"):
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text(f"processor : 0\nmodel name : Another\n{field} : {' '.join(flags)}\n")
        monkeypatch.setattr(target_module, "_CPUINFO", cpuinfo)

    return be


# Processors


@linux
def test_an_extension_names_the_instructions_it_was_compiled_for(built):
    needed = instruction_sets.required(built / EXTENSION)
    assert needed
    assert set(needed) <= set(processor_features())
    assert instruction_sets.missing(built / EXTENSION) == ()


@pytest.mark.parametrize(
    ("target", "has", "has_not"),
    [
        ("x86-64-v2", {"pni", "sse4_2", "popcnt"}, {"avx"}),
        ("x86-64-v3", {"pni", "avx2", "fma", "bmi2"}, {"avx512f"}),
        ("x86-64-v4", {"avx2", "avx512f", "avx512vl"}, {"avx512_bf16"}),
    ],
)
def test_named_targets_say_what_they_need(tmp_path, monkeypatch, target, has, has_not):
    if not resolve_target("native").flags or instruction_sets.level() is None:
        pytest.skip("not an x86-64 machine")
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))
    entry = build(generate(), resolve_target(target))
    needed = set(instruction_sets.required(entry / EXTENSION))
    assert has <= needed
    assert not has_not & needed


@linux
def test_a_module_for_another_processor_is_refused(folder, processor):
    needed = instruction_sets.required(folder / EXTENSION)
    absent = needed[-1]
    processor([name for name in processor_features() if name != absent])
    with pytest.raises(LoadError) as caught:
        load_module(folder)
    text = str(caught.value)
    assert text.startswith(f"{folder / EXTENSION} was compiled for another processor")
    assert f"this one does not have {absent};" in text
    assert "compile the model again on this machine" in text
    assert isinstance(caught.value, ImportError)
    assert describe(caught.value) == (3, f"error: {text}")


@linux
def test_the_advice_names_a_target_that_both_can_run(folder, processor):
    if len(instruction_sets.required(folder / EXTENSION)) < 6:
        pytest.skip("this processor has no more than the least")
    processor(["pni", "ssse3", "sse4_1", "sse4_2", "popcnt"])
    with pytest.raises(LoadError, match="or with `--target x86-64-v2` for both"):
        load_module(folder)
    processor(["nothing"])
    with pytest.raises(LoadError, match=r"compile the model again on this machine$"):
        load_module(folder)


@linux
def test_where_the_processor_is_not_known_the_module_is_loaded(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(target_module, "_CPUINFO", tmp_path / "missing")
    assert load_module(folder).Model().predict([[0.0] * 4]).shape == (1, 2)


@linux
def test_an_import_from_the_path_is_refused_too(folder, tmp_path):
    (tmp_path / "cpuinfo").write_text("flags : fpu\n")
    script = (
        "import sys, pathlib; from nerva_dsl.runtime import target\n"
        "target._CPUINFO = pathlib.Path(sys.argv[1])\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "try: import tiny\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cpuinfo"), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "was compiled for another processor" in done.stdout


def test_a_file_that_is_not_ours_needs_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"\x00" * 1000)
    assert instruction_sets.required(tmp_path / "file") == ()
    (tmp_path / "file").write_bytes(b"nervac needs the instructions: avx2")  # cut short
    assert instruction_sets.required(tmp_path / "file") == ()


# Libraries


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A module that is linked with libraries which are then removed."""
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path / "cache"))

    def make(*names):
        libraries = tmp_path / "libraries"
        libraries.mkdir()
        (tmp_path / "empty.c").write_text("int nothing;\n")
        options = []
        for name in names:
            path = libraries / name
            command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "empty.c", "-o", str(path)]
            subprocess.run(command, cwd=tmp_path, check=True)
            options.append(f"-l:{name}")
        flags = [f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-Wl,--no-as-needed", *options]
        entry = build(generate(), resolve_target("native"), extra_flags=flags)
        shutil.rmtree(libraries)
        return entry

    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    return make


# Numbers that no MKL has: a library of that name which is loaded already would be found.


def test_mkl_that_was_removed(elsewhere, monkeypatch):
    entry = elsewhere("libmkl_core.so.903")
    monkeypatch.setattr(shared_libraries, "find_libraries", lambda: ())
    wanted = (
        r"it needs MKL \(libmkl_core\.so\.903\), which is not installed here: `pip install mkl`"
    )
    with pytest.raises(LoadError, match=wanted) as caught:
        load_module(entry)
    assert describe(caught.value)[0] == 3


def test_mkl_in_another_place(elsewhere, monkeypatch, tmp_path):
    entry = elsewhere("libmkl_core.so.903")
    monkeypatch.setattr(
        shared_libraries, "find_libraries", lambda: (tmp_path / "new" / "libmkl_core.so.903",)
    )
    with pytest.raises(LoadError, match=r"another place.*new to \$LD_LIBRARY_PATH"):
        load_module(entry)


def test_another_mkl(elsewhere, monkeypatch, tmp_path):
    entry = elsewhere("libmkl_core.so.902")
    monkeypatch.setattr(
        shared_libraries, "find_libraries", lambda: (tmp_path / "libmkl_core.so.903",)
    )
    with pytest.raises(LoadError, match=r"what is installed is .*so\.903: compile the model again"):
        load_module(entry)


def test_other_libraries(elsewhere):
    with pytest.raises(LoadError, match=r"it needs libother\.so\.7.*compile the model again here"):
        load_module(elsewhere("libother.so.7"))
    assert "apt install libgomp1" in shared_libraries.explain("libgomp.so.1")
    assert "libomp5" in shared_libraries.explain("libomp.so.5")


def test_libiomp5_that_was_removed(monkeypatch):
    monkeypatch.setattr(mkl_module.importlib.metadata, "files", lambda _: None)
    assert "`pip install intel-openmp`" in shared_libraries.explain("libiomp5.so")
