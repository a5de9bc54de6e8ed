"""Citations are valid by CFF's own schema and safe in LaTeX, whatever sources call themselves.

`cff-1.2.0.json` is the schema of the Citation File Format 1.2.0 as its authors publish it
(CC BY 4.0, Druskat et al., https://doi.org/10.5281/zenodo.5171937).
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fadae.errors import UsageError
from fadae.export.citation import NOBODY, Source, cite, sources_of
from fadae.store.index_objects import RecordingRow
from fadae.store.location import Location
from tests.command import fadae
from tests.synthetic import music, write_features

SCHEMA = json.loads((Path(__file__).parent / "cff-1.2.0.json").read_text("utf-8"))
VALID = jsonschema.Draft7Validator(SCHEMA)
ROW = RecordingRow(
    id="a/b", item="a", file="b", title="t", creator="c", licence="", url="", key="k", sha1="",
    pcm_sha256="", rate_hz=1, source_rate_hz=1, samples=1, seconds=1.0, frame_start=0,
    frame_count=1, same_as=-1,
)  # fmt: skip

LICENCES = (
    "https://creativecommons.org/licenses/by/4.0/",
    "https://creativecommons.org/licenses/by-nc-sa/3.0/us/",
    "https://creativecommons.org/publicdomain/mark/1.0/",
    "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY-NC-ND 2.5",
    "CC BY-SA 2.1 JP",
)
texts = st.text(max_size=30)
recordings = st.builds(
    lambda item, creator, licence, url: dataclasses.replace(
        ROW, item=item, creator=creator, licence=licence, url=url
    ),
    texts,
    texts,
    texts | st.sampled_from(LICENCES),
    texts | texts.map("https://example.org/{}/x.flac".format),
)


@given(st.lists(recordings, max_size=4), texts)
def test_a_citation_file_is_valid_by_its_schema(found: list[RecordingRow], title: str) -> None:
    text = "".join(cite(sources_of(found), "cff", title))
    document = yaml.safe_load(text)
    VALID.validate(document)
    assert len(document.get("references", [])) == len({one.item for one in found})


@given(st.lists(recordings, min_size=1, max_size=4))
def test_bibtex_keeps_names_inside_their_braces(found: list[RecordingRow]) -> None:
    for entry in cite(sources_of(found), "bibtex", ""):
        # Of balanced braces, with what is escaped taken out, the last one alone closes the entry.
        plain = re.sub(r"\\[{}]", "", entry).rstrip()
        depths, depth = [], 0
        for sign in plain:
            depth += (sign == "{") - (sign == "}")
            depths.append(depth)
        assert depths[-1] == 0
        assert 0 not in depths[plain.index("{") : -1]
        assert not re.search(r"(?<!\\)[%#&$]", re.sub(r"\\url\{.*\}", "", entry))


def test_an_item_is_cited_once_with_its_creators_and_licences() -> None:
    rows = [
        dataclasses.replace(ROW, creator=creator, licence=licence, url="https://a.org/x/1.ogg")
        for creator, licence in (("Ann", "CC BY 4.0"), ("Bob", "CC BY 4.0"), ("Ann", "cc0"))
    ]
    other = dataclasses.replace(ROW, item="other", creator="", url="file:///home/me/x/y.ogg")
    found = list(sources_of([*rows, other, rows[0]]))
    assert found == [
        Source("a", ("Ann", "Bob"), ("CC BY 4.0", "cc0"), "https://a.org/x"),
        Source("other", (), (), ""),  # a path of somebody's disk is nobody's business
    ]
    text = "".join(cite(found, "bibtex", ""))
    assert "author = {{Ann} and {Bob}}" in text
    assert "note = {Licence: CC-BY-4.0; CC0-1.0}" in text
    assert f"author = {{{{{NOBODY}}}}}" in text


def test_an_unknown_style_is_told() -> None:
    with pytest.raises(UsageError, match="no style 'bib'; nearest: 'bibtex'"):
        cite([], "bib", "")


def test_the_commands_cite_and_export(tmp_path: Path) -> None:
    workspace = str(tmp_path / "workspace")
    write_features(Location(workspace), {"one/a.ogg": music(3), "two/b.ogg": music(3, seed=1)})
    ended = fadae("cite", "-w", workspace)
    assert ended.returncode == 0
    assert ended.stdout.count("@misc{") == 2
    ended = fadae("cite", "-w", workspace, "--style", "cff")
    VALID.validate(yaml.safe_load(ended.stdout))
    out = str(tmp_path / "out")
    asked = ("export", "-w", workspace, "--to", out, "--split", "train", "--json")
    ended = fadae(*asked, "--what", "metadata", "--licence", "cc0,by-sa")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert (told["recordings"], told["shards_written"]) == (1, 1)
    assert (tmp_path / "out" / "CITATION.cff").exists()
    ended = fadae(*asked, "--what", "metadata,audio")
    assert ended.returncode == 2
    assert "another export" in ended.stderr
