"""The harness itself, on toy pods: what it claims to do as Kubernetes does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hangs import HANG_SECONDS
from tests.k8s.harness.cluster import Cluster
from tests.k8s.harness.process import namespaces_work

Document = dict[str, Any]

LABELS = {"app": "toy"}


@pytest.fixture(autouse=True)
def _namespaces() -> Iterator[None]:
    if not namespaces_work():
        pytest.skip("this machine gives processes no namespaces of their own (unshare)")
    yield


def job(script: str, *, completions: int = 1, init: str | None = None, **spec: Any) -> Document:
    """Return an Indexed Job whose pods run a shell script."""
    pod: Document = {
        "restartPolicy": "Never",
        "subdomain": "toy",
        "securityContext": {"runAsUser": 10001},
        "containers": [_container("main", script)],
        **({"initContainers": [_container("first", init)]} if init else {}),
    }
    rules = [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}},
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [75]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    return {
        "kind": "Job",
        "metadata": {"name": "toy"},
        "spec": {
            "completionMode": "Indexed",
            "completions": completions,
            "backoffLimitPerIndex": 1,
            "maxFailedIndexes": 0,
            "podFailurePolicy": {"rules": rules},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
            **spec,
        },
    }


def _container(name: str, script: str) -> Document:
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return {
        "name": name,
        "command": ["sh", "-c"],
        "args": [script],
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}],
        "env": [{"name": "RANK", "valueFrom": {"fieldRef": {"fieldPath": index}}}],
    }


SERVICE: Document = {
    "kind": "Service",
    "metadata": {"name": "toy"},
    "spec": {"clusterIP": "None", "selector": LABELS},
}


def cluster(folder: Path, *documents: Document) -> Cluster:
    settings = {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"PLACE": "here"}}
    shared = folder / "shared"
    shared.mkdir()
    made = Cluster(folder, {"keys": {"KEY": "secret"}})
    made.apply(settings, *documents)
    return made


def finish(running: Cluster) -> None:
    running.run_until(lambda: running.condition("toy") == "Complete", timeout_seconds=HANG_SECONDS)


def test_commands_run_with_their_environment_as_the_image_user(tmp_path: Path) -> None:
    script = 'echo "$PLACE $KEY $RANK $(id -u) $$$$ $(hostname) $HOME $(PLACE)"'
    with cluster(tmp_path, job(script)) as running:
        finish(running)
        (pod,) = running.ended
        assert pod.log("main", "out") == "here secret 0 10001 1 toy-0 /tmp here\n"


def test_only_scratch_is_writable(tmp_path: Path) -> None:
    script = f"echo kept > /tmp/note && ! touch {tmp_path}/shared/x /etc/x"
    with cluster(tmp_path, job(script, init="echo first > /tmp/first")) as running:
        finish(running)
    assert (tmp_path / "toy-0" / "scratch" / "note").read_text() == "kept\n"
    assert (tmp_path / "toy-0" / "scratch" / "first").exists()  # containers share their pod's
    assert not (tmp_path / "shared" / "x").exists()


def test_75_is_run_again_and_not_counted(tmp_path: Path) -> None:
    with cluster(tmp_path, job("exit 75")) as running:  # its back-off limit is one
        running.run_until(lambda: len(running.ended) == 3, timeout_seconds=HANG_SECONDS)
        assert [pod.exit_code for pod in running.ended] == [75, 75, 75]


def test_2_fails_the_job_at_once(tmp_path: Path) -> None:
    with cluster(tmp_path, job("exit 2")) as running:
        with pytest.raises(AssertionError, match=r"failed: \{'toy'\}"):
            finish(running)
        assert [pod.exit_code for pod in running.ended] == [2]


def test_other_failures_count_up_to_the_limit_of_back_off(tmp_path: Path) -> None:
    with cluster(tmp_path, job("exit 1", init="exit 3")) as running:
        with pytest.raises(AssertionError, match=r"failed: \{'toy'\}"):
            finish(running)
        assert [pod.exit_code for pod in running.ended] == [3, 3]  # an init container's code


def test_failures_count_for_each_index(tmp_path: Path) -> None:
    """Each fails once, which is the limit of one: together they are not beyond it."""
    script = "exit 137"
    with cluster(tmp_path, job(script, completions=3)) as running:
        running.run_until(lambda: len(running.ended) == 3, timeout_seconds=HANG_SECONDS)
        assert not running.failed
        assert {pod.exit_code for pod in running.ended} == {137}


def test_an_evicted_pod_is_run_again_and_not_counted(tmp_path: Path) -> None:
    with cluster(tmp_path, job("sleep 60")) as running:
        for _ in range(3):  # its limit is one
            running.run_until(
                lambda: any(pod.process for pod in running.pods), timeout_seconds=HANG_SECONDS
            )
            running.pod("toy-0").kill()
            running.pod("toy-0").evict()
            running.step()
        assert len(running.ended) == 3
        assert not running.failed


def test_ranks_find_each_other_by_name_even_late(tmp_path: Path) -> None:
    """Rank 0 is known by name a second after it started; rank 1 asks until then."""
    script = (
        "until getent hosts toy-0.toy; do echo waiting >&2; sleep 0.1; done;"
        "getent hosts $(hostname) && sleep 1"  # a pod that has ended has no name any more
    )
    with cluster(tmp_path, SERVICE, job(script, completions=2)) as running:
        running.late_names["toy-0.toy"] = 1.0
        finish(running)
        assert any("waiting" in pod.log("main", "err") for pod in running.ended)
        found = {pod.name: pod.log("main", "out").split()[1::2] for pod in running.ended}
        assert found == {name: ["toy-0.toy", name] for name in ("toy-0", "toy-1")}


def test_sigterm_reaches_the_program_and_its_exit_code_the_job(tmp_path: Path) -> None:
    script = "trap 'exit 75' TERM; echo up; [ -e /tmp/go ] || while :; do sleep 0.1; done"
    with cluster(tmp_path, job(script)) as running:
        running.run_until(
            lambda: any("up" in pod.log("main", "out") for pod in running.pods),
            timeout_seconds=HANG_SECONDS,
        )
        running.pod("toy-0").terminate()
        running.step()
        assert [pod.exit_code for pod in running.ended] == [75]
        running.run_until(lambda: bool(running.pods), timeout_seconds=HANG_SECONDS)
        (tmp_path / "toy-0" / "scratch" / "go").touch()
        running.run_until(lambda: running.pods[0].process is not None, timeout_seconds=HANG_SECONDS)
        finish(running)


def test_deployments_come_back_with_their_address(tmp_path: Path) -> None:
    template = {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [_container("main", "echo up; exec sleep 60")]},
    }
    document = {
        "kind": "Deployment",
        "metadata": {"name": "toy"},
        "spec": {"replicas": 2, "template": template},
    }
    with cluster(tmp_path, document) as running:
        running.run_until(
            lambda: [p.log("main", "out") for p in running.pods] == ["up\n"] * 2,
            timeout_seconds=HANG_SECONDS,
        )
        victim = running.pods[0]
        victim.kill()
        running.run_until(
            lambda: victim.log("main", "out") == "up\nup\n", timeout_seconds=HANG_SECONDS
        )
        assert victim.restarts == 1
        assert len(running.pods) == 2
