"""What a job on Kubernetes is asked for beside its stages: the image, rights, sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from fadae.config.options import check, option
from fadae.errors import UsageError

IDENTITIES = ("none", "aws-irsa", "aws-pod-identity", "gke")


@dataclass(frozen=True, kw_only=True)
class KubernetesConfig:
    """The table [kubernetes] of a settings file; raises UsageError on a value that cannot be."""

    section: ClassVar[str] = "kubernetes"
    namespace: str = option("fadae", help="Namespace of all objects; it must be there.")
    generation: str = option(
        "",
        help="A word of your own. With another one, applying runs all stages again: for what grew "
        "behind the same settings, as a collection does.",
    )
    image: str = option("", help="Image of all pods, by digest; k8s/README.md says how to build.")
    train_image: str = option("", help="Image of the training pods, with CUDA; default image.")
    operator: bool = option(
        True, help="Let the Dask operator make the Dask clusters; else plain Deployments."
    )
    identity: str = option(
        "none",
        choices=IDENTITIES,
        help="Where pods get the bucket's credentials: from secret, or from the cloud.",
    )
    role: str = option(
        "", help="The role: an ARN for aws-irsa, a service account's address for gke."
    )
    secret: str = option("", help="A Secret whose keys become variables: AWS_ACCESS_KEY_ID, ...")
    volume: str = option("", help="A PersistentVolumeClaim to mount at /workspace.")
    queue: str = option(
        "", help="A LocalQueue of Kueue: each stage waits there for its share; operator = false."
    )
    variables: tuple[str, ...] = option(
        (), lines=True, unit="NAME=VALUE", help="Variables of drivers, workers and ranks."
    )
    s3_port: int = option(
        443, minimum=1, maximum=65535, help="Port of the S3 server, for the network policy."
    )
    dask_workers: int = option(2, minimum=1, help="Worker pods of a stage's Dask cluster.")
    worker_cpu: int = option(2, minimum=1, unit="cores", help="A worker process on each.")
    worker_memory: str = option("4Gi", help="Of a worker pod.")
    scheduler_cpu: str = option("500m", help="Of the Dask scheduler.")
    scheduler_memory: str = option("4Gi", help="Of the Dask scheduler.")
    driver_cpu: str = option("500m", help="Of a stage's driver.")
    driver_memory: str = option("2Gi", help="Of a stage's driver.")
    train_cpu: str = option("2", help="Of a training pod, which is one rank of [train] ranks.")
    train_memory: str = option("8Gi", help="Of a training pod; cache-gb auto goes by it.")
    gpu: bool = option(False, help="Give every rank a GPU.")
    shared_memory: str = option("1Gi", help="Of /dev/shm for ranks on GPUs, within train-memory.")
    scratch: str = option("8Gi", help="Disk of a pod, at /tmp.")
    retries: int = option(6, minimum=0, help="Failures of a driver or rank that count.")
    keep_hours: int = option(24, minimum=1, unit="hours", help="How long ended Jobs stay.")

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        check(self)
        if not _NAME.fullmatch(self.namespace):
            raise UsageError(f"namespace {self.namespace!r}: lower case letters, digits and '-'")
        for name, value in vars(self).items():
            sized = name.endswith(("_memory", "scratch"))
            if sized and not re.fullmatch(r"[1-9]\d*(Mi|Gi|Ti)", value):
                raise UsageError(f"{name.replace('_', '-')} {value!r}: as 512Mi or 8Gi")
            cpu = name.endswith("_cpu") and isinstance(value, str)
            if cpu and not re.fullmatch(r"[1-9]\d*m?", value):
                raise UsageError(f"{name.replace('_', '-')} {value!r}: as 500m or 2")
        if (self.identity in ("aws-irsa", "gke")) != bool(self.role):
            raise UsageError(f"identity {self.identity}, role {self.role!r}: the two go together")
        if self.queue and self.operator:
            raise UsageError("queue needs operator = false: the operator's pods pass Kueue by")
        if not self.image:
            raise UsageError("image: name one, as registry.example/you/fadae@sha256:...")
        for line in self.variables:
            name = line.partition("=")[0]
            if "=" not in line or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise UsageError(f"variables {line!r}: NAME=VALUE")
            if re.search("SECRET|PASSWORD|TOKEN|ACCESS_KEY", name.upper()):
                raise UsageError(f"variables {name}: a key belongs into a Secret, option secret")


_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
