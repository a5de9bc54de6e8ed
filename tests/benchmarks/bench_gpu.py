"""What a GPU does with it: `make bench-gpu`, or `python -m tests.benchmarks.bench_gpu`.

On a machine with CUDA: the frequency-adaptive transform in torch against NumPy's, to 1e-5; the
trainer's samples a second; two ranks over NCCL, where there are two GPUs; codes made and read on
the GPU against the CPU's. Ends 1 where one of these is wrong. Elsewhere it says that it is skipped.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from fadae.arrays import Array
from fadae.config.job import TrainConfig
from fadae.model.codec import Codec
from fadae.stages.extract import extract
from fadae.store.features import FeatureSet
from fadae.store.location import Location
from fadae.training.launch import train
from fadae.transform.adaptive import FrequencyAdaptiveTransform
from fadae.transform.bands import band_windows
from fadae.transform.framing import vorbis_window
from tests.store.staged import stage
from tests.synthetic import music
from tests.training.features import write_features

TOLERANCE = 1e-5
ROUNDS = 10


class TorchTransform:
    """A padded `FrequencyAdaptiveTransform` on a device, bands of equal width together.

    fadae computes its transforms in NumPy: one row has the same bytes on every machine. This is
    what a GPU would make of them, and how fast.
    """

    def __init__(self, transform: FrequencyAdaptiveTransform, device: torch.device) -> None:
        """Take a transform whose frames are two hops, padded by one."""
        assert transform.padding_samples == transform.hop_samples
        self._of, self._device = transform, device
        self._window = self._tensor(vorbis_window(transform.frame_samples))
        power = transform.band_power
        gain = np.divide(1.0, power, out=np.zeros_like(power), where=power > 0)
        alike = defaultdict(list)
        windows = band_windows(transform.band_window, transform.band_slices)
        slices = transform.band_slices.tolist(), transform.coefficient_slices.tolist()
        for (start, stop), coefficients, window in zip(*slices, windows, strict=True):
            bins = np.arange(start, stop)
            alike[len(bins)].append((bins, np.arange(*coefficients), window, window * gain[bins]))
        self._groups = [
            [self._tensor(np.stack(column)) for column in zip(*group, strict=True)]
            for group in alike.values()
        ]

    def _tensor(self, values: Array) -> Tensor:
        kind = torch.float32 if values.dtype == np.float64 else torch.int64
        return torch.from_numpy(values).to(self._device, kind)

    def analyze(self, samples: Tensor) -> Tensor:
        """Return the coefficients [F, size] of a signal [n]."""
        of = self._of
        frames = of.frame_count(len(samples))
        after = (frames - 1) * of.hop_samples + of.frame_samples - of.padding_samples - len(samples)
        heard = pad(samples, (of.padding_samples, after)).unfold(
            0, of.frame_samples, of.hop_samples
        )
        spectra = torch.fft.rfft(heard * self._window, norm="ortho")
        found = samples.new_empty(frames, of.size)
        for bins, coefficients, window, _ in self._groups:
            found[:, coefficients] = torch.fft.irfft(
                spectra[:, bins] * window, n=coefficients.shape[1], norm="ortho"
            )
        return found

    def synthesize(self, c: Tensor) -> Tensor:
        """Return the signal [(F - 1) H] of coefficients [F, size]: the canonical dual."""
        of = self._of
        parts = c.new_zeros(len(c), of.frame_samples // 2 + 1, 2)
        for bins, coefficients, _, window in self._groups:
            own = torch.view_as_real(torch.fft.rfft(c[:, coefficients], norm="ortho"))
            own = (own * window[..., None]).flatten(1, 2)
            parts.index_add_(1, bins.flatten(), own)
        spectra = torch.view_as_complex(parts)
        frames: Tensor = torch.fft.irfft(spectra, n=of.frame_samples, norm="ortho")
        frames *= self._window
        hops = frames[:-1, of.hop_samples :] + frames[1:, : of.hop_samples]
        weights = self._tensor(of.framing.hop_weights(vorbis_window(of.frame_samples)))
        return (hops / weights[1]).flatten()


def apart(found: Tensor, expected: Array) -> float:
    """Return the greatest difference over the greatest value."""
    return float(np.abs(found.cpu().numpy() - expected).max() / np.abs(expected).max())


def report(what: str, figure: float, unit: str, right: bool = True) -> bool:
    """Print a figure; return whether it is right."""
    print(f"{what:<52} {figure:12.6g} {unit:<24}{'' if right else '  WRONG'}", flush=True)
    return right


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes on the GPU, in the mean, after two for warming up."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(ROUNDS):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / ROUNDS


def transforms(device: torch.device) -> bool:
    """Report the transform's errors and speed."""
    right = True
    for preset in ("seed", "full"):
        of = FrequencyAdaptiveTransform.preset(preset)
        samples = np.random.default_rng(0).standard_normal(60 * 11025).astype(np.float32)
        expected = of.analyze(samples)
        there = TorchTransform(of, device)
        signal, c = (torch.from_numpy(a).to(device) for a in (samples, expected))
        for name, call, wanted in (
            ("analyze", functools.partial(there.analyze, signal), expected),
            ("synthesize", functools.partial(there.synthesize, c), of.synthesize(expected)),
        ):
            error = apart(call(), wanted)
            right &= report(f"{preset} {name}, error", error, "<= 1e-5", error <= TOLERANCE)
            rate = 60 / seconds(call)
            report(f"{preset} {name}", rate, "audio seconds a second")
    return right


