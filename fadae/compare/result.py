"""What a comparison found: a JSON document in the workspace, with its intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from fadae.data import key_of, keyed_hash
from fadae.errors import NoInputError
from fadae.records import finite
from fadae.store import Location, paths

PACKAGED = "packaged"  # the model that comes with fadae, among the names of runs
RESAMPLES = 2000
CONFIDENCE = 0.95
MOST_DB = 120.0  # no error at all counts as this, so that means stay numbers


class Measure(TypedDict):
    """A measure's name and unit, and whether more of it is better."""

    name: str
    unit: str
    higher_is_better: bool


MEASURES: dict[str, Measure] = {
    "snr_db": {"name": "SNR", "unit": "dB", "higher_is_better": True},
    "si_sdr_db": {"name": "SI-SDR", "unit": "dB", "higher_is_better": True},
    "log_spectral_distance_db": {"name": "LSD", "unit": "dB", "higher_is_better": False},
    "multi_resolution_stft_distance": {
        "name": "MR-STFT",
        "unit": "",
        "higher_is_better": False,
    },
    "visqol_mos": {"name": "ViSQOL", "unit": "MOS-LQO", "higher_is_better": True},
}


class Interval(TypedDict):
    """A mean over recordings with its bootstrap interval; None where it is not defined."""

    mean: float | None
    low: float | None
    high: float | None


class Compared(TypedDict):
    """A recording, or the part of it that was compared."""

    id: str
    title: str
    start_seconds: float
    seconds: float
    held_out_by: list[str]  # runs, or "packaged", that never trained on it but could have
    trained_on_by: list[str]


class Measured(TypedDict):
    """What became of one recording in one code."""

    recording: str
    bytes: int
    payload_bytes: int
    delay_samples: float  # that was undone
    scores: dict[str, float | None]


class CodeResult(TypedDict):
    """One code with one setting."""

    name: str
    kind: str  # run, packaged, codec
    model: str  # of a run
    setting: str
    about: str
    kbps: float  # of the whole file
    payload_kbps: float  # without a container's headers and framing
    trained_on: int  # of the recordings below; 0 where all were held out
    scores: dict[str, Interval]
    recordings: list[Measured]


class LeftOut(TypedDict):
    """A recording that was not compared, and why."""

    id: str
    reason: str


class Comparison(TypedDict):
    """A comparison of codes over recordings."""

    fadae_version: str
    command: str  # that makes it again
    name: str
    sample_rate_hz: int
    seconds: float  # at most, of each recording
    seed: int
    resamples: int
    confidence: float
    measures: dict[str, Measure]
    recordings: list[Compared]
    left_out: list[LeftOut]
    remarks: list[str]
    codes: list[CodeResult]


def label(code: CodeResult) -> str:
    """Return how a code is called where all stand together."""
    return f"{code['name']} ({code['model']})" if code["model"] else code["name"]


def interval(values: Sequence[float | None], seed: int) -> Interval:
    """Return the mean of values, one a recording, with its percentile bootstrap interval.

    None is left out. The same for the same values and seed on every machine. Source: Efron,
    Tibshirani, "An introduction to the bootstrap" (1993), chapter 13.

    >>> interval([1.0, 1.0, None], seed=0)
    {'mean': 1.0, 'low': 1.0, 'high': 1.0}
    """
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return {"mean": None, "low": None, "high": None}
    draws = keyed_hash(key_of("bootstrap", seed), np.arange(RESAMPLES * len(known)))
    means = known[(draws % np.uint64(len(known))).astype(np.intp)].reshape(RESAMPLES, -1).mean(1)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(means, [tail, 100 - tail])
    return {
        "mean": rounded(float(known.mean())),
        "low": rounded(float(low)),
        "high": rounded(float(high)),
    }


def rounded(value: float) -> float | None:
    """Return a score as it is kept: four digits after the point, none where it is undefined.

    >>> rounded(float("inf")), rounded(float("nan")), rounded(1 / 3)
    (120.0, None, 0.3333)
    """
    if math.isnan(value):
        return None
    return round(min(max(value, -MOST_DB), MOST_DB), 4)


def write(location: Location, comparison: Comparison) -> str:
    """Write a comparison into the workspace, whole or not at all; return where."""
    path = paths.comparison_path(comparison["name"])
    location.write_bytes(path, to_json(comparison).encode(), "application/json")
    return path


def to_json(comparison: Comparison) -> str:
    """Return the document's text, the same for the same comparison."""
    return json.dumps(finite(dict(comparison)), indent=1, allow_nan=False) + "\n"


def names(location: Location) -> list[str]:
    """Return the names of a workspace's comparisons."""
    found = location.names(paths.COMPARISONS)
    return [name.removesuffix(".json") for name in found if name.endswith(".json")]


def read(location: Location, name: str) -> Comparison:
    """Return a comparison of a workspace; raises NoInputError where it is none."""
    try:
        document: Comparison = json.loads(location.read_bytes(paths.comparison_path(name)))
        _ = document["codes"], document["recordings"], document["measures"]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise NoInputError(
            f"{location.url} holds no comparison {name!r}: `fadae compare` makes one"
        ) from error
    return document


def measured(comparison: Comparison) -> list[str]:
    """Return the measures that any code has a mean of, in their order."""
    return [
        key
        for key in comparison["measures"]
        if any(
            key in code["scores"] and code["scores"][key]["mean"] is not None
            for code in comparison["codes"]
        )
    ]
