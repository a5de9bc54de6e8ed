"""The workspace: slices by time and band are exact, lazy, and cost few requests."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr.storage
from hypothesis import given, settings
from hypothesis import strategies as st

import fadae
from fadae.audio.pcm import from_pcm
from fadae.errors import NoInputError, UsageError
from fadae.query.selection import hop_rows, sample_span
from fadae.query.sizes import sizes_of
from fadae.query.workspace import Workspace
from fadae.records import Commit, Failure, FailureClass, Track
from fadae.similarity import SEGMENTS, packs_of
from fadae.stages.reconstruct import reconstruct
from fadae.store import paths
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import FEATURES, commit_path
from fadae.store.staging import write_commit
from tests.synthetic import RATE_HZ, music, write_features, write_run

LONG, SHORT, AGAIN = "aria/long one?#.ogg", "aria/short.ogg", "tocata/ü.ogg"
HOP = 3750


@pytest.fixture(scope="module")
def pcm() -> dict[str, Any]:
    short = music(9.3, seed=1)
    return {SHORT: short, LONG: music(360, seed=2), AGAIN: short}


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory, pcm: dict[str, Any]) -> Location:
    location = Location(str(tmp_path_factory.mktemp("workspace")))
    titles = {SHORT: "Aria da capo", AGAIN: "Die Kunst der Fuge"}
    write_features(location, pcm, same_as={AGAIN: SHORT}, titles=titles)
    write_run(location)
    write_run(location, "unmade", seed=3)
    reconstruct(location, "default")
    return location


@pytest.fixture
def workspace(location: Location) -> Workspace:
    return fadae.open(location.url)


@given(start=st.floats(0, 350, allow_nan=False), length=st.floats(1e-3, 30, allow_nan=False))
@settings(max_examples=300, deadline=None)
def test_spans_hold_exactly_the_samples_and_hops_asked_for(start: float, length: float) -> None:
    stop, samples = start + length, 360 * RATE_HZ
    span = sample_span(slice(start, stop), RATE_HZ, samples)
    assert span.start == round(start * RATE_HZ)
    assert span.count == min(round((stop - start) * RATE_HZ), samples - span.start)
    frames = -(-samples // HOP) + 1
    first, last = hop_rows(slice(start, stop), RATE_HZ, HOP, frames)
    overlapping = [
        j for j in range(frames) if j * HOP / RATE_HZ < stop and (j + 1) * HOP / RATE_HZ > start
    ]
    assert list(range(first, last)) == overlapping


def test_original_audio_is_the_pcm_to_the_sample(workspace: Workspace, pcm: Any) -> None:
    assert np.array_equal(workspace.audio(LONG), from_pcm(pcm[LONG]))
    part = workspace.audio(LONG, seconds=slice(1, 3))
    assert part.dtype == np.float32
    assert np.array_equal(part, from_pcm(pcm[LONG][RATE_HZ : 3 * RATE_HZ]))
    assert np.array_equal(workspace.audio(AGAIN, (2, None)), workspace.audio(SHORT, (2, None)))
    assert len(workspace.audio(SHORT, slice(9, 100))) == len(pcm[SHORT]) - 9 * RATE_HZ


def test_a_slice_of_any_source_is_the_slice_of_the_whole(workspace: Workspace) -> None:
    for source in ("transform", "default", "unmade"):
        for start, stop in ((0, 0.5), (8.7, 9.3), (3.3, 5.1)):
            whole = workspace.audio(SHORT, source=source)
            part = workspace.audio(SHORT, slice(start, stop), source)
            first = round(start * RATE_HZ)
            np.testing.assert_allclose(part, whole[first : first + len(part)], atol=2e-6)


def test_transform_audio_is_the_transforms_own_synthesis(workspace: Workspace, pcm: Any) -> None:
    whole = workspace.transform.synthesize(
        workspace.transform.analyze(from_pcm(pcm[LONG])), length=len(pcm[LONG])
    )
    # Row 1024 lies here: the slice crosses the border of two blocks.
    at = (1024 - workspace.recording(LONG).frame_start) * HOP / RATE_HZ
    first = round((at - 1) * RATE_HZ)
    part = workspace.audio(LONG, slice(at - 1, at + 1), "transform")
    np.testing.assert_allclose(part, whole[first : first + len(part)], atol=2e-3)


def test_a_band_range_is_heard_alone(workspace: Workspace) -> None:
    both = workspace.audio(SHORT, hz=slice(400, 900), source="transform")
    spectrum = np.abs(np.fft.rfft(both)) ** 2
    hz = np.fft.rfftfreq(len(both), 1 / RATE_HZ)
    inside = spectrum[(hz > 380) & (hz < 920)].sum()
    assert inside > 0.999 * spectrum.sum()
    assert np.array_equal(both, workspace.audio(SHORT, hz=slice(400, 900)))


def test_select_gives_overlapping_hops_and_bands(workspace: Workspace) -> None:
    chosen = workspace.select(LONG, seconds=slice(1, 3), hz=slice(400, 900))
    time = chosen["frame_time"].to_numpy()
    assert time[0] <= 1 < time[0] + HOP / RATE_HZ
    assert time[-1] < 3 <= time[-1] + HOP / RATE_HZ
    low, high = chosen["band_low_hz"].to_numpy(), chosen["band_high_hz"].to_numpy()
    assert ((low < 900) & (high > 400)).all()
    bands = chosen["coefficient_band"].to_numpy()
    transform = workspace.transform
    everywhere = (transform.band_low_hz < 900) & (transform.band_high_hz > 400)
    assert set(bands) == set(np.flatnonzero(everywhere))
    whole = workspace.features["features"]
    first = workspace.recording(LONG).frame_start + round(time[0] * RATE_HZ / HOP)
    columns = np.isin(transform.coefficient_band, bands)
    expected = whole[first : first + len(time)].to_numpy()[:, columns]
    assert np.array_equal(chosen["features"].to_numpy(), expected)


def test_a_slice_in_time_of_an_encoding_is_an_encoding(workspace: Workspace) -> None:
    encoding = workspace.select(SHORT, source="default")
    whole = workspace.decode(encoding)
    part = encoding.sel(frame_time=slice(2, 4))
    first = int(np.searchsorted(encoding["frame_time"], 2))
    np.testing.assert_allclose(
        workspace.decode(part), whole[first : first + part.sizes["frame"]], atol=1e-6
    )
    codes = workspace.codes(SHORT, (2, 4))
    assert codes.time_seconds[0] <= 2 < codes.time_seconds[1]
    np.testing.assert_allclose(codes.values, workspace.codes(SHORT).between(2, 4).values, atol=1e-6)
    made_now = workspace.codec("unmade").encode(workspace.select(SHORT)["features"].to_numpy())
    np.testing.assert_allclose(
        workspace.codes(SHORT, run="unmade").values, made_now.values, atol=1e-6
    )


def test_pictures_put_a_tone_where_it_sounds(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    time = np.arange(6 * RATE_HZ) / RATE_HZ
    tone = 0.4 * np.sin(2 * np.pi * 1000 * time) * ((time > 2) & (time < 4))
    write_features(location, {"a/tone.ogg": np.rint(tone * 32767).astype(np.int16)})
    workspace = fadae.open(location.url)
    picture = workspace.rasterize("a/tone.ogg", seconds=slice(1, 5))
    band, column = np.unravel_index(int(picture.to_numpy().argmax()), picture.shape)
    assert abs(float(picture["band_centre_hz"][band]) - 1000) < 20
    assert 1.9 < float(picture["time"][column]) < 4.1
    near = picture.sel(time=slice(2.2, 3.8)).to_numpy()[band].mean()
    assert near > 4 * picture.sel(time=slice(1.0, 1.6)).to_numpy()[band].mean()
    assert picture.to_numpy().min() >= 0 and picture.to_numpy().max() <= 1


class CountingStore(zarr.storage.WrapperStore[Any]):
    """Counts what is read of each array."""

    reads: ClassVar[Counter[str]] = Counter()
    bytes_read: ClassVar[Counter[str]] = Counter()

    async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
        found = await self._store.get(key, *arguments, **options)
        if "/c/" in key:
            array = key.split("/")[0]
            self.reads[array] += 1
            self.bytes_read[array] += 0 if found is None else len(found)
        return found


@pytest.fixture
def counted(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace that counts; its table of recordings is read before."""
    plain = Location.zarr_store
    monkeypatch.setattr(Location, "zarr_store", lambda *a, **o: CountingStore(plain(*a, **o)))
    workspace.recording(LONG)
    CountingStore.reads.clear()
    CountingStore.bytes_read.clear()
    yield workspace


