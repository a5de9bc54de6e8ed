"""Reconstruct: the same bytes however it was interrupted, right across shard borders, scored."""

from __future__ import annotations

import functools
import hashlib
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fadae
from fadae import scores
from fadae.errors import NoInputError, TransientError, UsageError
from fadae.model.companding import compand
from fadae.records import finite
from fadae.stages import resynthesis
from fadae.stages.reconstruct import ReconstructTask, reconstruct, reconstruct_shard
from fadae.store.features import NO_SAMPLE, FeatureSet
from fadae.store.frames import FrameStore
from fadae.store.location import Location
from fadae.store.paths import FEATURES, reconstruction_path
from fadae.store.reconstruction import SUMS
from fadae.summaries import ReconstructSummary
from fadae.transform.adaptive import MODEL_FLOOR
from tests.forks import forking
from tests.store.driver import die_at
from tests.synthetic import music, write_features, write_run

LONG, SHORT, AGAIN = "a/long one.ogg", "a/short.ogg", "b/again.ogg"


def prepare(folder: Path) -> Location:
    """Two blocks: `LONG` crosses their border, `AGAIN` has the samples of `SHORT`."""
    location = Location(str(folder))
    short = music(9.3, seed=1)
    write_features(
        location, {SHORT: short, LONG: music(360, seed=2), AGAIN: short}, same_as={AGAIN: SHORT}
    )
    write_run(location)
    return location


def objects(location: Location) -> dict[str, str]:
    """Return the hash of every object of the reconstructions."""
    root = Path(location.full("reconstructions"))
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Location, ReconstructSummary]:
    location = prepare(tmp_path_factory.mktemp("done"))
    return location, reconstruct(location)


def test_summary_names_what_was_done_and_repeats_without_work(done: Any) -> None:
    location, summary = done
    assert (summary["run"], summary["shards_written"], summary["shards_kept"]) == ("default", 2, 0)
    before = objects(location)
    again = reconstruct(location)
    assert (again["shards_written"], again["shards_kept"]) == (0, 2)
    assert {k: again[k] for k in ("frames", "nmse_db", "audio_snr_db")} == {
        k: summary[k] for k in ("frames", "nmse_db", "audio_snr_db")
    }
    assert objects(location) == before


def test_audio_and_features_are_the_codecs_across_the_border_of_shards(done: Any) -> None:
    workspace = fadae.open(done[0].url)
    for name in (SHORT, LONG):
        recording = workspace.recording(name)
        c = workspace.select(name)["features"].to_numpy().astype(np.float32)
        made = workspace.codec().reconstruct(c)
        heard = workspace.transform.synthesize(made, length=recording.samples, floor=MODEL_FLOOR)
        stored = workspace.audio(name, source="default")
        assert stored.shape == heard.shape
        assert np.abs(stored - np.clip(heard, -1, 1)).max() <= 0.51 / 32768
        kept = workspace.select(name, source="default")
        np.testing.assert_allclose(kept["features"], made, rtol=2e-3, atol=1e-6)
        np.testing.assert_allclose(kept["encoded"], workspace.codec().encode(c).values, atol=1e-5)


