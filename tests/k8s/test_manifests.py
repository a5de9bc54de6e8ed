"""What the rendered manifests promise: Restricted pods, closed network, legal Jobs, no secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fadae.config import SECTIONS, check_value, declared
from fadae.records import canonical_json
from tests.k8s.rendering import K8S, OVERLAYS, Document, edited, find, pod_specs, pods, render, selects

DRIVERS = {"ingest", "extract", "train", "reconstruct"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_stage_is_there(overlay: str) -> None:
    names = {container["name"] for p in pods(overlay) for container in p.containers}
    assert names == DRIVERS | {"scheduler", "worker", "wait"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_meet_the_restricted_standard(overlay: str) -> None:
    for p in pods(overlay):
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            assert not p.spec.get(field), p.owner
        security = p.spec["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] > 0, p.owner
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, p.owner
        for volume in p.spec["volumes"]:
            assert set(volume) - {"name"} <= {"emptyDir", "persistentVolumeClaim"}, p.owner
        for container in p.containers:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["runAsNonRoot"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert not any("hostPort" in port for port in container.get("ports", []))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_hold_no_right_in_the_cluster(overlay: str) -> None:
    documents = render(overlay)
    assert not {"Role", "ClusterRole", "RoleBinding"} & {d["kind"] for d in documents}
    for p in pods(overlay):
        assert p.spec["automountServiceAccountToken"] is False
        assert p.spec["enableServiceLinks"] is False
        find(documents, "ServiceAccount", p.spec["serviceAccountName"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_are_bounded_and_write_to_scratch_only(overlay: str) -> None:
    for p in pods(overlay):
        volumes = {volume["name"]: volume for volume in p.spec["volumes"]}
        assert all("sizeLimit" in v["emptyDir"] for v in volumes.values() if "emptyDir" in v)
        for container in p.containers:
            for amount in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][amount].keys()
            requests, limits = (container["resources"][k] for k in ("requests", "limits"))
            assert requests["memory"] == limits["memory"]  # a worker's limit is one it has
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert "emptyDir" in volumes[mounts["/tmp"]]
            assert set(mounts.values()) <= volumes.keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_pinned_in_one_place(overlay: str) -> None:
    sizes = (K8S / "overlays" / overlay / "settings.yaml").read_text()
    for p in pods(overlay):
        for container in p.containers:
            image = container["image"]
            assert image in sizes
            tag = image.rpartition(":")[2]
            assert "@sha256:" in image or (overlay == "local" and re.fullmatch(r"[\d.]+", tag))


SIZES = {
    "image": "registry.example/one@sha256:1",
    "train-image": "registry.example/two@sha256:2",
    "workers": "7",
    "worker-cpu": "3",
    "worker-memory": "5Gi",
    "ranks": "11",
    "train-cpu": "6",
    "train-memory": "9Gi",
    "s3-port": "8333",
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_size_reaches_the_manifests_from_one_file(overlay: str, tmp_path: Path) -> None:
    documents = render(overlay, edited(tmp_path, overlay, {}, SIZES))
    train = find(documents, "Job", "fadae-train")["spec"]
    (container,) = train["template"]["spec"]["containers"]
    world = {e["name"]: e.get("value") for e in container["env"]}["WORLD_SIZE"]
    assert (train["completions"], train["parallelism"], world) == (11, 11, "11")
    assert _cpu_and_memory(container) == ("6", "9Gi")
    for p in pod_specs(documents):
        for container in p.containers:
            own = "train-image" if p.owner == "Job/fadae-train" else "image"
            assert container["image"] == SIZES[own]
            if container["name"] == "worker":
                assert _cpu_and_memory(container) == ("3", "5Gi")
    for document in documents:
        if document["kind"] == "DaskJob":
            assert document["spec"]["cluster"]["spec"]["worker"]["replicas"] == 7
        if document["metadata"]["name"] == "fadae-worker":
            assert document["spec"]["replicas"] == 7
        if document["metadata"]["name"] == "fadae-archive-and-bucket":
            ports = [port["port"] for port in document["spec"]["egress"][0]["ports"]]
            assert ports == [443, 8333]


def _cpu_and_memory(container: Document) -> tuple[str, str]:
    requests, limits = (container["resources"][k] for k in ("requests", "limits"))
    assert (requests["cpu"], requests["memory"]) == (limits["cpu"], limits["memory"])
    return str(limits["cpu"]), limits["memory"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_come_by_reference_only(overlay: str) -> None:
    documents = render(overlay)
    assert "Secret" not in {d["kind"] for d in documents}
    assert "fadae-sizes" not in {d["metadata"]["name"] for d in documents}
    settings = find(documents, "ConfigMap", "fadae-settings")["data"]
    assert not [key for key in settings if re.search("SECRET|KEY|TOKEN|PASSWORD", key)]
    with_secret = {
        container["name"]
        for p in pods(overlay)
        for container in p.containers
        for source in container.get("envFrom", [])
        if "secretRef" in source
    }
    keyed = overlay in ("s3-static-secret", "no-operator")
    # The scheduler, which sees every task graph, holds no key.
    assert with_secret == (DRIVERS | {"worker", "wait"} if keyed else set())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_references_resolve(overlay: str) -> None:
    documents = render(overlay)
    names = {(d["kind"], d["metadata"]["name"]) for d in documents}
    services = set(_services(documents))
    for p in pods(overlay):
        for volume in p.spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in names
        for container in p.containers:
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    assert ("ConfigMap", source["configMapRef"]["name"]) in names
            for variable in container.get("env", []):
                value = variable.get("value", "")
                if variable["name"] == "DASK_SCHEDULER_ADDRESS":
                    assert re.fullmatch(r"tcp://([\w-]+):8786", value)
                    assert value[6:-5] in services
                if variable["name"] == "MASTER_ADDR":
                    assert value.partition(".")[2] in services


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_select_pods(overlay: str) -> None:
    documents = render(overlay)
    labels = [p.labels for p in pods(overlay)]
    for name, selector, ports in _service_specs(documents):
        chosen = [p for p in pods(overlay) if selects({"matchLabels": selector}, p.labels)]
        assert len({p.owner for p in chosen}) == 1, name
        named = {port["name"] for c in chosen[0].containers for port in c.get("ports", [])}
        assert {port["targetPort"] for port in ports} <= named, name
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "Deployment":
            assert selects(spec["selector"], spec["template"]["metadata"]["labels"])
        if document["kind"] == "PodDisruptionBudget":
            guarded = [p for p in pods(overlay) if selects(spec["selector"], p.labels)]
            assert guarded and spec["maxUnavailable"] == 0
            assert {p.spec["containers"][0]["name"] for p in guarded} == {"scheduler"}
        if document["kind"] == "NetworkPolicy":
            assert any(selects(spec["podSelector"], one) for one in labels)


def _services(documents: tuple[Document, ...]) -> Iterator[str]:
    return (name for name, _, _ in _service_specs(documents))


def _service_specs(
    documents: tuple[Document, ...],
) -> Iterator[tuple[str, dict[str, str], list[Document]]]:
    for document in documents:
        name = document["metadata"]["name"]
        if document["kind"] == "Service":
            yield name, document["spec"]["selector"], document["spec"]["ports"]
        if document["kind"] == "DaskJob":
            service = document["spec"]["cluster"]["spec"]["scheduler"]["service"]
            yield f"{name}-scheduler", service["selector"], service["ports"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_jobs_are_legal_and_end(overlay: str) -> None:
    jobs = [d for d in render(overlay) if d["kind"] == "Job"]
    assert {"fadae-train"} <= {job["metadata"]["name"] for job in jobs}
    for job in jobs:
        spec = job["spec"]
        assert spec["template"]["spec"]["restartPolicy"] == "Never"  # podFailurePolicy asks for it
        assert spec["podReplacementPolicy"] == "Failed"
        assert spec["activeDeadlineSeconds"] > 0 and spec["ttlSecondsAfterFinished"] > 0
        actions = {}
        for rule in spec["podFailurePolicy"]["rules"]:
            for code in rule.get("onExitCodes", {}).get("values", ["DisruptionTarget"]):
                actions[code] = rule["action"]
        assert actions == {2: "FailJob", 65: "FailJob", 75: "Ignore", "DisruptionTarget": "Ignore"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_training_is_one_rank_a_pod(overlay: str) -> None:
    documents = render(overlay)
    job = find(documents, "Job", "fadae-train")
    service = find(documents, "Service", "fadae-train")
    template = job["spec"]["template"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert template["spec"]["subdomain"] == "fadae-train"
    assert template["spec"]["initContainers"][0]["command"][:3] == ["fadae", "wait", "extract"]
    (container,) = template["spec"]["containers"]
    env = {e["name"]: e for e in container["env"]}
    index = env["RANK"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    # An Indexed Job's pod has the host name <job>-<index>.
    assert env["MASTER_ADDR"]["value"] == "fadae-train-0.fadae-train"
    assert int(env["MASTER_PORT"]["value"]) in {p["port"] for p in service["spec"]["ports"]}
    assert container["resources"]["limits"].get("nvidia.com/gpu") == (
        "1" if overlay == "gpu" else None
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_schedulers_and_drivers_stay_off_spot_nodes(overlay: str) -> None:
    for p in pods(overlay):
        names = {container["name"] for container in p.spec["containers"]}
        affinity = p.spec.get("affinity", {}).get("nodeAffinity", {})
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
        rules = [
            r for term in required.get("nodeSelectorTerms", []) for r in term["matchExpressions"]
        ]
        if "scheduler" in names:
            assert {rule["operator"] for rule in rules} == {"NotIn"}
        if "worker" in names or "train" in names:
            assert not rules  # these may be lost at any time


def test_both_ways_of_running_dask_run_the_same_containers() -> None:
    """The operator's pods and the plain ones differ in the scheduler's address and names only."""

    def containers(overlay: str) -> list[Document]:
        found = [
            {**container, "env": None, "pod": p.spec["containers"][0]["name"]}
            for p in {p.spec["containers"][0]["name"]: p for p in pods(overlay)}.values()
            for container in p.containers
        ]
        text = canonical_json(sorted(found, key=lambda c: (c["pod"], c["name"])))
        same: list[Document] = json.loads(text.replace("$(DASK_WORKER_NAME)", "$(POD_NAME)"))
        return same

    assert containers("no-operator") == containers("s3-static-secret")


def test_image_is_pinned_and_not_root() -> None:
    lines = (K8S / "image" / "Containerfile").read_text()
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", lines, re.M)
    assert "-c constraints.txt" in lines
    assert ":latest" not in lines
    user = pods("local")[0].spec["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in lines


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_stages_can_be_applied_one_by_one(overlay: str) -> None:
    """By their label; what has none is shared, and no stage needs another stage's objects."""
    stages: dict[str | None, set[str]] = {}
    for document in render(overlay):
        label = document["metadata"].get("labels", {}).get("app.kubernetes.io/component")
        stages.setdefault(label, set()).add(document["kind"])
    assert stages.keys() == {None, "features", "train", "reconstruct"}
    assert not stages[None] & {"Job", "DaskJob"}
    assert {"ServiceAccount", "ConfigMap", "NetworkPolicy"} <= stages[None]
    assert stages["train"] == {"Job", "Service"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_are_declared_options(overlay: str) -> None:
    """A misspelt variable would be ignored in silence: `fadae config --kubernetes` has them all."""
    (settings,) = (
        document
        for document in render(overlay)
        if document["kind"] == "ConfigMap" and "FADAE_WORKSPACE" in document["data"]
    )
    options = {one.env: one for section in SECTIONS for one in declared(section)}
    known = options.keys() | {"FADAE_LOG_FORMAT"}
    for name, text in settings["data"].items():
        if not name.startswith("AWS_"):
            assert name in known, name
        if name in options and text:
            check_value(options[name], options[name].read(text))