@pytest.mark.parametrize("source", ["original", "transform", "default"])
@pytest.mark.parametrize("start", [0.0, 21.3, 327.7, 344.8])  # of a chunk's border, and a block's
def test_a_second_reads_at_most_two_chunks_of_an_array(
    counted: Workspace, source: str, start: float
) -> None:
    counted.audio(LONG, slice(start, start + 1), source)
    # A chunk of a shard costs two requests: the shard's index and the chunk.
    assert 0 < sum(counted_reads := list(CountingStore.reads.values())) <= 4, CountingStore.reads
    assert len(counted_reads) == 1
    assert sum(CountingStore.bytes_read.values()) < 2.3e6


def test_selecting_reads_nothing_but_times(counted: Workspace) -> None:
    chosen = counted.select(LONG, slice(100, 101), slice(400, 900))
    assert set(CountingStore.reads) <= {"frame_time"}
    chosen["features"].to_numpy()
    assert CountingStore.reads["features"] <= 4
    assert CountingStore.reads["frame_time"] <= 2


def test_plain_xarray_and_dask_open_the_store(location: Location, pcm: Any) -> None:
    opened = xr.open_zarr(location.full("features.zarr"))
    assert isinstance(opened["features"].data, dask.array.Array)
    assert opened["audio"][1, 5] == pytest.approx(pcm[SHORT][HOP + 5] / 32768)
    array = dask.array.from_zarr(location.full("features.zarr"), component="features")
    assert array.shape == opened["features"].shape
    made = xr.open_zarr(location.full("reconstructions/default.zarr"))
    assert made["encoded"].dims == ("frame", "code")
    assert {"units", "long_name"} <= set(made["recording_snr_db"].attrs)


