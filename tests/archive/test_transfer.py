"""Every bad day of the archive against the real client, over real sockets."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from fadae.embedded.faults import ALWAYS, Fault, Kind, Where
from fadae.embedded.items import HeldItem, hold
from fadae.embedded.server import EmbeddedArchive
from fadae.errors import PermanentFailure, RecordingFailure, TransientFailure
from fadae.records import Track
from tests.archive.small import AWKWARD, FAST, HASTY, SIZE, bytes_of, source_of

DATANODE, FRONT = Where.DATANODE, Where.FRONT
SLOW = (Kind.STALL_HEADERS, Kind.STALL_BODY, Kind.DRIP)


def track_of(archive: EmbeddedArchive, name: str = AWKWARD) -> Track:
    entry = archive.items["small"].file(name).entry  # type: ignore[union-attr]
    return Track("small", name, size_bytes=SIZE, sha1=entry["sha1"], md5=entry["md5"])


def fetch(archive: EmbeddedArchive, to: Path, *faults: Fault, **changes: Any) -> bytes:
    """Return what a download under these faults writes."""
    archive.mischief.add(*faults)
    track = dataclasses.replace(track_of(archive), **changes)
    policy = HASTY if any(fault.kind in SLOW for fault in faults) else FAST
    source_of(archive, policy).fetch(track, to / "file")
    return (to / "file").read_bytes()


def requests(archive: EmbeddedArchive, where: Where = DATANODE) -> int:
    return archive.count()[where]


@pytest.mark.parametrize("where", [FRONT, DATANODE])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(FRONT, Kind.STATUS, status=503),
        Fault(FRONT, Kind.STATUS, status=429, retry_after="0"),
        Fault(FRONT, Kind.STATUS, status=500),
        Fault(FRONT, Kind.STATUS, status=503, times=3),
        Fault(FRONT, Kind.STALL_HEADERS),
    ],
    ids=["503", "429", "500", "503 three times", "stall before headers"],
)
def test_what_passes_is_outlived(
    archive: EmbeddedArchive, tmp_path: Path, where: Where, fault: Fault
) -> None:
    got = fetch(archive, tmp_path, dataclasses.replace(fault, where=where))
    assert got == bytes_of(AWKWARD)
    assert requests(archive, where) == 1 + fault.times


@pytest.mark.parametrize(
    ("kind", "resumes"),
    [
        (Kind.TRUNCATED, True),
        (Kind.STALL_BODY, True),
        (Kind.CORRUPT, False),
        (Kind.CHANGED, False),
    ],
)
def test_a_bad_body_is_fetched_again(
    archive: EmbeddedArchive, tmp_path: Path, kind: Kind, resumes: bool
) -> None:
    got = fetch(archive, tmp_path, Fault(DATANODE, kind))
    assert got == bytes_of(AWKWARD)
    ranges = [request.range for request in archive.requests if request.where == DATANODE]
    assert ranges == ["", f"bytes={(SIZE - 1) // 2}-" if resumes else ""]


@pytest.mark.parametrize("kind", [Kind.NO_RANGE, Kind.WRONG_RANGE, Kind.UNSATISFIABLE])
def test_a_resumption_gone_wrong_starts_anew(
    archive: EmbeddedArchive, tmp_path: Path, kind: Kind
) -> None:
    broken = Fault(DATANODE, Kind.TRUNCATED)
    got = fetch(archive, tmp_path, broken, Fault(DATANODE, kind, ranges_only=True))
    assert got == bytes_of(AWKWARD)


def test_a_datanode_that_refuses_is_asked_again_through_the_front(
    archive: EmbeddedArchive, tmp_path: Path
) -> None:
    assert fetch(archive, tmp_path, Fault(FRONT, Kind.REFUSED, times=2)) == bytes_of(AWKWARD)
    assert requests(archive, FRONT) == 3


def test_refusals_in_a_row_are_a_block(archive: EmbeddedArchive, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(TransientFailure, match="refuses connections") as caught:
        fetch(archive, tmp_path, Fault(FRONT, Kind.REFUSED, times=ALWAYS))
    assert caught.value.attempts == FAST.refusals
    assert time.monotonic() - began >= FAST.block_seconds


def test_a_front_that_refuses_and_comes_back(archive: EmbeddedArchive, tmp_path: Path) -> None:
    with archive.refusing(), pytest.raises(TransientFailure, match="refuses connections"):
        fetch(archive, tmp_path)
    assert fetch(archive, tmp_path) == bytes_of(AWKWARD)


@pytest.mark.parametrize("where", [FRONT, DATANODE])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(FRONT, Kind.STATUS, status=403), "403"),
        (Fault(FRONT, Kind.STATUS, status=404), "404"),
        (Fault(FRONT, Kind.HTML), "web page"),
    ],
    ids=["403", "404", "HTML"],
)
def test_what_stays_fails_at_once(
    archive: EmbeddedArchive, tmp_path: Path, where: Where, fault: Fault, reason: str
) -> None:
    with pytest.raises(PermanentFailure, match=reason) as caught:
        fetch(archive, tmp_path, dataclasses.replace(fault, where=where, times=ALWAYS))
    assert caught.value.attempts == 1
    assert requests(archive, where) == 1


@pytest.mark.parametrize("kind", [Kind.CORRUPT, Kind.CHANGED])
def test_corrupt_three_times_is_permanent(
    archive: EmbeddedArchive, tmp_path: Path, kind: Kind
) -> None:
    with pytest.raises(PermanentFailure, match="3 times") as caught:
        fetch(archive, tmp_path, Fault(DATANODE, kind, times=ALWAYS))
    assert caught.value.attempts == requests(archive) == 3


def test_the_checksum_is_md5_where_there_is_no_sha1(
    archive: EmbeddedArchive, tmp_path: Path
) -> None:
    with pytest.raises(PermanentFailure, match="md5"):
        fetch(archive, tmp_path, Fault(DATANODE, Kind.CORRUPT, times=ALWAYS), sha1=None)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FRONT, Kind.STATUS, status=503, times=ALWAYS),
        Fault(DATANODE, Kind.STATUS, status=429, times=ALWAYS),
        Fault(DATANODE, Kind.STALL_HEADERS, times=ALWAYS),
    ],
    ids=["front 503", "datanode 429", "datanode stall"],
)
def test_what_lasts_fails_as_transient(
    archive: EmbeddedArchive, tmp_path: Path, fault: Fault
) -> None:
    with pytest.raises(TransientFailure) as caught:
        fetch(archive, tmp_path, fault)
    assert caught.value.attempts == FAST.attempts == requests(archive, fault.where)


@pytest.mark.parametrize("where", [FRONT, DATANODE])
def test_retry_after_is_honoured(archive: EmbeddedArchive, tmp_path: Path, where: Where) -> None:
    fetch(archive, tmp_path, Fault(where, Kind.STATUS, status=429, retry_after="1"))
    first, second = (r.seconds for r in archive.requests if r.where == where)
    assert second - first >= 1.0


def test_a_wait_beyond_the_deadline_fails_at_once(archive: EmbeddedArchive, tmp_path: Path) -> None:
    with pytest.raises(TransientFailure) as caught:  # else it waits an hour
        fetch(archive, tmp_path, Fault(FRONT, Kind.STATUS, retry_after="3600"))
    assert caught.value.attempts == requests(archive, FRONT) == 1


def test_a_trickle_is_given_up_and_fetched_again(archive: EmbeddedArchive, tmp_path: Path) -> None:
    drip = Fault(DATANODE, Kind.DRIP, seconds=100)  # 500 bytes a second
    assert fetch(archive, tmp_path, drip) == bytes_of(AWKWARD)
    assert requests(archive) > 1


def test_the_deadline_ends_a_transfer(archive: EmbeddedArchive, tmp_path: Path) -> None:
    drip = Fault(DATANODE, Kind.DRIP, seconds=10, times=ALWAYS)  # 5000 bytes a second
    archive.mischief.add(drip)
    hasty = dataclasses.replace(FAST, deadline_seconds=0.5)
    with pytest.raises(TransientFailure):  # without a deadline it arrives
        source_of(archive, hasty).fetch(track_of(archive), tmp_path / "file")


def test_redirects_stay_with_the_archive(archive: EmbeddedArchive, tmp_path: Path) -> None:
    with pytest.raises(PermanentFailure, match="foreign host"):
        fetch(archive, tmp_path, Fault(FRONT, Kind.FOREIGN))


def test_a_private_file_is_forbidden(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(b"secret")
    item = HeldItem("small", {}, (hold(tmp_path / "a.ogg", "a.ogg", private="true"),))
    with EmbeddedArchive([item]) as archive, pytest.raises(PermanentFailure, match="403"):
        source_of(archive).fetch(Track("small", "a.ogg"), tmp_path / "file")


@pytest.mark.parametrize("size_bytes", [SIZE, None])
def test_the_size_limit_holds_with_and_without_a_known_size(
    archive: EmbeddedArchive, tmp_path: Path, size_bytes: int | None
) -> None:
    source = source_of(archive, dataclasses.replace(FAST, file_bytes=SIZE // 2))
    track = dataclasses.replace(track_of(archive), size_bytes=size_bytes)
    with pytest.raises(PermanentFailure, match="limit"):
        source.fetch(track, tmp_path / "file")


def test_a_size_that_metadata_and_file_disagree_on_is_corruption(
    archive: EmbeddedArchive, tmp_path: Path
) -> None:
    for size_bytes in (SIZE - 1, SIZE + 1):
        with pytest.raises(RecordingFailure, match=f"{SIZE} bytes served, {size_bytes}"):
            fetch(archive, tmp_path, size_bytes=size_bytes)


def test_the_client_says_who_it_is_and_asks_for_the_bytes_as_they_are(
    archive: EmbeddedArchive, tmp_path: Path
) -> None:
    fetch(archive, tmp_path)
    for request in archive.requests:
        assert request.user_agent.startswith("fadae/")
        assert "(+" in request.user_agent
        assert request.encoding == "identity"
    assert "?cnt=0" in archive.requests[0].target
