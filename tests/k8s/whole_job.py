"""Whole jobs by the manifests' own commands: two generations, undisturbed and with every loss.

    make k8s        (python -m pytest tests/k8s/whole_job.py)

Some minutes on two cores, so not a part of `make test`. What it shows is that the commands run as
`fadae kubernetes` gives them, and where exit codes lead. No cluster has confirmed the rest.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fadae.audio.write import encode
from fadae.embedded.items import folder_item
from fadae.embedded.server import EmbeddedArchive
from tests.k8s.harness.cluster import Cluster
from tests.k8s.harness.pod import Pod
from tests.k8s.harness.process import namespaces_work
from tests.k8s.rendering import Document, edited, find, rendered
from tests.s3 import KEY, SECRET, S3Server, s3_server
from tests.synthetic import RATE_HZ, music

ITEMS = ("harness", "later")
RECORDINGS = 6  # of an item
SECRETS = {"fadae-s3": {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}}
LATE_SECONDS = 12.0
STAGE_SECONDS = 400
# What an undisturbed run ends in.
ENDS = {
    "extract": ["frames", "audio_seconds"],
    "train": ["steps", "model_sha256", "holdout_nmse_db", "pca_nmse_db"],
    "reconstruct": ["frames", "nmse_db", "audio_snr_db"],
}

pytestmark = pytest.mark.timeout(1800)
Summaries = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedArchive]:
    folders = [tmp_path_factory.mktemp("item") / item for item in ITEMS]
    for first, folder in enumerate(folders):
        folder.mkdir()
        for number in range(RECORDINGS):
            samples = music(20.0, seed=100 * first + number) / 32768
            (folder / f"{number} ü#?.ogg").write_bytes(encode(samples, RATE_HZ, "ogg"))
    with EmbeddedArchive(map(folder_item, folders)) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(autouse=True, scope="module")
def _parts() -> None:
    if not namespaces_work():
        pytest.skip("this machine gives processes no namespaces of their own (unshare)")
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make the API server's certificate")


class Place:
    """A workspace, a cluster and the settings of its job."""

    def __init__(self, name: str, overlay: str, folder: Path, where: S3Server, url: str) -> None:
        self.folder, self.overlay = folder, overlay
        self.cluster = Cluster(folder, SECRETS)
        self.base = {"": f"{where.url}/{name}", "archive": url, "s3": where.endpoint_url}

    def apply(self, *items: str, **train: Any) -> tuple[Document, ...]:
        """Edit the settings file, render it, apply all of it."""
        s3 = [f"AWS_ENDPOINT_URL_S3={self.base['s3']}", "AWS_DEFAULT_REGION=us-east-1"]
        changes: dict[str, dict[str, Any]] = {
            "job": {"workspace": self.base[""]},
            "ingest": {"items": list(items), "archive_url": self.base["archive"]},
            "train": {"epochs": 16, "max_frames": 300, "checkpoint_steps": 20, **train},
            "kubernetes": {
                "variables": s3, "dask_workers": 2, "worker_cpu": 1, "image": "localhost/fadae:1",
            },
        }
        documents = rendered(edited(self.folder, self.overlay, changes))
        self.cluster.apply(*documents)
        return documents

    def finish(self, documents: tuple[Document, ...]) -> Summaries:
        """Run a generation to its end; return the stages' summaries."""
        name = conductor(documents)
        self.cluster.run_until(
            lambda: self.cluster.condition(name) == "Complete", timeout_seconds=STAGE_SECONDS
        )
        # Nothing is held any more.
        self.cluster.step()
        assert not self.cluster.pods
        suffix = name.rsplit("-", 1)[1]
        return {stage: self.summary(stage, suffix) for stage in ("ingest", *ENDS)}

    def summary(self, stage: str, suffix: str) -> dict[str, Any]:
        """Return what a stage's driver that succeeded printed last: its --json summary."""
        texts = [
            pod.log(stage, "out") for pod in self.cluster.ended
            if pod.exit_code == 0 and pod.name == f"fadae-{stage}-{suffix}-0"
        ]
        found: dict[str, Any] = json.loads(texts[-1].splitlines()[-1])
        return found

    def until_pod(self, prefix: str, ready: Callable[[Pod], bool] = lambda pod: True) -> Pod:
        """Go on until such a pod runs and is as asked; return it."""
        found: list[Pod] = []

        def there() -> bool:
            found[:] = [
                pod for pod in self.cluster.pods
                if pod.name.startswith(prefix) and pod.is_serving and ready(pod)
            ]
            return bool(found)

        self.cluster.run_until(there, timeout_seconds=STAGE_SECONDS)
        return found[0]

    def codes(self, prefix: str) -> list[int | None]:
        """Return how pods of a name ended, in order."""
        return [pod.exit_code for pod in self.cluster.ended if pod.name.startswith(prefix)]


def conductor(documents: tuple[Document, ...]) -> str:
    name: str = find(documents, "Job", "fadae-conductor")["metadata"]["name"]
    return name