def test_recordings_are_found_by_words_and_near_names(workspace: Workspace) -> None:
    assert [found.id for found in workspace.search("KUNST fuge")] == [AGAIN]
    assert [found.id for found in workspace.search("bach", limit=2)] == [SHORT, LONG]
    assert workspace.search("no such words") == []
    assert workspace.recordings[-1].same_as == workspace.recording(SHORT).row
    assert [one.row for one in workspace.recordings] == [0, 1, 2]
    with pytest.raises(UsageError, match=r"nearest: 'aria/short\.ogg'"):
        workspace.audio("aria/shrot.ogg")
    with pytest.raises(UsageError, match="no run 'defalt'; nearest: 'default'"):
        workspace.audio(SHORT, source="defalt")
    with pytest.raises(UsageError, match="fadae reconstruct --run unmade"):
        workspace.select(SHORT, source="unmade")
    for seconds in (slice(3, 1), slice(-1, 2), slice(0, 1, 2), slice(50, 60), (2, 2)):
        with pytest.raises(UsageError):
            workspace.audio(SHORT, seconds)
    with pytest.raises(UsageError, match="no band overlaps"):
        workspace.select(SHORT, hz=slice(4000, 5000))


def test_a_run_without_reconstructions_is_heard_and_read_all_the_same(
    workspace: Workspace,
) -> None:
    whole = workspace.codec("unmade").reconstruct(workspace.select(SHORT)["features"].to_numpy())
    bands = workspace.select(SHORT, hz=slice(400, 900))["features"].to_numpy()
    part = workspace.coefficients(SHORT, (2, 4), slice(400, 900), "unmade")
    rows = slice(*hop_rows((2, 4), RATE_HZ, HOP, len(whole)))
    columns = np.isin(
        workspace.transform.coefficient_band,
        workspace.select(SHORT, hz=slice(400, 900))["coefficient_band"],
    )
    np.testing.assert_allclose(part, whole[rows][:, columns], atol=1e-6)
    for source in ("original", "default"):
        stored = workspace.select(SHORT, (2, 4), source=source)["features"].to_numpy()
        assert np.array_equal(workspace.coefficients(SHORT, (2, 4), source=source), stored)
    assert part.shape[1] == bands.shape[1]


