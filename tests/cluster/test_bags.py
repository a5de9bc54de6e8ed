"""Bags over a cluster here: all results, bounded graphs, retries, named tasks."""

import asyncio
import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import pytest
from distributed import Client, Future

from fadae.cluster import bags, cluster_mapper
from fadae.cluster.bags import map_bag
from fadae.cluster.client import connect
from fadae.errors import TransientError, UsageError
from fadae.store.location import Location
from tests.cluster import work


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with connect(None, 2, Location(str(tmp_path_factory.mktemp("workspace")))) as client:
        yield client


def test_every_value_has_its_result(client: Client) -> None:
    results = map_bag(client, work.square, range(100), label="square", partition_size=7)
    assert sorted(results) == [n * n for n in range(100)]


def test_no_values_give_no_results(client: Client) -> None:
    assert list(map_bag(client, work.square, [], label="square")) == []


def test_values_that_look_like_tasks_stay_values(client: Client) -> None:
    value = (len, "hello", ["a", ("b", 0)])
    assert list(map_bag(client, work.identity, [value], label="identity")) == [value]


def test_values_are_drawn_as_needed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bags, "PARTITIONS_A_BAG", 10)
    counter = itertools.count()
    drawn = (next(counter) for _ in range(10_000))
    results = map_bag(client, work.square, drawn, label="square")
    for _ in range(5):
        next(results)
    assert next(counter) <= 30
    results.close()  # type: ignore[attr-defined]  # a generator, told as an iterator


def test_the_next_bag_is_sent_before_workers_run_out_of_the_last(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bags, "PARTITIONS_A_BAG", 3)
    counter = itertools.count()
    drawn = (next(counter) for _ in range(10_000))
    results = map_bag(client, work.square, drawn, label="ahead")
    next(results)
    assert next(counter) > 3
    results.close()  # type: ignore[attr-defined]


def held(client: Client, label: str) -> list[tuple[str, int]]:
    """The keys of a stage's tasks that the client wants, once it has done what it was told to."""
    client.sync(asyncio.sleep, 0)
    return [key for key in list(client.futures) if label in str(key)]


def test_a_result_that_is_handed_on_is_let_go(client: Client) -> None:
    results = map_bag(client, work.square, range(9), label="handed on")
    for left in reversed(range(9)):
        next(results)
        assert len(held(client, "handed on")) == left


@pytest.fixture
def waiting(client: Client, tmp_path: Path) -> Iterator[Callable[[str], Iterator[str]]]:
    """Start a stage of nine tasks: one is done, the others wait for the end of the test."""

    def start(label: str) -> Iterator[str]:
        gates = [str(tmp_path / "gate")] * 9
        results = map_bag(client, work.all_wait_but_the_first, gates, label=label)
        assert next(results) == "the first"
        assert len(held(client, label)) == 8
        return results

    yield start
    (tmp_path / "gate").touch()


def test_what_nobody_waits_for_is_not_worked_on(
    client: Client, waiting: Callable[[str], Iterator[str]]
) -> None:
    waiting("left alone").close()  # type: ignore[attr-defined]
    assert held(client, "left alone") == []


def test_a_scheduler_that_forgets_the_tasks_is_lost(
    client: Client, waiting: Callable[[str], Iterator[str]]
) -> None:
    results = waiting("forgotten")
    client.cancel([Future(key, client) for key in held(client, "forgotten")])
    with pytest.raises(TransientError, match="forgotten: lost the Dask scheduler"):
        list(results)


def test_tasks_are_named_in_the_dashboard(client: Client) -> None:
    list(map_bag(client, work.square, range(3), label="a stage of mine"))
    prefixes = client.run_on_scheduler(work.task_prefixes)
    assert "a stage of mine" in prefixes


def test_a_failing_task_is_tried_again(client: Client, tmp_path: Path) -> None:
    assert list(map_bag(client, work.fails_twice, [str(tmp_path)], label="flaky")) == ["done"]


