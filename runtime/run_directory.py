"""The directory of one training: what is trained, on what, how far it is, and what came of it.

    runs/digits-1/
        model.nerva     the file as it was when the run began
        imports/        the files that it imports; and patterns/, if it has any
        run.json        settings, data, versions, machine, status
        weights.npz     the last checkpoint
        metrics.csv     a row an epoch, with the keys of `History`

Every file but metrics.csv is replaced in one step, so that a process killed at any moment leaves a
run that can be resumed. metrics.csv is appended to, and cut back to the checkpoint on resuming.
"""

from __future__ import annotations

import csv
import json
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from nerva_dsl.faults import NervaError
from nerva_dsl.runtime.ahead import usable_cores
from nerva_dsl.runtime.history import Row
from nerva_dsl.runtime.replacing import replacing

__all__ = ["METRICS", "Run", "RunDirectory", "RunError", "Settings", "Status"]

FORMAT = 1
METRICS = tuple(Row.__annotations__)
RECORDED_PACKAGES = ("nervac", "numpy", "scipy", "scikit-learn")

Status = Literal["running", "interrupted", "failed", "finished"]


class RunError(NervaError):
    """A run directory that is not one, is damaged, or is in use."""


@dataclass(frozen=True)
class Settings:
    """What decides the numbers of a run, and how many threads compute them.

    Attributes:
        data: finds the data, as for `--data`.
        overrides: values of `param`s, as text.
        seed: of patterns, weights, shuffling and the held-out part.
        epochs: how many the run is planned to have in all.
        threads: None for as many as OpenMP chooses.
        backend: family of kernels that was chosen.
        target: instruction set.
    """

    data: str
    overrides: Mapping[str, str]
    seed: int
    epochs: int
    threads: int | None
    backend: str
    target: str


@dataclass(frozen=True)
class Run:
    """The contents of run.json.

    Attributes:
        model: the model's name.
        settings: see there.
        fingerprint: of the data that the run began on.
        description: of that data, for people.
        status: how the last process that trained it left it.
    """

    model: str
    settings: Settings
    fingerprint: str
    description: str
    status: Status = "running"


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    @property
    def model_file(self) -> Path:
        """The copy of the model's file."""
        return self.path / "model.nerva"

    @property
    def settings_file(self) -> Path:
        """Settings, versions and status."""
        return self.path / "run.json"

    @property
    def weights_file(self) -> Path:
        """The checkpoint."""
        return self.path / "weights.npz"

    @property
    def metrics_file(self) -> Path:
        """A row an epoch."""
        return self.path / "metrics.csv"

    @classmethod
    def create(
        cls,
        path: Path | None,
        name: str,
        model_text: bytes,
        files: Mapping[str, bytes] | None = None,
    ) -> RunDirectory:
        """Make a new run directory.

        Args:
            path: where; None: `runs/NAME-N`, N being one more than the largest there is.
            name: the model's name.
            model_text: the model's file.
            files: others that it reads, by their paths from the run directory.

        Raises:
            RunError: there is something at the path already.
            OSError: it cannot be made.
        """
        if path is None:
            path = _make_numbered(Path("runs"), name)
        else:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                is_run = cls(path).settings_file.exists()
                hint = f", or go on with it by `nervac train --resume {path}`" if is_run else ""
                raise RunError(f"{path} is not empty: name another run directory{hint}")
        run = cls(path)
        for file, content in {**(files or {}), run.model_file.name: model_text}.items():
            (path / file).parent.mkdir(exist_ok=True)
            with replacing(path / file) as temporary:
                temporary.write_bytes(content)
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run directory.

        Raises:
            RunError: there is none.
        """
        run = cls(path)
        if not path.exists():
            raise RunError(f"there is no run directory {path}")
        for file in (run.settings_file, run.model_file, run.weights_file):
            if not file.is_file():
                raise RunError(f"{path} is not a run directory of `nervac train`: no {file.name}")
        return run

    def discard(self) -> None:
        """Remove a run that could not be begun; a directory with other files in it stays."""
        for file in (self.model_file, self.weights_file, self.settings_file):
            file.unlink(missing_ok=True)
        for folder in ("imports", "patterns"):
            shutil.rmtree(self.path / folder, ignore_errors=True)
        with suppress(OSError):
            self.path.rmdir()

    def write(self, run: Run) -> None:
        """Write run.json."""
        content = {
            "format": FORMAT,
            "model": run.model,
            "status": run.status,
            "settings": asdict(run.settings),
            "data": {"description": run.description, "fingerprint": run.fingerprint},
            "versions": _versions(),
            "machine": _machine(),
        }
        with replacing(self.settings_file) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def read(self) -> Run:
        """Read run.json.

        Raises:
            RunError: it is damaged, or of a later version.
        """
        try:
            content = json.loads(self.settings_file.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise RunError(f"{self.settings_file} was written by another version of nervac")
            return Run(
                model=content["model"],
                settings=Settings(**content["settings"]),
                fingerprint=content["data"]["fingerprint"],
                description=content["data"]["description"],
                status=content["status"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.settings_file} is damaged: {error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run.

        Raises:
            RunError: one does already.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 -- training alone needs it

        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise RunError(f"{self.path} is being trained by another process") from None
        try:
            yield
        finally:
            lock.release()

    def append_metrics(self, row: Row) -> None:
        """Add an epoch to metrics.csv; what the model does not have stays empty."""
        new = not self.metrics_file.exists()
        with self.metrics_file.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(METRICS)
            writer.writerow(_cells(row))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.csv, as they were given to `append_metrics`; none without the file.

        Raises:
            RunError: it is damaged.
        """
        if not self.metrics_file.exists():
            return []
        with self.metrics_file.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        try:
            return [{key: _value(row[key]) for key in METRICS} for row in rows]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{self.metrics_file} is damaged: {error}") from error

    def cut_metrics(self, epochs: int) -> None:
        """Keep the first epochs in metrics.csv: those that the checkpoint has done.

        A line that a killed process left unfinished is of a later epoch than its checkpoint, or of
        none.
        """
        if not self.metrics_file.exists():
            return
        with self.metrics_file.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        kept = [
            row
            for row in rows[1:]
            if len(row) == len(METRICS) and row[0].isdigit() and int(row[0]) <= epochs
        ]
        with (
            replacing(self.metrics_file) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            csv.writer(file).writerows([METRICS, *kept])


def _make_numbered(folder: Path, name: str) -> Path:
    """Make `folder/name-N`. Another process may take the same N at the same time: then the next."""
    folder.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    taken = [
        int(found[1]) for entry in folder.iterdir() if (found := pattern.fullmatch(entry.name))
    ]
    number = max(taken, default=0) + 1
    while True:
        path = folder / f"{name}-{number}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def _cells(row: Row) -> Sequence[str]:
    """The row as text from which the same numbers can be read back."""
    return [_cell(row.get(key)) for key in METRICS]


def _cell(value: object) -> str:
    """Empty for None; numbers by weight as a JSON object."""
    if isinstance(value, dict):
        return json.dumps(value)
    return "" if value is None else repr(value)


def _value(cell: str) -> object:
    """What `_cell` was given."""
    if cell.startswith("{"):
        return json.loads(cell)
    if cell.isdigit():
        return int(cell)
    return float(cell) if cell else None


def _versions() -> dict[str, str]:
    packages = {package: version(package) for package in RECORDED_PACKAGES}
    return {"python": platform.python_version(), **packages}


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
    }


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()