def distance_db(x: Any, y: Any, hop: int) -> float:
    """Return the log-spectral distance of two signals [n]: one frame in the middle of each hop."""
    hops = -(-len(x) // hop)
    window = np.hanning(2048)
    middle = slice((hop - 2048) // 2, (hop - 2048) // 2 + 2048)
    levels = []
    for samples in (x, y):
        padded = np.zeros(hops * hop)
        padded[: len(samples)] = samples
        frames = padded.reshape(hops, hop)[:, middle] * window
        power = np.abs(np.fft.rfft(frames) * 2 / window.sum()) ** 2
        levels.append(10 * np.log10(np.maximum(power, 1e-10)))
    return float(np.sqrt(np.mean((levels[0] - levels[1]) ** 2, axis=1)).mean())


def test_no_row_depends_on_the_rows_computed_with_it(done: Any) -> None:
    from fadae.model.codec import Codec
    from fadae.stages.resynthesis import resynthesize

    features = FeatureSet.open(done[0])
    codec, transform = Codec.load(done[0]), features.transform
    c = features.read("features", 0, 301)
    inside = np.ones((300, transform.hop_samples), bool)
    whole = resynthesize(codec, transform, c, inside)
    for start, stop in ((0, 1), (3, 5), (7, 264), (131, 300)):
        part = resynthesize(codec, transform, c[start : stop + 1], inside[start:stop])
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[name][start:stop], name)


def test_scores_are_those_of_whole_recordings(done: Any) -> None:
    location, summary = done
    workspace = fadae.open(location.url)
    found = workspace.scores("default")
    errors = scores.ErrorSums()
    for name in (SHORT, LONG):
        recording = workspace.recording(name)
        c = workspace.select(name)["features"].to_numpy().astype(np.float32)
        x = workspace.transform.synthesize(c, length=recording.samples)
        made = workspace.codec().reconstruct(c)
        y = workspace.transform.synthesize(made, length=recording.samples, floor=MODEL_FLOOR)
        errors += scores.ErrorSums.of(x, y)
        row = recording.row
        assert found["snr_db"][row] == pytest.approx(scores.snr_db(x, y), abs=1e-4)
        # Of a model that learned nothing, 64 dB down: float32 sums leave it that many digits.
        assert found["si_sdr_db"][row] == pytest.approx(scores.si_sdr_db(x, y), abs=0.1)
        distance = distance_db(x, y, workspace.transform.hop_samples)
        assert found["log_spectral_distance_db"][row] == pytest.approx(distance, abs=1e-3)
    assert summary["audio_snr_db"] == pytest.approx(errors.snr_db, abs=1e-4)
    short, again = workspace.recording(SHORT).row, workspace.recording(AGAIN).row
    for values in found.values():
        assert values[short] == values[again]


def pooled(workspace: Any, ids: Iterable[str], run: str = "default") -> tuple[float, float]:
    """Return NMSE (companded) and SNR over whole recordings, from what the store holds."""
    companded, audio = scores.ErrorSums(), scores.ErrorSums()
    for name in ids:
        recording = workspace.recording(name)
        c = workspace.select(name)["features"].to_numpy().astype(np.float32)
        made = workspace.codec(run).reconstruct(c)
        values, scale = compand(torch.from_numpy(c))
        codec = workspace.codec(run)
        found = codec.model.decode(codec.model.encode(values)).detach()
        sounding = scale[:, 0] > 0
        companded += scores.ErrorSums.of(values[sounding].numpy(), found[sounding].numpy())
        audio += scores.ErrorSums.of(
            workspace.transform.synthesize(c, length=recording.samples),
            workspace.transform.synthesize(made, length=recording.samples, floor=MODEL_FLOOR),
        )
    return companded.nmse_db, audio.snr_db


def test_held_out_and_trained_recordings_have_means_of_their_own(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {f"a/{n}.ogg": music(3 + n, seed=n) for n in range(4)})
    write_run(location, holdout=0.5)
    first = reconstruct(location)
    workspace = fadae.open(location.url)
    split = workspace.split("default")
    assert split.held_out and split.trained
    for side, ids in (("held_out", split.held_out), ("trained", split.trained)):
        nmse_db, snr_db = pooled(workspace, ids)
        assert first[f"{side}_nmse_db"] == pytest.approx(nmse_db, abs=1e-4)
        assert first[f"{side}_audio_snr_db"] == pytest.approx(snr_db, abs=1e-4)
    assert min(first["held_out_nmse_db"], first["trained_nmse_db"]) < first["nmse_db"]
    assert max(first["held_out_nmse_db"], first["trained_nmse_db"]) > first["nmse_db"]
    # What comes later is neither: it changes the mean over all, and no other.
    write_features(location, {"c/new.ogg": music(6, seed=9)})
    second = reconstruct(location)
    assert second["nmse_db"] != first["nmse_db"]
    for name in ("held_out_nmse_db", "trained_nmse_db", "trained_audio_snr_db"):
        assert second[name] == first[name]


def test_of_a_single_recording_the_part_held_out_is_scored_apart(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(9.3, seed=1)})
    write_run(location, holdout=0.4)
    summary = reconstruct(location)
    sums = fadae.open(location.url).reconstruction("default")["frame_sums"].to_numpy()
    split = fadae.open(location.url).split("default")
    for side, rows in (("held_out", split.held_out_rows), ("trained", split.trained_rows)):
        reference, error = sums[rows.within(0, len(sums)), :2].sum(axis=0)
        assert rows.count > 5
        assert summary[f"{side}_nmse_db"] == pytest.approx(10 * np.log10(error / reference))


