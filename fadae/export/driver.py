"""Exporting a workspace: shards mapped over a cluster, then what tells of them.

`export.json` comes first and says what the export is: another one in the same place is refused.
Each shard is one task, written whole under its name, so that an export killed anywhere goes on and
ends with the same bytes. `CITATION.cff` comes last: where it is, all is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from fadae.errors import NoInputError, TransientError, UsageError
from fadae.export.card import About, Tally, card
from fadae.export.citation import cite, rows_of, sources_of
from fadae.export.parquet import ensure_parquet
from fadae.export.plan import (
    Plan,
    Request,
    ShardTask,
    piece_edges,
    piece_rows_of,
    plan_of,
    row_bytes,
    shards,
)
from fadae.export.shards import export_shard, json_line
from fadae.licences import spdx_or_unknown
from fadae.query import Workspace
from fadae.records import canonical_json
from fadae.store import (
    PARTIAL,
    FeatureSet,
    FrameStore,
    Location,
    Mapper,
    PublishedRecordings,
    attrs_of,
    map_serially,
    reconstruction_path,
    side_scores,
)
from fadae.summaries import ExportSummary
from fadae.training import owners, run_config

log = logging.getLogger("fadae.export")

HEAD, SOURCES, CARD, CITATION = "export.json", "SOURCES.jsonl", "README.md", "CITATION.cff"


class Head(TypedDict):
    """What an export is: `export.json`, there before any shard."""

    format: str
    what: list[str]
    split: str | None
    licence: str | None
    seconds: float
    shard_mb: int
    codes_run: str | None
    split_run: str | None
    model_sha256: str | None
    transform_sha256: str
    rows: int  # of the store, when it was begun
    digest: str  # of the recordings and their rows


def export(
    workspace: Location | str,
    to: Location | str,
    request: Request,
    *,
    mapper: Mapper = map_serially,
) -> ExportSummary:
    """Write what is asked for of a workspace to a folder or bucket; return the summary.

    Done already, it is left alone. Raises UsageError for an unknown run, one without
    reconstructions where codes are asked for, or a place that holds something else; NoInputError
    where there is nothing to export; TransientError where shards are missing at the end.
    """
    location, target = Location.of(workspace), Location.of(to)
    if request.format == "parquet":
        ensure_parquet()
    if f"{target.url}/".startswith(f"{location.url}/"):
        raise UsageError(f"{target.url} lies in the workspace: choose another folder to export to")
    chosen = _choose(location, request)
    begun = _begun(target)
    rows = chosen.rows if begun is None else begun["rows"]
    config = None if chosen.split_run is None else run_config(location, chosen.split_run)
    plan = plan_of(chosen.features, config, request, rows)
    if not len(plan.recordings):
        raise NoInputError(f"{location.url} holds no recording to export so")
    _bind(target, begun, _head(chosen, request, rows, plan))
    if rows < chosen.rows:
        log.warning("what came since the export was begun needs another --to")
    template = ShardTask(
        location,
        target,
        request.format,
        request.what,
        chosen.codes_run,
        chosen.model_sha256,
        piece_rows_of(chosen.features, request.seconds),
    )
    a_row = row_bytes(chosen.features, chosen.codes, request.what)
    work = _Work(template, plan, request.shard_mb * 2**20 // a_row)
    written = work.do(mapper)
    if written or not target.exists(CITATION):
        _tell(chosen, request, plan, work, target)
    return _summary(chosen, request, plan, work, written)


def citation_of(workspace: Location | str, style: str) -> Iterator[str]:
    """Yield how to cite what a workspace's recordings were made of, in parts, read as drawn.

    style: "bibtex" or "cff". Raises NoInputError where there are no features.
    """
    features = FeatureSet.open(Location.of(workspace))
    _, recordings = owners(features)
    chosen = rows_of(PublishedRecordings(features.store), np.sort(recordings))
    return cite(sources_of(row for _, row in chosen), style, "Recordings in a fadae workspace")


@dataclass(frozen=True)
class _Chosen:
    """What a request comes to in a workspace."""

    workspace: Workspace
    features: FeatureSet
    codes: FrameStore | None
    codes_run: str | None
    split_run: str | None

    @property
    def rows(self) -> int:
        """Rows that can be exported."""
        rows = self.features.rows
        return rows if self.codes is None else min(rows, self.codes.rows)

    @property
    def model_sha256(self) -> str | None:
        """Of the model that wrote the codes."""
        return None if self.codes is None else attrs_of(self.codes)["model_sha256"]


def _choose(location: Location, request: Request) -> _Chosen:
    workspace = Workspace(location)
    features = FeatureSet.open(location)
    run = request.run
    if run is not None:
        workspace.config(run)  # raises UsageError for an unknown one
    if "codes" not in request.what:
        return _Chosen(workspace, features, None, None, run or workspace.split_run)
    run = run or workspace.default_reconstruction
    if run not in workspace.reconstructions:
        raise UsageError(f"run {run!r} has no reconstructions: fadae reconstruct --run {run}")
    codes = FrameStore.open(location, reconstruction_path(run))
    return _Chosen(workspace, features, codes, run, run)


def _begun(target: Location) -> Head | None:
    """Return the head of the export that is there, None for an empty place; UsageError else."""
    try:
        return _read_head(target)
    except FileNotFoundError:
        pass
    names = [name for name in target.names("") if not name.startswith(".")]
    if names:
        raise UsageError(
            f"{target.url} holds {names[0]!r} and no export: choose another --to, or empty it"
        )
    return None


def _read_head(target: Location) -> Head:
    """Return the head of an export; raises FileNotFoundError, UsageError where it is none."""
    try:
        head = json.loads(target.read_bytes(HEAD))
    except ValueError as error:
        raise UsageError(f"{target.url}/{HEAD} is no head of an export ({error})") from error
    if not isinstance(head, dict) or not isinstance(head.get("rows"), int):
        raise UsageError(f"{target.url}/{HEAD} is no head of an export")
    return cast(Head, head)


def _head(chosen: _Chosen, request: Request, rows: int, plan: Plan) -> Head:
    return {
        "format": request.format,
        "what": sorted(request.what),
        "split": request.split,
        "licence": None if request.policy is None else str(request.policy),
        "seconds": request.seconds,
        "shard_mb": request.shard_mb,
        "codes_run": chosen.codes_run,
        "split_run": chosen.split_run,
        "model_sha256": chosen.model_sha256,
        "transform_sha256": chosen.features.transform.config_sha256,
        "rows": rows,
        "digest": plan.digest,
    }


def _bind(target: Location, begun: Head | None, head: Head) -> None:
    """Say what the export is, or raise UsageError where the one there is another."""
    if begun is None:
        if target.create_exclusive(HEAD, canonical_json(head).encode()):
            return
        begun = _read_head(target)  # another driver's, or this one's before an answer was lost
    was = dict[str, object](begun)
    for name, value in head.items():
        if name in was and was[name] == value:
            continue
        if name == "digest":
            raise UsageError(
                f"the recordings exported to {target.url} are others by now (forgotten, or "
                "divided otherwise): export them to another --to"
            )
        raise UsageError(
            f"{target.url} holds another export, whose {name} is {was.get(name)!r} and not "
            f"{value!r}: choose another --to"
        )


@dataclass(frozen=True)
class _Work:
    """The shards of an export, made as they are drawn."""

    template: ShardTask
    plan: Plan
    most_rows: int

    def tasks(self) -> Iterator[ShardTask]:
        return shards(self.template, self.plan, self.most_rows)

    def missing(self) -> Iterator[ShardTask]:
        """Yield the shards that are not there."""
        to = self.template.to
        if self.template.format != "audiofolder":
            names = {f"data/{name}" for name in to.names("data")}
            return (task for task in self.tasks() if task.path not in names)
        there = to.concurrently(lambda task: (task, to.exists(task.commit)), self.tasks())
        return (task for task, found in there if not found)

    def do(self, mapper: Mapper) -> int:
        """Write what is missing; return how many shards that were."""
        count = sum(1 for _ in self.missing())
        if count:
            done = mapper(export_shard, self.missing(), label="export", total=count, unit="shards")
            written = sum(done)
            left = sum(1 for _ in self.missing())
            if left:
                raise TransientError(
                    f"{left} shards are missing at {self.template.to.url}: do all workers write "
                    "to the same place? Run the same command again"
                )
            _remove_partials(self.template.to)
            return written
        return 0

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many shards each side has."""
        found = dict.fromkeys(map(str, self.plan.spans), 0)
        for task in self.tasks():
            found[task.side] += 1
        return found


