"""The values that travel between rooms: frozen, small, JSON-able; units in their names."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NotRequired, Self, TypedDict, TypeVar

from fadae.errors import RecordingFailure, TransientFailure

_T = TypeVar("_T")


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces; what hashes are taken of.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def printable(text: str) -> str:
    r"""Return a text fit for a log, a terminal or a page: names come from outside.

    >>> printable("a\x1b[31m\nb")
    'a\ufffd[31m\ufffdb'
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(text: str) -> str:
    r"""Return a text as one line of what can be printed.

    >>> one_line("a\x1b[31m\r\n\u202eb")
    'a [31m b'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def batched(values: Iterable[_T], most: int) -> Iterator[tuple[_T, ...]]:
    """Yield values, drawn as they are needed, some at a time; Python 3.12 has it in itertools.

    >>> list(batched(range(5), 2))
    [(0, 1), (2, 3), (4,)]
    """
    drawn = iter(values)
    while batch := tuple(itertools.islice(drawn, most)):
        yield batch


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


_LICENCE = "licence not admitted:"  # how the reason of such a failure begins


class FailureClass(StrEnum):
    """Whether a failed recording is worth asking for again."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


def _checked(values: object, **kinds: type) -> dict[str, Any]:
    """Return what JSON holds as the fields of a record: texts, numbers and nothing, no more.

    Raises TypeError where it is something else, or a field is not of its kind.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"fields expected, not {type(values).__name__}")
    for name, value in values.items():
        if type(value) not in (str, int, type(None)) or not isinstance(
            value, kinds.get(name, object)
        ):
            raise TypeError(f"{name} is {type(value).__name__}")
    return dict(values)


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

    @property
    def bare(self) -> Self:
        """The track without all that it is known by but its identity."""
        return type(self)(self.item, self.file)

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-able dict that `from_dict` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the track that `to_dict` wrote; unknown keys are ignored.

        Raises TypeError on values it did not write.
        """
        known = _checked(values, item=str, file=str)
        return cls(**{name: known[name] for name in cls.__slots__ if name in known})


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

    @classmethod
    def of_licence(cls, recording_id: str, why: str) -> Self:
        """Return the failure of a recording whose licence is not admitted."""
        return cls(recording_id, FailureClass.PERMANENT, f"{_LICENCE} {why}")

    @property
    def is_of_licence(self) -> bool:
        """Whether it is a policy that keeps the recording out: another one may take it."""
        return self.reason.startswith(_LICENCE)

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Return the failure of a JSON object. Raises ValueError, KeyError or TypeError."""
        known = _checked(values, id=str, failure_class=str, reason=str, attempts=int)
        return cls(**{**known, "failure_class": FailureClass(known["failure_class"])})


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

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Return what was decoded, from a JSON object. Raises ValueError or TypeError."""
        texts = {"pcm_sha256": str, "source_sha1": str}
        numbers = ("rate_hz", "samples", "source_rate_hz", "source_channels", "source_bytes")
        made = cls(**_checked(values, **texts, **dict.fromkeys(numbers, int)))
        if made.rate_hz < 1 or made.samples < 0:
            raise ValueError(f"{made.samples} samples at {made.rate_hz} Hz")
        return made

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples / self.rate_hz


@dataclass(frozen=True, slots=True)
class Commit:
    """The ledger's line on one recording: decoded, or failed with class and reason.

    Written last, after the recording's PCM: whoever reads a commit with `decoded` may rely on
    every sample being there, staged or published.
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
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ValueError(str(error)) from error
        decoded, failure = values["decoded"], values["failure"]
        return cls(
            track=Track.from_dict(values["track"]),
            decoded=None if decoded is None else Decoded.from_dict(decoded),
            failure=None if failure is None else Failure.from_dict(failure),
            kept_source=values["kept_source"],
            fadae_version=values["fadae_version"],
        )


@dataclass(frozen=True, slots=True, eq=False)
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

    def __eq__(self, other: object) -> bool:
        """Compare the fields; NaN equals NaN here, which Python 3.13 would tell apart."""
        return isinstance(other, CodeSpec) and repr(self) == repr(other)

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(repr(self))

    @property
    def has_nan(self) -> bool:
        """Whether a code can say that its frame could not be read."""
        return "float" in self.dtype


@dataclass(frozen=True, slots=True)
class CodeSize:
    """What codes take on average: bytes a row, and kilobits a second of sound.

    The scale that some codes carry, 4 bytes a row, is not counted.

    >>> print(CodeSize.of(1024, hop_seconds=3750 / 11025))
    1,024 bytes a row, 24.1 kbps
    """

    bytes_a_row: float
    kbps: float

    @classmethod
    def of(cls, bytes_a_row: float, hop_seconds: float) -> Self:
        """Return the size of codes of so many bytes, one every `hop_seconds`."""
        return cls(bytes_a_row, bytes_a_row * 8 / 1000 / hop_seconds)

    def __str__(self) -> str:
        return f"{self.bytes_a_row:,.0f} bytes a row, {self.kbps:.1f} kbps"


FailureLine = TypedDict("FailureLine", {"id": str, "class": str, "reason": str})
"""A recording that is not there, as summaries list it."""

FailureRecord = TypedDict(
    "FailureRecord", {"id": str, "class": str, "reason": str, "attempts": int}
)
"""A failure as a listing remembers it."""


class ComparedLine(TypedDict):
    """A way of keeping the demonstration's sound: what it takes, and how far it is from it."""

    name: str
    bytes_a_row: float
    kbps: float
    snr_db: float  # against the original's samples
    log_spectral_distance_db: float


