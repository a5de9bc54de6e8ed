"""A codec that is taken over, for tests of what its decoder may do then."""

from __future__ import annotations

from pathlib import Path

import pytest

# A resampler that obeys a stranger. The clips that a child begins with have 8000 Hz.
_CODEC = """
import ctypes, os, socket, struct, time
import numpy as np

def reply(kind, payload, length=None):
    os.write(4, struct.pack("<cI", kind, len(payload) if length is None else length) + payload)

class ResampleStream:
    def __init__(self, source_hz, target_hz, channels, dtype, quality):
        self.times, self.hostile = target_hz / source_hz, source_hz == {source_hz}

    def resample_chunk(self, samples, last=False):
        if self.hostile:
            {act}
        {always}
        return np.repeat(samples, max(1, round(self.times)))
"""


def taken_over(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    act: str = "pass",
    always: str = "pass",
    source_hz: int = 44100,
) -> None:
    """Let decoders that start from now on do `act` in files of a rate, and `always` in any."""
    (folder / "soxr.py").write_text(_CODEC.format(act=act, always=always, source_hz=source_hz))
    monkeypatch.setattr("fadae.audio.sandbox._idle", [])  # children of this test's own
    monkeypatch.syspath_prepend(folder)
