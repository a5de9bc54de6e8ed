"""The stages' objects: what the conductor makes when a stage's turn comes, and takes away after.

Stages 1 and 2 share a Dask cluster, stage 4 has one of its own; training is an Indexed Job, one
rank a pod, found as fadae-train-<generation>-<rank>.fadae-train-<generation>. Before all of them
one small Job asks whether the rest can run at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fadae.config import KubernetesConfig
from fadae.errors import IDLE_EXIT
from fadae.kubernetes.pods import (
    COMPONENT,
    COUNTED,
    GENERATION,
    METRICS,
    PART_OF,
    WORKSPACE,
    Container,
    Document,
    field,
    job,
    metadata,
    value,
)

DASK = "dask.org/component"
CLUSTER = "dask.org/cluster-name"
RENDEZVOUS = 29500
_SHARED = "/dev/shm"  # noqa: S108 - of the container
_QUEUE = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True)
class Generation:
    """What a generation's objects have in common."""

    name: str  # a hash of all settings: the end of every name
    config: KubernetesConfig
    ranks: int
    environment: str  # the ConfigMap of the settings
    workspace: str  # a hash of its URL: one generation at a time works there
    metrics_port: int | None = None  # of drivers and ranks, for Prometheus
    asks_archive: bool = True

    def named(self, what: str) -> str:
        """Return an object's name.

        >>> Generation("0a1b", KubernetesConfig(image="i"), 1, "c", "w").named("train")
        'fadae-train-0a1b'
        """
        return f"fadae-{what}-{self.name}"

    def labels(self, component: str) -> dict[str, str]:
        """Return the labels of a stage's objects."""
        own = {COMPONENT: component, GENERATION: self.name, WORKSPACE: self.workspace}
        return {**PART_OF, **own}

    def stages(self) -> list[Document]:
        """Return the stages in their order: what each needs beside it, and its Jobs."""
        return [
            {"beside": [], "jobs": [self._check()]},
            {
                "beside": self._cluster("features"),
                "jobs": [self._driver("ingest", "features"), self._driver("extract", "features")],
            },
            {"beside": [self._meeting_point()], "jobs": [self._training()]},
            {
                "beside": self._cluster("reconstruct"),
                "jobs": [self._driver("reconstruct", "reconstruct")],
            },
        ]

    def _check(self) -> Document:
        """Return the Job that runs before anything is held: what ends it would end every stage."""
        command = ["fadae", "check", "--json", *(["--archive"] if self.asks_archive else [])]
        check = self._small("check", command, [])
        return self._queued(job(self.named("check"), self.labels("check"), check, self.config))

    def _driver(self, stage: str, cluster: str) -> Document:
        env = [
            value("DASK_SCHEDULER_ADDRESS", _address(self.named(cluster))),
            value(IDLE_EXIT, str(COUNTED)),
        ]
        driver = self._small(stage, ["fadae", stage, "--json"], env, ports=self._metrics())
        labels = {**self.labels(stage), DASK: "job-runner"}
        return self._queued(job(self.named(stage), labels, driver, self.config))

    def _small(
        self,
        name: str,
        command: list[str],
        env: list[Document],
        ports: Mapping[str, int] | None = None,
    ) -> Container:
        config = self.config
        return Container(
            name=name,
            image=config.image,
            command=command,
            cpu=config.driver_cpu,
            memory=config.driver_memory,
            most_cpu=_at_least_one(config.driver_cpu),
            environment=self.environment,
            env=env,
            ports=ports,
            stays=True,
            grace_seconds=60,
        )

    def _metrics(self) -> dict[str, int]:
        return {} if self.metrics_port is None else {METRICS: self.metrics_port}

    def _training(self) -> Document:
        config, name = self.config, self.named("train")
        volumes: list[tuple[str, str, Document]] = []
        if config.gpu:  # NCCL uses it between ranks of one node
            memory = {"medium": "Memory", "sizeLimit": config.shared_memory}
            volumes = [("shared-memory", _SHARED, {"emptyDir": memory})]
        index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
        rank = Container(
            name="train",
            image=config.train_image or config.image,
            command=["fadae", "train", "--launcher", "torchrun", "--json"]
            + (["--device", "cuda"] if config.gpu else []),
            cpu=config.train_cpu,
            memory=config.train_memory,
            environment=self.environment,
            env=[
                field("RANK", index),
                value("WORLD_SIZE", str(self.ranks)),
                value("LOCAL_RANK", "0"),
                value("LOCAL_WORLD_SIZE", "1"),
                value("MASTER_ADDR", f"{name}-0.{name}"),
                value("MASTER_PORT", str(RENDEZVOUS)),
            ],
            ports={"rendezvous": RENDEZVOUS, **self._metrics()},
            limits={"nvidia.com/gpu": "1"} if config.gpu else None,
            volumes=volumes,
            # SIGTERM, checkpoint, exit 75 have to fit; training's own shut-down limit is shorter.
            grace_seconds=120,
        )
        toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        pod: Document = {"subdomain": name}
        if config.gpu:
            pod["tolerations"] = [toleration]
        labels = self.labels("train")
        return self._queued(job(name, labels, rank, config, count=self.ranks, pod=pod))

    def _meeting_point(self) -> Document:
        labels = self.labels("train")
        port = {"name": "rendezvous", "port": RENDEZVOUS, "targetPort": "rendezvous"}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(self.named("train"), self.config, labels),
            "spec": {
                "clusterIP": "None",
                "publishNotReadyAddresses": True,  # ranks meet before anything is ready
                "selector": labels,
                "ports": [port],
            },
        }

    def _cluster(self, what: str) -> list[Document]:
        """Return a Dask cluster: the operator's, or a Service and two Deployments."""
        name, labels = self.named(what), {**self.labels(what), CLUSTER: self.named(what)}
        selector = {CLUSTER: name, DASK: "scheduler"}
        ports = [
            {"name": port, "protocol": "TCP", "port": number, "targetPort": port}
            for port, number in _SCHEDULER_PORTS.items()
        ]
        scheduler = self._scheduler()
        if self.config.operator:
            worker = self._worker(name, [value("DASK_SCHEDULER_ADDRESS", _address(name))], "DASK")
            service = {"type": "ClusterIP", "selector": selector, "ports": ports}
            spec = {
                "scheduler": {
                    "metadata": {"annotations": scheduler.annotations},
                    "spec": scheduler.pod(self.config),
                    "service": service,
                },
                "worker": {
                    "replicas": self.config.dask_workers,
                    "spec": worker.pod(self.config),
                },
            }
            return [
                {
                    "apiVersion": "kubernetes.dask.org/v1",
                    "kind": "DaskCluster",
                    "metadata": metadata(name, self.config, labels),
                    "spec": spec,
                }
            ]
        env = [field("POD_NAME", "metadata.name"), value("DASK_SCHEDULER_ADDRESS", _address(name))]
        worker = self._worker(name, env, "POD")
        service_metadata = metadata(f"{name}-scheduler", self.config, labels)
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": service_metadata,
                "spec": {"selector": selector, "ports": ports},
            },
            self._deployment(f"{name}-scheduler", {**labels, DASK: "scheduler"}, scheduler, 1),
            self._queued(
                self._deployment(
                    f"{name}-worker", {**labels, DASK: "worker"}, worker, self.config.dask_workers
                )
            ),
        ]

    def _scheduler(self) -> Container:
        """Return the scheduler: it touches neither bucket nor archive and gets no setting."""
        config = self.config
        health = {"httpGet": {"path": "/health", "port": "http-dashboard"}}
        return Container(
            name="scheduler",
            image=config.image,
            command=["dask", "scheduler", "--host=$(POD_IP)", "--port=8786"],
            cpu=config.scheduler_cpu,
            memory=config.scheduler_memory,
            most_cpu=_at_least_one(config.scheduler_cpu),
            account="fadae-scheduler",
            env=[
                field("POD_IP", "status.podIP"),
                # Dask gives a task up after it was on three lost workers; spot nodes get lost.
                value("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "20"),
            ],
            ports=_SCHEDULER_PORTS,
            more={
                "readinessProbe": {**health, "periodSeconds": 10},
                "livenessProbe": {
                    **health,
                    "initialDelaySeconds": 30,
                    "periodSeconds": 20,
                    "failureThreshold": 6,
                },
            },
            stays=True,
        )

    def _worker(self, cluster: str, env: Sequence[Document], named: str) -> Container:
        """Return a worker: one process a core, one thread each."""
        variable = "$(DASK_WORKER_NAME)" if named == "DASK" else "$(POD_NAME)"
        config = self.config
        return Container(
            name="worker",
            image=config.image,
            command=[
                "dask",
                "worker",
                f"--name={variable}",
                "--host=$(POD_IP)",
                "--worker-port=9000:9099",
                "--nanny-port=9100:9199",
                f"--nworkers={config.worker_cpu}",
                "--nthreads=1",
                "--no-dashboard",
                "--local-directory=/tmp",
                "--death-timeout=300",
            ],
            cpu=str(config.worker_cpu),
            memory=config.worker_memory,
            environment=self.environment,
            env=[field("POD_IP", "status.podIP"), *env],
        )

    def _deployment(
        self, name: str, labels: dict[str, str], container: Container, replicas: int
    ) -> Document:
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata(name, self.config, labels),
            "spec": {
                "replicas": replicas,
                "strategy": {"type": "Recreate"},  # two schedulers would split the cluster
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": container.annotations},
                    "spec": container.pod(self.config),
                },
            },
        }

    def _queued(self, document: Document) -> Document:
        """Return a document that Kueue holds back until its queue has room, where there is one."""
        about = document["metadata"]
        if self.config.queue and isinstance(about, dict):
            about["labels"] = {**about["labels"], _QUEUE: self.config.queue}
        return document


_SCHEDULER_PORTS = {"tcp-comm": 8786, "http-dashboard": 8787}


def _address(cluster: str) -> str:
    return f"tcp://{cluster}-scheduler:8786"


def _at_least_one(cpu: str) -> str:
    """Return a limit that lets a small request use a whole core.

    >>> _at_least_one("500m"), _at_least_one("2")
    ('1', '2')
    """
    return "1" if cpu.endswith("m") and int(cpu[:-1]) < 1000 else cpu
