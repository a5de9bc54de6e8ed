"""What controllers would make of the manifests: groups of pods, each with its rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Template:
    """A pod to be: its labels, annotations and spec."""

    labels: dict[str, str]
    annotations: dict[str, str]
    spec: Document


@dataclass(frozen=True)
class Deployment:
    """So many pods, always running."""

    name: str
    replicas: int
    template: Template


@dataclass(frozen=True)
class Job:
    """Pods that each have to succeed once, with the manifest's rules on failures."""

    name: str
    completions: int
    failures_an_index: int
    rules: tuple[Document, ...]
    template: Template

    def action(self, exit_code: int, disrupted: bool) -> str:
        """Return what a pod's end leads to: FailJob, Ignore or Count.

        The first matching rule decides. A death by signal counts as the code 128 + signal; a pod
        that was drained, evicted or preempted has the condition DisruptionTarget.
        """
        for rule in self.rules:
            codes = rule.get("onExitCodes")
            if codes and (exit_code in codes["values"]) == (codes["operator"] == "In"):
                return str(rule["action"])
            if disrupted and "onPodConditions" in rule:
                return str(rule["action"])
        return "Count"


@dataclass(frozen=True)
class Service:
    """A name for pods; headless ones name each pod too."""

    name: str
    selector: dict[str, str]
    headless: bool


Workload = Deployment | Job


def workloads(document: Document) -> Iterator[Workload]:
    """Yield the workloads of an object, the operator's part played for a DaskCluster."""
    name, spec = document["metadata"]["name"], document.get("spec", {})
    if document["kind"] == "Deployment":
        yield Deployment(name, spec["replicas"], _template(spec["template"]))
    elif document["kind"] == "Job":
        assert spec["completionMode"] == "Indexed"
        assert spec["maxFailedIndexes"] == 0
        yield Job(
            name,
            spec["completions"],
            spec["backoffLimitPerIndex"],
            tuple(spec.get("podFailurePolicy", {}).get("rules", [])),
            _template(spec["template"]),
        )
    elif document["kind"] == "DaskCluster":
        yield from _of_cluster(document)


def _template(document: Document) -> Template:
    metadata = document.get("metadata", {})
    return Template(metadata.get("labels", {}), metadata.get("annotations", {}), document["spec"])


def _of_cluster(document: Document) -> Iterator[Workload]:
    """Yield what dask_kubernetes 2026.3.0 makes of a DaskCluster, in operator/controller."""
    name = document["metadata"]["name"]
    labels = {**document["metadata"].get("labels", {}), "dask.org/cluster-name": name}

    def template(part: Document, component: str, added: Mapping[str, str]) -> Template:
        metadata = part.get("metadata", {})
        own = {**labels, **metadata.get("labels", {}), "dask.org/component": component}
        spec = {**part["spec"]}
        spec["containers"] = [_with_env(container, added) for container in spec["containers"]]
        return Template(own, metadata.get("annotations", {}), spec)

    spec = document["spec"]
    yield Deployment(f"{name}-scheduler", 1, template(spec["scheduler"], "scheduler", {}))
    for number in range(spec["worker"]["replicas"]):
        worker = f"{name}-default-worker-{number}"
        added = {
            "DASK_WORKER_NAME": worker,
            "DASK_SCHEDULER_ADDRESS": f"tcp://{name}-scheduler:8786",
        }
        yield Deployment(worker, 1, template(spec["worker"], "worker", added))


def _with_env(container: Document, added: Mapping[str, str]) -> Document:
    """Return the container with variables it lacks appended, as the operator does."""
    env = list(container.get("env", []))
    present = {variable["name"] for variable in env}
    env += [{"name": k, "value": v} for k, v in added.items() if k not in present]
    return {**container, "env": env}


def service(document: Document) -> Service | None:
    """Return the service that an object is, or leads to: a DaskCluster's scheduler has one."""
    name, spec = document["metadata"]["name"], document.get("spec", {})
    if document["kind"] == "Service":
        return Service(name, spec["selector"], spec.get("clusterIP") == "None")
    if document["kind"] == "DaskCluster":
        return Service(f"{name}-scheduler", spec["scheduler"]["service"]["selector"], False)
    return None
