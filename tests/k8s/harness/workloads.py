"""What controllers would make of the manifests: groups of pods, each with its rules."""

from __future__ import annotations

from collections.abc import Iterator
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
    dask_job: str | None = None


@dataclass(frozen=True)
class Job:
    """Pods that each have to succeed once, with the manifest's rules on failures."""

    name: str
    completions: int
    indexed: bool
    backoff_limit: int
    rules: tuple[Document, ...]
    template: Template

    def action(self, exit_code: int) -> str:
        """Return what a pod's exit code leads to: FailJob, Ignore or Count.

        The first matching rule decides. A death by signal counts as the code 128 + signal.
        """
        for rule in self.rules:
            codes = rule.get("onExitCodes")
            if codes and (exit_code in codes["values"]) == (codes["operator"] == "In"):
                return str(rule["action"])
        return "Count"


@dataclass(frozen=True)
class Runner:
    """The operator's job-runner: one pod; when it ends, its Dask cluster is deleted."""

    name: str
    template: Template


@dataclass(frozen=True)
class Service:
    """A name for pods; headless ones name each pod too."""

    name: str
    selector: dict[str, str]
    headless: bool


Workload = Deployment | Job | Runner


def workloads(documents: tuple[Document, ...]) -> Iterator[Workload]:
    """Yield the workloads of the manifests, the operator's part played for a DaskJob."""
    for document in documents:
        name, spec = document["metadata"]["name"], document.get("spec", {})
        if document["kind"] == "Deployment":
            yield Deployment(name, spec["replicas"], _template(spec["template"]))
        elif document["kind"] == "Job":
            yield Job(
                name,
                spec.get("completions", 1),
                spec.get("completionMode") == "Indexed",
                spec["backoffLimit"],
                tuple(spec.get("podFailurePolicy", {}).get("rules", [])),
                _template(spec["template"]),
            )
        elif document["kind"] == "DaskJob":
            yield from _of_dask_job(document)


def _template(document: Document) -> Template:
    metadata = document.get("metadata", {})
    return Template(metadata.get("labels", {}), metadata.get("annotations", {}), document["spec"])


def _of_dask_job(document: Document) -> Iterator[Workload]:
    """Yield what dask_kubernetes 2026.3.0 makes of a DaskJob, in operator/controller."""
    name = document["metadata"]["name"]
    labels = {**document["metadata"].get("labels", {}), "dask.org/cluster-name": name}
    cluster = document["spec"]["cluster"]["spec"]
    scheduler = {"DASK_SCHEDULER_ADDRESS": f"tcp://{name}-scheduler:8786"}

    def template(part: Document, component: str, added: dict[str, str]) -> Template:
        metadata = part.get("metadata", {})
        own = {**labels, **metadata.get("labels", {}), "dask.org/component": component}
        spec = {**part["spec"]}
        spec["containers"] = [_with_env(container, added) for container in spec["containers"]]
        return Template(own, metadata.get("annotations", {}), spec)

    yield Deployment(f"{name}-scheduler", 1, template(cluster["scheduler"], "scheduler", {}), name)
    for number in range(cluster["worker"]["replicas"]):
        worker = f"{name}-default-worker-{number}"
        added = {"DASK_WORKER_NAME": worker, **scheduler}
        yield Deployment(worker, 1, template(cluster["worker"], "worker", added), name)
    yield Runner(name, template(document["spec"]["job"], "job-runner", scheduler))


def _with_env(container: Document, added: dict[str, str]) -> Document:
    """Return the container with variables it lacks appended, as the operator does."""
    env = list(container.get("env", []))
    present = {variable["name"] for variable in env}
    env += [{"name": k, "value": v} for k, v in added.items() if k not in present]
    return {**container, "env": env}


def services(documents: tuple[Document, ...]) -> Iterator[Service]:
    """Yield the services, those that the operator makes for a DaskJob's scheduler included."""
    for document in documents:
        name, spec = document["metadata"]["name"], document.get("spec", {})
        if document["kind"] == "Service":
            yield Service(name, spec["selector"], spec.get("clusterIP") == "None")
        elif document["kind"] == "DaskJob":
            selector = spec["cluster"]["spec"]["scheduler"]["service"]["selector"]
            yield Service(f"{name}-scheduler", selector, headless=False)
