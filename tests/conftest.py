"""What many tests need: real music, an S3 server, a fixed or a random order, the last line."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests import stores
from tests.s3 import S3Server, s3_server

# Before NumPy or torch start their pools, and however pytest is started: one thread a process, as
# workers and ranks run.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

# `make test` tries the same examples every time, on machines of any speed; `make fuzz` new ones.
# `make mutants` asks whether there is an example that fails, not for the smallest one.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=2000, deadline=None, print_blob=True)
_UNSHRUNK = (Phase.explicit, Phase.generate)
settings.register_profile("unshrunk", derandomize=True, deadline=None, phases=_UNSHRUNK)
settings.load_profile(os.environ.get("FADAE_TEST_PROFILE", "repeatable"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle files, and the tests of each, where FADAE_TEST_ORDER is set, with it as the seed."""
    seed = os.environ.get("FADAE_TEST_ORDER")
    if seed is None:
        return
    files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    order = random.Random(seed)
    order.shuffle(files)
    for tests in files:
        order.shuffle(tests)
    items[:] = [item for tests in files for item in tests]


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around pytest's own, so after its summary
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """End with one line that says what was skipped, and why: reasons name what to install.

    `make fuzz` says how many inputs ran, too.
    """
    yield
    if settings().max_examples > 100:
        told = [
            vars(r).get("_hypothesis_stats", "") for r in chain(*terminalreporter.stats.values())
        ]
        inputs = sum(int(count) for text in told for count in re.findall(r"(\d+) passing", text))
        terminalreporter.write_line(f"{inputs:,} inputs tried")
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(r.longrepr[2]).removeprefix("Skipped: ") for r in skipped)
    if reasons:
        said = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"{len(skipped)} skipped: {said}")


def shared_dir() -> Path:
    """The folder of recordings beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("FADAE_SHARED", default))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """A folder of real music; tests that need it skip where it is absent."""
    folder = shared_dir() / "recordings"
    if not folder.is_dir():
        pytest.skip(f"no real music: put .ogg files into {folder}")
    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server: `.url` of its bucket, `.env` for processes, `.storage_options` for here.

    One for all tests of a session: use a prefix of your own below the bucket.
    """
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Store]:
    """Another S3 server."""
    with stores.moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Store]:
    """A server of Google Cloud Storage."""
    with stores.google(tmp_path_factory.mktemp("google")) as server:
        yield server


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Store]:
    """A server of Azure Blob Storage."""
    with stores.azure(tmp_path_factory.mktemp("azure")) as server:
        yield server
