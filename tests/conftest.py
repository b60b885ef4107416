"""Options and fixtures of all tests.

`--refresh` rewrites expected texts; read the difference before committing it. `--programs N` checks
N generated programs instead of the default. `--kills N` repeats the test in which a compile is
killed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh", action="store_true", help="rewrite expected texts")
    parser.addoption("--programs", type=int, default=30, help="how many programs to generate")

    parser.addoption(
        "--kills", type=int, default=2, help="how many times to kill one of eight compiles"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "program_seed" in metafunc.fixturenames:
        metafunc.parametrize("program_seed", range(metafunc.config.getoption("programs")))


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
