"""The index of a large workspace finds what comparing every vector finds."""

from __future__ import annotations

from pathlib import Path

import pytest

import fadae
from fadae.similarity import index, make_indexes, packs
from fadae.store import DamagedError, FeatureSet, Location, paths
from tests.synthetic import music, write_features

pytest.importorskip("usearch", reason="no USearch: pip install 'fadae[similar]'")


def test_an_index_finds_what_comparing_all_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((packs, "BLOCKS_PER_PACK"), (index, "BLOCKS_PER_PACK")):
        monkeypatch.setattr(module, name, 1)  # else a group has 390 hours
    monkeypatch.setattr(index, "GROUP_PACKS", 1)
    monkeypatch.setattr("fadae.query.alike.GROUP_PACKS", 1)
    location = Location(str(tmp_path / "w"))
    write_features(location, {f"a/{n}": music(15, seed=n) for n in range(4)})
    write_features(location, {f"b/{n}": music(15, seed=10 + n) for n in range(4)})
    features = FeatureSet.open(location)
    exact = fadae.open(location.url).similar("a/1", (5, 8), k=6)
    assert make_indexes(features) == 2 and make_indexes(features) == 0
    found = fadae.open(location.url).similar("a/1", (5, 8), k=6)
    assert [one.id for one in found] == [one.id for one in exact]
    for one, other in zip(found, exact, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.01)
    write_features(location, {"c/copy": (music(15, seed=1) // 2)})  # in no index yet
    assert fadae.open(location.url).similar("a/1", (5, 8), k=1)[0].id == "c/copy"
    location.write_bytes(f"{paths.SEGMENT_INDEX}/00001", b"what is this")
    with pytest.raises(DamagedError, match="remove it"):
        fadae.open(location.url).similar("a/1", (5, 8), k=6)