class ProblemLine(TypedDict):
    """Something missing or damaged in a workspace, as summaries list it."""

    path: str
    problem: str
    repaired: bool


class PrunedKind(TypedDict):
    """What of a kind a workspace can do without."""

    objects: int
    bytes: int


class RecordingCounts(TypedDict):
    """The recordings of a workspace by outcome: see `IngestSummary`."""

    ok: int
    failed: int
    quarantined: int


class ScaleConfig(TypedDict, total=False):
    """A frequency scale: its kind, and the fields of that kind (see `transform.scale`)."""

    kind: str
    start_hz: float
    stop_hz: float
    bandwidth_ratio: float
    bands: int
    frame_samples: int
    sample_rate_hz: int
    first_hz: float
    bands_per_octave: int
    low_hz: list[float]  # of a table, [bands]
    centre_hz: list[float]
    high_hz: list[float]


class TransformConfig(TypedDict):
    """Everything that defines a transform: these, and what its kind adds.

    The frequency-adaptive transform has no `kind`; "mdct" is the orthonormal one.
    """

    kind: NotRequired[str]
    name: str
    sample_rate_hz: int
    hop_samples: int
    # Of the frequency-adaptive transform:
    frame_samples: NotRequired[int]
    padding_samples: NotRequired[int]
    frame_window: NotRequired[str]
    window_floor: NotRequired[float]
    scale: NotRequired[ScaleConfig]
    band_window: NotRequired[Literal["hann", "crossfade"]]
    band_slices: NotRequired[list[list[int]]]  # [bands, 2]: FFT bins [start, stop)
    # Of the orthonormal one:
    bands: NotRequired[int]
    blocks: NotRequired[int]
    window: NotRequired[str]
    window_alpha: NotRequired[float]


class FeatureAttrs(TypedDict):
    """The attributes of features.zarr."""

    Conventions: str
    title: str
    source: str
    comment: str
    fadae_version: str
    transform: TransformConfig
    dtype: str  # float16 or float32
    published_plans: int


class ReconstructionAttrs(TypedDict):
    """The attributes of reconstructions/<run>.zarr."""

    Conventions: str
    title: str
    source: str
    fadae_version: str
    run: str
    model_sha256: str
    features_sha256: str
    totals: dict[str, float]  # sums over all published frames, and the hops they were taken of
    side_totals: NotRequired[dict[str, dict[str, float]]]  # absent in stores of an earlier fadae


class SideScores(TypedDict):
    """Scores in dB, pooled over the frames that a run held out, and over those it trained on."""

    held_out_nmse_db: float
    held_out_audio_snr_db: float
    trained_nmse_db: float
    trained_audio_snr_db: float


class TrainRecipe(TypedDict, total=False):
    """What a run is bound to: the part of `TrainConfig` that its result is a function of."""

    model: str
    widths: list[int]
    options: dict[str, object]
    epochs: int
    max_steps: int | None
    batch_size: int
    learning_rate: float
    warmup_steps: int
    schedule: str
    weight_decay: float
    clip_norm: float | None
    holdout: float
    max_frames: int | None
    seed: int
    precision: str
    reduction: str
    leaves: int
    rules: int  # absent: 1
    micro_batch: int | None
    lanes: int
    window_rows: int
    threads: int
    evaluate_epochs: int | None
    early_stopping: int | None
    log_steps: int


class GrowthRecord(TypedDict):
    """What a finished run had come to when it took in what was published since."""

    rows: int
    step: int
    train_frames: int
    families: NotRequired[list[list[int]]]  # of what came then: see `DatasetRecord`


class DatasetRecord(TypedDict):
    """The rows that a run is bound to, and how they were divided."""

    rows: int
    recordings_sha256: str
    transform: TransformConfig
    hop_seconds: float
    train_frames: int
    holdout_frames: int
    padding_rows: int
    growths: NotRequired[list[GrowthRecord]]  # of a run that went on over more rows
    # Recordings, by their rows of the table, that are copies of each other, hence lie on one side;
    # the smallest id first. Absent: each recording was divided alone.
    families: NotRequired[list[list[int]]]
    # Spans [start, stop) of the recording table that were forgotten before: no part of the run.
    forgotten: NotRequired[list[list[int]]]


class RunConfig(TypedDict):
    """A run's config.json."""

    fadae_version: str
    model: Mapping[str, Any]  # its name, and what its own `from_config` reads
    recipe: TrainRecipe
    dataset: DatasetRecord
    publication: NotRequired[int]  # of the features, 0 where none is kept: see `fadae log`


class Baseline(TypedDict):
    """A run's baseline.json: the held-out scores of PCA with a code of as many bytes."""

    nmse_db: float | None
    nmse_linear_db: float | None
    components: int | None


class MetricsRow(TypedDict, total=False):
    """A line of metrics.jsonl; a model's own figures come as holdout_<name>."""

    step: int
    epoch: int
    train_loss: float | None  # mean since the line before
    learning_rate: float
    seconds: float
    holdout_loss: float | None
    holdout_nmse_db: float | None
    holdout_nmse_linear_db: float | None
    pca_nmse_db: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """A model's errors over a set of frames; NaN where there is no frame."""

    loss: float  # the model's own, else the mean squared error of the companded, scaled values
    nmse_db: float  # of the companded, scaled values
    nmse_linear_db: float  # of the coefficients
    frames: int
    silent: int
    failed: int
    figures: Mapping[str, float] = field(default_factory=dict)  # the model's own: means a frame

    def to_dict(self) -> dict[str, object]:
        """Return the scores by name, JSON-able; no figures where the model has none."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return values if self.figures else {k: v for k, v in values.items() if k != "figures"}
