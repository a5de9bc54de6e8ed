"""Renders a settings file as `fadae kubernetes` does and finds things in the result."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fadae.config import SECTIONS, KubernetesConfig, load_settings, settings_text
from fadae.config.files import FileSettings
from fadae.kubernetes import OWN, STAGES_FILE, manifests, read_settings

K8S = Path(__file__).resolve().parents[2] / "k8s"
OVERLAYS = sorted(file.stem for file in (K8S / "overlays").iterdir())
ALL_SECTIONS = (*SECTIONS, KubernetesConfig)

Document = dict[str, Any]


@functools.cache
def render(overlay: str, k8s: Path = K8S) -> tuple[Document, ...]:
    """Return the objects that the user sends."""
    return rendered(k8s / "overlays" / f"{overlay}.toml")


def rendered(file: Path) -> tuple[Document, ...]:
    """Return the objects of a settings file, read back from the YAML that is printed."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump_all(manifests(read_settings(file)), Dumper=dumper)
    return tuple(yaml.load_all(text, Loader=loader))


def stages(documents: tuple[Document, ...]) -> list[Document]:
    """Return the stages that the conductor is given."""
    (found,) = (d["data"][STAGES_FILE] for d in documents if STAGES_FILE in d.get("data", {}))
    listed: list[Document] = json.loads(found)
    return listed


def everything(documents: tuple[Document, ...]) -> tuple[Document, ...]:
    """Return all objects there will be: what is sent, and what the conductor makes of it."""
    made = [d for stage in stages(documents) for d in (*stage["beside"], *stage["jobs"])]
    return (*documents, *made)


def edited(folder: Path, overlay: str, changes: Mapping[str, Mapping[str, Any]]) -> Path:
    """Return a settings file in a folder: an overlay's with values changed, by section and key."""
    settings = load_settings(K8S / "overlays" / f"{overlay}.toml", ALL_SECTIONS)
    sections = {
        name: {**settings.sections.get(name, {}), **changes.get(name, {})}
        for name in {*settings.sections, *changes}
    }
    file = folder / f"{overlay}.toml"
    file.write_text(settings_text(FileSettings("", sections, settings.recipe), ALL_SECTIONS, OWN))
    return file


def find(documents: tuple[Document, ...], kind: str, prefix: str) -> Document:
    """Return the one object of a kind whose name starts so."""
    (found,) = (
        d for d in documents if d["kind"] == kind and d["metadata"]["name"].startswith(prefix)
    )
    return found


@dataclass(frozen=True)
class PodSpec:
    """A pod as some object describes it, with the labels it will have."""

    owner: str
    labels: dict[str, str]
    spec: Document
    count: int = 1

    @property
    def containers(self) -> list[Document]:
        """Init containers, then the others."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pod_specs(documents: tuple[Document, ...]) -> Iterator[PodSpec]:
    """Yield every pod that these objects lead to, the operator's work included."""
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] in ("Deployment", "Job"):
            spec = document["spec"]
            count = spec.get("replicas", spec.get("parallelism", 1))
            template = spec["template"]
            yield PodSpec(name, template["metadata"]["labels"], template["spec"], count)
        elif document["kind"] == "DaskCluster":
            yield from _of_cluster(document, name)


def _of_cluster(document: Document, name: str) -> Iterator[PodSpec]:
    """Yield what dask_kubernetes.operator.controller makes of it, labels as it sets them."""
    labels = {
        **document["metadata"]["labels"],
        "dask.org/cluster-name": document["metadata"]["name"],
    }
    for component in ("scheduler", "worker"):
        part = document["spec"][component]
        own = {**labels, "dask.org/component": component}
        yield PodSpec(f"{name}/{component}", own, part["spec"], part.get("replicas", 1))


def pods(overlay: str) -> list[PodSpec]:
    """Return every pod that an overlay leads to."""
    return list(pod_specs(everything(render(overlay))))


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
