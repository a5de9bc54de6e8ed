"""Cuts a signal into overlapping windowed frames and adds frames up again, block by block.

Frame j of N samples starts at sample j H - P, samples outside the signal being 0. Seen from the
other side, hop j (samples [j H, (j+1) H) of the padded signal) is the first H samples of frame j
plus the last N - H of frame j - 1, because H <= N <= 2 H.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fadae.arrays import Array, Float64
from fadae.errors import UsageError


def vorbis_window(frame_samples: int) -> Float64:
    """Return the Vorbis power-complementary window, [N] float64.

    w[t] = sin(pi/2 sin^2(pi (t + 1/2) / N)); w[t]^2 + w[t + N/2]^2 = 1 for even N.
    Source: Vorbis I specification, section 4.3.1.

    >>> w = vorbis_window(8)
    >>> bool(np.allclose(w[:4] ** 2 + w[4:] ** 2, 1))
    True
    """
    phase = np.pi * (np.arange(frame_samples) + 0.5) / frame_samples
    return np.asarray(np.sin(np.pi / 2 * np.sin(phase) ** 2))


@dataclass(frozen=True)
class Framing:
    """Where frames lie: length N, hop H and front padding P, all in samples.

    With P = H (and N = 2 H) the first and the last hop of a signal are covered by two frames like
    every other. With P = 0 frames start at the first sample, and the edges are seen once.
    """

    frame_samples: int
    hop_samples: int
    padding_samples: int

    def __post_init__(self) -> None:
        """Refuse framings whose frames do not cover the signal once or twice."""
        N, H, P = self.frame_samples, self.hop_samples, self.padding_samples
        if not (0 < H <= N <= 2 * H and (P == 0 or (P == H and N == 2 * H))):
            raise UsageError(
                f"frames of {N} samples every {H}, padded by {P}: a hop must be between half a "
                "frame and a frame, the padding 0, or one hop where a frame is two."
            )

    @property
    def block_frames(self) -> int:
        """Frames computed together, always exactly this many (see `adaptive`).

        About a million samples: 128 frames of `seed`; large enough for matrix products to be
        efficient, small enough to bound memory.
        """
        return max(16, min(128, 2**20 // self.frame_samples // 16 * 16))

    def frame_count(self, samples: int) -> int:
        """Return the frames of a signal of `samples` samples; 0 for none.

        >>> Framing(8, 4, 4).frame_count(9), Framing(7, 4, 0).frame_count(9)
        (4, 2)
        """
        if samples < 0:
            raise ValueError(f"a signal has 0 or more samples, not {samples}")
        if samples == 0:
            return 0
        if self.padding_samples:
            return -(-samples // self.hop_samples) + 1
        return max(1, samples // self.hop_samples)

    def covered_samples(self, frames: int) -> int:
        """Return the most samples that `frames` frames can be synthesized to."""
        if frames == 0:
            return 0
        return (frames - 1) * self.hop_samples + self.frame_samples - 2 * self.padding_samples

    def read_frames(self, signal: Array, first: int, window: Array, out: Array) -> None:
        """Write windowed frames `first`, first + 1, ... of `signal` [n] into `out` [F, N]."""
        N, H = self.frame_samples, self.hop_samples
        start = first * H - self.padding_samples
        stretch = zero_extended(signal, start, start + (len(out) - 1) * H + N)
        np.multiply(np.lib.stride_tricks.sliding_window_view(stretch, N)[::H], window, out=out)

    def add_frames(self, frames: Array, window: Array, carry: Array, out: Array) -> None:
        """Write hops j, j + 1, ... into `out` [F, H] from frames j, j + 1, ... [F, N].

        The frames are windowed here, in place. `carry` [N - H] is the tail of frame j - 1; it is
        left holding the last frame's.
        """
        H, tail = self.hop_samples, self.frame_samples - self.hop_samples
        np.multiply(frames[:, :H], window[:H], out=out)
        frames[:, H:] *= window[H:]
        out[0, :tail] += carry
        out[1:, :tail] += frames[:-1, H:]
        carry[:] = frames[-1, H:]

    def hop_weights(self, window: Float64) -> Float64:
        """Return [3, H]: the sum of squared windows over a first, an inner and a last hop."""
        H, tail = self.hop_samples, self.frame_samples - self.hop_samples
        head, rest = np.zeros((2, H))
        head[:], rest[:tail] = window[:H] ** 2, window[H:] ** 2
        return np.stack([head, head + rest, rest])


def zero_extended(signal: Array, start: int, stop: int) -> Array:
    """Return samples [start, stop), zeros outside the signal; a view where that is possible."""
    inside = signal[max(start, 0) : max(stop, 0)]
    if len(inside) == stop - start:
        return inside
    extended = np.zeros(stop - start, dtype=signal.dtype)
    begin = max(-start, 0)
    extended[begin : begin + len(inside)] = inside
    return extended
