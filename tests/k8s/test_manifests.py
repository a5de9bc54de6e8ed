"""What the manifests promise: Restricted pods, legal Jobs, named generations, no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fadae.cli.app import app
from fadae.config import SECTIONS, KubernetesConfig, declared, load_settings, settings_text
from fadae.errors import IDLE_EXIT, UsageError
from fadae.kubernetes import OWN, read_settings
from tests.k8s.harness.environment import quantity
from tests.k8s.rendering import (
    ALL_SECTIONS,
    K8S,
    OVERLAYS,
    Document,
    PodSpec,
    edited,
    everything,
    find,
    pod,
    pod_specs,
    pods,
    render,
    rendered,
    selects,
    stages,
)

DRIVERS = {"check", "ingest", "extract", "train", "reconstruct"}
BAGGED = {"ingest", "extract", "reconstruct"}
KEYED = {"s3", "no-operator", "queue"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_stage_is_there(overlay: str) -> None:
    names = [container["name"] for p in pods(overlay) for container in p.containers]
    assert set(names) == DRIVERS | {"scheduler", "worker", "conductor"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_meet_the_restricted_standard(overlay: str) -> None:
    for p in pods(overlay):
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            assert not p.spec.get(field), p.owner
        security = p.spec["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] > 0, p.owner
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, p.owner
        for volume in p.spec["volumes"]:
            kinds = {"emptyDir", "persistentVolumeClaim", "configMap", "projected"}
            assert set(volume) - {"name"} <= kinds, p.owner
        for container in p.containers:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["runAsNonRoot"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert not any("hostPort" in port for port in container.get("ports", []))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_who_pods_are_and_what_they_may(overlay: str) -> None:
    """The bucket's account, one of schedulers, which has nothing, and the conductor's."""
    documents = render(overlay)
    accounts = {"scheduler": "fadae-scheduler", "conductor": "fadae-conductor"}
    for p in pods(overlay):
        (container,) = p.containers
        assert p.spec["serviceAccountName"] == accounts.get(container["name"], "fadae")
        assert p.spec["automountServiceAccountToken"] is False
        assert p.spec["enableServiceLinks"] is False
        has_token = any("projected" in volume for volume in p.spec["volumes"])
        assert has_token == (container["name"] == "conductor")
    annotated = {
        d["metadata"]["name"] for d in documents
        if d["kind"] == "ServiceAccount" and d["metadata"].get("annotations")
    }
    assert annotated == ({"fadae"} if overlay in ("aws-irsa", "gke", "gpu") else set())
    role = find(documents, "Role", "fadae-conductor")
    may = {resource for rule in role["rules"] for resource in rule["resources"]}
    cluster = "daskclusters" if find_all(overlay, "DaskCluster") else "deployments"
    assert may == {"jobs", "jobs/finalizers", "services", cluster}
    (subject,) = find(documents, "RoleBinding", "fadae-conductor")["subjects"]
    assert subject["name"] == "fadae-conductor"


def find_all(overlay: str, kind: str) -> list[Document]:
    return [d for d in everything(render(overlay)) if d["kind"] == kind]


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
            assert set(mounts.values()) == volumes.keys()
            in_memory = [v for v in volumes.values() if v.get("emptyDir", {}).get("medium")]
            is_rank_on_gpu = overlay == "gpu" and container["name"] == "train"
            assert bool(in_memory) == is_rank_on_gpu
            for volume in in_memory:  # its pages count as the container's
                assert quantity(volume["emptyDir"]["sizeLimit"]) < quantity(limits["memory"]) / 4


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_come_by_reference_only(overlay: str) -> None:
    assert not find_all(overlay, "Secret")
    settings = find(render(overlay), "ConfigMap", "fadae-settings")["data"]
    assert not [key for key in settings if re.search("SECRET|KEY|TOKEN|PASSWORD", key)]
    with_secret = {
        container["name"]
        for p in pods(overlay)
        for container in p.containers
        for source in container.get("envFrom", [])
        if "secretRef" in source
    }
    # The scheduler, which sees every task graph, holds no key; nor does the conductor.
    assert with_secret == (DRIVERS | {"worker"} if overlay in KEYED else set())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_references_resolve_and_selectors_select(overlay: str) -> None:
    documents = everything(render(overlay))
    names = {(d["kind"], d["metadata"]["name"]) for d in documents}
    services = dict(_services(documents))
    for p in pods(overlay):
        assert ("ServiceAccount", p.spec["serviceAccountName"]) in names
        for volume in p.spec["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
        for container in p.containers:
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    assert ("ConfigMap", source["configMapRef"]["name"]) in names
            env = {v["name"]: v.get("value", "") for v in container.get("env", [])}
            if "DASK_SCHEDULER_ADDRESS" in env:
                found = re.fullmatch(r"tcp://([\w-]+):8786", env["DASK_SCHEDULER_ADDRESS"])
                assert found and found[1] in services
            if "MASTER_ADDR" in env:
                assert env["MASTER_ADDR"].partition(".")[2] in services
    for name, selector in services.items():
        chosen = [p for p in pods(overlay) if selects({"matchLabels": selector}, p.labels)]
        assert len({p.owner for p in chosen}) == 1, name
    for document in documents:
        if document["kind"] == "Deployment":
            spec = document["spec"]
            assert selects(spec["selector"], spec["template"]["metadata"]["labels"])
        assert document["metadata"]["namespace"] == "fadae"
        assert document["kind"] != "PodDisruptionBudget"  # none that a drain waits for
    # Deleting the job leaves the workspace: its claim is not among the job's objects.
    assert "PersistentVolumeClaim" not in {kind for kind, _ in names}
    claims = {
        v["persistentVolumeClaim"]["claimName"]
        for p in pods(overlay) for v in p.spec["volumes"] if "persistentVolumeClaim" in v
    }
    assert claims == ({"fadae-workspace"} if overlay == "local" else set())
    assert "name: fadae-workspace" in (K8S / "volume" / "claim.yaml").read_text()


def _services(documents: tuple[Document, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    for document in documents:
        name = document["metadata"]["name"]
        if document["kind"] == "Service":
            yield name, document["spec"]["selector"]
        if document["kind"] == "DaskCluster":
            yield f"{name}-scheduler", document["spec"]["scheduler"]["service"]["selector"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_jobs_go_on_after_what_is_no_failure(overlay: str) -> None:
    jobs = find_all(overlay, "Job")
    assert len(jobs) == 6
    for job in jobs:
        spec = job["spec"]
        assert spec["template"]["spec"]["restartPolicy"] == "Never"  # podFailurePolicy asks for it
        assert spec["completionMode"] == "Indexed"  # backoffLimitPerIndex asks for it
        assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (6, 0)
        assert spec["podReplacementPolicy"] == "Failed"
        # Nothing that counts while a stage waits.
        assert "activeDeadlineSeconds" not in str(job)
        # What the conductor made goes with its Job, not before the next stage asks for it.
        is_conductor = job["metadata"]["name"].startswith("fadae-conductor")
        assert ("ttlSecondsAfterFinished" in spec) == is_conductor
        actions: dict[int | str, str] = {}
        for rule in spec["podFailurePolicy"]["rules"]:
            for code in rule.get("onExitCodes", {}).get("values", ["DisruptionTarget"]):
                actions[code] = rule["action"]
        ends = {code for code, action in actions.items() if action == "FailJob"}
        assert ends == {2, 65, 66}
        # What a driver ends with that has nothing to show for an attempt is counted.
        (container,) = spec["template"]["spec"]["containers"]
        idle = [e["value"] for e in container.get("env", []) if e["name"] == IDLE_EXIT]
        assert idle == (["69"] if container["name"] in BAGGED else [])
        assert {code for code in actions if code not in ends} == {75, "DisruptionTarget"}
        assert set(actions.values()) == {"FailJob", "Ignore"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_training_is_one_rank_a_pod(overlay: str) -> None:
    documents = everything(render(overlay))
    job = find(documents, "Job", "fadae-train")
    service = find(documents, "Service", "fadae-train")
    template = job["spec"]["template"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert template["spec"]["subdomain"] == service["metadata"]["name"]
    (container,) = template["spec"]["containers"]
    env = {e["name"]: e for e in container["env"]}
    index = env["RANK"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    # An Indexed Job's pod has the host name <job>-<index>.
    name = job["metadata"]["name"]
    assert env["MASTER_ADDR"]["value"] == f"{name}-0.{name}"
    assert env["WORLD_SIZE"]["value"] == "2"
    gpu = "1" if overlay == "gpu" else None
    assert container["resources"]["limits"].get("nvidia.com/gpu") == gpu
    assert ("--device" in container["command"]) == (overlay == "gpu")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_schedulers_and_drivers_stay_off_spot_nodes(overlay: str) -> None:
    for p in pods(overlay):
        name = p.containers[0]["name"]
        affinity = p.spec.get("affinity", {}).get("nodeAffinity", {})
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
        rules = [
            r for term in required.get("nodeSelectorTerms", []) for r in term["matchExpressions"]
        ]
        # Workers and ranks may be lost at any time.
        assert bool(rules) == (name not in ("worker", "train")), name


def held(some: list[PodSpec]) -> tuple[float, float, float]:
    """Return the CPUs, GiB and GPUs that pods ask for."""
    asked = [
        (p.count, container["resources"]["requests"]) for p in some for container in p.containers
    ]
    return (
        sum(count * quantity(r["cpu"]) for count, r in asked),
        sum(count * quantity(r["memory"]) / 2**30 for count, r in asked),
        sum(count * quantity(r.get("nvidia.com/gpu", "0")) for count, r in asked),
    )


def held_by_stage(overlay: str) -> list[tuple[float, float, float]]:
    """Return what is asked for at apply, and while each stage runs: the most of its Jobs."""
    sent = list(pod_specs(render(overlay)))
    found = [held(sent)]
    for stage in stages(render(overlay)):
        beside = list(pod_specs(tuple(stage["beside"])))
        found.append(
            max(held([*sent, *beside, *pod_specs((job,))]) for job in stage["jobs"])
        )
    return found


def test_nothing_is_held_for_a_stage_that_waits() -> None:
    assert held_by_stage("s3") == [
        pytest.approx((0.05, 0.25, 0)),
        pytest.approx((0.55, 2.25, 0)),  # `fadae check`
        pytest.approx((17.05, 38.25, 0)),  # a scheduler, four workers, a driver
        pytest.approx((4.05, 16.25, 0)),  # two ranks
        pytest.approx((17.05, 38.25, 0)),
    ]
    assert [gpus for _, _, gpus in held_by_stage("gpu")] == [0, 0, 0, 2, 0]


@pytest.mark.parametrize(
    ("ingest", "asks"),
    [({}, True), ({"items": [], "folder": ["s3://b/a"]}, False), ({"folder": ["s3://b/a"]}, True)],
)
def test_a_check_is_the_first_job_and_asks_who_will_be_needed(
    ingest: Mapping[str, Any], asks: bool, tmp_path: Path
) -> None:
    first, *_ = stages(rendered(edited(tmp_path, "s3", {"ingest": ingest})))
    assert first["beside"] == []
    (job,) = first["jobs"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][:2] == ["fadae", "check"]
    assert ("--archive" in container["command"]) == asks


def test_metrics_are_served_where_they_are_asked_for(tmp_path: Path) -> None:
    documents = rendered(edited(tmp_path, "s3", {"job": {"metrics_port": 9090}}))
    settings = find(documents, "ConfigMap", "fadae-settings")["data"]
    assert settings["FADAE_METRICS_PORT"] == "9090"
    assert settings["FADAE_METRICS_HOST"] == "0.0.0.0"
    policy = find(documents, "NetworkPolicy", "fadae-metrics")["spec"]
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 9090}]
    for p in pod_specs(everything(documents)):
        (container,) = p.containers
        ports = [port["containerPort"] for port in container.get("ports", [])]
        serves = container["name"] in BAGGED | {"train"}
        assert (9090 in ports) == serves == selects(policy["podSelector"], p.labels), p.owner
    annotations = [
        job["spec"]["template"]["metadata"]["annotations"]
        for job in everything(documents) if job["kind"] == "Job"
    ]
    scraped = [a["prometheus.io/port"] for a in annotations if "prometheus.io/scrape" in a]
    assert scraped == ["9090"] * 4
    assert not find_all("s3", "NetworkPolicy")[-1]["metadata"]["name"].endswith("metrics")


def names_of(documents: tuple[Document, ...], kind: str) -> set[str]:
    return {d["metadata"]["name"] for d in everything(documents) if d["kind"] == kind}


CHANGES: list[Mapping[str, Mapping[str, Any]]] = [
    {"ingest": {"items": ["AOC11B", "another"]}},
    {"train": {"epochs": 7}},
    {"train": {"ranks": 4}},
    {"kubernetes": {"image": "registry.example/other@sha256:1"}},
    {"kubernetes": {"train_memory": "9Gi"}},
    {"kubernetes": {"generation": "tuesday"}},
    {"kubernetes": {"retries": 2}},
]


def test_generations_share_no_job_and_the_same_settings_are_the_same_generation(
    tmp_path: Path,
) -> None:
    known = render("s3")
    assert rendered(edited(tmp_path, "s3", {})) == known
    jobs, maps = names_of(known, "Job"), names_of(known, "ConfigMap")
    for number, change in enumerate(CHANGES):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = rendered(edited(folder, "s3", change))
        assert not jobs & names_of(found, "Job"), change
        assert not maps & names_of(found, "ConfigMap"), change
        jobs |= names_of(found, "Job")
        maps |= names_of(found, "ConfigMap")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_has_every_option_as_declared(overlay: str) -> None:
    """The file is what the declarations make of its own values."""
    file = K8S / "overlays" / f"{overlay}.toml"
    settings = load_settings(file, ALL_SECTIONS)
    assert file.read_text() == settings_text(settings, ALL_SECTIONS, OWN)
    for section in ALL_SECTIONS:
        for one in declared(section):
            if one.about.shared and f"{one.section}.{one.name}" not in OWN:
                assert re.search(rf"^(# )?{re.escape(one.key)} =", file.read_text(), re.M)


OTHERS = {str: "another", int: 3, float: 0.25, bool: True}
SPECIAL = {
    "track": "mlflow",
    "workspace": "s3://another/place", "preset": "full", "dtype": "float32", "retry": "all",
    "schedule": "cosine", "precision": "fp32", "reduction": "exact", "on_growth": "new",
    "cache_gb": "2",
    "fail_over": "5%", "licence": "by,cc0", "ranks": 2, "source": ["a:b"], "model_option": ["keep=3"], "holdout": 0.25,
}


def test_every_option_reaches_the_pods(tmp_path: Path) -> None:
    changes: dict[str, dict[str, Any]] = {}
    wanted = {}
    for section in SECTIONS:
        for one in declared(section):
            if not one.about.shared or f"{one.section}.{one.name}" in OWN:
                continue
            value = SPECIAL.get(one.name, OTHERS[one.kind])
            if one.repeatable and not isinstance(value, list):
                value = [value]
            changes.setdefault(section.section, {})[one.name] = value
            wanted[one.env] = one.text(value)
    documents = rendered(edited(tmp_path, "s3", changes))
    data = find(documents, "ConfigMap", "fadae-settings")["data"]
    assert wanted.items() <= data.items()
    assert data["AWS_DEFAULT_REGION"] == "us-east-1"
    for name in (*DRIVERS, "worker"):
        (source, *_) = pod("s3", name).containers[0]["envFrom"]
        assert source["configMapRef"]["name"].startswith("fadae-settings-")


def test_every_size_reaches_its_pod(tmp_path: Path) -> None:
    sizes = {
        "image": "one@sha256:1", "train_image": "two@sha256:2", "dask_workers": 7,
        "worker_cpu": 3, "worker_memory": "5Gi", "scheduler_cpu": "3", "scheduler_memory": "6Gi",
        "driver_cpu": "2", "driver_memory": "7Gi", "train_cpu": "6", "train_memory": "9Gi",
        "scratch": "3Gi", "s3_port": 8333,
    }
    documents = everything(rendered(edited(tmp_path, "no-operator", {"kubernetes": sizes})))
    found = {p.containers[0]["name"]: p for p in pod_specs(documents)}
    for name, cpu, memory in (
        ("worker", "3", "5Gi"), ("scheduler", "3", "6Gi"), ("extract", "2", "7Gi"),
        ("train", "6", "9Gi"),
    ):
        resources = found[name].containers[0]["resources"]
        assert resources["requests"] == resources["limits"] == {"cpu": cpu, "memory": memory}
        image = "two@sha256:2" if name == "train" else "one@sha256:1"
        assert found[name].containers[0]["image"] == image
        scratch = {v["name"]: v for v in found[name].spec["volumes"]}["scratch"]
        assert scratch["emptyDir"]["sizeLimit"] == "3Gi"
    assert found["worker"].count == 7
    assert "--nworkers=3" in found["worker"].containers[0]["command"]
    policy = find(documents, "NetworkPolicy", "fadae-archive-and-bucket")
    assert [port["port"] for port in policy["spec"]["egress"][0]["ports"]] == [443, 8333]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("itms = ['a']", "unknown key itms; the nearest is"),
        ("[kubernetes]\nimage = 'i'\nworker-memroy = '1Gi'", "the nearest is kubernetes.worker-m"),
        ("[kubernetes]\nimage = 'i'\nworker-memory = '1G'", "worker-memory '1G': as 512Mi or 8Gi"),
        ("[kubernetes]\nimage = 'i'\ntrain-cpu = 'all'", "train-cpu 'all': as 500m or 2"),
        ("[kubernetes]\nimage = 'i'\nidentity = 'gke'", "the two go together"),
        ("[kubernetes]\nimage = 'i'\nqueue = 'q'", "queue needs operator = false"),
        ("[kubernetes]\nvolume = 'v'", "image: name one"),
        ("[kubernetes]\nimage = 'i'\nnamespace = '../x'", "namespace '../x'"),
        ("[kubernetes]\nimage = 'i'\nvariables = ['AWS_SECRET_ACCESS_KEY=x']", "belongs into a S"),
        ("scheduler = 'tcp://a'\n[kubernetes]\nimage = 'i'", "the manifests' business"),
        ("metrics-port = 0\n[kubernetes]\nimage = 'i'", "has to know the port of a pod"),
        ("workspace = '/home'\n[kubernetes]\nimage = 'i'", "a bucket, or /workspace and a volume"),
        ("[train]\nranks = 3\nreduction = 'exact'\n[kubernetes]\nimage = 'i'", "3 ranks do not"),
    ],
)
def test_what_cannot_be_is_said_when_it_is_rendered(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "job.toml"
    workspace = "" if "workspace" in text else "workspace = 's3://a/b'\n"
    file.write_text(workspace + text)
    with pytest.raises(UsageError, match=re.escape(message)):
        read_settings(file)


def test_the_command_prints_what_kubectl_takes_and_a_file_of_all_settings(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["kubernetes", str(K8S / "overlays" / "local.toml")])
    assert done.exit_code == 0
    assert done.stdout.startswith("apiVersion: v1\nkind: ServiceAccount\n")
    empty = CliRunner().invoke(app, ["kubernetes"])
    (tmp_path / "job.toml").write_text(empty.stdout)
    assert not any(load_settings(tmp_path / "job.toml", ALL_SECTIONS).sections.values())
    missing = CliRunner().invoke(app, ["kubernetes", str(tmp_path / "no.toml")])
    assert missing.exit_code == 2


def test_images_are_pinned() -> None:
    for overlay in OVERLAYS:
        config = load_settings(K8S / "overlays" / f"{overlay}.toml", ALL_SECTIONS)
        image = config.sections[KubernetesConfig.section]["image"]
        assert "@sha256:" in str(image) or overlay == "local"
    lines = (K8S / "image" / "Containerfile").read_text()
    user = pods("local")[0].spec["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in lines


def test_kueue_holds_back_jobs_and_workers_of_its_queue() -> None:
    labelled = {
        d["metadata"]["name"].rsplit("-", 1)[0]
        for d in everything(render("queue"))
        if d["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name") == "fadae"
    }
    assert {"fadae-ingest", "fadae-extract", "fadae-train", "fadae-reconstruct"} <= labelled
    assert "fadae-conductor" not in labelled
