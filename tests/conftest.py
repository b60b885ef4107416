"""Options and fixtures of all tests.

`--refresh` rewrites expected texts; read the difference before committing it. `--programs N` checks
N generated programs instead of the default, `--programs FIRST:LAST` those of some seeds. `--kills`
repeats the test in which a compile is killed. `--fuzz N` checks N random strings instead of the
default. `--optimize LEVEL` is the C compiler's level for generated programs, for a run of many.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = sorted(
    path.stem
    for path in (ROOT / "models").glob("*.nerva")
    if "\nmodel " in path.read_text(encoding="utf-8")  # a library has none
)
"""Names of the models that come with the project."""


TOGETHER = 10
"""Programs of one test: they are linked and loaded together."""


def _seeds(text: str) -> range:
    """The seeds that `--programs` asks for."""
    first, colon, last = text.partition(":")
    return range(int(first), int(last)) if colon else range(int(first))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh", action="store_true", help="rewrite expected texts")
    parser.addoption(
        "--programs",
        type=_seeds,
        default=_seeds("40"),
        metavar="N",
        help="how many programs to generate, or FIRST:LAST, the seeds of some (LAST excluded)",
    )
    parser.addoption(
        "--optimize",
        choices=("0", "1", "2", "3"),
        default="1",
        help="optimisation of generated programs' C; shipped models have 3, as users do",
    )
    parser.addoption(
        "--fuzz",
        type=int,
        default=1500,
        metavar="N",
        help="how many random strings to check; from 10000 on, all mutations of models too",
    )
    parser.addoption(
        "--kills", type=int, default=2, help="how many times to kill one of eight compiles"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "program_seeds" in metafunc.fixturenames:
        seeds = metafunc.config.getoption("programs")
        groups = [seeds[i : i + TOGETHER] for i in range(0, len(seeds), TOGETHER)]
        names = [f"{group.start}:{group.stop}" for group in groups]
        metafunc.parametrize("program_seeds", groups, ids=names)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One cache for all workers of this run, apart from the user's."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    os.environ["NERVAC_CACHE_DIR"] = str(base / "nervac-cache")


@pytest.fixture
def models() -> Path:
    return ROOT / "models"
