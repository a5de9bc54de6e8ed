"""The data card of an export: a README.md that `datasets` reads its splits from."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fadae._version import __version__
from fadae.data import key_of
from fadae.export.plan import Request
from fadae.licences import shown
from fadae.records import CodeSize, SideScores, TransformConfig, one_line
from fadae.store import RecordingRow

_MOST_LINES = 50  # of a table: what there is more of is counted
_KNOWN = 1000  # names that are counted one by one


@dataclass
class Tally:
    """Hours of some recordings by licence and by item, counted in bounded memory."""

    recordings: int = 0
    seconds: float = 0.0
    licences: dict[str, float] = field(default_factory=dict)  # seconds
    items: dict[str, float] = field(default_factory=dict)
    _hashes: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, recording: RecordingRow) -> None:
        """Count one."""
        self.recordings += 1
        self.seconds += recording.seconds
        _count(self.licences, shown(recording.licence), recording.seconds)
        _count(self.items, recording.item, recording.seconds)
        self._hashes.append(key_of(recording.item))

    @property
    def item_count(self) -> int:
        """How many items they came from."""
        return len(np.unique(np.frombuffer(self._hashes, dtype=np.uint64)))


def _count(counted: dict[str, float], name: str, seconds: float) -> None:
    told = name if name in counted or len(counted) < _KNOWN else "others"
    counted[told] = counted.get(told, 0.0) + seconds


@dataclass(frozen=True)
class About:
    """What a card tells beside the tally."""

    request: Request
    transform: TransformConfig
    dtype: str
    split_run: str | None
    codes_run: str | None
    model_sha256: str | None
    code_size: CodeSize | None
    scores: SideScores | None
    sides: Mapping[str, tuple[int, int, float]]  # recordings, shards, hours
    exclusions: Mapping[str, int]


def card(about: About, tally: Tally) -> str:
    """Return the text of the card. Names from outside are escaped: they are text, not markup."""
    request = about.request
    sides = [[side, n, shards, f"{hours:.2f}"] for side, (n, shards, hours) in about.sides.items()]
    parts = [
        _header(request, [side for side, (_, shards, _) in about.sides.items() if shards]),
        "# Recordings, as fadae exported them\n",
        f"{tally.recordings:,} recordings, {tally.seconds / 3600:.2f} hours, from "
        f"{tally.item_count:,} items, as {', '.join(request.what)}. Each is cut into pieces of "
        f"{request.seconds:g} s; `id` and `start_seconds` say of what and from where. "
        f"Written by fadae {__version__}.\n",
        _table(["Split", "Recordings", "Shards", "Hours"], sides),
        _split_told(about),
        "## How to load\n",
        _loading(request),
        "## Licences\n",
        "As SPDX names them, where the sources say so. `SOURCES.jsonl` has title, creator, licence "
        "and address of every recording, `CITATION.cff` how to cite them.\n",
        _hours(["Licence", "Hours"], tally.licences),
        "## Sources\n",
        _hours(["Item", "Hours"], tally.items, tally.item_count),
        "## Transform\n",
        _table(["Setting", "Value"], [["dtype", about.dtype], *_settings(about.transform)]),
        *_model(about),
        "## What is not in it\n",
        _table(["Recordings", "Count"], [[name, n] for name, n in about.exclusions.items()]),
    ]
    return "\n".join(parts)


def _header(request: Request, sides: Sequence[str]) -> str:
    """Return what `datasets` reads: which files are which split."""
    ending = {"webdataset": "-*.tar", "parquet": "-*.parquet", "audiofolder": "/**"}
    files = "".join(
        f"  - split: {side}\n    path: data/{side}{ending[request.format]}\n" for side in sides
    )
    head = "---\ntags:\n- audio\n- music\nconfigs:\n- config_name: default\n  data_files:\n"
    return f"{head}{files}---\n"


def _split_told(about: About) -> str:
    whose = f"run `{cell(about.split_run)}`" if about.split_run else "a run with default options"
    return (
        f"`train` and `holdout` are what {whose} learns from and is judged by: whole recordings. "
        "`unseen` is neither.\n"
    )


def _loading(request: Request) -> str:
    one = {
        "webdataset": 'webdataset.WebDataset("data/train-000000.tar").decode()',
        "parquet": 'pyarrow.parquet.read_table("data/train-000000.parquet")',
        "audiofolder": 'soundfile.read("data/train/000000/NAME.flac")',
    }[request.format]
    loaded, remark = 'datasets.load_dataset("FOLDER", split="train")', ""
    if "audio" in request.what:
        remark = "  # sound needs datasets[audio]"
        if request.format == "parquet":
            loaded += '.cast_column("audio", datasets.Audio())'
    return f"```python\n{loaded}{remark}\n{one}\n```\n"


def _settings(transform: TransformConfig) -> list[list[object]]:
    plain = {name: value for name, value in transform.items() if not isinstance(value, list | dict)}
    return [[name, value] for name, value in plain.items()]


def _model(about: About) -> list[str]:
    if about.model_sha256 is None:
        return []
    rows: list[list[object]] = [["run", about.codes_run], ["model", about.model_sha256]]
    if about.code_size is not None:
        rows.append(["a row's code", about.code_size])
    for name, value in (about.scores or {}).items():
        rows.append([name, f"{value:.2f} dB" if isinstance(value, float) else value])
    return ["## Model\n", _table(["Of the codes", "Value"], rows)]


def _hours(names: Sequence[str], seconds: Mapping[str, float], count: int | None = None) -> str:
    most = sorted(seconds.items(), key=lambda one: (-one[1], one[0]))
    rows: list[list[object]] = [[name, f"{value / 3600:.2f}"] for name, value in most[:_MOST_LINES]]
    more = (len(most) if count is None else count) - len(rows)
    if more > 0:
        rows.append([f"{more:,} more", ""])
    return _table(names, rows)


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    escaped = (line if line[0] == "---" else [cell(value) for value in line] for line in lines)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in escaped) + "\n"


def cell(value: object) -> str:
    """Return a value as text in Markdown, whatever it holds.

    >>> cell("a|b\\n<script> [x](y)")
    'a\\\\|b \\\\<script\\\\> \\\\[x\\\\]\\\\(y\\\\)'
    """
    line = one_line(str(value))
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&])", r"\\\1", line[:200])
