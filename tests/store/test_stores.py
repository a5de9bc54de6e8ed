"""A whole small job on each kind of bucket; what goes wrong there is told."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fadae
from fadae.archive.folder import FolderSource
from fadae.audio.write import encode
from fadae.buckets.bucket import bucket_of
from fadae.embedded.bach import PIECES
from fadae.embedded.music import RATE_HZ, render
from fadae.errors import AccessError, StorageError
from fadae.prune import prune
from fadae.records import Track
from fadae.retry import RetryPolicy
from fadae.stages.extract import extract, extract_shard
from fadae.stages.ingest import ingest
from fadae.stages.reconstruct import reconstruct
from fadae.store import remote_zarr
from fadae.store.frames import FrameStore
from fadae.store.layout import fixed_array, new_group
from fadae.store.location import Location
from fadae.store.verify import verify
from tests import command
from tests.proxy import FaultProxy
from tests.soak.quiet import hashes
from tests.stores import Store, set_environment
from tests.training.small import small, train_until

RUN = "default"
STEPS = 8


@pytest.fixture(params=["moto", "google", "azure"])  # SeaweedFS: see test_s3
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A bucket whose credentials are in the environment, as on a cluster."""
    server: Store = request.getfixturevalue(request.param)
    set_environment(monkeypatch, server.env)
    return server


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginnings of two pieces of Bach, rendered here."""
    folder = tmp_path_factory.mktemp("bach")
    for piece in PIECES[:2]:
        sound = render(piece)[: 10 * RATE_HZ]
        (folder / f"{piece.title}.ogg").write_bytes(encode(sound, RATE_HZ, "ogg"))
    return folder


def do_job(location: Location, music: Path) -> None:
    """Ingest, extract, train some steps and reconstruct, here and one after the other."""
    assert ingest(location, [FolderSource(str(music))])["ok"] > 0
    extract(location, preset="seed")
    train_until(location, small(checkpoint_steps=4, max_steps=STEPS), lambda: False)
    reconstruct(location, RUN)


@pytest.fixture(scope="module")
def expected(music: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bytes of the job in a folder."""
    location = Location(str(tmp_path_factory.mktemp("folder")))
    do_job(location, music)
    return hashes(location, [RUN])


