"""What each recording was to a run, kept beside its model: the roles of a few are told at once.

`split_of` divides all recordings of a store, seconds for a million. A finished run keeps the roles
that come out, a byte each, and what tells that a store still begins with the same recordings.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TypedDict, overload

import numpy as np
from numcodecs.zstd import Zstd

from fadae.records import canonical_json, sha256_hex
from fadae.store import (
    ROWS_PER_PACK,
    FeatureSet,
    Location,
    PublishedRecordings,
    index_attrs,
    token_of,
)
from fadae.training.run import Run
from fadae.training.runs import Role, run_config, split_of

log = logging.getLogger("fadae.training")

_ROLES = "roles.zst"
_KEPT = (Role.TRAINED, Role.HELD_OUT, Role.UNSEEN)
_zstd = Zstd(level=3)


class _Bound(TypedDict):
    """Which recordings the roles are of: the tokens of the index's full packs, and the rest."""

    recordings: int
    packs: list[str]
    rest_sha256: str


class RunRoles(Sequence[Role]):
    """The role of every published recording, in the order of the recording table."""

    def __init__(self, kept: bytes, published: PublishedRecordings) -> None:
        """Take the roles of the first recordings; others came after the run began."""
        self._kept, self._published = kept, published

    def __len__(self) -> int:
        return len(self._published)

    @overload
    def __getitem__(self, row: int) -> Role: ...
    @overload
    def __getitem__(self, row: slice) -> list[Role]: ...

    def __getitem__(self, row: int | slice) -> Role | list[Role]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        at = range(len(self))[row]
        if at >= len(self._kept):  # one that repeats an old one's samples has its role
            at = self._published.row(at).same_as
        return _KEPT[self._kept[at]] if 0 <= at < len(self._kept) else Role.UNSEEN


def write_roles(run: Run, features: FeatureSet) -> None:
    """Keep the roles of the recordings that a run was divided from; without an index, nothing."""
    index = index_attrs(features.store.attrs, len(features.recordings))
    config = run_config(run.location, run.name)
    if index is None or config is None:
        return
    split, table = split_of(features, config), features.recordings
    own = np.flatnonzero(table.canonical & (table.frame_start < config["dataset"]["rows"]))
    if not len(own) or Role.UNKNOWN in split.roles:
        return
    recordings = int(own[-1]) + 1
    bound = _bound(PublishedRecordings(features.store), index["packs"], recordings)
    roles = bytes(map(_KEPT.index, split.roles[:recordings]))
    data = canonical_json(bound).encode() + b"\n" + _zstd.encode(roles)
    run.location.write_bytes(run.path(_ROLES), data)


def roles_of(location: Location, name: str, features: FeatureSet) -> RunRoles | None:
    """Return the roles that a run keeps; None where it has none, or they are of another store."""
    try:
        head, _, data = location.read_bytes(Run(location, name).path(_ROLES)).partition(b"\n")
        bound: _Bound = json.loads(head)
        kept = bytes(_zstd.decode(data))
    except FileNotFoundError:
        return None
    except (ValueError, RuntimeError) as error:
        log.warning("the roles of run %s are damaged (%r): dividing its recordings", name, error)
        return None
    index = index_attrs(features.store.attrs, len(features.recordings))
    if index is None or bound["recordings"] > len(features.recordings):
        return None
    published = PublishedRecordings(features.store)
    same = _bound(published, index["packs"], bound["recordings"]) == bound
    return RunRoles(kept, published) if same and len(kept) == bound["recordings"] else None


def _bound(published: PublishedRecordings, packs: list[str], recordings: int) -> _Bound:
    full = recordings // ROWS_PER_PACK
    rest = published.rows(full * ROWS_PER_PACK, recordings)
    places = [[row.id, row.frame_start, row.frame_count, row.same_as] for row in rest]
    return {
        "recordings": recordings,
        "packs": [token_of(token) for token in packs[:full]],
        "rest_sha256": sha256_hex(canonical_json(places)),
    }
