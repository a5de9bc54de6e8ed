"""The commands for Kubernetes: `kubernetes` prints manifests, `conduct` runs in their pod."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from fadae.cli.output import Summary
from fadae.cli.progress import Every

SettingsFile = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="The job's settings, as k8s/overlays/local.toml."),
]
StagesFile = Annotated[Path, typer.Argument(metavar="FILE", help="The stages' objects, JSON.")]
ApiFolder = Annotated[Path, typer.Option(help="Folder with the API server's token and ca.crt.")]


def kubernetes(file: SettingsFile = None) -> Summary | None:
    """Print a job's manifests, for `kubectl apply -f -`; without FILE, a file of all settings."""
    import yaml  # Dask's own dependency too

    from fadae.config import SECTIONS, FileSettings, KubernetesConfig, settings_text
    from fadae.kubernetes import OWN, manifests, read_settings

    if file is None:
        empty = FileSettings("", {}, None)
        print(settings_text(empty, (*SECTIONS, KubernetesConfig), OWN), end="")
        return None
    documents = manifests(read_settings(file))
    print(yaml.safe_dump_all(documents, sort_keys=False), end="")
    return None


def conduct(file: StagesFile, api_folder: ApiFolder, every: Every = 5.0) -> Summary:
    """Run the stages of a job on Kubernetes one after another, from the pod of its conductor."""
    from fadae.errors import UsageError
    from fadae.kubernetes import Api
    from fadae.kubernetes import conduct as run_stages

    names = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "FADAE_NAMESPACE")
    if missing := [name for name in (*names, "FADAE_CONDUCTOR") if name not in os.environ]:
        raise UsageError(f"no {missing[0]}: this runs in a pod that `fadae kubernetes` describes")
    host, port, namespace = (os.environ[name] for name in names)
    try:
        stages = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {file}: {error}") from error
    api = Api(host, int(port), namespace, api_folder)
    done = run_stages(api, stages, os.environ["FADAE_CONDUCTOR"], every_seconds=every)
    return {"jobs": done}
