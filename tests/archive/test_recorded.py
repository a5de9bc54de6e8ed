"""The client against answers as servers, proxies and broken networks really send them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from fadae.archive.client import ArchiveClient
from fadae.errors import PermanentFailure, TransientFailure
from fadae.records import Track
from tests.archive.recorded import CLOSE, HALF_CLOSE, Pause, Recorded, Step, playing
from tests.archive.small import FAST

BODY = bytes(range(256)) * 8
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
WHOLE = OK + LENGTH + BODY
FOUND = b"HTTP/1.1 302 Found\r\nLocation: /1/items/a.ogg\r\n"
PAGE = b"<html><body>Moved</body></html>"
BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head></html>"
METADATA = b'{"metadata": {"title": "x"}, "files": []}'


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    parts = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n" + trailers + b"\r\n"


def fetched(recorded: Recorded, to: Path, times: int = 1, size: int | None = len(BODY)) -> None:
    """Fetch the file so often with one client; each must be whole."""
    client = ArchiveClient(recorded.url, request_policy=FAST)
    sha1 = hashlib.sha1(BODY, usedforsecurity=False).hexdigest()
    for _ in range(times):
        client.download(Track("item", "a.ogg", size_bytes=size, sha1=sha1), to / "file")
        assert (to / "file").read_bytes() == BODY


@pytest.mark.parametrize(
    ("redirect", "connections"),
    [
        ([FOUND + b"Content-Length: 0\r\n\r\n"], 1),
        ([FOUND + b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE], 1),
        ([FOUND + b"Content-Length: %d\r\n\r\n" % len(PAGE), Pause(0.1), PAGE], 1),
        ([FOUND + b"Content-Length: 1000000\r\n\r\n", PAGE], 7),
        ([FOUND + b"Content-Length: 500\r\n\r\n", PAGE, CLOSE], 7),
        ([FOUND + b"\r\n", PAGE, CLOSE], 7),
        ([FOUND + chunked(PAGE)], 7),
        ([FOUND + b"Connection: close\r\nContent-Length: 0\r\n\r\n", CLOSE], 7),
        ([b"HTTP/1.0 302 Found\r\nLocation: /1/items/a.ogg\r\n\r\n", CLOSE], 7),
    ],
    ids=[
        "length 0",
        "small body",
        "late body",
        "endless",
        "short body",
        "no length",
        "chunked",
        "close",
        "HTTP/1.0",
    ],
)
def test_every_redirect_leads_to_the_file(
    tmp_path: Path, redirect: list[Step], connections: int
) -> None:
    answers: list[Sequence[Step]] = [redirect, [WHOLE]]
    with playing(*answers * 6) as recorded:
        fetched(recorded, tmp_path, times=6)
    assert len(recorded.requests) == 12
    assert recorded.connections == connections


@pytest.mark.parametrize(
    "answer",
    [
        [OK + chunked(BODY[:100], BODY[100:])],
        [OK + chunked(BODY, trailers=b"X-Checksum: abc\r\nExpires: 0\r\n")],
        [OK + b"\r\n" + BODY, CLOSE],
        [OK + b"\r\n" + BODY, HALF_CLOSE, Pause(0.05)],
        [b"HTTP/1.0 200 OK\r\n\r\n" + BODY, CLOSE],
        [b"HTTP/1.0 200 OK\r\n" + LENGTH + BODY, CLOSE],
        [OK + b"Connection: close\r\n" + LENGTH + BODY, CLOSE],
        [b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE],
        [b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" * 3, WHOLE],
        [b"HTTP/1.1 102 Processing\r\n\r\n", Pause(0.1), WHOLE],
        [*(OK[index : index + 1] for index in range(len(OK))), Pause(0.1), WHOLE[len(OK) :]],
        [WHOLE[:1000], Pause(0.1), WHOLE[1000:]],
    ],
    ids=[
        "chunked",
        "trailers",
        "no length",
        "half-closed",
        "HTTP/1.0",
        "HTTP/1.0 with length",
        "close",
        "100",
        "103",
        "102",
        "slow headers",
        "slow body",
    ],
)
def test_every_way_to_send_a_body_is_understood(tmp_path: Path, answer: list[Step]) -> None:
    with playing(*[answer] * 3) as recorded:
        fetched(recorded, tmp_path, times=3)
    assert len(recorded.requests) == 3


def part(start: int, stop: int, told: str = "2048", begin: int | None = None) -> bytes:
    """Return BODY[start:stop] as an answer to a Range, said to begin elsewhere or not."""
    first = start if begin is None else begin
    return (
        b"HTTP/1.1 206 Partial Content\r\n"
        b"Content-Range: bytes %d-%d/%b\r\n"
        % (first, stop - 1, told.encode())
        + b"Content-Length: %d\r\n\r\n" % (stop - start)
        + BODY[start:stop]
    )


BROKEN: list[Step] = [OK + LENGTH + BODY[:700], CLOSE]


@pytest.mark.parametrize(
    "answers",
    [
        [BROKEN, [part(800, 2048, "*")], [WHOLE]],
        [BROKEN, [part(600, 2048)], [WHOLE]],
        [BROKEN, [part(700, 1000)], [part(1000, 2048)]],
        [BROKEN, [part(700, 1000)], [part(900, 2048)], [WHOLE]],
    ],
    ids=["later", "earlier", "by parts", "by parts, earlier"],
)
def test_a_part_counts_only_where_the_last_one_ended(
    tmp_path: Path, answers: list[Sequence[Step]]
) -> None:
    """Without a size and a checksum to tell, as items of the archive's early years are."""
    with playing(*answers) as recorded:
        ArchiveClient(recorded.url, request_policy=FAST).download(
            Track("item", "a.ogg"), tmp_path / "file"
        )
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(recorded.requests) == len(answers)