def test_no_run_named_means_the_one_there_is(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(5, seed=1)})
    write_run(location, "only")
    assert reconstruct(location)["run"] == "only"
    workspace = fadae.open(location.url)
    assert workspace.codec() is workspace.codec("only")
    assert workspace.reconstruction().attrs["run"] == "only"
    assert np.array_equal(workspace.scores()["nmse_db"], workspace.scores("only")["nmse_db"])
    assert len(workspace.generate(seconds=1.0)) == RATE_HZ
    assert workspace.codes(SHORT).values.shape[1] == 16 and workspace.metrics()


def test_info_counts_recordings_failures_and_runs(location: Location) -> None:
    for number, kind in enumerate((FailureClass.TRANSIENT, FailureClass.PERMANENT)):
        track = Track("x", f"{number}.ogg")
        write_commit(location, Commit(track, failure=Failure(track.id, kind, "because")))
    rows = FrameStore.open(location, FEATURES).rows
    for path in (paths.print_path(0), SEGMENTS.path(0, packs_of(rows)[0]), paths.FORGOTTEN_ROWS):
        location.write_bytes(path, b"derived")
    info = fadae.open(location.url).info()
    assert info["recordings"] == {"ok": 3, "failed": 1, "quarantined": 1}
    assert info["failures"][1] == {"id": "x/1.ogg", "class": "permanent", "reason": "because"}
    assert (info["runs"], info["reconstructions"]) == (["default", "unmade"], ["default"])
    seconds = 360 + 9.3  # the same PCM counts once
    assert info["audio_seconds"] == pytest.approx(seconds, abs=0.01)
    files = [path for path in Path(location.url).rglob("*") if path.is_file()]
    assert info["sizes"].pop("total") == sum(path.stat().st_size for path in files)
    assert info["sizes"] == {
        name: sum(p.stat().st_size for p in files if lies_in(p.relative_to(location.url), name))
        for name in info["sizes"]
    }
    assert info["sizes"]["similarity"] == 14
    assert {"staging", "features", "audio", "recordings", "runs", "reconstructions"} <= set(
        info["sizes"]
    )
    assert info["sizes_estimated"] == []
    for path in ("staging", paths.PRINTS, paths.SEGMENTS, paths.FORGOTTEN_ROWS):
        location.delete(path)


def lies_in(path: Path, part: str) -> bool:
    """Whether a file of a workspace belongs to a part of its sizes."""
    top, below = path.parts[0], (*path.parts, "")[1]
    if top == "features.zarr" and {"prints", "segments"} & set(path.parts):
        return part == "similarity"
    if top == "features.zarr":
        return part == (below if below in ("features", "audio") else "recordings")
    return part == ("checkpoints" if "checkpoints" in path.parts else top)


def test_sizes_of_much_are_told_by_a_sample(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    for number in range(1000):
        path = tmp_path / commit_path(f"a/{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 800)
    write_features(location, {"a/0": music(1.0)})
    store = FrameStore.open(location, FEATURES)
    for block in range(200):  # alike, but for one in ten
        path = tmp_path / store.block_path("features", block)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * (1000 if block % 10 else 500))
    store = store.publish(200 * 1024, 1)
    parts = {part.name: part for part in sizes_of(location, store, 100_000)}
    assert {name for name, part in parts.items() if not part.exact} == {
        "staging",
        "features",
        "audio",
        "recordings",
    }
    assert parts["staging"].size_bytes == pytest.approx(800_000, rel=0.3)
    assert parts["features"].size_bytes == pytest.approx(200 * 0.95 * 1000, rel=0.05)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no workspace at"):
        fadae.open(str(tmp_path / "nowhere"))
    (tmp_path / "runs").mkdir()
    empty = fadae.open(str(tmp_path))
    assert empty.info()["frames"] == 0
    with pytest.raises(NoInputError, match="fadae extract"):
        _ = empty.features


def test_the_workspace_loads_no_torch() -> None:
    code = "import sys, fadae.query.workspace; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
