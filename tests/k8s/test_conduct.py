"""The conductor against the harness's API: stages in order, nothing held, one generation a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fadae.errors import TransientError, UsageError
from fadae.kubernetes import Api, conduct
from tests.hangs import HANG_SECONDS
from tests.k8s.harness.objects import ApiServer, Objects

Document = dict[str, Any]
PLACE = {"fadae/workspace": "w"}


class Played:
    """Objects whose Jobs end as a test says; all else is the API's own."""

    def __init__(self, folder: Path) -> None:
        self.objects = Objects()
        self.server = ApiServer(self.objects, folder)
        (folder / "token").write_text(self.server.token)
        host, port = self.server.environment.values()
        self.api = Api(host, int(port), "fadae", folder)
        self.ends: list[str | Exception | list[str]] = []

    def conductor(self, name: str) -> Document:
        document = toy("Job", name)
        document["metadata"]["labels"]["app.kubernetes.io/component"] = "conductor"
        self.objects.apply(document)
        return document

    def start(self, name: str) -> threading.Thread:
        def run() -> None:
            try:
                self.ends.append(conduct(self.api, [*STAGES], name, every_seconds=0.02))
            except Exception as error:  # noqa: BLE001 - looked at by the test
                self.ends.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def end(self, name: str, condition: str = "Complete") -> set[str]:
        """Wait for a Job, return what else is there, and end it."""
        self.until(lambda: self.objects.find(("Job", name)) is not None)
        there = {its for (_, its), document in self.objects.items()
                 if "deletionTimestamp" not in document["metadata"]}
        found = self.objects.find(("Job", name))
        assert found is not None
        with self.objects.lock:
            found["status"] = {"conditions": [{"type": condition, "status": "True"}]}
        return there

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + HANG_SECONDS
        while not condition():
            assert time.monotonic() < deadline
            self.sweep()
            time.sleep(0.01)

    def sweep(self) -> None:
        for key, document in self.objects.items():
            if "deletionTimestamp" in document["metadata"]:
                self.objects.remove(key)


def toy(kind: str, name: str) -> Document:
    return {"kind": kind, "metadata": {"name": name, "labels": dict(PLACE)}, "spec": {}}


STAGES: Any = (
    {"beside": [toy("DaskCluster", "features")], "jobs": [toy("Job", "in"), toy("Job", "ex")]},
    {"beside": [toy("Service", "train")], "jobs": [toy("Job", "train")]},
)


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    found = Played(tmp_path)
    yield found
    found.server.close()


def test_a_stage_is_made_when_its_turn_comes_and_its_cluster_goes(played: Played) -> None:
    played.conductor("c")
    thread = played.start("c")
    assert played.end("in") == {"c", "features", "in"}
    assert played.end("ex") == {"c", "features", "in", "ex"}
    assert played.end("train") == {"c", "in", "ex", "train"} | {"train"}
    thread.join(HANG_SECONDS)
    assert played.ends == [["in", "ex", "train"]]
    played.sweep()
    own = played.objects.find(("Job", "c"))
    assert own is not None
    for (kind, _), document in played.objects.items():
        assert kind == "Job"  # nothing else is left, and it goes with the conductor's
        owners = document["metadata"].get("ownerReferences", [])
        assert document is own or owners[0]["uid"] == own["metadata"]["uid"]


def test_begun_again_it_goes_on_from_the_jobs(played: Played) -> None:
    played.conductor("c")
    played.start("c")
    played.end("in")
    # Another pod of the same Job, the first one being lost: nothing is made twice.
    again = played.start("c")
    before = played.objects.find(("Job", "in"))
    played.end("ex")
    played.end("train")
    again.join(HANG_SECONDS)
    assert played.ends[-1] == ["in", "ex", "train"]
    assert played.objects.find(("Job", "in")) is before


def test_a_job_that_failed_ends_the_generation_and_holds_nothing(played: Played) -> None:
    played.conductor("c")
    thread = played.start("c")
    played.end("in", "Failed")
    thread.join(HANG_SECONDS)
    (error,) = played.ends
    assert isinstance(error, UsageError)
    assert "in failed" in str(error)
    played.sweep()
    assert played.objects.find(("DaskCluster", "features")) is None


def test_a_newer_generation_ends_the_older_one_first(played: Played) -> None:
    played.conductor("old")
    played.objects.create(toy("Job", "another-workspace") | {
        "metadata": {"name": "other", "labels": {"fadae/workspace": "other"}}
    })
    owner = played.objects.find(("Job", "old"))
    assert owner is not None
    left = toy("Job", "old-train")
    left["metadata"]["ownerReferences"] = [{"uid": owner["metadata"]["uid"]}]
    played.objects.create(left)
    played.conductor("new")
    thread = played.start("new")
    for _ in range(20):  # while the old one's pods end, nothing of the new one begins
        time.sleep(0.01)
        assert played.objects.find(("Job", "in")) is None
    found = played.objects.find(("Job", "old-train"))
    assert found is not None and "deletionTimestamp" in found["metadata"]
    for name in ("in", "ex", "train"):
        there = played.end(name)
        assert "old" not in there and "other" in there
    thread.join(HANG_SECONDS)
    assert played.ends == [["in", "ex", "train"]]


def test_without_the_right_2_without_an_answer_75(played: Played, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another")
    with pytest.raises(UsageError, match=r"refuses GET .*: Unauthorized"):
        played.api.get("Job", "c")
    nobody = Api("127.0.0.1", 1, "fadae", tmp_path)
    with pytest.raises(TransientError, match="does not answer"):
        nobody.get("Job", "c")