def test_a_bug_in_the_function_is_raised(client: Client) -> None:
    with pytest.raises(ZeroDivisionError, match="number 1"):
        list(map_bag(client, work.always_fails, [1], label="bug", retries=0))


def test_a_worker_lost_with_a_task_costs_nothing(client: Client, tmp_path: Path) -> None:
    values = [str(tmp_path / f"{n}") for n in range(5)]  # more losses than Dask's default allows
    results = map_bag(client, work.kills_its_worker_once, values, label="killer")
    assert list(results) == ["survived"] * 5


def test_functions_that_workers_cannot_import_are_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="cannot import"):
        list(map_bag(client, lambda value: value, [1], label="lambda"))


def test_partitions_stay_few_and_bags_small_for_any_corpus() -> None:
    for total in (None, 1_000_000):
        made = list(bags._bags(iter(range(1_000_000)), None, total))
        assert sum(len(bag) for bag in made) <= 20_000
        assert max(len(bag) for bag in made) <= 500
        assert max(sum(map(len, bag)) for bag in made) <= 5_000
        assert sum(len(part) for bag in made for part in bag) == 1_000_000


def test_a_bag_that_fills_slowly_is_sent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bags, "FILLING_SECONDS", 0.0)
    assert next(bags._bags(iter(range(100)), None, None)) == [[0]]


def test_memory_serves_threads_of_this_process() -> None:
    location = Location("memory://bags")
    location.write_bytes("here", b"")
    with connect(None, 2, location) as client:
        look = functools.partial(work.exists, location.url)
        assert list(map_bag(client, look, ["here", "there"], label="look", partition_size=2)) == [
            True,
            False,
        ]
    with pytest.raises(UsageError, match="this process only"), connect("tcp://x:1", 1, location):
        pass


def test_a_worker_lost_while_the_cluster_starts_or_is_checked_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is lost as it starts, the next as it looks for the workspace."""
    (tmp_path / "workspace").mkdir()
    starting, looking = tmp_path / "starting", tmp_path / "looking"
    preload = f"import tests.cluster.work as w; w.kills_its_worker_once({str(starting)!r})"
    look = functools.partial(work.looks_or_dies, str(looking))
    monkeypatch.setattr("fadae.cluster.client.read_token", look)
    location = Location(str(tmp_path / "workspace"))
    with (
        dask.config.set({"distributed.worker.preload": [preload]}),
        connect(None, 1, location) as client,
    ):
        assert sorted(map_bag(client, work.square, [1, 2], label="square")) == [1, 4]
    assert starting.exists() and looking.exists()


def test_a_missing_scheduler_is_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fadae.cluster.client.CONNECT_SECONDS", 0.5)
    location = Location(str(tmp_path))
    with pytest.raises(TransientError, match="no Dask scheduler answers"):
        connect("tcp://127.0.0.1:9", 1, location).__enter__()
    with pytest.raises(UsageError, match="not a scheduler address"):
        connect("what://is this", 1, location).__enter__()


def test_one_unit_of_work_is_done_here_unless_a_cluster_is_given(
    client: Client, tmp_path: Path
) -> None:
    location, own = Location(str(tmp_path)), os.getpid()
    with cluster_mapper(location, None, 2) as mapper:
        assert list(mapper(work.process_id, iter([1]), label="one")) == [own]
        assert list(mapper(work.process_id, [], label="none")) == []
    assert client.scheduler is not None
    with cluster_mapper(location, client.scheduler.address, None) as mapper:
        assert list(mapper(work.process_id, [1], label="one")) != [own]


def test_one_unit_of_work_loads_no_dask(tmp_path: Path) -> None:
    """A cluster takes two seconds to start, which a single file can do without."""
    code = (
        "import sys\nfrom fadae.cluster import ClusterSemaphore, cluster_mapper\n"
        "from fadae.store import Location\n"
        f"with cluster_mapper(Location({str(tmp_path)!r}), None, None) as mapper:\n"
        "    with ClusterSemaphore('turns', 1)():\n"
        "        print(*mapper(abs, [-7], label='one'))\n"
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (child.returncode, child.stdout) == (0, "7\n"), child.stderr
