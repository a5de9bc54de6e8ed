"""A pod at run time: its containers one after another, restarted as its policy says."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.k8s.harness.environment import Identity, Sources, command_line, resolve
from tests.k8s.harness.process import ContainerProcess, Sandbox
from tests.k8s.harness.workloads import Template

# A kubelet waits 10 s, 20 s, ... 300 s; tests have less time.
BACK_OFF_SECONDS = (0.5, 1.0, 2.0, 4.0)


class Pod:
    """One pod; `step` moves it on, and `exit_code` is there once it has ended."""

    def __init__(
        self,
        identity: Identity,
        template: Template,
        sources: Sources,
        folder: Path,
        hosts: Path,
    ) -> None:
        """Make the pod's folders; nothing runs until the first `step`."""
        self.identity = identity
        self.labels = dict(identity.labels)
        self.serving_since: float | None = None  # when its last container was first started
        self.exit_code: int | None = None
        self.restarts = 0
        self.disrupted = False
        self._spec = template.spec
        self._sources = sources
        self._containers = [*self._spec.get("initContainers", []), *self._spec["containers"]]
        self._current = 0
        self._resume_at = 0.0
        self._terminating = False
        self._folder = folder / identity.name
        scratch = self._folder / "scratch"
        scratch.mkdir(parents=True)
        self._write_volumes(scratch)
        user = self._spec.get("securityContext", {}).get("runAsUser", 10001)
        self._sandbox = Sandbox(identity.name, user, hosts, scratch)
        self.process: ContainerProcess | None = None

    @property
    def name(self) -> str:
        """The pod's name."""
        return self.identity.name

    @property
    def container(self) -> str:
        """The name of the container whose turn it is."""
        return str(self._containers[self._current]["name"])

    @property
    def is_serving(self) -> bool:
        """Whether its last container, the one after the init containers, runs."""
        return self.process is not None and self._current == len(self._containers) - 1

    def log(self, container: str, stream: str) -> str:
        """Return what a container wrote to "out" or "err", restarts included."""
        file = self._folder / f"{container}.{stream}"
        return file.read_text() if file.exists() else ""

    def step(self) -> None:
        """Start what is due, and look at what has ended."""
        if self.exit_code is not None:
            return
        if self.process is None:
            if time.monotonic() >= self._resume_at:
                self._start()
            return
        code = self.process.exit_code()
        if code is None:
            return
        self.process = None
        self._ended(code)

    def _write_volumes(self, scratch: Path) -> None:
        """Write the volumes that are files: all are mounted below /tmp, which is the scratch."""
        volumes = {volume["name"]: volume for volume in self._spec.get("volumes", [])}
        for container in self._containers:
            for mount in container.get("volumeMounts", []):
                files = self._sources.files(volumes[mount["name"]])
                if files:
                    folder = scratch / Path(mount["mountPath"]).relative_to("/tmp")
                    folder.mkdir(exist_ok=True)
                    for name, text in files.items():
                        (folder / name).write_text(text)

    def evict(self) -> None:
        """End it as a drained or reclaimed node does: it has the condition DisruptionTarget."""
        self.disrupted = True
        self.terminate()

    def terminate(self) -> None:
        """SIGTERM its container and wait its grace period; the pod ends with that exit code."""
        self._terminating = True
        if self.process is None:
            self.exit_code = 143
            return
        self.process.signal(signal.SIGTERM)
        grace = self._spec.get("terminationGracePeriodSeconds", 30)
        deadline = time.monotonic() + grace
        while self.process.exit_code() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.process.exit_code() is None:
            self.process.kill()
        self.step()

    def kill(self) -> None:
        """Kill its container as a lost node would; the pod's restart policy decides what next."""
        if self.process is not None:
            self.process.kill()

    def _start(self) -> None:
        container = self._containers[self._current]
        environment = resolve(container, self.identity, self._sources)
        argv = command_line(container, environment)
        log = self._folder / container["name"]
        if container is self._containers[-1] and self.serving_since is None:
            self.serving_since = time.monotonic()
        self.process = ContainerProcess(argv, environment, self._sandbox, log)

    def _ended(self, code: int) -> None:
        policy = self._spec.get("restartPolicy", "Always")
        is_main = self._current == len(self._containers) - 1
        if code == 0 and not is_main:
            self._current += 1
        elif self._terminating or policy == "Never" or (code == 0 and policy == "OnFailure"):
            self.exit_code = code
        else:
            self._resume_at = time.monotonic() + BACK_OFF_SECONDS[min(self.restarts, 3)]
            self.restarts += 1
