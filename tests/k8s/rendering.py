"""Renders an overlay as `kubectl apply -k` would and finds things in the result."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).resolve().parents[2] / "k8s"
OVERLAYS = sorted(folder.name for folder in (K8S / "overlays").iterdir())

Document = dict[str, Any]


@functools.cache
def render(overlay: str, k8s: Path = K8S) -> tuple[Document, ...]:
    """Return the objects that `kubectl apply -k` would send; skips where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl to render the overlays: see kubernetes.io/docs/tasks/tools")
    folder = k8s / "overlays" / overlay
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def edited(folder: Path, overlay: str, settings: dict[str, str], sizes: dict[str, str]) -> Path:
    """Return a copy of k8s/ below a folder, with an overlay's settings.yaml edited as users do."""
    copy = shutil.copytree(K8S, folder / "k8s")
    file = copy / "overlays" / overlay / "settings.yaml"
    environment, local = yaml.safe_load_all(file.read_text())
    environment["data"] |= settings
    local["data"] |= sizes
    file.write_text(yaml.safe_dump_all([environment, local]))
    return copy


def find(documents: tuple[Document, ...], kind: str, name: str) -> Document:
    """Return one object."""
    (found,) = (d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name)
    return found


@dataclass(frozen=True)
class PodSpec:
    """A pod as some object describes it, with the labels it will have."""

    owner: str
    labels: dict[str, str]
    spec: Document

    @property
    def containers(self) -> list[Document]:
        """Init containers, then the others."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pod_specs(documents: tuple[Document, ...]) -> Iterator[PodSpec]:
    """Yield every pod that these objects lead to, the operator's work included."""
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] in ("Deployment", "Job"):
            template = document["spec"]["template"]
            yield PodSpec(name, template["metadata"]["labels"], template["spec"])
        elif document["kind"] == "DaskJob":
            yield from _of_dask_job(document, name)


def _of_dask_job(document: Document, name: str) -> Iterator[PodSpec]:
    """Yield what dask_kubernetes.operator.controller makes of a DaskJob, labels as it sets them."""
    labels = {
        **document["metadata"]["labels"],
        "dask.org/cluster-name": document["metadata"]["name"],
    }
    parts = {
        "scheduler": document["spec"]["cluster"]["spec"]["scheduler"],
        "worker": document["spec"]["cluster"]["spec"]["worker"],
        "job-runner": document["spec"]["job"],
    }
    for component, part in parts.items():
        own = part.get("metadata", {}).get("labels", {})
        yield PodSpec(
            f"{name}/{component}", {**labels, **own, "dask.org/component": component}, part["spec"]
        )


def pods(overlay: str) -> list[PodSpec]:
    """Return every pod that an overlay leads to."""
    return list(pod_specs(render(overlay)))


def pod(overlay: str, container: str) -> PodSpec:
    """Return the first pod that runs a container of this name."""
    return next(p for p in pods(overlay) if any(c["name"] == container for c in p.containers))


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Return whether a label selector (matchLabels and matchExpressions) matches."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for rule in selector.get("matchExpressions", []):
        present = labels.get(rule["key"]) in rule["values"]
        if present != {"In": True, "NotIn": False}[rule["operator"]]:
            return False
    return True