def test_a_run_that_does_not_say_what_it_held_out_has_one_mean(done: Any) -> None:
    assert np.isnan(done[1]["held_out_nmse_db"]) and np.isnan(done[1]["trained_audio_snr_db"])
    assert np.isfinite(done[1]["nmse_db"])


def test_padding_holds_fill_values(done: Any) -> None:
    made = fadae.open(done[0].url).reconstruction("default")
    frames = done[1]["frames"]
    assert np.isnan(made["features"][frames:].to_numpy()).all()
    assert np.isnan(made["encoded"][frames:].to_numpy()).all()
    assert np.isnan(made["audio"][frames:].to_numpy()).all()  # _FillValue -32768
    assert np.isfinite(made["features"][:frames].to_numpy()).all()


def killed_after(
    count: int,
    function: Callable[[Any], Any],
    values: Iterable[Any],
    **options: Any,
) -> Iterator[Any]:
    for done_so_far, value in enumerate(values):
        if done_so_far == count:
            raise KeyboardInterrupt
        yield function(value)


def test_an_interrupted_run_ends_with_the_same_bytes(done: Any, tmp_path: Path) -> None:
    location = prepare(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(location, mapper=functools.partial(killed_after, 1))
    assert fadae.open(location.url).reconstructions == []  # nothing is shown half done
    summary = reconstruct(location)
    assert (summary["shards_written"], summary["shards_kept"]) == (1, 1)
    assert objects(location) == objects(done[0])
    assert summary["nmse_db"] == done[1]["nmse_db"]


def reconstruct_until(location: Location, writes: int) -> None:
    """Reconstruct, and be killed in place of the last of so many writes."""
    die_at(writes)
    reconstruct(location)


def test_a_process_killed_at_any_moment_ends_with_the_same_bytes(done: Any, tmp_path: Path) -> None:
    location = prepare(tmp_path)
    for writes in (5, 14, 9):  # while the group is made; in either block
        process = forking().Process(target=reconstruct_until, args=(location, writes))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    reconstruct(location)
    left = {name: hash_ for name, hash_ in objects(location).items() if ".partial-" not in name}
    assert left == objects(done[0])


def test_growth_adds_blocks_and_touches_none(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(9.3, seed=1)})
    write_run(location)
    first = reconstruct(location)
    shards = {p: p.stat().st_mtime_ns for p in (tmp_path / "reconstructions").rglob("c/0/*")}
    before = fadae.open(location.url).scores("default")["nmse_db"]
    write_features(location, {"c/more.ogg": music(12, seed=5)})
    second = reconstruct(location)
    assert (second["shards_written"], second["shards_kept"]) == (1, 1)
    assert second["frames"] > first["frames"]
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    workspace = fadae.open(location.url)
    after = workspace.scores("default")["nmse_db"]
    assert after[0] == before[0] and np.isfinite(after[1])
    assert len(workspace.audio("c/more.ogg", source="default")) == 12 * 11025


def test_another_model_starts_anew_and_old_tasks_write_nothing(tmp_path: Path) -> None:
    location = prepare(tmp_path)
    caught: list[ReconstructTask] = []

    def keep(function: Any, values: Iterable[Any], **options: Any) -> Iterator[Any]:
        caught.extend(values)
        return iter(())

    with pytest.raises(TransientError, match="2 blocks are missing"):
        reconstruct(location, mapper=keep)
    old = reconstruct(location)
    write_run(location, seed=1, widths=(32, 8))
    new = reconstruct(location)
    assert new["shards_written"] == 2
    assert new["model_sha256"] != old["model_sha256"]
    assert fadae.open(location.url).reconstruction("default").sizes["code"] == 8
    before = objects(location)
    with pytest.raises(TransientError, match="trained again"):
        reconstruct_shard(caught[0])
    assert objects(location) == before


