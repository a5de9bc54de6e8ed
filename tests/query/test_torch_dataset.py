"""The data set for PyTorch: each row once over workers and ranks, in one order, resumable."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed
from torch.utils.data import DataLoader

import fadae
from fadae.errors import NoInputError, UsageError
from fadae.query.torch_dataset import FrameDataset
from fadae.query.workspace import Workspace
from fadae.stages.reconstruct import reconstruct
from fadae.store.location import Location
from tests.forks import forking
from tests.s3 import S3Server
from tests.synthetic import music, write_features, write_run

IDS = [f"item {i}/take {i}.ogg" for i in range(6)]
AGAIN = "again/the same.ogg"


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Location:
    location = Location(str(tmp_path_factory.mktemp("workspace")))
    pcm = {name: music(12 + 7 * i, seed=i) for i, name in enumerate(IDS)}
    write_features(location, pcm | {AGAIN: pcm[IDS[2]]}, same_as={AGAIN: IDS[2]})
    write_run(location, holdout=0.4)
    write_run(location, "unmade", seed=3, holdout=0.4)
    reconstruct(location, "default")
    return location


@pytest.fixture
def workspace(location: Location) -> Workspace:
    return fadae.open(location.url)


def rows_of(workspace: Workspace, batches: Iterable[Any]) -> list[int]:
    """The rows of the store that batches of single rows hold, in their order."""
    starts = {one.id: one.frame_start for one in workspace.recordings}
    hop = workspace.hop_seconds
    return [
        starts[name] + round(seconds / hop)
        for batch in batches
        for name, seconds in zip(batch["recording"], batch["start_seconds"].tolist(), strict=True)
    ]


def all_rows(workspace: Workspace) -> list[int]:
    own = [one for one in workspace.recordings if one.same_as < 0]
    return [row for one in own for row in range(one.frame_start, one.frame_start + one.frame_count)]


def loaded(dataset: FrameDataset, workers: int, **options: Any) -> DataLoader[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more workers than cores
        return DataLoader(
            dataset,
            batch_size=None,
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
            **options,
        )


def test_each_row_comes_once_over_two_workers_of_two_ranks(workspace: Workspace) -> None:
    seen = Counter[int]()
    sizes = []
    for rank in range(2):
        part = workspace.torch("codes", batch_size=16, rank=rank, world_size=2)
        batches = list(loaded(part, 2))
        seen.update(rows_of(workspace, batches))
        sizes.append([len(batch["codes"]) for batch in batches])
    assert seen == Counter(all_rows(workspace))
    # Ranks that average their gradients wait for each other: they have as many batches.
    assert len(sizes[0]) == len(sizes[1])
    assert all(abs(a - b) <= 1 for a, b in zip(*sizes, strict=True))


def test_forked_workers_read_a_bucket(workspace: Workspace, s3: S3Server) -> None:
    bucket = Location(f"{s3.url}/torch", s3.storage_options)
    for path in workspace.location.found_below(""):
        bucket.write_bytes(path, workspace.location.read_bytes(path))
    far = fadae.open(bucket.url, s3.storage_options)
    assert len(far.recordings) == len(workspace.recordings)  # this process has an event loop
    found = rows_of(far, loaded(far.torch("codes", batch_size=16), 2))
    assert found == rows_of(workspace, workspace.torch("codes", batch_size=16))


@pytest.mark.parametrize("what", ["features", "codes", "audio"])
def test_a_batch_holds_the_rows_that_it_names(workspace: Workspace, what: Any) -> None:
    batch = next(iter(workspace.torch(what, batch_size=8)))
    for name, seconds, values in zip(
        batch["recording"], batch["start_seconds"].tolist(), batch[what].numpy(), strict=True
    ):
        span = (seconds + 0.01, seconds + 0.02)
        if what == "audio":
            rest = workspace.audio(name, (seconds, None))[: len(values)]
            np.testing.assert_array_equal(values[: len(rest)], rest)
            assert not values[len(rest) :].any()
        elif what == "codes":
            np.testing.assert_array_equal(values, workspace.codes(name, span, "default").values[0])
        else:
            np.testing.assert_array_equal(values, workspace.coefficients(name, span)[0])
    if what == "codes":
        assert len(batch["scale"]) == 8


def test_the_order_is_that_of_the_seed_and_epoch_whatever_the_workers(
    workspace: Workspace,
) -> None:
    def order(seed: int, epoch: int, workers: int = 0) -> list[int]:
        dataset = workspace.torch("audio", batch_size=16, seed=seed)
        dataset.set_epoch(epoch)
        return rows_of(workspace, loaded(dataset, workers))

    first = order(1, 0)
    assert order(1, 0) == order(1, 0, 2) == order(1, 0, 4) == first
    assert order(1, 1) != first
    assert order(2, 0) != first
    assert sorted(order(1, 0, 3)) == sorted(first)  # another order, the same rows


def test_workers_that_stay_follow_the_epoch(workspace: Workspace) -> None:
    dataset = workspace.torch("audio", batch_size=16)
    staying = loaded(dataset, 2, persistent_workers=True)
    found = []
    for epoch in (0, 3):
        dataset.set_epoch(epoch)
        found.append(rows_of(workspace, staying))
    dataset.set_epoch(3)
    assert found[1] == rows_of(workspace, dataset)
    assert found[0] != found[1]


@pytest.mark.parametrize(("workers", "batch_size"), [(0, 16), (0, None), (2, 16)])
def test_a_loader_goes_on_inside_an_epoch(
    workspace: Workspace, workers: int, batch_size: int | None
) -> None:
    loaders = pytest.importorskip("torchdata.stateful_dataloader")

    def opened() -> Any:
        dataset = workspace.torch("codes", split="train", batch_size=batch_size, seed=5)
        dataset.set_epoch(2)
        context = "fork" if workers else None
        return loaders.StatefulDataLoader(
            dataset, batch_size=None, num_workers=workers, multiprocessing_context=context
        )

    def told(batches: Iterable[Any]) -> list[tuple[Any, Any]]:
        found = ((one["recording"], one["start_seconds"]) for one in batches)
        return [(a, b if isinstance(b, float) else b.tolist()) for a, b in found]

    whole = told(opened())
    for given in (len(whole) // 2, len(whole) - 1):
        begun = opened()
        batches: Iterator[Any] = iter(begun)
        for _ in range(given):
            next(batches)
        state = begun.state_dict()
        del batches
        going_on = opened()
        going_on.load_state_dict(state)
        assert told(going_on) == whole[given:]
        assert told(going_on) == whole  # the next epoch is a whole one


def test_a_state_of_another_data_set_is_refused(workspace: Workspace) -> None:
    dataset = workspace.torch("codes", batch_size=16)
    next(iter(dataset))
    state = dataset.state_dict()
    for other in (
        workspace.torch("codes", batch_size=16, seed=1),
        workspace.torch("codes", batch_size=16, split="train"),
        workspace.torch("codes", batch_size=16, rank=1, world_size=2),
    ):
        with pytest.raises(UsageError, match="state is of another data set"):
            other.load_state_dict(state)


def test_stretches_are_rows_in_a_row_of_one_recording(workspace: Workspace) -> None:
    batches = list(workspace.torch("features", seconds=2.0, batch_size=4))
    seen = Counter[int]()
    starts = {one.id: one for one in workspace.recordings}
    for batch in batches:
        assert batch["features"].shape[1:] == (6, 8192)
        for values, name, seconds, length in zip(
            batch["features"].numpy(),
            batch["recording"],
            batch["start_seconds"].tolist(),
            batch["length"].tolist(),
            strict=True,
        ):
            recording, first = starts[name], round(seconds / workspace.hop_seconds)
            row = recording.frame_start + first
            assert first + length <= recording.frame_count
            assert length == 6 or first + length == recording.frame_count
            stored = workspace.coefficients(name)[first : first + length]
            np.testing.assert_array_equal(values[:length], stored)
            assert not values[length:].any()
            seen.update(range(row, row + length))
    assert seen == Counter(all_rows(workspace))


def test_stretches_of_audio_are_samples_in_a_row(workspace: Workspace) -> None:
    for batch in workspace.torch("audio", seconds=2.0, batch_size=8, split="holdout"):
        for samples, name, seconds in zip(
            batch["audio"].numpy(), batch["recording"], batch["start_seconds"].tolist(), strict=True
        ):
            heard = workspace.audio(name, (seconds, None))[: len(samples)]
            np.testing.assert_array_equal(samples[: len(heard)], heard)


def test_the_split_is_that_of_the_run(workspace: Workspace) -> None:
    split = workspace.split("default")
    held_out = rows_of(workspace, workspace.torch("codes", split="holdout", batch_size=16))
    trained = rows_of(workspace, workspace.torch("audio", split="train", run="default"))
    every = len(all_rows(workspace))
    assert sorted(held_out) == split.held_out_rows.within(0, 10**6).tolist()
    assert sorted(trained) == split.trained_rows.within(0, 10**6).tolist()
    assert 0 < len(held_out) < every
    assert len(held_out) + len(trained) == every


def test_without_a_run_the_split_is_that_of_a_new_one(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {name: music(8, seed=i) for i, name in enumerate(IDS)})
    workspace = fadae.open(location.url)
    before = rows_of(workspace, workspace.torch("audio", split="holdout"))
    write_run(location, holdout=fadae.TrainConfig().holdout)
    after = fadae.open(location.url)
    assert 0 < len(before) < len(all_rows(after))
    assert sorted(before) == after.split().held_out_rows.within(0, 10**6).tolist()
    with pytest.raises(NoInputError, match="no such rows"):
        after.torch("features", split="unseen")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"what": "code"}, "no kind of row 'code'; nearest: 'codes'"),
        ({"split": "test"}, "no split 'test'"),
        ({"run": "defualt"}, "no run 'defualt'; nearest: 'default'"),
        ({"what": "codes", "run": "unmade"}, "fadae reconstruct --run unmade"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"rank": 0}, "rank and world_size go together"),
        ({"rank": 2, "world_size": 2}, "rank must be from 0 to world_size - 1"),
    ],
)
def test_what_cannot_be_given_is_told(
    workspace: Workspace, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        workspace.torch(**({"split": "train"} | options))


def _as_rank(url: str, rank: int, store: str, told: Any) -> None:
    workspace = fadae.open(url)
    early = workspace.torch("audio", batch_size=16)
    torch.distributed.init_process_group(
        "gloo", rank=rank, world_size=2, init_method=f"file://{store}"
    )
    try:
        next(iter(early))
    except UsageError as error:
        told.put((rank, str(error), rows_of(workspace, workspace.torch("audio", batch_size=16))))
    torch.distributed.destroy_process_group()


def test_ranks_are_those_of_the_process_group(workspace: Workspace, tmp_path: Path) -> None:
    context = forking()
    told = context.SimpleQueue()
    ranks = [
        context.Process(
            target=_as_rank, args=(workspace.location.url, rank, str(tmp_path / "store"), told)
        )
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    for rank, error, rows in (told.get(), told.get()):
        assert "came up after the data set" in error
        alone = workspace.torch("audio", batch_size=16, rank=rank, world_size=2)
        assert rows == rows_of(workspace, alone)