def test_a_file_that_begins_anew_and_is_shorter_ends_where_it_ends(tmp_path: Path) -> None:
    shorter = OK + b"Content-Length: 100\r\n\r\n" + BODY[-100:]
    with playing(BROKEN, [shorter]) as recorded:
        ArchiveClient(recorded.url, request_policy=FAST).download(
            Track("item", "a.ogg"), tmp_path / "file"
        )
    assert (tmp_path / "file").read_bytes() == BODY[-100:]


@pytest.mark.parametrize(
    ("answer", "requests"),
    [
        ([OK + LENGTH + BODY + b"more than was promised"], 1),
        ([OK + LENGTH + BODY[:700], CLOSE], 2),
        ([OK + LENGTH + BODY[:700], HALF_CLOSE, Pause(0.05)], 2),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + BODY[:700], CLOSE], 2),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + PAGE], 2),
        (
            [
                b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
                % len(BAD_GATEWAY)
                + BAD_GATEWAY
            ],
            2,
        ),
        ([CLOSE], 2),
        ([HALF_CLOSE], 2),
        ([b"220 mail.example.org ESMTP\r\n", CLOSE], 2),
        ([b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20], 2),
        ([OK + b"X: " + b"y" * 70_000 + b"\r\n\r\n"], 2),
    ],
    ids=[
        "longer",
        "shorter",
        "shorter, half-closed",
        "chunk cut",
        "no chunk",
        "502 in HTML",
        "hang-up",
        "half-close",
        "not HTTP",
        "1xx without end",
        "endless header",
    ],
)
def test_what_a_broken_answer_leaves_is_made_good(
    tmp_path: Path, answer: list[Step], requests: int
) -> None:
    rest = [
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 700-%d/%d\r\n"
        b"Content-Length: %d\r\n\r\n" % (len(BODY) - 1, len(BODY), len(BODY) - 700) + BODY[700:]
    ]
    resumed = any(isinstance(step, bytes) and BODY[:700] in step for step in answer)
    second: list[Step] = [*rest] if resumed and requests == 2 else [WHOLE]
    answers = [answer, second][:requests]
    with playing(*answers, [WHOLE]) as recorded:
        fetched(recorded, tmp_path)
        assert len(recorded.requests) == requests
        fetched(recorded, tmp_path)  # and the next request is not in its way


def test_a_longer_body_never_becomes_the_next_answer(tmp_path: Path) -> None:
    """What follows a body on the connection looks like an answer, and must not be taken for one."""
    smuggled = OK + LENGTH + bytes(len(BODY))
    with playing([WHOLE + smuggled], [WHOLE], [WHOLE]) as recorded:
        fetched(recorded, tmp_path, times=2)


@pytest.mark.parametrize("page", [BAD_GATEWAY, PAGE * 1000], ids=["short", "long"])
def test_errors_in_html_leave_metadata_to_be_had(page: bytes) -> None:
    error = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(METADATA) + METADATA
    with playing([error % len(page) + page], [answer], [answer]) as recorded:
        client = ArchiveClient(recorded.url, request_policy=FAST)
        assert client.metadata("item")["metadata"] == {"title": "x"}
        assert client.metadata("item")["files"] == []


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_leaves_the_connection_whole(tmp_path: Path, status: int) -> None:
    with playing([b"HTTP/1.1 %d None\r\n\r\n" % status], [WHOLE]) as recorded:
        client = ArchiveClient(recorded.url, request_policy=FAST)
        with pytest.raises(PermanentFailure, match=str(status)):
            client.download(Track("item", "a.ogg"), tmp_path / "file")
        client.download(Track("item", "a.ogg"), tmp_path / "file")
    assert recorded.connections == 1


def test_what_stays_broken_fails_as_transient(tmp_path: Path) -> None:
    with playing(*[[CLOSE]] * 10) as recorded, pytest.raises(TransientFailure, match="lost"):
        fetched(recorded, tmp_path)
    assert len(recorded.requests) == FAST.attempts


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/1/a%20b%23c%3Fd%2541%C3%BC.ogg", "/1/a%20b%23c%3Fd%2541%C3%BC.ogg"),
        ("/1/%2E%2E/a%2Fb;c=d&e+f.ogg?cnt=0&x=%26", "/1/%2E%2E/a%2Fb;c=d&e+f.ogg?cnt=0&x=%26"),
        ("/1/menü ü.ogg", "/1/men%C3%BC%20%C3%BC.ogg"),
    ],
    ids=["escaped", "dots and slashes", "raw UTF-8"],
)
def test_escapes_are_kept_through_a_redirect(tmp_path: Path, location: str, asked: str) -> None:
    found = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % location.encode()
    with playing([found], [WHOLE]) as recorded:
        fetched(recorded, tmp_path)
    assert recorded.requests[1][1] == f"GET {asked} HTTP/1.1"