def trained(location: Location, run: str, **settings: Any) -> float:
    """Return the samples a second of a short run on the GPU."""
    chosen: dict[str, Any] = {"device": "cuda", "ranks": 1, "max_steps": 200, "fresh": True}
    summary = train(location, TrainConfig(run=run, **chosen | settings))
    assert summary.samples_per_second is not None
    return summary.samples_per_second


def model_hash(location: Location, run: str) -> str:
    """Return the hash of a run's model."""
    return hashlib.sha256(location.read_bytes(f"runs/{run}/model.safetensors")).hexdigest()


def trainer(location: Location) -> bool:
    """Report the trainer's speed, with one rank and with two."""
    for name, more in (
        ("fp32, batch 64", {"precision": "fp32"}),
        ("bf16, batch 64", {"precision": "bf16"}),
        ("bf16, batch 1024", {"precision": "bf16", "batch_size": 1024}),
    ):
        report(f"trainer, {name}", trained(location, "gpu", **more), "samples a second")
    if torch.cuda.device_count() < 2:
        print("two ranks over NCCL: skipped, this machine has one GPU")
        return True
    right = True
    for reduction in ("fast", "exact"):
        two = trained(location, "two", ranks=2, reduction=reduction, batch_size=1024)
        report(f"trainer, 2 ranks over NCCL, {reduction}, batch 1024", two, "samples a second")
    trained(location, "one", ranks=1, reduction="exact", batch_size=1024)
    same = model_hash(location, "one") == model_hash(location, "two")
    right &= report("exact: 1 and 2 ranks have the same bits", float(same), "1", same)
    return right


def codes(location: Location, run: str, exact: bool) -> bool:
    """Report how codes and decoded features of the GPU differ from the CPU's."""
    features = FeatureSet.open(location).read("features", 0, 256).astype(np.float32)
    features = features[np.isfinite(features).all(axis=1)]
    here, there = (Codec.load(location, run, device) for device in ("cpu", "cuda"))
    own, other = here.encode(features), there.encode(features)
    if exact:
        same = np.array_equal(own.values, other.values)
        same &= np.array_equal(here.decode(own), there.decode(own))
        return report(f"{run}: codes and decoded features are the CPU's", float(same), "1", same)
    error = apart(torch.from_numpy(other.values), own.values)
    right = report(f"{run}: codes against the CPU's", error, "<= 1e-5", error <= TOLERANCE)
    error = apart(torch.from_numpy(there.decode(own)), here.decode(own))
    right &= report(f"{run}: decoded features", error, "<= 1e-5", error <= TOLERANCE)
    return right


def main() -> int:
    """Return 1 where something on the GPU is wrong."""
    if not torch.cuda.is_available():
        print("skipped: this machine, or its PyTorch, has no CUDA")
        return 0
    print(
        torch.cuda.get_device_name(), "x", torch.cuda.device_count(), "; torch", torch.__version__
    )
    right = transforms(torch.device("cuda"))
    with tempfile.TemporaryDirectory() as folder:
        location = Location(f"{folder}/seed")
        write_features(location, [1200] * 4)
        right &= trainer(location)
        right &= codes(location, "gpu", exact=False)
        location = Location(f"{folder}/critical")
        for seed in range(4):
            stage(location, f"a/{seed}.ogg", music(60, seed))
        extract(location, preset="critical")
        trained(location, "bytes", model="bytes", batch_size=16, learning_rate=3e-3, max_steps=50)
        right &= codes(location, "bytes", exact=True)
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