def ends(summaries: Summaries) -> Summaries:
    return {stage: {key: summaries[stage][key] for key in keys} for stage, keys in ENDS.items()}


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, bucket: S3Server, archive: EmbeddedArchive
) -> list[Summaries]:
    """Two generations as the operator runs them, an item added in between, nothing going wrong."""
    place = Place("quiet", "s3", tmp_path_factory.mktemp("quiet"), bucket, archive.url)
    with place.cluster:
        documents = place.apply(ITEMS[0])
        first = place.finish(documents)
        # Applied again it is left as it is.
        assert set(place.cluster.apply(*documents)) == {"unchanged"}
        place.cluster.step()
        assert not place.cluster.pods
        return [first, place.finish(place.apply(*ITEMS))]


def test_an_item_added_reaches_every_stage(undisturbed: list[Summaries]) -> None:
    first, second = undisturbed
    assert first["ingest"]["ok"] == RECORDINGS
    assert first["extract"]["audio_seconds"] == pytest.approx(20 * RECORDINGS)
    assert first["train"]["steps"] > 0
    assert second["ingest"]["ok"] == 2 * RECORDINGS
    assert second["extract"]["audio_seconds"] == pytest.approx(40 * RECORDINGS)
    assert second["train"]["stale_recordings"] == 0
    assert second["train"]["model_sha256"] != first["train"]["model_sha256"]
    assert second["reconstruct"]["frames"] == second["extract"]["frames"]


def has_learned(rank: Pod) -> bool:
    """Return whether the log speaks of a step, at the latest after five seconds."""
    return re.search(r"train: [1-9]\d*/", rank.log("train", "err")) is not None


def test_losses_on_the_way_change_nothing(
    undisturbed: list[Summaries], tmp_path: Path, bucket: S3Server, archive: EmbeddedArchive
) -> None:
    """No operator. Lost: a worker, a driver, the scheduler, the conductor, ranks in two ways."""
    place = Place("lossy", "no-operator", tmp_path, bucket, archive.url)
    cluster = place.cluster
    with cluster:
        documents = place.apply(ITEMS[0])
        suffix = conductor(documents).rsplit("-", 1)[1]
        train = f"fadae-train-{suffix}"
        cluster.late_names[f"{train}-0.{train}"] = LATE_SECONDS

        requests = len(archive.requests)
        cluster.run_until(lambda: len(archive.requests) > requests + 4, timeout_seconds=120)
        worker = cluster.pod(f"fadae-features-{suffix}-worker")
        worker.kill()
        place.until_pod(f"fadae-ingest-{suffix}-0").evict()
        cluster.run_until(lambda: worker.restarts == 1, timeout_seconds=60)
        place.until_pod(f"fadae-extract-{suffix}-0")
        cluster.pod(f"fadae-features-{suffix}-scheduler").kill()
        cluster.pod(f"fadae-conductor-{suffix}").evict()

        first = place.until_pod(f"{train}-0", has_learned)
        second = cluster.pod(f"{train}-1")
        second.evict()  # SIGTERM: both save
        cluster.run_until(lambda: first.exit_code is not None, timeout_seconds=STAGE_SECONDS)
        again = place.until_pod(f"{train}-1")
        place.until_pod(f"{train}-0", has_learned)
        abort_child(again)  # as NCCL's watchdog does
        summaries = place.finish(documents)
        assert set(place.codes(f"{train}-1")) == {0, 75}
        assert set(place.codes(f"{train}-0")) == {0, 75}
        assert 0 in place.codes(f"fadae-ingest-{suffix}")
        assert ends(summaries) == ends(undisturbed[0])

        # The next generation while nothing of the first is left; an evicted driver once more.
        documents = place.apply(*ITEMS)
        suffix = conductor(documents).rsplit("-", 1)[1]
        place.until_pod(f"fadae-train-{suffix}-0", has_learned).kill()
        place.until_pod(f"fadae-reconstruct-{suffix}-0").evict()
        assert ends(place.finish(documents)) == ends(undisturbed[1])


def test_a_newer_generation_takes_over(
    undisturbed: list[Summaries], tmp_path: Path, bucket: S3Server, archive: EmbeddedArchive
) -> None:
    """Applied while the first one trains: that one ends, and the new one goes on from its rows."""
    place = Place("newer", "no-operator", tmp_path, bucket, archive.url)
    with place.cluster:
        old = place.apply(ITEMS[0])
        suffix = conductor(old).rsplit("-", 1)[1]
        place.until_pod(f"fadae-train-{suffix}-0", has_learned)
        new = place.apply(*ITEMS)
        summaries = place.finish(new)
        assert place.cluster.objects.find(("Job", conductor(old))) is None
        assert ends(summaries) == ends(undisturbed[1])


def abort_child(pod: Pod) -> None:
    """Send SIGABRT to the process that learns, in its container's namespace."""
    assert pod.process is not None
    pod.process.signal_child(signal.SIGABRT)
