"""Entries that are damaged or foreign, leftovers of killed processes, and emptying the cache."""

import json
import os
import shutil
import threading
import time

import pytest
from filelock import FileLock

import nerva_dsl
from nerva_dsl.faults import ToolchainError
from nerva_dsl.runtime import build as build_module
from nerva_dsl.runtime.build import EXTENSION_SUFFIX, build
from nerva_dsl.runtime.cache import Cache
from nerva_dsl.runtime.housekeeping import clear, usage
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.target import resolve_target
from runtime_fixture.tiny import generate

NATIVE = resolve_target("native")
EXTENSION = f"_tiny{EXTENSION_SUFFIX}"
KEY = "0" * 64


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("pristine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERVAC_CACHE_DIR", str(root))
        build(generate(), NATIVE)
    return root


@pytest.fixture
def root(pristine, tmp_path, monkeypatch):
    """A cache of one's own with one entry."""
    place = tmp_path / "cache"
    shutil.copytree(pristine, place)
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(place))
    return place


def the_entry(root):
    (entry,) = (root / "entries").iterdir()
    return entry


# Damage


def truncated(entry):
    with (entry / EXTENSION).open("r+b") as file:
        file.truncate(5000)


def empty(entry):
    (entry / EXTENSION).write_bytes(b"")


