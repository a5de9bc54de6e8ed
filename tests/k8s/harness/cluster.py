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
from tests.k8s.harness.objects import ApiServer, Key, Objects
from tests.k8s.harness.pod import Pod
from tests.k8s.harness.workloads import INDEX, Deployment, Job, Template, service, workloads

Document = dict[str, Any]

# The first failure of an index is followed by 10 s of back-off in Kubernetes, then 20 s, ...
JOB_BACK_OFF_SECONDS = 0.5
# A pod that is restarted more often fails for a reason of its own (CrashLoopBackOff).
MOST_RESTARTS = 5


class Cluster:
    """Runs what is applied, as long as its `run_until` or `step` is called."""

    def __init__(
        self,
        folder: Path,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Take a folder for logs and scratch, and the Secrets users would create."""
        self.pods: list[Pod] = []
        self.ended: list[Pod] = []
        # Names that resolve only so many seconds after their pod's last container started.
        self.late_names: dict[str, float] = {}
        self.objects = Objects()
        self.api = ApiServer(self.objects, folder)
        self._done: dict[str, set[int]] = {}
        self._failures: dict[tuple[str, int], int] = {}
        self._resume_at: dict[tuple[str, int], float] = {}
        self._owners: dict[Pod, Key] = {}
        self._secrets = secrets or {}
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
        self.api.close()
        for pod in self.pods:
            pod.kill()

    def apply(self, *documents: Document) -> list[str]:
        """Do as `kubectl apply`; return of each object whether it was created or unchanged."""
        return [self.objects.apply(document) for document in documents]

    def pod(self, prefix: str) -> Pod:
        """Return the living pod whose name starts so."""
        return next(pod for pod in self.pods if pod.name.startswith(prefix))

    def condition(self, name: str) -> str:
        """Return how a Job ended: Complete, Failed, or nothing while it has not."""
        found = self.objects.find(("Job", name)) or {}
        return next((c["type"] for c in found.get("status", {}).get("conditions", [])), "")

    @property
    def failed(self) -> set[str]:
        """The names of the Jobs that failed for good."""
        jobs = [name for (kind, name), _ in self.objects.items() if kind == "Job"]
        return {name for name in jobs if self.condition(name) == "Failed"}

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
        for key, document in self.objects.items():
            if "deletionTimestamp" in document["metadata"]:
                self._remove(key)
                continue
            for workload in workloads(document):
                if isinstance(workload, Deployment):
                    self._keep(key, workload)
                else:
                    self._complete(key, workload)
        self._write_hosts()

    def tails(self, characters: int = 1500) -> str:
        """Return the end of every container's stderr, for a failing test to show."""
        files = sorted(self._folder.glob("*/*.err"))
        return "\n".join(
            f"--- {f.parent.name}/{f.stem}\n{f.read_text()[-characters:]}" for f in files
        )

    def _remove(self, key: Key) -> None:
        """End an object's pods, then the object."""
        for pod in [pod for pod in self.pods if self._owners[pod] == key]:
            pod.terminate()
            self.pods.remove(pod)
            self.ended.append(pod)
        self.objects.remove(key)

    def _keep(self, key: Key, deployment: Deployment) -> None:
        living = [pod for pod in self.pods if pod.name.startswith(f"{deployment.name}-pod")]
        for pod in [pod for pod in living if pod.exit_code is not None]:  # evicted
            living.remove(pod)
            self.pods.remove(pod)
            self.ended.append(pod)
        for _ in range(deployment.replicas - len(living)):
            name = f"{deployment.name}-pod{next(self._serial)}"
            self._create(key, name, deployment.template, {})

    def _complete(self, key: Key, job: Job) -> None:
        """Give every index that has not succeeded a pod, within the rules on failures."""
        for index in range(job.completions):
            # An Indexed Job's pods have <job>-<index> as their host name: that matters here.
            name = f"{job.name}-{index}"
            pod = next((pod for pod in self.pods if pod.name == name), None)
            if pod is not None and pod.exit_code is not None:
                self._ended(job, index, pod)
            elif pod is None and self._is_wanted(job, index):
                self._create(key, name, job.template, {INDEX: str(index)})

    def _is_wanted(self, job: Job, index: int) -> bool:
        if self.condition(job.name) or index in self._done.get(job.name, ()):
            return False
        return time.monotonic() >= self._resume_at.get((job.name, index), 0.0)

    def _ended(self, job: Job, index: int, pod: Pod) -> None:
        self.pods.remove(pod)
        self.ended.append(pod)
        if pod.exit_code == 0:
            done = self._done.setdefault(job.name, set())
            done.add(index)
            if len(done) == job.completions:
                self._end(job, "Complete")
            return
        self._resume_at[job.name, index] = time.monotonic() + JOB_BACK_OFF_SECONDS
        action = job.action(pod.exit_code or 0, pod.disrupted)
        failures = self._failures.get((job.name, index), 0) + (action == "Count")
        self._failures[job.name, index] = failures
        if action == "FailJob" or failures > job.failures_an_index:
            self._end(job, "Failed")

    def _end(self, job: Job, condition: str) -> None:
        found = self.objects.find(("Job", job.name))
        assert found is not None
        with self.objects.lock:
            found["status"] = {"conditions": [{"type": condition, "status": "True"}]}
        for pod in [p for p in self.pods if self._owners[p] == ("Job", job.name)]:
            pod.terminate()
            self.pods.remove(pod)
            self.ended.append(pod)

    def _create(
        self, key: Key, name: str, template: Template, annotations: dict[str, str]
    ) -> None:
        identity = Identity(
            name, next(self._addresses), template.labels, {**template.annotations, **annotations}
        )
        folder = self._folder
        if (folder / name).exists():  # of a replaced pod: keep its logs
            (folder / name).rename(folder / f"{name}.{next(self._serial)}")
        sources = Sources(
            self.objects.data("ConfigMap"),
            self._secrets,
            self.api.environment,
            {"token": self.api.token, "ca.crt": self.api.certificate.read_text()},
        )
        pod = Pod(identity, template, sources, folder, self._hosts)
        self._owners[pod] = key
        self.pods.append(pod)

    def _write_hosts(self) -> None:
        """Write the names that resolve now; one file, seen by all pods, rewritten in place."""
        found = [service(document) for _, document in self.objects.items()]
        services = [one for one in found if one is not None]
        lines = ["127.0.0.1 localhost"]
        for pod in self.pods:
            names = [pod.name]
            for one in services:
                if one.selector.items() <= pod.labels.items():
                    names += [f"{pod.name}.{one.name}"] if one.headless else []
                    names += [one.name] if one.headless or pod.is_serving else []
            now = time.monotonic()
            age = now - (pod.serving_since or now)
            names = [name for name in names if age >= self.late_names.get(name, 0.0)]
            lines += [f"{pod.identity.ip} {name}" for name in names]
        text = "\n".join(lines) + "\n"
        if text != self._hosts.read_text():
            with self._hosts.open("r+") as file:  # at no moment is it empty
                file.write(text)
                file.truncate()
