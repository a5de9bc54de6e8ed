"""What noise in place of zeros does, and how generated rows go on, on a folder of music.

python -m tests.benchmarks.bench_listening [folder]

Of each recording that the packaged model was not trained on, 20 seconds from its middle.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402 - the thread count must be set first

from fadae.audio import from_pcm  # noqa: E402
from fadae.coding import ByteCoder, encode_with_steps, find_step, packaged  # noqa: E402
from fadae.coding.drawing import draw  # noqa: E402
from fadae.making import Recording, recordings_of  # noqa: E402
from fadae.scores import (  # noqa: E402
    log_spectral_distance_db,
    multi_resolution_stft_distance,
    snr_db,
)
from fadae.transform import CriticalTransform  # noqa: E402
from tests.conftest import shared_dir  # noqa: E402

Array = np.ndarray[Any, Any]

SECONDS = 20
STRENGTHS = (0.0, 0.3, 0.5, 1.0)
RATES = (128, 256, 512)
RATE_HZ = 11025
TRANSFORM = CriticalTransform(RATE_HZ)
GENERATED_ROWS, GENERATED_STEP = 60, 112


def excerpts(folder: Path) -> list[Array]:
    """Return the middle of each recording that the model in the package does not know."""
    card = json.loads(resources.files("fadae.coding").joinpath("music.json").read_text())
    known = {one["sha256"] for one in card["trained_on"]}
    found: list[Recording] = [
        one for one in recordings_of(folder, RATE_HZ) if one.sha256 not in known
    ]
    samples = SECONDS * RATE_HZ
    starts = [max(0, (len(one.pcm) - samples) // 2) for one in found]
    return [
        from_pcm(one.pcm[start : start + samples]) for one, start in zip(found, starts, strict=True)
    ]


def filling(sounds: list[Array]) -> None:
    """Print SNR and spectral distances by bytes a row and strength, means over recordings."""
    print("| bytes a row | fill | SNR (dB) | log-spectral (dB) | multi-resolution STFT |")
    print("|---|---|---|---|---|")
    plain = ByteCoder(packaged(), TRANSFORM.size)
    for code_bytes in RATES:
        rows: dict[float, list[tuple[float, float, float]]] = {fill: [] for fill in STRENGTHS}
        for x in sounds:
            c = TRANSFORM.analyze(x)
            step = find_step(plain, c, code_bytes).of_rows(0, len(c))
            codes = encode_with_steps(plain, c, step, 4 * code_bytes)
            for fill in STRENGTHS:
                coder = ByteCoder(packaged(), TRANSFORM.size, fill=fill)
                y = TRANSFORM.synthesize(coder.decode(codes), length=len(x))
                distance = multi_resolution_stft_distance(x, y)
                rows[fill].append((snr_db(x, y), log_spectral_distance_db(x, y), distance))
        for fill, found in rows.items():
            snr, lsd, stft = np.mean(found, axis=0)
            print(f"| {code_bytes} | {fill:g} | {snr:.2f} | {lsd:.1f} | {stft:.2f} |", flush=True)


def continuity(c: Array) -> tuple[float, float]:
    """Return the correlation of a row's levels with the next row's: in 32 bands, in single bins.

    c: [F, size]. Levels in dB, each band's or bin's mean over the rows taken away: what a spectrum
    that never changes has in common with itself counts for nothing.
    """
    energy = np.square(c.reshape(len(c), -1, 3), dtype=np.float64).sum(axis=2)
    edges = np.unique(np.round(np.geomspace(4, energy.shape[1], 33)).astype(int))[:-1]
    in_bands = 10 * np.log10(np.add.reduceat(energy, edges, axis=1) + 1e-9)
    in_bins = 10 * np.log10(energy[:, 4:500] + 1e-8)
    levels = [found - found.mean(axis=0) for found in (in_bands, in_bins)]
    bands, bins = (
        float((a[1:] * a[:-1]).sum() / np.sqrt((a[1:] ** 2).sum() * (a[:-1] ** 2).sum()))
        for a in levels
    )
    return bands, bins


def going_on(sounds: list[Array]) -> None:
    """Print how alike neighbouring rows are: of music, random bytes, and rows drawn in turn."""
    coder = ByteCoder(packaged(), TRANSFORM.size)
    index = np.full(GENERATED_ROWS, GENERATED_STEP, dtype=np.uint8)
    music, coded, random, walked = [], [], [], []
    for seed, x in enumerate(sounds):
        c = TRANSFORM.analyze(x)[1:-1]
        steps = find_step(coder, c, 256).of_rows(0, len(c))
        music.append(continuity(c))
        coded.append(continuity(coder.decode(encode_with_steps(coder, c, steps, 1024))))
        rng = np.random.default_rng(seed)
        rows = [bytes([GENERATED_STEP]) + rng.bytes(255) for _ in range(GENERATED_ROWS)]
        random.append(continuity(np.clip(coder.decode(rows, strict=False), -1, 1)))
        q = np.concatenate(list(draw(packaged(), TRANSFORM.size, GENERATED_ROWS, seed)))
        walked.append(continuity(coder.reconstruct(coder.draft_of(q, index))))
    print("\n| rows | correlation with the next, 32 bands | single bins |\n|---|---|---|")
    table = {"music": music, "music at 256 bytes": coded, "random": random, "walk": walked}
    for name, found in table.items():
        bands, bins = np.mean(found, axis=0)
        print(f"| {name} | {bands:.2f} | {bins:.2f} |")


def main() -> None:
    default = shared_dir() / "recordings"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    sounds = excerpts(folder) if folder.is_dir() else []
    if not sounds:
        print(f"{folder} holds no music that the model in the package was not trained on")
        return
    print(f"{len(sounds)} recordings, {SECONDS} s of each at most")
    filling(sounds)
    going_on(sounds)


if __name__ == "__main__":
    main()
