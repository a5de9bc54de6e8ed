"""What `kubectl apply` is given for a job: everything from one settings file.

A generation is all settings together, and its name a hash of what would be made of them: the same
settings name the same Jobs, which applying again leaves alone; others name new ones, so that no
Job is ever asked to change. Only the conductor's Job and its ConfigMaps carry the name here; it
makes the rest, stage by stage.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from fadae.config import (
    SECTIONS,
    FileSettings,
    IngestConfig,
    Job,
    KubernetesConfig,
    TrainConfig,
    build,
    check_value,
    declared,
    load_recipe,
    load_settings,
)
from fadae.errors import UsageError
from fadae.kubernetes.conduct import STAGES_FILE
from fadae.kubernetes.network import accounts, policies
from fadae.kubernetes.pods import (
    GENERATION,
    PART_OF,
    WORKSPACE,
    Container,
    Document,
    field,
    job,
    metadata,
    value,
)
from fadae.kubernetes.stages import Generation
from fadae.records import canonical_json, sha256_hex

ALL_SECTIONS = (*SECTIONS, KubernetesConfig)
# On volumes of their own inside of the scratch: the only place that is there in every image.
_FOLDER = "/tmp/fadae-stages"  # noqa: S108 - of the container
_API = "/tmp/fadae-api"  # noqa: S108
# Decided by the manifests, or of no meaning in a pod.
OWN = {
    "job.scheduler",
    "job.scheduler_file",
    "job.workers",
    "job.generation",
    "train.launcher",
    "train.restarts",
}


@dataclass(frozen=True)
class Wanted:
    """A settings file, read and checked."""

    config: KubernetesConfig
    ranks: int
    environment: dict[str, str]
    metrics_port: int | None
    asks_archive: bool


def read_settings(path: Path) -> Wanted:
    """Return what a settings file asks for.

    Raises UsageError for a key that no option has, a value that its option does not take, and a
    workspace that pods cannot share.
    """
    settings = load_settings(path, ALL_SECTIONS)
    layers = [settings]
    if settings.recipe:
        layers.append(load_recipe(settings.recipe, SECTIONS))
    config = build(KubernetesConfig, layers)
    train = build(TrainConfig, layers)  # checked as a whole
    ranks = train.ranks or 1
    train.check_ranks(ranks)
    job_wide, asked = build(Job, layers), build(IngestConfig, layers)
    workspace = job_wide.workspace
    if "://" not in workspace and not (config.volume and workspace.startswith("/workspace")):
        raise UsageError(
            f"{path}: workspace {workspace!r}: a bucket, or /workspace and a volume that holds it"
        )
    if job_wide.metrics_port == 0:
        raise UsageError(f"{path}: metrics-port 0: Prometheus has to know the port of a pod")
    from_archive = bool(asked.items or asked.collection or asked.search)
    return Wanted(
        config,
        ranks,
        _environment(layers, config, path),
        job_wide.metrics_port,
        asks_archive=from_archive or not (asked.folder or asked.source),
    )


def _environment(
    layers: list[FileSettings], config: KubernetesConfig, path: Path
) -> dict[str, str]:
    """Return the variables of the options that are set, those of a recipe among them."""
    found = {
        "FADAE_LOG_FORMAT": "json",
        "FADAE_ON_GROWTH": "continue",
        "FADAE_METRICS_HOST": "0.0.0.0",  # noqa: S104 - of a pod; a policy says who reaches it
        # Once in a generation: applied again for what grew, it is to find that.
        "FADAE_REFRESH": "true",
    }
    for settings in reversed(layers):
        for section in SECTIONS:
            for one in declared(section):
                value = settings.get(one)
                if value is None:
                    continue
                if f"{one.section}.{one.name}" in OWN:
                    raise UsageError(f"{path}: {one.key} is the manifests' business; leave it out")
                check_value(one, value)
                found[one.env] = one.text(value)
    found |= dict(line.split("=", 1) for line in config.variables)
    return found


def manifests(wanted: Wanted) -> list[Document]:
    """Return the objects of a job, in the order in which to send them."""
    config = wanted.config
    place = sha256_hex(wanted.environment["FADAE_WORKSPACE"])[:10]
    shown = Generation(
        "x", config, wanted.ranks, "x", place, wanted.metrics_port, wanted.asks_archive
    )
    name = sha256_hex(
        canonical_json([wanted.environment, vars(config), shown.stages(), _conductor(shown)])
    )[:10]
    own = dataclasses.replace(shown, name=name, environment=f"fadae-settings-{name}")
    environment = {**wanted.environment, "FADAE_GENERATION": name}
    labels = {**PART_OF, GENERATION: name, WORKSPACE: place}
    return [
        *accounts(config),
        *policies(config, wanted.metrics_port),
        _config_map(own.environment, environment, config, labels),
        _config_map(own.named("stages"), {STAGES_FILE: json.dumps(own.stages())}, config, labels),
        _conductor(own),
    ]


def _config_map(
    name: str, data: dict[str, str], config: KubernetesConfig, labels: dict[str, str]
) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, config, labels),
        "immutable": True,
        "data": data,
    }


def _conductor(generation: Generation) -> Document:
    """Return the Job that makes the stages one after another: small, and all that waits.

    Its token is the only one in any pod, and it reads neither archive nor workspace.
    """
    config = generation.config
    projected = {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [_CA]}},
        ]
    }
    conductor = Container(
        name="conductor",
        image=config.image,
        command=["fadae", "conduct", f"{_FOLDER}/{STAGES_FILE}", "--api-folder", _API],
        cpu="50m",
        memory="256Mi",
        most_cpu="1",
        account="fadae-conductor",
        env=[
            field("FADAE_NAMESPACE", "metadata.namespace"),
            value("FADAE_CONDUCTOR", generation.named("conductor")),
            value("FADAE_LOG_FORMAT", "json"),
        ],
        volumes=[
            ("stages", _FOLDER, {"configMap": {"name": generation.named("stages")}}),
            ("api", _API, {"projected": projected}),
        ],
        stays=True,
    )
    labels = generation.labels("conductor")
    return job(generation.named("conductor"), labels, conductor, config, own_end=True)


_CA = {"key": "ca.crt", "path": "ca.crt"}
