"""Every rendered object against the schema of its kind, unknown fields refused."""

from __future__ import annotations

import functools
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from fadae.records import canonical_json
from tests.k8s.rendering import OVERLAYS, Document, everything, render

KUBERNETES_VERSIONS = ["1.31", kubernetes_validate.latest_version()]
OPERATOR_GROUP = "kubernetes.dask.org/v1"


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_core_kinds_are_valid(version: str) -> None:
    documents = [document for overlay in OVERLAYS for document in everything(render(overlay))]
    # Overlays share most objects, and checking one takes 0.1 s.
    distinct = {canonical_json(document): document for document in documents}
    for document in distinct.values():
        if document["apiVersion"] != OPERATOR_GROUP:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_operator_kinds_lose_no_field_to_pruning(overlay: str) -> None:
    clusters = [d for d in everything(render(overlay)) if d["apiVersion"] == OPERATOR_GROUP]
    assert bool(clusters) == (overlay not in ("no-operator", "queue", "local"))
    for cluster in clusters:
        jsonschema.validate(cluster, operator_schema(cluster["kind"].lower()))


def test_the_operator_schema_refuses_what_would_be_pruned() -> None:
    found = everything(render("s3"))
    cluster: Document = next(d for d in found if d["kind"] == "DaskCluster")
    spoiled = yaml.safe_load(yaml.safe_dump(cluster))
    # Kubernetes 1.25; the operator's PodSpec is 1.21's.
    spoiled["spec"]["worker"]["spec"]["hostUsers"] = False
    with pytest.raises(jsonschema.ValidationError, match="hostUsers"):
        jsonschema.validate(spoiled, operator_schema("daskcluster"))


@functools.cache
def operator_schema(kind: str) -> dict[str, Any]:
    """Return the openAPIV3Schema of one of the operator's kinds, closed to unknown fields.

    It is read from the wheel that `make` downloads beside the environment, not installed.
    """
    wheels = sorted(Path(sys.prefix, "schemas").glob("dask_kubernetes-*.whl"))
    if not wheels:
        pytest.skip(
            "no operator schemas: pip download --no-deps -d .venv/schemas dask-kubernetes==2026.3.0"
        )
    path = f"dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator/crds/{kind}.yaml"
    with zipfile.ZipFile(wheels[-1]) as wheel:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 0.5 MB of YAML
        definition = yaml.load(wheel.read(path), Loader=loader)
    (version,) = definition["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    # The API server knows these two by itself.
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    closed: dict[str, Any] = _closed(schema)
    return closed


def _closed(schema: Any) -> Any:
    """Return a schema in which an object with named properties has no others."""
    if isinstance(schema, list):
        return [_closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
    named = isinstance(schema.get("properties"), dict)
    open_by_wish = schema.get("x-kubernetes-preserve-unknown-fields")
    if named and "additionalProperties" not in schema and not open_by_wish:
        closed["additionalProperties"] = False
    return closed
