"""A small workspace of synthesised music, written straight through the store, without Dask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fadae.audio.pcm import from_pcm, to_pcm
from fadae.store.features import NO_SAMPLE, feature_attrs, feature_specs
from fadae.store.frames import FrameStore
from fadae.store.index_objects import RecordingRow
from fadae.store.indexing import extend_index
from fadae.store.layout import BLOCK_FRAMES
from fadae.store.location import Location
from fadae.store.paths import FEATURES, recording_key
from fadae.transform.adaptive import FrequencyAdaptiveTransform
from fadae.transform.half import to_float16

RATE_HZ = 11025


def music(seconds: float, seed: int = 0, rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """Return notes with decaying partials over a little noise, int16 [round(seconds * rate)]."""
    random = np.random.default_rng(seed)
    samples = np.zeros(round(seconds * rate_hz), dtype=np.float32)
    note = round(0.4 * rate_hz)
    time = np.arange(note, dtype=np.float32) / rate_hz
    for start in range(0, len(samples), note // 2):
        hz = 220 * 2 ** (random.integers(0, 36) / 12)
        tone = sum(np.sin(2 * np.pi * hz * k * time) / k for k in (1, 2, 3)) * np.exp(-4 * time)
        samples[start : start + note] += 0.12 * tone[: len(samples) - start]
    samples += 0.002 * random.standard_normal(len(samples), dtype=np.float32)
    return to_pcm(samples)


def write_features(
    location: Location,
    recordings: Mapping[str, NDArray[np.int16]],
    *,
    preset: str = "seed",
    dtype: str = "float16",
    same_as: Mapping[str, str] | None = None,
    titles: Mapping[str, str] | None = None,
    urls: Mapping[str, str] | None = None,
    sha1s: Mapping[str, str] | None = None,
) -> None:
    """Append recordings, from a block's border on, to the workspace's features and publish them."""
    transform = FrequencyAdaptiveTransform.preset(preset)
    config = transform.config()
    store = FrameStore.create(
        location, FEATURES, feature_specs(transform, dtype), feature_attrs(config, dtype)
    )
    first, table = store.rows, store.recording_rows
    columns = _table(recordings, transform, first, same_as or {}, titles or {}, table)
    for column, given in (("url", urls), ("sha1", sha1s)):
        for name, value in (given or {}).items():
            columns[column][list(recordings).index(name)] = value
    used = first + sum(
        count
        for count, same in zip(columns["frame_count"], columns["same_as"], strict=True)
        if same < 0
    )
    rows = -(-used // BLOCK_FRAMES) * BLOCK_FRAMES
    arrays: dict[str, NDArray[Any]] = {
        "audio": np.full((rows - first, transform.hop_samples), NO_SAMPLE, np.int16),
        "features": np.full((rows - first, transform.size), np.nan, np.float32),
        "frame_recording": np.full(rows - first, -1, np.int32),
        "frame_time": np.full(rows - first, np.nan),
    }
    for row, (name, start) in enumerate(zip(recordings, columns["frame_start"], strict=True)):
        if columns["same_as"][row] < 0:
            _fill(arrays, recordings[name], transform, int(start) - first, table + row)
    if dtype == "float16":
        arrays["features"] = to_float16(arrays["features"])
    for block in range(first // BLOCK_FRAMES, rows // BLOCK_FRAMES):
        start = block * BLOCK_FRAMES - first
        part = {name: values[start : start + BLOCK_FRAMES] for name, values in arrays.items()}
        store.write_block(block, part, "synthetic")
    store.write_recordings(table, {f"recording_{name}": v for name, v in columns.items()})
    every = zip(*columns.values(), strict=True)
    planned = [RecordingRow(**dict(zip(columns, row, strict=True))) for row in every]
    index = extend_index(store, planned, f"{table:05d}-synthetic")
    store.publish(rows, table + len(recordings), {"index": index})


def _table(
    recordings: Mapping[str, NDArray[np.int16]],
    transform: FrequencyAdaptiveTransform,
    first: int,
    same_as: Mapping[str, str],
    titles: Mapping[str, str],
    table: int,
) -> dict[str, list[Any]]:
    names = list(recordings)
    start, starts = first, dict[str, int]()
    counts, same = dict[str, int](), list[int]()
    for name in names:
        counts[name] = transform.frame_count(len(recordings[name]))
        same.append(table + names.index(same_as[name]) if name in same_as else -1)
        if name in same_as:
            starts[name] = starts[same_as[name]]
        else:
            starts[name] = start
            start += counts[name]
    return {
        "id": list(names),
        "key": [recording_key(name) for name in names],
        "item": [name.split("/")[0] for name in names],
        "file": [name.partition("/")[2] for name in names],
        "title": [titles.get(name, f"Title of {name}") for name in names],
        "creator": ["J. S. Bach"] * len(names),
        "licence": ["https://creativecommons.org/publicdomain/zero/1.0/"] * len(names),
        "url": ["https://example.org/" + name for name in names],
        "sha1": ["0" * 40] * len(names),
        "pcm_sha256": [hashlib.sha256(recordings[n].tobytes()).hexdigest() for n in names],
        "rate_hz": [RATE_HZ] * len(names),
        "source_rate_hz": [44100] * len(names),
        "samples": [len(recordings[name]) for name in names],
        "seconds": [len(recordings[name]) / RATE_HZ for name in names],
        "frame_start": [starts[name] for name in names],
        "frame_count": [counts[name] for name in names],
        "same_as": list(same),
    }


def _fill(
    arrays: dict[str, NDArray[Any]],
    pcm: NDArray[np.int16],
    transform: FrequencyAdaptiveTransform,
    start: int,
    recording: int,
) -> None:
    frames = transform.frame_count(len(pcm))
    rows = slice(start, start + frames)
    hops = np.full(frames * transform.hop_samples, NO_SAMPLE, np.int16)
    hops[: len(pcm)] = pcm
    arrays["audio"][rows] = hops.reshape(frames, -1)
    arrays["features"][rows] = transform.analyze(from_pcm(pcm))
    arrays["frame_recording"][rows] = recording
    arrays["frame_time"][rows] = np.arange(frames) * transform.hop_samples / RATE_HZ


def write_run(
    location: Location,
    run: str = "default",
    *,
    seed: int = 0,
    widths: tuple[int, ...] = (32, 16),
    holdout: float | None = None,
    summary: Mapping[str, object] | None = None,
) -> None:
    """Write a run whose dense model, small by default, has seeded weights and never saw a frame.

    With a holdout it is bound to the published features and their split, as a training is.
    """
    import safetensors.torch
    import torch

    from fadae.model.dense import Dense

    transform = FrequencyAdaptiveTransform.preset("seed")
    torch.manual_seed(seed)
    model = Dense(transform.size, widths)
    config = {
        "model": {"name": "dense", **model.config()},
        "dataset": {"hop_seconds": transform.hop_samples / RATE_HZ},
    }
    if holdout is not None:
        from fadae.config.job import TrainConfig
        from fadae.training.dataset import open_dataset

        asked = TrainConfig(run=run, seed=seed, holdout=holdout)
        config |= {
            "recipe": asked.recipe(),
            "dataset": open_dataset(location, asked, None).description,
        }
    metrics = [
        {"step": step, "train_loss": 1 / step, "holdout_loss": 1.2 / step, "holdout_nmse_db": -step}
        for step in range(1, 6)
    ]
    location.write_bytes(f"runs/{run}/config.json", json.dumps(config).encode())
    lines = "".join(json.dumps(line) + "\n" for line in metrics)
    location.write_bytes(f"runs/{run}/metrics.jsonl", lines.encode())
    model_bytes = safetensors.torch.save(model.state_dict())
    location.write_bytes(f"runs/{run}/model.safetensors", model_bytes)
    told = {"model_sha256": hashlib.sha256(model_bytes).hexdigest(), **(summary or {})}
    done = {"summary": told, **({"recipe": config["recipe"]} if "recipe" in config else {})}
    location.write_bytes(f"runs/{run}/summary.json", json.dumps(done).encode())
