"""The cluster: keeps the manifests' pods as their controllers would, and their names resolvable."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.k8s.harness.environment import Identity, Sources
from tests.k8s.harness.pod import Pod
from tests.k8s.harness.workloads import INDEX, Deployment, Job, Runner, Template, services, workloads

Document = dict[str, Any]

# The first failure of a Job is followed by 10 s of back-off in Kubernetes, then 20 s, ...
JOB_BACK_OFF_SECONDS = 0.5
# A pod that is restarted more often fails for a reason of its own (CrashLoopBackOff).
MOST_RESTARTS = 5


class Cluster:
    """Runs a set of rendered manifests, as long as its `run_until` or `step` is called."""

    def __init__(
        self,
        documents: tuple[Document, ...],
        folder: Path,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Take manifests, a folder for logs and scratch, and the Secrets users would create."""
        self.pods: list[Pod] = []
        self.ended: list[Pod] = []
        self.failed: set[str] = set()
        # Names that resolve only so many seconds after their pod's last container started.
        self.late_names: dict[str, float] = {}
        self._done: dict[str, set[int]] = {}
        self._failures: dict[str, int] = {}
        self._resume_at: dict[str, float] = {}
        self._deleted: set[str] = set()
        self._workloads = list(workloads(documents))
        self._services = list(services(documents))
        maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
        self._sources = Sources(maps, secrets or {})
        self._folder = folder
        self._hosts = folder / "hosts"
        self._hosts.write_text("127.0.0.1 localhost\n")
        # Every pod has an address of its own on the loopback, as it would have on the pod network.
        net = f"127.{10 + os.getpid() % 200}.{time.time_ns() // 10**7 % 250}"
        self._addresses = (f"{net}.{number}" for number in range(2, 255))
        self._serial = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pod in self.pods:
            pod.kill()

    def pod(self, prefix: str) -> Pod:
        """Return the living pod whose name starts so."""
        return next(pod for pod in self.pods if pod.name.startswith(prefix))

    def succeeded(self, name: str) -> bool:
        """Return whether a Job has all its completions, or a runner ended well."""
        wanted = next(
            w for w in self._workloads if w.name == name and not isinstance(w, Deployment)
        )
        completions = wanted.completions if isinstance(wanted, Job) else 1
        return len(self._done.get(name, ())) == completions

    def run_until(self, condition: Callable[[], bool], timeout_seconds: float) -> None:
        """Go on until the condition holds; AssertionError with the logs' ends where it does not."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            looping = {pod.name for pod in self.pods if pod.restarts > MOST_RESTARTS}
            assert not self.failed | looping, f"failed: {self.failed | looping}\n{self.tails()}"
            assert time.monotonic() < deadline, f"after {timeout_seconds} s\n{self.tails()}"
            self.step()
            time.sleep(0.1)

    def step(self) -> None:
        """Move every pod on once, then let the controllers and the name service look."""
        for pod in self.pods:
            pod.step()
        for workload in self._workloads:
            if isinstance(workload, Deployment):
                self._keep(workload)
            else:
                self._complete(workload)
        self._write_hosts()

    def tails(self, characters: int = 1500) -> str:
        """Return the end of every container's stderr, for a failing test to show."""
        files = sorted(self._folder.glob("*/*.err"))
        return "\n".join(
            f"--- {f.parent.name}/{f.stem}\n{f.read_text()[-characters:]}" for f in files
        )

    def _keep(self, deployment: Deployment) -> None:
        if deployment.dask_job in self._deleted:
            return
        living = [pod for pod in self.pods if pod.name.startswith(f"{deployment.name}-pod")]
        for _ in range(deployment.replicas - len(living)):
            name = f"{deployment.name}-pod{next(self._serial)}"
            self._create(name, deployment.template, {})

    def _complete(self, workload: Job | Runner) -> None:
        """Give every index that has not succeeded a pod, within the rules on failures."""
        indexes = range(workload.completions) if isinstance(workload, Job) else range(1)
        for index in indexes:
            name = self._pod_name(workload, index)
            pod = next((pod for pod in self.pods if pod.name == name), None)
            if pod is not None and pod.exit_code is not None:
                self._ended(workload, index, pod)
            elif pod is None and self._is_wanted(workload, index):
                annotations = {INDEX: str(index)} if isinstance(workload, Job) else {}
                self._create(name, workload.template, annotations)

    @staticmethod
    def _pod_name(workload: Job | Runner, index: int) -> str:
        # An Indexed Job's pods have <job>-<index> as their host name, which is what matters here.
        return f"{workload.name}-{index if isinstance(workload, Job) else 'runner'}"

    def _is_wanted(self, workload: Job | Runner, index: int) -> bool:
        name = workload.name
        if name in self.failed or index in self._done.get(name, ()):
            return False
        return time.monotonic() >= self._resume_at.get(name, 0.0)

    def _ended(self, workload: Job | Runner, index: int, pod: Pod) -> None:
        self.pods.remove(pod)
        self.ended.append(pod)
        name = workload.name
        if pod.exit_code == 0:
            self._done.setdefault(name, set()).add(index)
        elif isinstance(workload, Runner):
            self.failed.add(name)
        else:
            self._resume_at[name] = time.monotonic() + JOB_BACK_OFF_SECONDS
            action = workload.action(pod.exit_code or 0)
            self._failures[name] = self._failures.get(name, 0) + (action == "Count")
            if action == "FailJob" or self._failures[name] > workload.backoff_limit:
                self.failed.add(name)
        if isinstance(workload, Runner):
            self._delete_cluster(name)

    def _delete_cluster(self, dask_job: str) -> None:
        """Delete a DaskJob's scheduler and workers, as the operator does when its runner ends."""
        self._deleted.add(dask_job)
        for deployment in self._workloads:
            if isinstance(deployment, Deployment) and deployment.dask_job == dask_job:
                for pod in [p for p in self.pods if p.name.startswith(f"{deployment.name}-pod")]:
                    pod.kill()
                    self.pods.remove(pod)
                    self.ended.append(pod)

    def _create(self, name: str, template: Template, annotations: dict[str, str]) -> None:
        identity = Identity(
            name, next(self._addresses), template.labels, {**template.annotations, **annotations}
        )
        folder = self._folder
        if (folder / name).exists():  # of a replaced pod: keep its logs
            (folder / name).rename(folder / f"{name}.{next(self._serial)}")
        self.pods.append(Pod(identity, template, self._sources, folder, self._hosts))

    def _write_hosts(self) -> None:
        """Write the names that resolve now; one file, seen by all pods, rewritten in place."""
        lines = ["127.0.0.1 localhost"]
        for pod in self.pods:
            names = [pod.name, *self._service_names(pod)]
            now = time.monotonic()
            age = now - (pod.serving_since or now)
            names = [name for name in names if age >= self.late_names.get(name, 0.0)]
            lines += [f"{pod.identity.ip} {name}" for name in names]
        text = "\n".join(lines) + "\n"
        if text != self._hosts.read_text():
            with self._hosts.open("r+") as file:  # at no moment is it empty
                file.write(text)
                file.truncate()

    def _service_names(self, pod: Pod) -> list[str]:
        names = []
        for service in self._services:
            if service.selector.items() <= pod.labels.items():
                names += [f"{pod.name}.{service.name}"] if service.headless else []
                names += [service.name] if service.headless or pod.is_serving else []
        return names
