"""Makes the packaged model from a folder of music: `python -m fadae.model.making FOLDER`.

Writes music.safetensors and its card, music.json: which files it was trained on and judged by,
each by its SHA-256, and the figures. The same files give the same bytes, on one kind of CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import fadae.coding
from fadae.audio import borrowed, from_pcm
from fadae.coding import (
    STEPS,
    EntropyModel,
    compress,
    decompress,
    finish,
    identify,
    own_step,
    quantise,
    to_bytes,
)
from fadae.config import Limits
from fadae.errors import NoInputError, PermanentFailure
from fadae.model.byte_codes import OFFSETS, LearnedNetwork
from fadae.scores import snr_db
from fadae.transform import CriticalTransform

logger = logging.getLogger(__name__)

RATE_HZ = 11025
CODE_BYTES = (128, 256, 512)
_SHIFTS = (0, 1234)  # samples at which framing starts: as many views of each recording
_COUNTED_ROWS = 4000
ITERATIONS = 12_000  # about ten minutes of one core
_BATCH_ROWS = 16
_LEARNING_RATE = 3e-3

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Recording:
    """A file's sound: pcm [n] int16 at RATE_HZ, and the hashes of the file.

    Cards name files by SHA-256; workspaces, like the archive, by SHA-1.
    """

    name: str
    sha256: str
    sha1: str
    pcm: npt.NDArray[np.int16]


def read_folder(folder: Path) -> list[Recording]:
    """Return the recordings of a folder, ordered by hash, each once; others are left out."""
    found: dict[str, Recording] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        with tempfile.TemporaryFile() as pcm, borrowed() as sandbox:
            try:
                sandbox.decode(path, RATE_HZ, Limits(), pcm.write)
            except PermanentFailure as failure:
                logger.info("%s is left out: %s", path.name, failure)
                continue
            pcm.seek(0)
            samples = np.frombuffer(pcm.read(), dtype="<i2").astype(np.int16)
        sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        found.setdefault(sha256, Recording(path.name, sha256, sha1, samples))
    if not found:
        raise NoInputError(f"{folder} holds no recording that can be decoded")
    return [found[sha256] for sha256 in sorted(found)]


def make_model(
    recordings: Sequence[Recording], *, iterations: int = ITERATIONS, seed: int = 0
) -> EntropyModel:
    """Return the network trained on recordings."""
    transform = CriticalTransform(RATE_HZ)
    rows, steps = [], []
    for recording in recordings:
        for shift in _SHIFTS:
            c = transform.analyze(from_pcm(recording.pcm[shift:]))
            rows.append(c)
            steps.append(np.full(len(c), own_step(c), dtype=np.uint8))
    c, step_index = np.concatenate(rows), np.concatenate(steps)
    loud = np.abs(c).max(axis=1) > 1e-4
    c, step_index = c[loud], step_index[loud]

    def report(iteration: int, loss: float) -> None:
        if iteration % 500 == 0:
            logger.info("iteration %d: %.3f", iteration, loss)

    network = learn(
        c,
        step_index,
        blocks=transform.hop_samples // transform.bands,
        iterations=iterations,
        seed=seed,
        report=report,
    ).network()
    some = np.random.default_rng(seed).permutation(len(c))[:_COUNTED_ROWS]
    return finish(network, c[some], step_index[some])


def learn(
    c: Array,
    step_index: npt.NDArray[np.uint8],
    *,
    blocks: int,
    iterations: int = ITERATIONS,
    seed: int = 0,
    report: Callable[[int, float], object] = lambda iteration, loss: None,
) -> LearnedNetwork:
    """Return the network trained on rows [F, size], at random steps around their own [F].

    Minimises the mean of log2(25 + bytes) of a row: a saving of a hundredth counts the same in
    loud rows and in soft ones. The same for the same arguments, on one kind of CPU.
    """
    torch.set_num_threads(1)  # sums in one order
    rng = np.random.default_rng(seed)
    network = LearnedNetwork(blocks, seed=seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE, betas=(0.9, 0.99))
    for iteration in range(iterations):
        done = iteration / iterations
        warm = min(1.0, (iteration + 1) / 50)
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * warm * (0.505 + 0.495 * math.cos(math.pi * done))
        rows = rng.integers(0, len(c), _BATCH_ROWS)
        steps = step_index[rows] + rng.integers(*OFFSETS, _BATCH_ROWS)
        steps = np.clip(steps, 0, STEPS - 1).astype(np.uint8)
        q = quantise(c[rows], steps, rounding=float(rng.uniform(0.3, 0.42)))
        loss = torch.log2(25 + network.bits(q) / 8).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        report(iteration, loss.item())
    return network


def judge(model: EntropyModel, recordings: Sequence[Recording]) -> dict[str, Any]:
    """Return the mean over recordings of SNR in dB, by rate and bytes a row, all bytes counted."""
    figures: dict[str, Any] = {}
    for rate_kind in ("average", "constant"):
        for code_bytes in CODE_BYTES:
            scores, spent, rows = [], 0, 0
            for recording in recordings:
                code = compress(
                    recording.pcm, RATE_HZ, model=model, code_bytes=code_bytes, rate_kind=rate_kind
                )
                sound, _ = decompress(code, model=model)
                scores.append(snr_db(from_pcm(recording.pcm), sound))
                spent += len(code)
                rows += CriticalTransform(RATE_HZ).frame_count(len(recording.pcm))
            figures[f"{rate_kind} {code_bytes}"] = {
                "snr_db": round(float(np.mean(scores)), 3),
                "bytes_a_row": round(spent / rows, 2),
            }
            logger.info("%s %d: %s", rate_kind, code_bytes, figures[f"{rate_kind} {code_bytes}"])
    return figures


def _named(recording: Recording) -> dict[str, str]:
    return {"name": recording.name, "sha256": recording.sha256, "sha1": recording.sha1}


def card(
    model: EntropyModel,
    trained: Sequence[Recording],
    judged: Sequence[Recording],
    licence: str,
    iterations: int,
    seed: int,
) -> dict[str, Any]:
    """Return what is to be known of a model, JSON-able."""
    return {
        "fingerprint": identify(model).hex(),
        "sample_rate_hz": RATE_HZ,
        "licence_of_the_music": licence,
        "iterations": iterations,
        "seed": seed,
        "trained_on": [_named(one) for one in trained],
        "judged_by": [_named(one) for one in judged],
        "figures": judge(model, judged),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the model of a folder and write it with its card."""
    parser = argparse.ArgumentParser(prog="python -m fadae.model.making", description=__doc__)
    parser.add_argument("folder", type=Path, help="music to train on")
    parser.add_argument("--judge", type=Path, help="music to measure on, never trained on")
    parser.add_argument(
        "--to", type=Path, default=Path(fadae.coding.__file__).parent, help="where to write"
    )
    parser.add_argument("--licence", default="unknown", help="of the music, for the card")
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trained = read_folder(asked.folder)
    hashes = {one.sha256 for one in trained}
    judged = read_folder(asked.judge) if asked.judge else []
    judged = [one for one in judged if one.sha256 not in hashes]
    model = make_model(trained, iterations=asked.iterations, seed=asked.seed)
    asked.to.mkdir(parents=True, exist_ok=True)
    (asked.to / "music.safetensors").write_bytes(to_bytes(model))
    written = card(model, trained, judged, asked.licence, asked.iterations, asked.seed)
    (asked.to / "music.json").write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