def one_bit(entry):
    data = bytearray((entry / EXTENSION).read_bytes())
    data[len(data) // 2] ^= 1
    (entry / EXTENSION).write_bytes(data)


def module_of_somebody_else(entry):
    size = (entry / "tiny.py").stat().st_size
    (entry / "tiny.py").write_text("raise SystemExit('foreign')".ljust(size))


def missing(entry):
    (entry / "tiny.py").unlink()


def directory_for_a_file(entry):
    (entry / EXTENSION).unlink()
    (entry / EXTENSION).mkdir()
    (entry / EXTENSION / "file").touch()


def dangling_link(entry):
    (entry / EXTENSION).unlink()
    (entry / EXTENSION).symlink_to("nowhere")


def file_for_the_entry(entry):
    shutil.rmtree(entry)
    entry.write_text("not a directory")


def empty_entry(entry):
    shutil.rmtree(entry)
    entry.mkdir()


def no_manifest(entry):
    (entry / "manifest.json").unlink()


def manifest_of_another_kind(entry):
    (entry / "manifest.json").write_text('["something else"]')


def manifest_cut_short(entry):
    text = (entry / "manifest.json").read_text()
    (entry / "manifest.json").write_text(text[: len(text) // 2])


def manifest_that_is_not_text(entry):
    (entry / "manifest.json").write_bytes(b"\xff\xfe\x00" * 100)


DAMAGES = [
    truncated,
    empty,
    one_bit,
    module_of_somebody_else,
    missing,
    directory_for_a_file,
    dangling_link,
    file_for_the_entry,
    empty_entry,
    no_manifest,
    manifest_of_another_kind,
    manifest_cut_short,
    manifest_that_is_not_text,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_entry_is_built_again(root, damage):
    entry = the_entry(root)
    damage(entry)
    assert build(generate(), NATIVE) == entry
    assert load_module(entry).Model().predict([[0.0] * 4]).shape == (1, 2)
    names = {path.name for path in entry.iterdir()} - {"__pycache__"}
    assert names == {"tiny.py", "tiny.c", EXTENSION, "manifest.json"}
    assert not list((root / "building").iterdir())


def test_a_copied_cache_is_not_built_again(root, monkeypatch):
    """Other times of change, the same contents."""
    entry = the_entry(root)
    for file in entry.iterdir():
        os.utime(file, (1, 1))
    monkeypatch.setattr(build_module, "run_commands", lambda *_: pytest.fail("it builds"))
    assert build(generate(), NATIVE) == entry


@pytest.mark.parametrize(
    "room", ["entries", "building", "locks", "compilers", "tables"], ids=lambda room: room
)
def test_a_file_in_the_place_of_a_room(tmp_path, monkeypatch, room):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))
    (tmp_path / room).write_text("foreign")
    if room in ("compilers", "tables"):  # they only save time
        load_module(build(generate(), NATIVE))
    else:
        with pytest.raises(ToolchainError, match=r"cannot be used: .*\$NERVAC_CACHE_DIR") as caught:
            build(generate(), NATIVE)
        assert str(tmp_path) in str(caught.value)
    assert (tmp_path / room).read_text() == "foreign"


def test_two_versions_share_a_cache(root, monkeypatch):
    entry = the_entry(root)
    monkeypatch.setattr(nerva_dsl, "__version__", "0.0.1")
    other = build(generate(), NATIVE)
    assert other != entry
    monkeypatch.undo()
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(root))
    monkeypatch.setattr(build_module, "run_commands", lambda *_: pytest.fail("it builds"))
    assert build(generate(), NATIVE) == entry


def test_two_processes_without_locks_agree(root, tmp_path):
    """Both have built; the second finds the entry of the first, and takes it."""
    cache = Cache(root)
    files = ["a"]
    for contents in ("first", "second"):
        with cache.building("x", KEY) as directory:
            (directory / "a").write_text(contents)
            (directory / "more").mkdir()
            entry = cache.install(directory, "x", KEY, files)
    assert (entry / "a").read_text() == "first"
    assert sorted(path.name for path in entry.iterdir()) == ["a", "manifest.json"]
    assert not list((root / "building").iterdir())


def test_a_file_system_without_locks(root, monkeypatch):
    def acquire(*_, **__):
        raise NotImplementedError("no flock")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    assert build(generate(features=5), NATIVE).is_dir()
    assert clear(root).entries == 0


# Leftovers, and clearing


def test_old_leftovers_are_removed_by_the_next_build(root):
    now = time.time()
    old, new = root / "building" / "tiny-old", root / "building" / "tiny-new"
    failed, recent = root / "failed" / "a", root / "failed" / "b"
    for path, days in ((old, 1.1), (new, 0.9), (failed, 31), (recent, 29)):
        path.mkdir(parents=True)
        (path / "file.o").write_text("something")
        os.utime(path, (now - days * 86400,) * 2)
    build(generate(features=5), NATIVE)
    assert not old.exists()
    assert new.exists()
    assert not failed.exists()
    assert recent.exists()


def test_usage(root):
    held = usage(root)
    assert held.entries == 1
    assert held.bytes > sum(file.stat().st_size for file in the_entry(root).iterdir())
    assert usage(root / "nowhere") == usage(root / "locks" / "nowhere")
    assert usage(root / "nowhere").entries == usage(root / "nowhere").bytes == 0


def test_clear_removes_only_what_is_ours(root):
    foreign = [
        root / "thesis.tex",
        root / "entries" / "mine" / "file",
        root / "compilers" / "gcc.txt.bak",
        root / "tables" / "dinner",
        root / "building" / "house",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("foreign")
    (root / "building" / f"tiny-{KEY[:32]}-abc").mkdir()
    left = clear(root)
    assert left.entries == 0
    assert all(path.read_text() == "foreign" for path in foreign)
    assert [path.name for path in (root / "entries").iterdir()] == ["mine"]
    assert [path.name for path in (root / "building").iterdir()] == ["house"]
    assert load_module(build(generate(), NATIVE))


def test_clear_leaves_what_is_being_built(root):
    cache = Cache(root)
    entered, leave = threading.Event(), threading.Event()
    failures = []

    def other_process():
        try:
            with cache.locked(KEY), cache.building("x", KEY) as directory:
                (directory / "a").write_text("a")
                entered.set()
                leave.wait(30)
                cache.install(directory, "x", KEY, ["a"])
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=other_process)
    thread.start()
    try:
        assert entered.wait(30)
        assert clear(root).entries == 0
        assert len(list((root / "building").iterdir())) == 1
    finally:
        leave.set()
        thread.join()
    assert not failures
    assert cache.lookup("x", KEY, ["a"])
    assert clear(root).entries == 0


def test_clear_of_no_cache(tmp_path):
    assert clear(tmp_path / "nowhere").bytes == 0
    assert not (tmp_path / "nowhere").exists()


def test_clearing_again_and_again_while_processes_build(tmp_path, monkeypatch):
    monkeypatch.setenv("NERVAC_CACHE_DIR", str(tmp_path))
    failures = []

    def work(features):
        try:
            for _ in range(2):
                build(generate(features=features), NATIVE)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(features,)) for features in (5, 6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        clear(tmp_path)
        time.sleep(0.01)
    assert not failures


def test_manifest_is_readable_json(root):
    files = json.loads((the_entry(root) / "manifest.json").read_text())["files"]
    assert set(files) == {"tiny.py", "tiny.c", EXTENSION}
    assert all(set(record) == {"size", "mtime_ns", "sha256"} for record in files.values())
