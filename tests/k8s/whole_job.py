"""The whole job by the manifests' own commands: S3, Dask, two ranks; undisturbed and disturbed.

    make k8s        (python -m pytest tests/k8s/whole_job.py)

Under three minutes on two cores that are half busy, so not a part of `make test`. What it shows is
that the commands run as k8s/ gives them. No cluster has confirmed the rest.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fadae.audio.write import encode
from fadae.embedded.server import EmbeddedArchive
from tests.k8s.harness.cluster import Cluster
from tests.k8s.harness.pod import Pod
from tests.k8s.harness.process import namespaces_work
from tests.k8s.rendering import Document, edited, render
from tests.s3 import KEY, SECRET, S3Server, s3_server
from tests.synthetic import RATE_HZ, music

ITEM = "harness"
RECORDINGS = 8
STAGES = ("fadae-features", "fadae-train", "fadae-reconstruct")
SECRETS = {"fadae-s3": {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}}
LATE_SECONDS = 12.0
SIZES = {"workers": "2", "worker-cpu": "1", "ranks": "2"}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedArchive]:
    folder = tmp_path_factory.mktemp("item") / ITEM
    folder.mkdir()
    for number in range(RECORDINGS):
        samples = music(20.0, seed=number) / 32768
        (folder / f"{number} ü#?.ogg").write_bytes(encode(samples, RATE_HZ, "ogg"))
    with EmbeddedArchive(folder) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if not namespaces_work():
        pytest.skip("this machine gives processes no namespaces of their own (unshare)")


def manifests(
    overlay: str, folder: Path, bucket: S3Server, archive: EmbeddedArchive
) -> tuple[Document, ...]:
    """Return an overlay rendered after editing the one file that users edit."""
    settings = {
        "FADAE_WORKSPACE": f"{bucket.url}/{overlay}",
        "AWS_ENDPOINT_URL_S3": bucket.endpoint_url,
        "FADAE_ARCHIVE_URL": archive.url,
        "FADAE_ITEMS": ITEM,
        "FADAE_EPOCHS": "16",
        "FADAE_MAX_FRAMES": "300",
    }
    return render(overlay, edited(folder, overlay, settings, SIZES))


def summary(cluster: Cluster, container: str) -> dict[str, Any]:
    """Return what a container that succeeded printed last: its --json summary."""
    texts = [pod.log(container, "out") for pod in cluster.ended if pod.exit_code == 0]
    text = next(text for text in reversed(texts) if text)
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, bucket: S3Server, archive: EmbeddedArchive
) -> dict[str, dict[str, Any]]:
    """The summaries of the job as the operator runs it, nothing going wrong."""
    folder = tmp_path_factory.mktemp("operator")
    documents = manifests("s3-static-secret", folder, bucket, archive)
    with Cluster(documents, folder, SECRETS) as cluster:
        for stage in STAGES:
            cluster.run_until(done(cluster, stage), timeout_seconds=240)
        assert not cluster.pods  # an ended runner's Dask cluster is deleted
        return {name: summary(cluster, name) for name in ("extract", "train", "reconstruct")} | {
            "ingest": summary(cluster, "ingest")
        }


def has_learned(rank: Pod) -> bool:
    """Return whether the log speaks of a first step, at the latest after five seconds."""
    return re.search(r"train: [1-9]\d*/", rank.log("train", "err")) is not None


def done(cluster: Cluster, stage: str) -> Callable[[], bool]:
    return lambda: cluster.succeeded(stage)


def test_the_job_runs_through(undisturbed: dict[str, dict[str, Any]]) -> None:
    assert undisturbed["ingest"]["ok"] == RECORDINGS
    assert undisturbed["extract"]["audio_seconds"] == pytest.approx(20 * RECORDINGS)
    assert undisturbed["train"]["steps"] > 0
    assert undisturbed["reconstruct"]["frames"] == undisturbed["extract"]["frames"]


def test_losses_on_the_way_change_nothing(
    undisturbed: dict[str, dict[str, Any]],
    tmp_path: Path,
    bucket: S3Server,
    archive: EmbeddedArchive,
) -> None:
    """No operator; a worker killed, a rank told to stop, rank 0's name late: the same model."""
    documents = manifests("no-operator", tmp_path, bucket, archive)
    with Cluster(documents, tmp_path, SECRETS) as cluster:
        cluster.late_names["fadae-train-0.fadae-train"] = LATE_SECONDS
        requests = len(archive.requests)
        cluster.run_until(lambda: len(archive.requests) > requests + 6, timeout_seconds=60)
        worker = cluster.pod("fadae-worker")
        worker.kill()
        cluster.run_until(done(cluster, "fadae-features"), timeout_seconds=180)
        assert worker.restarts == 1

        first, second = cluster.pod("fadae-train-0"), cluster.pod("fadae-train-1")
        cluster.run_until(lambda: has_learned(first), timeout_seconds=240)
        assert time.monotonic() - (first.serving_since or 0) > LATE_SECONDS  # rank 1 had to ask
        second.terminate()
        cluster.run_until(done(cluster, "fadae-reconstruct"), timeout_seconds=240)
        codes = [-1 if pod.exit_code is None else pod.exit_code for pod in cluster.ended if pod.name.startswith("fadae-train")]
        assert sorted(codes) == [0, 0, 75, 75]
        last = next(p for p in cluster.ended if p.name == first.name and p.exit_code == 0)
        resumed = re.search(r"resuming at step (\d+)", last.log("train", "err"))
        assert resumed and int(resumed[1]) > 0
        for stage, keys in {
            "extract": ["frames", "audio_seconds"],
            "train": ["steps", "model_sha256", "holdout_nmse_db"],
            "reconstruct": ["frames", "nmse_db", "audio_snr_db"],
        }.items():
            found = summary(cluster, stage)
            assert {k: found[k] for k in keys} == {k: undisturbed[stage][k] for k in keys}
