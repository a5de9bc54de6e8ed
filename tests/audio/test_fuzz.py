"""The decoder on what nobody has seen before: sound or a reason, never more than one recording."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fadae.audio import ogg
from fadae.audio.protocol import TAG_CHARACTERS
from fadae.audio.sandbox import Sandbox
from fadae.errors import PermanentFailure
from tests.audio.formats import PAIRS, encoded
from tests.audio.hostile import CORPUS, SHORT
from tests.audio.sounds import music
from tests.mutation import mutated

_LARGEST = 1 << 17  # of what is mutated: in larger files the edits would be too thin
_OUR_FAULTS = re.compile("SIGSYS|malformed|exit code|took longer|no PCM")


@cache
def seeds() -> list[bytes]:
    short = music(0.25, 48_000, 2)
    made = [encoded(codec, container, short, 48_000) for container, codec in PAIRS]
    return made + [data for one in CORPUS if 0 < len(data := one.make()) <= _LARGEST]


def forge(seed: int) -> bytes:
    """Return a mutated file, a pure function of the seed; of Ogg half have checksums that fit."""
    chance = random.Random(seed)
    files = seeds()
    forged = mutated(chance, chance.choice(files), files)
    return ogg.with_fixed_serial(forged) if chance.random() < 0.5 else forged


@dataclass
class Bench:
    """A child that decodes one file after another, and what was odd about it."""

    sandbox: Sandbox
    path: Path
    odd: list[str]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    odd: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            odd.append(record.getMessage())

    sandbox, handler = Sandbox(), Kept()
    logging.getLogger("fadae.audio").addHandler(handler)
    yield Bench(sandbox, tmp_path_factory.mktemp("fuzz") / "source", odd)
    logging.getLogger("fadae.audio").removeHandler(handler)
    sandbox.close()


@given(seed=st.integers(0, 2**64 - 1), keep_damaged=st.booleans())
@settings(max_examples=150 if settings().max_examples <= 100 else 20_000)
def test_mutated_files_are_sound_or_have_a_reason(
    bench: Bench, seed: int, keep_damaged: bool
) -> None:
    bench.odd.clear()
    bench.path.write_bytes(forge(seed))
    blocks: list[bytes] = []
    try:
        source = bench.sandbox.decode(
            bench.path, 11025, SHORT, blocks.append, keep_damaged=keep_damaged
        )
    except PermanentFailure as failure:
        event(re.split(r"[:(]|\d", str(failure))[0])
        assert not _OUR_FAULTS.search(str(failure))
    else:
        event("sound")
        assert sum(map(len, blocks)) <= 2 * 11025 * (SHORT.decoded_seconds + 1)
        assert all(len(text) <= TAG_CHARACTERS for text in source.tags.values())
    assert bench.odd == []
