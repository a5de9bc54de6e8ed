"""Ingest against a real small archive: what is staged, what is remembered, how it fails."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fadae.archive.folder import FolderSource
from fadae.archive.items import ArchiveSource
from fadae.audio.decode import decode
from fadae.config.job import IngestConfig, Limits, Settings, WhichFailures
from fadae.embedded.faults import ALWAYS, Fault, Kind, Where
from fadae.embedded.items import HeldItem, folder_item, hold
from fadae.embedded.server import EmbeddedArchive
from fadae.errors import (
    FadaeError,
    NoInputError,
    OwnFaultError,
    PermanentFailure,
    TooManyFailedError,
    TransientError,
    UsageError,
)
from fadae.records import FailureClass, Track
from fadae.stages.ingest.driver import ingest
from fadae.store.location import Location
from fadae.store.paths import pcm_path, source_path
from fadae.store.staging import read_commit
from fadae.summaries import IngestSummary
from tests.audio.sounds import music, save
from tests.audio.takeover import taken_over
from tests.stages.ingest.conftest import NAMES, QUICK, Staged, committed


def told(error: FadaeError) -> IngestSummary:
    assert isinstance(error.summary, IngestSummary)
    return error.summary


def test_recordings_are_staged_with_their_commits(
    item: Path, source: ArchiveSource, location: Location
) -> None:
    summary = ingest(location, [source])
    assert summary["recordings"] == summary["ok"] == len(NAMES)
    assert summary["failures"] == []
    assert summary["audio_seconds"] == pytest.approx(sum(2 + n / 4 for n in range(8)), abs=0.5)
    assert summary["bytes"] == sum((item / name).stat().st_size for name in NAMES)
    for name in NAMES:
        commit = committed(location, f"little-item/{name}")
        pcm = location.read_bytes(pcm_path(commit.id))
        assert pcm == np.concatenate(list(decode(item / name, 11025))).tobytes()
        assert commit.decoded is not None
        assert commit.decoded.pcm_sha256 == hashlib.sha256(pcm).hexdigest()
        assert commit.decoded.samples == len(pcm) // 2
        assert commit.decoded.source_sha1 == commit.track.sha1
        assert not location.exists(source_path(commit.id))


def test_a_second_call_asks_the_archive_nothing(
    archive: EmbeddedArchive, source: ArchiveSource, location: Location
) -> None:
    first = ingest(location, [source])
    asked = len(archive.requests)
    assert ingest(location, [source]) == first
    assert len(archive.requests) == asked


def test_refresh_finds_what_is_new(item: Path, tmp_path: Path, location: Location) -> None:
    folder = tmp_path / "growing"
    save(folder / "a.ogg", music(2))
    source = FolderSource(str(folder))
    assert ingest(location, [source])["ok"] == 1
    save(folder / "b.ogg", music(2, seed=1))
    assert ingest(location, [source])["ok"] == 1
    assert ingest(location, [source], Settings(refresh=True))["ok"] == 2


def test_limit_counts_over_all_sources(
    item: Path, source: ArchiveSource, location: Location
) -> None:
    other = FolderSource(str(item))  # the same ids, from another source
    assert ingest(location, [source, other], Settings(limit=3))["recordings"] == 3
    assert ingest(location, [source, source], Settings(limit=9))["recordings"] == 9


def test_two_sources_that_name_a_recording_stage_it_once(
    source: ArchiveSource, location: Location, bytes_of: Staged
) -> None:
    ingest(location, [source])
    before = bytes_of(location)
    ingest(location, [replace(source, items=("little-item", "little-item"))])
    assert bytes_of(location) == before


@pytest.mark.parametrize("kind", [Kind.STATUS, Kind.TRUNCATED, Kind.CORRUPT, Kind.REFUSED])
def test_what_fails_in_passing_is_had_in_the_same_call(
    item: Path, location: Location, kind: Kind
) -> None:
    where = Where.FRONT if kind is Kind.REFUSED else Where.DATANODE
    with EmbeddedArchive(item, [Fault(where, kind, times=2)]) as archive:
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        assert ingest(location, [source])["ok"] == len(NAMES)


def test_a_transient_failure_ends_75_and_is_retried_by_the_next_call(
    item: Path, location: Location
) -> None:
    fault = Fault(Where.DATANODE, Kind.STATUS, times=3, match="07.ogg")
    with EmbeddedArchive(item, [fault]) as archive:
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        with pytest.raises(TransientError, match="run the same command again") as raised:
            ingest(location, [source])
        summary = told(raised.value)
        assert (summary["ok"], summary["failed"], summary["quarantined"]) == (7, 1, 0)
        assert summary["failures"][0]["id"] == "little-item/07.ogg"
        assert summary["failures"][0]["class"] == "transient"
        failure = committed(location, "little-item/07.ogg").failure
        assert failure is not None
        assert failure.failure_class is FailureClass.TRANSIENT
        assert failure.attempts == 3
        asked = len(archive.requests)
        with pytest.raises(TransientError):
            ingest(location, [source], Settings(retry=WhichFailures.NONE))
        assert len(archive.requests) == asked
        assert ingest(location, [source])["ok"] == len(NAMES)
        assert archive.count()["metadata"] == 1


def test_a_permanent_failure_is_quarantined_and_retried_only_on_request(
    item: Path, location: Location
) -> None:
    fault = Fault(Where.DATANODE, Kind.STATUS, times=1, match="07.ogg", status=404)
    with EmbeddedArchive(item, [fault]) as archive:
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        summary = ingest(location, [source])
        assert (summary["ok"], summary["failed"], summary["quarantined"]) == (7, 0, 1)
        assert "404" in summary["failures"][0]["reason"]
        asked = len(archive.requests)
        assert ingest(location, [source]) == summary
        assert len(archive.requests) == asked
        again = ingest(location, [source], Settings(retry=WhichFailures.PERMANENT))
        assert (again["ok"], again["quarantined"]) == (8, 0)


def test_an_outage_marks_nothing(item: Path, location: Location, bytes_of: Staged) -> None:
    with EmbeddedArchive(item, [Fault(Where.DATANODE, Kind.STATUS, times=ALWAYS)]) as archive:
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        with pytest.raises(TransientError) as raised:
            ingest(location, [source])
        assert told(raised.value)["failed"] == len(NAMES)
        assert list(bytes_of(location)) == ["staging/rate.json"]


@pytest.mark.parametrize("batch", [2, 32])
def test_half_is_no_outage(
    item: Path, location: Location, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("fadae.stages.ingest.driver.OUTAGE_BATCH", batch)
    fault = Fault(Where.DATANODE, Kind.STATUS, times=ALWAYS, match="03")
    with EmbeddedArchive([folder_item(item / "disc 1", "two")], [fault]) as archive:
        source = ArchiveSource(items=("two",), url=archive.url, request_policy=QUICK)
        with pytest.raises(TransientError, match="1 of 2 recordings failed"):
            ingest(location, [source])
    failed, ok = (committed(location, f"two/{Path(n).name}") for n in NAMES[2:4])
    assert failed.failure is not None and ok.decoded is not None


def test_a_long_outage_ends_a_long_job_early(
    item: Path, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fadae.stages.ingest.driver.OUTAGE_BATCH", 3)
    with EmbeddedArchive(item, [Fault(Where.DATANODE, Kind.STATUS, times=ALWAYS)]) as archive:
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        with pytest.raises(TransientError, match="an outage") as raised:
            ingest(location, [source])
        assert told(raised.value)["failed"] == 3


def test_an_unreachable_archive_is_transient(location: Location) -> None:
    source = ArchiveSource(items=("a",), url="http://127.0.0.1:9", request_policy=QUICK)
    with pytest.raises(TransientError, match="run the same command again"):
        ingest(location, [source])


def test_nothing_usable_ends_65(item: Path, location: Location) -> None:
    silent = [HeldItem("empty", {"title": "Empty"})]
    with EmbeddedArchive(silent) as archive:
        source = ArchiveSource(items=("empty", "missing"), url=archive.url, request_policy=QUICK)
        with pytest.raises(NoInputError, match="no usable recording") as raised:
            ingest(location, [source])
        assert told(raised.value)["quarantined"] == 2


def test_one_bad_recording_never_ends_the_batch(tmp_path: Path, location: Location) -> None:
    folder = tmp_path / "mixed"
    save(folder / "good.ogg", music(2))
    save(folder / "silent.flac", np.zeros(9000, np.float32))
    long = save(folder / "long.flac", np.tile(music(10), 60))
    (folder / "text.ogg").write_text("no audio")
    (folder / "list.mp3").write_text("#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n")
    damaged = save(folder / "damaged.ogg", music(5))
    damaged.write_bytes(damaged.read_bytes()[:-3000] + bytes(3000))
    limits = Limits(decoded_seconds=300)
    summary = ingest(location, [FolderSource(str(folder))], Settings(limits=limits))
    assert (summary["ok"], summary["quarantined"]) == (1, 5)
    reasons = {f["id"].split("/")[1]: f["reason"] for f in summary["failures"]}
    assert "silent" in reasons["silent.flac"]
    assert "longer than the limit" in reasons[long.name]
    assert "damaged" in reasons["damaged.ogg"]
    assert {"text.ogg", "list.mp3"} < set(reasons)
    kept = Settings(limits=limits, keep_damaged=True, retry=WhichFailures.ALL)
    assert ingest(location, [FolderSource(str(folder))], kept)["ok"] == 2


def test_keep_source_keeps_the_bytes_also_later(
    item: Path, source: ArchiveSource, location: Location, bytes_of: Staged
) -> None:
    ingest(location, [source])
    before = bytes_of(location)
    ingest(location, [source], Settings(keep_source=True))
    after = bytes_of(location)
    for name in NAMES:
        kept = location.read_bytes(source_path(f"little-item/{name}"))
        assert kept == (item / name).read_bytes()
        path = pcm_path(f"little-item/{name}")
        assert after[path] == before[path]


def test_a_workspace_has_one_sample_rate(source: ArchiveSource, location: Location) -> None:
    ingest(location, [source], Settings(limit=1))
    with pytest.raises(UsageError, match="11025 Hz; this call asks for 44100 Hz"):
        ingest(location, [source], Settings(rate_hz=44100))


def test_a_listing_goes_on_where_it_was_interrupted(
    item: Path, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fadae.archive.items.PAGE_ITEMS", 2)
    small = item / "disc 1"
    items = [folder_item(small, f"item-{number}") for number in range(5)]
    with EmbeddedArchive(items) as archive:
        names = tuple(item.identifier for item in items)
        source = ArchiveSource(items=names, url=archive.url, request_policy=QUICK)
        archive.mischief.add(Fault(Where.METADATA, Kind.STATUS, times=3, match="item-4"))
        with pytest.raises(TransientError):
            ingest(location, [source])
        asked = archive.count()["metadata"]
        summary = ingest(location, [source])
        assert (summary["ok"], summary["failed"]) == (10, 0)
        assert archive.count()["metadata"] == asked + 1
        assert archive.count()["datanode"] == 10


def test_staged_bytes_do_not_depend_on_the_route(
    item: Path, source: ArchiveSource, tmp_path: Path, bytes_of: Staged
) -> None:
    one, two = Location(str(tmp_path / "one")), Location(str(tmp_path / "two"))
    ingest(one, [source])
    ingest(two, [FolderSource(str(item))])
    pcm_one = {name: data for name, data in bytes_of(one).items() if name.endswith(".pcm")}
    pcm_two = {name: data for name, data in bytes_of(two).items() if name.endswith(".pcm")}
    assert pcm_one == pcm_two


def test_memory_workspaces_serve_one_process(item: Path) -> None:
    location = Location("memory://ingest-test")
    assert ingest(location, [FolderSource(str(item))], Settings(limit=2))["ok"] == 2


@pytest.mark.parametrize("how", ["gone", "other bytes"])
def test_keep_source_never_replaces_a_commit_by_less(
    tmp_path: Path, location: Location, bytes_of: Staged, how: str
) -> None:
    folder = tmp_path / "going"
    for seed, name in enumerate(("a.ogg", "b.ogg")):
        save(folder / name, music(2, seed=seed))
    source = FolderSource(str(folder))
    ingest(location, [source])
    before = bytes_of(location)
    if how == "gone":
        (folder / "a.ogg").unlink()
    else:
        save(folder / "a.ogg", music(1, seed=7))
    summary = ingest(location, [source], Settings(keep_source=True))
    assert (summary["ok"], summary["quarantined"]) == (2, 0)
    after = bytes_of(location)
    changed = {name for name in before if after[name] != before[name]}
    assert all("b.ogg" in name for name in changed), changed
    assert committed(location, "going/a.ogg").decoded is not None
    assert location.exists(source_path("going/b.ogg"))
    assert not location.exists(source_path("going/a.ogg"))
    save(folder / "a.ogg", music(2))  # it is back: asked for again, as it is not yet kept
    ingest(location, [source], Settings(keep_source=True))
    assert location.exists(source_path("going/a.ogg"))


@pytest.mark.parametrize("status", [503, 404])
def test_what_a_rival_has_had_meanwhile_stays(item: Path, location: Location, status: int) -> None:
    """One driver meets a failure, another decodes the recording before the first puts it down."""
    fault = Fault(Where.DATANODE, Kind.STATUS, times=3, match="07.ogg", status=status)
    rival = FolderSource(str(item))

    class Overtaken(ArchiveSource):
        def fetch(self, track: Track, to: Path) -> None:
            try:
                super().fetch(track, to)
            except PermanentFailure:
                ingest(location, [rival])
                raise

    def overtaken(function: Any, values: Any, **options: Any) -> Iterator[Any]:
        outcomes = [function(value) for value in values]
        ingest(location, [rival])
        yield from outcomes

    with EmbeddedArchive(item, [fault]) as archive:
        source = Overtaken(items=("little-item",), url=archive.url, request_policy=QUICK)
        with contextlib.suppress(TransientError):
            ingest(location, [source], mapper=overtaken)
    assert committed(location, "little-item/07.ogg").decoded is not None
    assert location.exists(pcm_path("little-item/07.ogg"))


def test_an_archive_that_is_out_leaves_what_is_there(
    item: Path, location: Location, bytes_of: Staged
) -> None:
    with EmbeddedArchive(item) as archive:
        source = ArchiveSource(items=("little-item",), url=archive.url, request_policy=QUICK)
        ingest(location, [source])
        before = bytes_of(location)
        archive.mischief.add(Fault(Where.DATANODE, Kind.STATUS, times=ALWAYS, match="07.ogg"))
        with pytest.raises(TransientError, match="1 original files could not be kept") as raised:
            ingest(location, [source], Settings(keep_source=True))
        assert told(raised.value)["ok"] == len(NAMES)
    after = bytes_of(location)
    assert {n for n in before if "07.ogg" in n} == {
        n for n in before if after[n] == before[n] and "07.ogg" in n
    }


def test_an_outage_of_listings_alone_is_transient(
    item: Path, location: Location, monkeypatch: pytest.MonkeyPatch, bytes_of: Staged
) -> None:
    monkeypatch.setattr("fadae.stages.ingest.driver.OUTAGE_BATCH", 3)
    names = tuple(f"item-{number}" for number in range(8))
    items = [folder_item(item, name) for name in names]
    with EmbeddedArchive(items, [Fault(Where.METADATA, Kind.STATUS, times=ALWAYS)]) as archive:
        source = ArchiveSource(items=names, url=archive.url, request_policy=QUICK)
        with pytest.raises(TransientError, match=r"3 listings of 3 .*item-.*503") as raised:
            ingest(location, [source])
        assert told(raised.value)["failed"] == 3
    assert list(bytes_of(location)) == ["staging/rate.json"]


def test_an_outage_of_both_counts_each(
    item: Path, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fadae.stages.ingest.driver.OUTAGE_BATCH", 9)
    faults = [
        Fault(Where.METADATA, Kind.STATUS, times=ALWAYS, match="dark"),
        Fault(Where.DATANODE, Kind.STATUS, times=ALWAYS),
    ]
    items = [folder_item(item, "little-item"), folder_item(item, "dark")]
    with EmbeddedArchive(items, faults) as archive:
        source = ArchiveSource(items=("dark", "little-item"), url=archive.url, request_policy=QUICK)
        with pytest.raises(TransientError, match="8 downloads and 1 listings of 9 tried"):
            ingest(location, [source])


def test_a_decoder_that_is_killed_costs_one_recording(
    tmp_path: Path, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rate_hz in {"a.ogg": 22050, "b.ogg": 44100, "c.ogg": 22050}.items():
        save(tmp_path / "music" / name, music(2, rate_hz), rate_hz)
    taken_over(monkeypatch, tmp_path, "os.kill(os.getpid(), 31)", source_hz=44100)
    summary = ingest(location, [FolderSource(str(tmp_path / "music"))])
    assert (summary["ok"], summary["quarantined"], summary["failed"]) == (2, 1, 0)
    (failure,) = summary["failures"]
    assert failure["id"] == "music/b.ogg"
    assert failure["reason"] == "the decoder crashed (SIGSYS)"


HOSTILE_NAMES = [
    "../../outside.ogg",
    "/etc/passwd.ogg",
    "..\\..\\outside.ogg",
    "%2e%2e/%2e%2e/outside.ogg",
    "x" * 300 + ".ogg",
    "\u00e9.ogg",
    "e\u0301.ogg",
    "line\nbreak \x1b[31m.ogg",
    "\u202egpj.ogg",
    "-rf ~; $(reboot) | CON.ogg",
]


def test_hostile_names_stay_inside_and_apart(tmp_path: Path, location: Location) -> None:
    files = [
        hold(save(tmp_path / "music" / f"{seed}.ogg", music(1, seed=seed)), name)
        for seed, name in enumerate(HOSTILE_NAMES)
    ]
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with EmbeddedArchive([HeldItem("names", {}, tuple(files))]) as archive:
        source = ArchiveSource(items=("names",), url=archive.url, request_policy=QUICK)
        summary = ingest(location, [source])
    # A redirect of the first leads elsewhere, as dots in an address do, and there is no such file.
    assert [failure["id"] for failure in summary["failures"]] == [f"names/{HOSTILE_NAMES[0]}"]
    assert (summary["ok"], summary["quarantined"]) == (len(HOSTILE_NAMES) - 1, 1)
    made = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    names = [path.relative_to(tmp_path / "workspace").as_posix() for path in made]
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9._/-]{1,120}", name), name
        assert ".." not in name.split("/")
    assert sum(name.endswith(".pcm") for name in names) == summary["ok"]
    for name in HOSTILE_NAMES:
        commit = committed(location, f"names/{name}")
        assert commit.track.file == name
        assert commit.track.title.isprintable()


def test_a_fault_of_our_own_quarantines_nothing(
    tmp_path: Path, location: Location, bytes_of: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "music/a.ogg", music(2))
    (tmp_path / "soxr.py").write_text("raise ImportError('not installed')")
    monkeypatch.setattr("fadae.audio.sandbox._idle", [])  # a child of this test's own
    monkeypatch.syspath_prepend(tmp_path)
    source = FolderSource(str(tmp_path / "music"))
    with pytest.raises(OwnFaultError):
        ingest(location, [source])
    assert list(bytes_of(location)) == ["staging/rate.json"]
    monkeypatch.undo()
    assert ingest(location, [source])["ok"] == 1


def test_a_limit_counts_usable_recordings_in_the_listings_order(
    tmp_path: Path, location: Location
) -> None:
    folder = tmp_path / "mixed"
    for name in ("a.ogg", "c.ogg", "d.ogg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no audio")
    for seed, name in enumerate(("b.ogg", "e.ogg", "f.ogg")):
        save(folder / name, music(1, seed=seed))
    source = FolderSource(str(folder))
    for limit, expected in ((1, (2, 1, 1)), (2, (5, 2, 3)), (3, (6, 3, 3)), (9, (6, 3, 3))):
        settings = Settings(limit=limit)
        for _ in range(2):
            summary = ingest(location, [source], settings)
            found = summary["recordings"], summary["ok"], summary["quarantined"]
            assert found == expected
        assert (read_commit(location, "mixed/f.ogg") is not None) == (limit > 2)
    with pytest.raises(NoInputError):
        (folder / "only").mkdir()
        (folder / "only/x.ogg").write_text("no audio")
        ingest(location, [FolderSource(str(folder / "only"))], Settings(limit=1))


def test_what_is_remembered_and_what_is_quarantined_say_how_to_ask_again(
    tmp_path: Path, location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "mixed/a.ogg", music(1))
    (tmp_path / "mixed/b.ogg").write_text("no audio")
    source = FolderSource(str(tmp_path / "mixed"))
    caplog.set_level("INFO", "fadae.ingest")
    ingest(location, [source])
    assert "1 quarantined: --retry permanent tries again" in caplog.messages
    assert "--refresh" not in caplog.text
    caplog.clear()
    ingest(location, [source], Settings(retry=WhichFailures.PERMANENT))
    remembered = [one for one in caplog.messages if "--refresh lists again" in one]
    assert len(remembered) == 1
    assert re.fullmatch(r"listing of (\S+ )?\d\d:\d\d; --refresh lists again", remembered[0])
    assert "--retry permanent" not in caplog.text


def test_too_many_quarantined_end_the_stage_and_a_higher_share_goes_on(
    location: Location, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "some"
    for number in range(70):
        (folder / f"{number // 60}").mkdir(parents=True, exist_ok=True)
        (folder / f"{number // 60}" / f"{number:02}.ogg").write_text(f"no audio, {number}")
    save(folder / "0" / "00.ogg", music(1))
    source = FolderSource(str(folder))
    with pytest.raises(TooManyFailedError, match=r"49 of 50 .*--fail-over 5%") as ended:
        ingest(location, [source], Settings(fail_over=0.05))
    assert (ended.value.exit_code, told(ended.value).quarantined) == (66, 49)
    warned = [r for r in caplog.records if r.levelname == "WARNING"]
    assert [r.getMessage().split(":")[0] for r in warned[:2]] == [
        "failed (permanent) some/0/01.ogg",
        "failed (permanent) some/0/02.ogg",
    ]
    assert warned[-1].getMessage() == "39 more recordings failed, 49 so far"
    with pytest.raises(TooManyFailedError):  # the same again ends the same way
        ingest(location, [source], Settings(fail_over=0.05))
    done = ingest(location, [source], Settings(fail_over=0.99))
    assert (done.ok, done.quarantined) == (1, 69)
    with pytest.raises(TooManyFailedError):  # of a finished selection too
        ingest(location, [source], Settings(fail_over=0.05))


@pytest.mark.parametrize("share", ["much", "-1%", "100%", "nan"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(UsageError, match="--fail-over"):
        IngestConfig(fail_over=share)
