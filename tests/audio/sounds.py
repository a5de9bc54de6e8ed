"""Audio files the tests make: tones and noise, whole and damaged."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fadae.audio import write


def music(seconds: float, rate_hz: int = 22050, channels: int = 1, seed: int = 0) -> NDArray[Any]:
    """A tone with a little noise, [n] or [n, channels] float32."""
    count = round(seconds * rate_hz)
    tone = 0.3 * np.sin(2 * np.pi * (440 + 30 * seed) * np.arange(count) / rate_hz)
    noise = 0.02 * np.random.default_rng(seed).standard_normal((count, channels))
    sound = (tone[:, None] + noise).astype(np.float32)
    return sound[:, 0] if channels == 1 else sound


def save(path: Path, samples: NDArray[Any], rate_hz: int = 22050) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write.write(path, samples, rate_hz)
    return path


def wav(path: Path, samples: NDArray[Any], rate_hz: int, kind: int = 3) -> Path:
    """A WAV of any channels and kind (1 integers, 3 floats), samples [n, channels] as they are."""
    data, channels, width = samples.tobytes(), samples.shape[1], samples.itemsize
    block = channels * width
    form = struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz * block, block, 8 * width)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path
