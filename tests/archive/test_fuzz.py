"""The archive's client and answers that nobody ever sent: the right bytes, or a failure told."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fadae.archive.client import ArchiveClient
from fadae.errors import RecordingFailure
from fadae.records import Track
from tests.archive.recorded import CLOSE, Step, playing
from tests.archive.small import FAST
from tests.archive.test_recorded import BODY, chunked
from tests.mutation import mutated, mutated_json

# Each answer ends its connection, so that nothing waits; nobody is asked a third time.
POLICY = dataclasses.replace(FAST, attempts=2, backoff_seconds=0.0, block_seconds=0.0)
TRACK = Track("item", "a.ogg", size_bytes=len(BODY), sha1=hashlib.sha1(BODY).hexdigest())
MANY = settings(max_examples=60 if settings().max_examples <= 100 else 3_000)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: audio/ogg\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n"
FILES = [
    OK + LENGTH % len(BODY) + BODY,
    OK + chunked(BODY[:700], BODY[700:], trailers=b"X-Checksum: abc\r\n"),
    b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH % len(BODY) + BODY,
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-%d/%d\r\n" % (len(BODY) - 1, len(BODY))
    + LENGTH % len(BODY)
    + BODY,
    b"HTTP/1.1 302 Found\r\nLocation: /1/items/a.ogg\r\n" + LENGTH % 0,
    b"HTTP/1.1 503 Slow Down\r\nRetry-After: 0\r\n" + LENGTH % 4 + b"Wait",
]
METADATA = {
    "created": 1_700_000_000,
    "metadata": {"title": "x", "creator": ["a", "b"]},
    "files": [{"name": "a.ogg", "source": "original", "format": "Ogg Vorbis", "size": "2048"}],
}


def answers(seed: int) -> list[Sequence[Step]]:
    """Return mutated answers, a pure function of the seed."""
    chance = random.Random(seed)
    return [[mutated(chance, chance.choice(FILES), FILES), CLOSE] for _ in range(8)]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file"


@given(seed=st.integers(0, 2**64 - 1))
@MANY
def test_a_mutated_answer_is_the_file_or_a_failure(target: Path, seed: int) -> None:
    with playing(*answers(seed)) as recorded:
        client = ArchiveClient(recorded.url, request_policy=POLICY)
        try:
            client.download(TRACK, target)
        except RecordingFailure as failure:
            event(type(failure).__name__)
            assert str(failure).isprintable()
        else:
            event("file")
            assert target.read_bytes() == BODY


def document(seed: int) -> bytes:
    """Return an answer with metadata, mutated as JSON, as a body, or as a whole."""
    chance = random.Random(seed)
    body = json.dumps(mutated_json(chance, METADATA) if seed % 3 else METADATA).encode()
    if chance.random() < 0.3:
        body = mutated(chance, body)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    if chance.random() < 0.3:
        body = gzip.compress(body)
        head += b"Content-Encoding: gzip\r\n"
    answer = head + LENGTH % len(body) + body
    return mutated(chance, answer) if chance.random() < 0.5 else answer


@given(seed=st.integers(0, 2**64 - 1))
@MANY
def test_a_mutated_document_is_one_or_a_failure(seed: int) -> None:
    told: list[Sequence[Step]] = [[document(seed + number), CLOSE] for number in range(4)]
    with playing(*told) as recorded:
        client = ArchiveClient(recorded.url, request_policy=POLICY)
        try:
            found = client.metadata("item")
        except RecordingFailure as failure:
            event(type(failure).__name__)
            assert str(failure).isprintable()
        else:
            event("document")
            assert isinstance(found["metadata"], dict)