def test_a_task_that_another_model_overtakes_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(9.3, seed=1)})
    write_run(location)
    real, made = resynthesis.resynthesize, list[dict[str, str]]()

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(resynthesis, "resynthesize", real)
        write_run(location, seed=1)
        reconstruct(location)
        made.append(objects(location))
        return real(*arguments)

    monkeypatch.setattr(resynthesis, "resynthesize", overtaken)
    with pytest.raises(TransientError, match="trained again"):
        reconstruct(location)
    assert made == [objects(location)]


def test_features_of_other_recordings_start_anew(tmp_path: Path) -> None:
    location = Location(str(tmp_path))
    write_features(location, {SHORT: music(9.3, seed=1)})
    write_run(location)
    reconstruct(location)
    location.delete(FEATURES)
    write_features(location, {SHORT: music(9.3, seed=5)})
    assert reconstruct(location)["shards_written"] == 1
    workspace = fadae.open(location.url)
    c = workspace.select(SHORT)["features"].to_numpy()
    kept = workspace.select(SHORT, source="default")["encoded"]
    np.testing.assert_allclose(kept, workspace.codec().encode(c).values, atol=1e-5)


def test_what_cannot_be_done_is_said(tmp_path: Path, done: Any) -> None:
    with pytest.raises(NoInputError, match="no workspace at"):
        reconstruct(Location(str(tmp_path / "empty")))
    with pytest.raises(UsageError, match="nearest: 'default'"):
        reconstruct(done[0], "defualt")
    location = Location(str(tmp_path / "untrained"))
    write_features(location, {SHORT: music(3)})
    with pytest.raises(NoInputError, match="fadae train"):
        reconstruct(location)
    write_run(location)
    with pytest.raises(UsageError, match="no device 'cuda'"):
        reconstruct(location, device="cuda")


def test_damaged_frames_count_in_no_score(tmp_path: Path, done: Any) -> None:
    """Lost features are left out of the log-spectral distance's mean, not counted as 0 dB."""
    location = prepare(tmp_path)
    features = FrameStore.open(location, FEATURES)
    block = {name: features.read_block(name, 0) for name in features.frame_names}
    lost = slice(100, 400)
    block["features"][lost] = np.nan
    features.write_block(0, block, "synthetic")
    reconstruct(location)
    made = FrameStore.open(location, reconstruction_path("default"))
    sums, table = made.read("frame_sums"), FeatureSet.open(location).recordings
    row = table.index(LONG)
    hops = -(-int(table.samples[row]) // 3750)
    own = sums[int(table.frame_start[row]) :][:hops, SUMS.index("log_spectral_distance_db")]
    assert 300 <= np.isnan(own).sum() <= 302
    hop = int(table.frame_start[row]) + 200
    assert (made.read("audio", hop, hop + 1) == NO_SAMPLE).all()
    score = made.read("recording_log_spectral_distance_db")[row]
    assert score == pytest.approx(np.nanmean(own))
    undamaged = FrameStore.open(done[0], reconstruction_path("default"))
    assert made.attrs["totals"]["hops"] == undamaged.attrs["totals"]["hops"] - np.isnan(own).sum()


def test_a_store_without_a_count_of_hops_still_gives_its_scores(tmp_path: Path, done: Any) -> None:
    location, summary = done
    shutil.copytree(location.url, tmp_path / "old")
    old = Location(str(tmp_path / "old"))
    store = FrameStore.open(old, reconstruction_path("default"))
    totals = {name: value for name, value in store.attrs["totals"].items() if name != "hops"}
    store.publish(store.rows, store.recording_rows, {"totals": totals})
    kept = {**summary, "shards_written": 0, "shards_kept": 2}
    assert finite(dict(reconstruct(old))) == finite(
        kept
    )  # NaN, of sides with no frame, equals nothing