def test_a_whole_job_has_the_bytes_of_a_folder(
    store: Store, music: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    location = Location(f"{store.url}/job")
    for path in music.iterdir():
        location.write_bytes(f"music/{path.name}", path.read_bytes())
    from_bucket = FolderSource(f"{location.url}/music")
    (page,) = from_bucket.pages()
    assert page.entries == tuple(sorted(path.name for path in music.iterdir()))
    (track, _) = from_bucket.tracks(page)
    assert isinstance(track, Track)
    from_bucket.fetch(track, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (music / track.file).read_bytes()
    do_job(location, music)
    assert len(expected) > 20 and hashes(location, [RUN]) == expected
    assert verify(location)["problems"] == []
    workspace = fadae.open(location.url)
    assert len(workspace.recordings) == 2 and workspace.info()["runs"]
    location.write_bytes("features.zarr/features/c/0/0", b"")
    assert verify(location, recompute=extract_shard)["shards_repaired"] == 1
    location.write_bytes("features.zarr/audio/c/9/0", b"left over")
    assert prune(location, abandoned_seconds=-60).kinds["blocks"]["objects"] == 1
    assert hashes(location, [RUN]) == expected
    checked = command.fadae("check", "-w", location.url)
    assert f"{location.url}: list, write, read, replace under a condition, remove" in checked.stdout
    if not location.url.startswith("s3"):
        ended = command.fadae_process("info", "-w", location.url)
        assert (ended.returncode, ended.stderr) == (0, "")  # nor is anything said as it ends


# Of a group with one small array, to read through zarr.
ROOT = json.loads(new_group([fixed_array("a", "x", np.zeros(3), {})], {})["zarr.json"])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_zarr, "POLICY", RetryPolicy(total_seconds=0.1))


def verbs(location: Location) -> list[Callable[[], object]]:
    return [
        lambda: location.read_bytes("x"),
        lambda: location.read_version("x"),
        lambda: location.names(""),
        lambda: location.found_below("x"),
        lambda: location.exists("x"),
        lambda: location.size_bytes("x"),
        lambda: location.write_bytes("x", b"1"),
        lambda: location.replace("x", b"1", None),
        lambda: location.delete("x"),
        lambda: location.delete_many(["x"]),
        lambda: FrameStore(location, "g", ROOT).read("a"),
    ]


GOOGLE_AND_AZURE = pytest.mark.parametrize("store", ["google", "azure"], indirect=True)


@GOOGLE_AND_AZURE
@pytest.mark.parametrize("fault", ["throttle", "reset", "cut"])
def test_faults_on_the_way_are_outlived(fault: str, store: Store) -> None:
    with FaultProxy(store.port) as proxy:
        location = Location(f"{store.url}/faults", store.through(proxy.port))
        for number, verb in enumerate(verbs(location)[:-1]):
            location.write_bytes("x", b"%d" % number)
            proxy.arm(fault)
            verb()
            assert proxy.armed == 0, "the fault has not struck"
        location.delete("")


@GOOGLE_AND_AZURE
@pytest.mark.usefixtures("impatient")
def test_a_store_that_stays_away_is_a_storage_error(store: Store) -> None:
    with FaultProxy(1) as proxy:  # nothing listens there
        location = Location(f"{store.url}/away", store.through(proxy.port))
        for verb in verbs(location):
            with pytest.raises(StorageError, match="run the same command again"):
                verb()
            assert proxy.requests == 0


@GOOGLE_AND_AZURE
@pytest.mark.usefixtures("impatient")
def test_a_bucket_that_is_not_there_is_told(store: Store) -> None:
    nowhere = Location(f"{store.url}-nowhere/w", store.storage_options)
    assert nowhere.names("") == []
    for verb in verbs(nowhere)[6:8]:
        with pytest.raises((FileNotFoundError, AccessError)):
            verb()


def test_a_wrong_key_is_told_at_once_with_the_variables_to_set(azure: Store) -> None:
    text = azure.storage_options["connection_string"].replace("Eby8vdM0", "AAAAAAAA")
    with FaultProxy(azure.port) as proxy:
        options = {"connection_string": text.replace(f":{azure.port}", f":{proxy.port}")}
        location = Location(f"{azure.url}/forbidden", options)
        for number, verb in enumerate(verbs(location), start=1):
            with pytest.raises(AccessError, match=r"AZURE_STORAGE_\w+.* and their rights") as told:
                verb()
            assert "\n" not in str(told.value)
            assert proxy.requests <= 2 * number, "asked again"


@pytest.mark.parametrize(
    ("url", "extra", "package"), [("gs", "gcs", "gcsfs.core"), ("az", "azure", "adlfs")]
)
def test_a_package_that_is_missing_is_named(
    url: str, extra: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(
        sys.modules, f"fadae.buckets.{'google' if url == 'gs' else 'azure'}", raising=False
    )
    bucket_of.cache_clear()
    ended = command.fadae("info", "-w", f"{url}://bucket/w")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.endswith(f"pip install 'fadae[{extra}]'")
    bucket_of.cache_clear()


@pytest.mark.parametrize("url", ["gs://bucket/w", "az://container/w"])
def test_without_credentials_it_says_which_variables_to_set(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in list(os.environ):
        if name.startswith(("AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST")):
            monkeypatch.delenv(name)
    nobodys = {"NO_GCE_CHECK": "true", "HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path)}
    pytest.importorskip("adlfs" if url[0] == "a" else "gcsfs", reason="pip install '.[dev]'")
    set_environment(monkeypatch, nobodys)
    for verb in ("info", "check"):
        ended = command.fadae(verb, "-w", url)
        assert ended.returncode == 2, ended
        said = (ended.stderr or ended.stdout).strip()
        assert ("GOOGLE_APPLICATION" if url[0] == "g" else "AZURE_STORAGE_ACCOUNT_NAME") in said
        assert "Traceback" not in said


@GOOGLE_AND_AZURE
def test_options_do_not_travel(store: Store) -> None:
    location = Location(f"{store.url}/w", store.storage_options)
    copy = pickle.loads(pickle.dumps(location))
    assert copy._options == {} and copy.url == location.url


@pytest.mark.parametrize(
    ("url", "root", "account"),
    [
        ("az://box/a/b", "box/a/b", "named"),
        ("abfs://box/a/b", "box/a/b", "named"),
        ("abfss://box@other.dfs.core.windows.net/a/b", "box/a/b", "other"),
    ],
)
def test_an_azure_url_may_name_the_account(
    url: str, root: str, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("adlfs", reason="no adlfs: pip install '.[dev]'")
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "named")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    options = {"skip_instance_cache": True}  # others were opened with another environment
    location = Location(url, options)
    assert location.full("") == root
    assert location._fs.service_client.account_name == account
    text = "AccountName=third;AccountKey=a2V5;EndpointSuffix=core.windows.net"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    with pytest.raises(AccessError, match=f"storage account {account}, the .* string third"):
        Location(url, options).names("")
