"""A container's environment and command line, resolved from the manifests as a kubelet does."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]

_REFERENCE = re.compile(r"\$\$|\$\(([^()]+)\)")
_FIELD_OF_MAP = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


@dataclass(frozen=True)
class Identity:
    """What the downward API tells a pod about itself."""

    name: str
    ip: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def field(self, path: str) -> str:
        """Return a field of the pod: metadata.name, status.podIP, a label or an annotation.

        >>> Identity("a", "127.0.0.2", labels={"x/y": "1"}).field("metadata.labels['x/y']")
        '1'
        """
        if found := _FIELD_OF_MAP.fullmatch(path):
            values = {"labels": self.labels, "annotations": self.annotations}[found[1]]
            return values.get(found[2], "")
        return {
            "metadata.name": self.name,
            "metadata.namespace": "fadae",
            "status.podIP": self.ip,
        }[path]


@dataclass(frozen=True)
class Sources:
    """The ConfigMaps and Secrets there are, by name; what all pods are told of the API server."""

    config_maps: Mapping[str, Mapping[str, str]]
    secrets: Mapping[str, Mapping[str, str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    api: Mapping[str, str] = field(default_factory=dict)  # a token, a certificate

    def files(self, volume: Document) -> Mapping[str, str]:
        """Return the files of a volume: a ConfigMap's keys, or those of a service account."""
        if "configMap" in volume:
            return self.config_maps[volume["configMap"]["name"]]
        found: dict[str, str] = {}
        for source in volume.get("projected", {}).get("sources", []):
            if "serviceAccountToken" in source:
                found[source["serviceAccountToken"]["path"]] = self.api["token"]
            else:
                found |= {one["path"]: self.api[one["key"]] for one in source["configMap"]["items"]}
        return found


def resolve(container: Document, pod: Identity, sources: Sources) -> dict[str, str]:
    """Return a container's environment: envFrom first, env over it, $(VAR) of earlier names.

    Raises KeyError for a ConfigMap, Secret, key or field that is not there: such a pod would
    never start.
    """
    environment = dict(sources.environment)
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            environment |= sources.config_maps[source["configMapRef"]["name"]]
        else:
            environment |= sources.secrets[source["secretRef"]["name"]]
    for variable in container.get("env", []):
        environment[variable["name"]] = _value(variable, environment, container, pod, sources)
    return environment


def _value(
    variable: Document,
    environment: Mapping[str, str],
    container: Document,
    pod: Identity,
    sources: Sources,
) -> str:
    reference = variable.get("valueFrom")
    if reference is None:
        return expand(variable.get("value", ""), environment)
    if "fieldRef" in reference:
        return pod.field(reference["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in reference:
        amount, resource = reference["resourceFieldRef"]["resource"].split(".")
        return str(math.ceil(quantity(container["resources"][amount][resource])))
    if "configMapKeyRef" in reference:
        key = reference["configMapKeyRef"]
        return sources.config_maps[key["name"]][key["key"]]
    key = reference["secretKeyRef"]
    return sources.secrets[key["name"]][key["key"]]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return a text with $(NAME) replaced; unknown names stay, $$ is a dollar.

    >>> expand("$(A)-$(B)-$$(A)", {"A": "1"})
    '1-$(B)-$(A)'
    """

    def replaced(found: re.Match[str]) -> str:
        name = found[1]
        return "$" if name is None else environment.get(name, found[0])

    return _REFERENCE.sub(replaced, text)


def command_line(container: Document, environment: Mapping[str, str]) -> list[str]:
    """Return a container's command and arguments, expanded."""
    words = [*container["command"], *container.get("args", [])]
    return [expand(str(word), environment) for word in words]


def quantity(text: str | int) -> float:
    """Return a resource quantity as a number: cores, or bytes.

    >>> quantity("500m"), quantity("2"), quantity("4Gi")
    (0.5, 2.0, 4294967296.0)
    """
    factors = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    found = re.fullmatch(r"([\d.]+)(m|Ki|Mi|Gi|Ti)?", str(text))
    assert found, text
    return float(found[1]) * factors.get(found[2], 1)