def _remove_partials(target: Location) -> None:
    """Remove what a killed writer left in a folder: no reader sees it, an upload would."""
    if target.is_local:
        for partial in Path(target.full("data")).rglob(f"{PARTIAL}*"):
            partial.unlink(missing_ok=True)


def _tell(chosen: _Chosen, request: Request, plan: Plan, work: _Work, target: Location) -> None:
    """Write what tells of the shards: sources, card and, last, the citation."""
    published, wanted = PublishedRecordings(chosen.features.store), plan.recordings
    tally = Tally()
    with target.writing(SOURCES) as file:
        for _, row in rows_of(published, wanted):
            tally.add(row)
            texts = ("id", "title", "creator", "licence", "url", "sha1")
            line = {name: str(getattr(row, name)) for name in texts}
            line["licence_id"] = spdx_or_unknown(row.licence)
            file.write(json_line({**line, "seconds": row.seconds}))
    target.write_bytes(CARD, card(_about(chosen, request, plan, work), tally).encode())
    sources = sources_of(row for _, row in rows_of(published, wanted))
    with target.writing(CITATION) as file:
        for part in cite(sources, "cff", "Recordings, as fadae exported them"):
            file.write(part.encode())


def _about(chosen: _Chosen, request: Request, plan: Plan, work: _Work) -> About:
    features, workspace, run = chosen.features, chosen.workspace, chosen.codes_run
    about = features.transform
    hours = about.hop_samples / about.sample_rate_hz / 3600
    counts = work.counts
    sides = {
        str(side): (
            len(np.unique(spans[:, 0])),
            counts[side],
            float((spans[:, 2] - spans[:, 1]).sum()) * hours,
        )
        for side, spans in plan.spans.items()
    }
    told = workspace.info()
    held = told.recordings
    exclusions = {
        "that are to be forgotten": told.forgotten,
        "of other licences than asked for": plan.left_out,
        "with the samples of another one, which stands for them": plan.repeats,
        "that could not be had yet": held["failed"],
        "that can never be decoded": held["quarantined"],
    }
    return About(
        request,
        features.attrs["transform"],
        features.attrs["dtype"],
        chosen.split_run,
        run,
        chosen.model_sha256,
        None if run is None else workspace.code_size(run),
        None if chosen.codes is None else side_scores(attrs_of(chosen.codes)),
        sides,
        exclusions,
    )


def _summary(
    chosen: _Chosen, request: Request, plan: Plan, work: _Work, written: int
) -> ExportSummary:
    rows = work.template.piece_rows
    spans = [one for part in plan.spans.values() for one in part.tolist()]
    about = chosen.features.transform
    seconds = sum(stop - start for _, start, stop in spans) * about.hop_samples
    return ExportSummary(
        to=work.template.to.url,
        format=request.format,
        run=chosen.split_run,
        recordings=len(plan.recordings),
        pieces=sum(len(piece_edges(start, stop, rows)) - 1 for _, start, stop in spans),
        audio_seconds=seconds / about.sample_rate_hz,
        splits={str(side): len(np.unique(part[:, 0])) for side, part in plan.spans.items()},
        shards_written=written,
        shards_kept=sum(work.counts.values()) - written,
        left_out=plan.left_out,
    )
