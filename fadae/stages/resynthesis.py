"""Frames through a codec and back to sound, scored on the way: arrays in, arrays out."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np
import torch

from fadae.arrays import Array, Bool, Float32, Float64
from fadae.audio import to_pcm
from fadae.errors import TransientError
from fadae.model import FRAMES_AT_A_TIME, Codec
from fadae.scores import audio_sums
from fadae.store import NO_SAMPLE, Location
from fadae.transform import Transform

# The codec this process used last, and what it is: loaded once a process, not once a block.
_last_codec: tuple[tuple[str, str, str, str], Codec] | None = None


def loaded_codec(location: Location, run: str, model_sha256: str, device: str) -> Codec:
    """Return a run's codec on a device, as `resolve_device` names them.

    Raises TransientError where the run's model is another one by now, UsageError where there is
    no such device.
    """
    global _last_codec
    key = (location.url, run, model_sha256, device)
    if _last_codec is None or _last_codec[0] != key:
        codec = Codec.load(location, run, device)
        if codec.model_sha256 != model_sha256:
            raise TransientError(f"run {run!r} was trained again meanwhile; reconstruct it again")
        _last_codec = key, codec
    return _last_codec[1]


def resynthesize(
    codec: Codec,
    transform: Transform,
    c: Array,
    inside: Bool,
    prepared: Float64 | None = None,
) -> dict[str, Array]:
    """Return the arrays of F frames: encoded, features (as `c`), audio, frame_sums; scale and
    code_bytes where the code has them.

    c: [F or F + 1, C] raw coefficients, with the frame after the last one where it is known: hop
    j is heard from frames j and j + 1. inside: [F, H], which samples belong to a recording.
    prepared: [F + 1], of each frame's recording, where the codec `prepares`. frame_sums: see
    `store.reconstruction.SUMS`.
    """
    rows = len(inside)
    original = np.zeros((rows + 1, transform.size), np.float32)
    # Between float16 and float32 torch converts many times faster than NumPy, to the same bits.
    torch.from_numpy(original)[: len(c)] = torch.from_numpy(c)
    made = np.zeros_like(original)
    with _one_thread():
        encoded, companded = _through(codec, original[: len(c)], made[: len(c)], prepared)
    reference = transform.synthesize_hops(original).reshape(inside.shape)
    estimate = transform.synthesize_hops(made, floor=transform.model_floor).reshape(inside.shape)
    outside = ~inside
    if outside.any():
        reference[outside] = estimate[outside] = 0
    lost = ~np.isfinite(estimate)  # of damaged frames; what NaN is as int16 depends on the machine
    audio = to_pcm(np.where(lost, np.float32(0), estimate))
    audio[outside | lost] = NO_SAMPLE
    return {
        "audio": audio,
        **{name: values[:rows] for name, values in encoded.items()},
        "features": torch.from_numpy(made[:rows]).to(torch.from_numpy(c[:0]).dtype).numpy(),
        "frame_sums": np.concatenate([companded[:rows], audio_sums(reference, estimate)], axis=1),
    }


def _through(
    codec: Codec,
    c: Float32,
    out: Float32,
    prepared: Float64 | None,
) -> tuple[dict[str, Array], Array]:
    """Write the decoded coefficients to `out`; return (arrays of the codes, sums [F, 2])."""
    code = codec.code
    stored: dict[str, Array] = {"encoded": np.empty((len(c), code.size), code.dtype)}
    if code.carries_scale:
        stored["scale"] = np.empty(len(c), np.float32)
    if code.variable:
        stored["code_bytes"] = np.empty(len(c), np.int32)
    sums = np.empty((len(c), 2))
    with torch.inference_mode():
        for part in _even_parts(len(c)):
            made = codec.pass_through(c[part], None if prepared is None else prepared[part])
            stored["encoded"][part] = made.codes.values.cpu().numpy()
            if code.carries_scale:
                stored["scale"][part] = made.scale[:, 0].cpu().numpy()
            if made.codes.lengths is not None:
                stored["code_bytes"][part] = made.codes.lengths.cpu().numpy()
            out[part] = made.coefficients.cpu().numpy()
            sums[part, 0] = torch.linalg.vecdot(made.original, made.original).cpu().numpy()
            error = made.original.sub_(made.decoded)
            sums[part, 1] = torch.linalg.vecdot(error, error).cpu().numpy()
    return stored, sums


def _even_parts(frames: int) -> Iterator[slice]:
    """Yield parts of about 256 frames: 1025 are four, not four and a single costly one."""
    edges = np.linspace(0, frames, max(1, round(frames / FRAMES_AT_A_TIME)) + 1).astype(int)
    return (slice(int(a), int(b)) for a, b in itertools.pairwise(edges))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: how a product is cut into threads shows in its last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
