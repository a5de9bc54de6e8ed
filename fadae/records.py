"""The values that travel between rooms: frozen, small, JSON-able; units in their names."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from fadae.errors import RecordingFailure, TransientFailure


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces; what hashes are taken of.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def finite(value: Any) -> Any:
    """Return a JSON-able value with every undefined number as None: JSON knows no NaN.

    >>> finite({"nmse_db": float("nan"), "runs": [1.5]})
    {'nmse_db': None, 'runs': [1.5]}
    """
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def sha256_hex(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes, 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class FailureClass(StrEnum):
    """Whether a failed recording is worth asking for again."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Track:
    """One audio file that a source lists, before anything is fetched.

    The id, "item/file", is the recording's identity everywhere. All texts come from outside:
    they are data, never paths.

    >>> Track(item="AOC11B", file="disc 1/01.ogg").id
    'AOC11B/disc 1/01.ogg'
    """

    item: str
    file: str
    title: str = ""
    creator: str = ""
    licence: str = ""
    url: str = ""
    size_bytes: int | None = None
    sha1: str | None = None
    md5: str | None = None

    @property
    def id(self) -> str:
        """The recording's identity, "item/file"."""
        return f"{self.item}/{self.file}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_dict` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the track that `to_dict` wrote; unknown keys are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a recording is not there."""

    id: str
    failure_class: FailureClass
    reason: str
    attempts: int = 1

    @classmethod
    def of(cls, recording_id: str, error: RecordingFailure, attempts: int = 1) -> Self:
        """Return the failure that an exception about one recording stands for."""
        transient = isinstance(error, TransientFailure)
        kind = FailureClass.TRANSIENT if transient else FailureClass.PERMANENT
        return cls(recording_id, kind, str(error), attempts)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What decoding found: exact counts, at the transform's rate where samples are meant."""

    rate_hz: int
    samples: int
    pcm_sha256: str
    source_rate_hz: int
    source_channels: int
    source_bytes: int
    source_sha1: str

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples / self.rate_hz


@dataclass(frozen=True, slots=True)
class Commit:
    """The ledger's line on one recording: decoded, or failed with class and reason.

    Written last, after the recording's PCM: whoever reads a commit with `decoded` may rely on
    every byte of the PCM being there.
    """

    track: Track
    decoded: Decoded | None = None
    failure: Failure | None = None
    kept_source: bool = False
    fadae_version: str = ""

    def __post_init__(self) -> None:
        """Hold the one invariant: a recording is either decoded or failed."""
        if (self.decoded is None) == (self.failure is None):
            raise ValueError(f"a commit is either decoded or failed: {self.track.id}")

    @property
    def id(self) -> str:
        """The recording's identity, "item/file"."""
        return self.track.id

    def to_json(self) -> str:
        """Return the text of staging/<2 hex>/<recording>.json."""
        return canonical_json(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the commit that `to_json` wrote.

        Raises ValueError, KeyError or TypeError on a text it did not write.
        """
        values = json.loads(text)
        decoded, failure = values["decoded"], values["failure"]
        if failure is not None:
            failure["failure_class"] = FailureClass(failure["failure_class"])
        return cls(
            track=Track.from_dict(values["track"]),
            decoded=None if decoded is None else Decoded(**decoded),
            failure=None if failure is None else Failure(**failure),
            kept_source=values["kept_source"],
            fadae_version=values["fadae_version"],
        )


@dataclass(frozen=True, slots=True)
class CodeSpec:
    """What a model's codes are, and how a store keeps them: [frame, size] of one NumPy type.

    >>> CodeSpec(256, "uint8", fill=0, variable=True, carries_scale=False, interpolates=False)
    CodeSpec(size=256, dtype='uint8', fill=0, meaning='code of the frame', variable=True,
             carries_scale=False, interpolates=False)
    """

    size: int  # numbers of a frame, at most
    dtype: str = "float32"  # NumPy's name
    fill: float | int = math.nan  # of rows that are no frame, and after a variable code's end
    meaning: str = "code of the frame"  # the array's long_name
    variable: bool = False  # bytes: a frame's code_bytes says how many of them count
    # The model sees frames companded and divided by their scale, which is kept beside the code;
    # otherwise it sees raw coefficients, and the code says everything.
    carries_scale: bool = True
    interpolates: bool = True  # what lies between two codes is a code

    def __post_init__(self) -> None:
        """Refuse what no store can hold."""
        if self.size < 1:
            raise ValueError(f"a code has at least one number, not {self.size}")
        if self.variable and self.dtype != "uint8":
            raise ValueError(f"codes of variable length are uint8, not {self.dtype}")
        if math.isnan(self.fill) and "float" not in self.dtype:
            raise ValueError(f"{self.dtype} has no NaN: name another fill")

    @property
    def has_nan(self) -> bool:
        """Whether a code can say that its frame could not be read."""
        return "float" in self.dtype
