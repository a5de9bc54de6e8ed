"""Pods and Jobs as all of them are: not root, closed, bounded; and what a Job does on failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fadae.config import KubernetesConfig

Document = dict[str, object]
PART_OF = {"app.kubernetes.io/name": "fadae", "app.kubernetes.io/part-of": "fadae"}
COMPONENT = "app.kubernetes.io/component"
GENERATION = "fadae/generation"
WORKSPACE = "fadae/workspace"  # a hash of its URL
METRICS = "metrics"  # the name of a port
COUNTED = 69  # EX_UNAVAILABLE: a driver ended for a passing reason and had nothing to show
_MOUNTED = "/workspace"
_SCRATCH = "/tmp"  # noqa: S108 - of the container

# Where a pod may not be interrupted for a cheaper one.
_KEEP = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
_SPOT = (
    ("karpenter.sh/capacity-type", "spot"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
)
_NOT_ON_SPOT: Document = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": key, "operator": "NotIn", "values": [value]} for key, value in _SPOT
                    ]
                }
            ]
        }
    }
}
_CLOSED: Document = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container, and the pod around it: there is one in each."""

    name: str
    image: str
    command: Sequence[str]
    cpu: str
    memory: str
    account: str = "fadae"
    environment: str = ""  # the ConfigMap of its variables; the Secret comes along
    env: Sequence[Document] = ()
    ports: Mapping[str, int] | None = None
    more: Mapping[str, object] | None = None  # of the container: probes
    limits: Mapping[str, str] | None = None  # beside memory, as a GPU: requested too
    most_cpu: str = ""
    volumes: Sequence[tuple[str, str, Document]] = ()  # name, path, source
    stays: bool = False  # off spot nodes, not evicted for a cheaper node
    grace_seconds: int = 30

    def pod(self, config: KubernetesConfig) -> Document:
        """Return the pod's spec, without a restart policy."""
        scratch: Document = {"emptyDir": {"sizeLimit": config.scratch}}
        volumes = [("scratch", _SCRATCH, scratch), *self.volumes]
        if config.volume and self.environment:
            claim: Document = {"persistentVolumeClaim": {"claimName": config.volume}}
            volumes.append(("workspace", _MOUNTED, claim))
        more: Document = dict(self.limits or {})
        sources: list[Document] = []
        if self.environment:
            sources.append({"configMapRef": {"name": self.environment}})
            if config.secret:
                sources.append({"secretRef": {"name": config.secret}})
        container: Document = {
            "name": self.name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": list(self.command),
            "securityContext": _CLOSED,
            "resources": {
                "requests": {"cpu": self.cpu, "memory": self.memory, **more},
                "limits": {"cpu": self.most_cpu or self.cpu, "memory": self.memory, **more},
            },
            "volumeMounts": [{"name": name, "mountPath": path} for name, path, _ in volumes],
            **({"envFrom": sources} if sources else {}),
            **({"env": list(self.env)} if self.env else {}),
            **(self.more or {}),
        }
        if self.ports:
            container["ports"] = [
                {"name": name, "containerPort": port} for name, port in self.ports.items()
            ]
        return {
            "serviceAccountName": self.account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,  # a Service must not become a variable FADAE_...
            "terminationGracePeriodSeconds": self.grace_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **({"affinity": _NOT_ON_SPOT} if self.stays else {}),
            "containers": [container],
            "volumes": [{"name": name, **source} for name, _, source in volumes],
        }

    @property
    def annotations(self) -> dict[str, str]:
        """The pod's annotations."""
        found = dict(_KEEP) if self.stays else {}
        if port := (self.ports or {}).get(METRICS):  # as Prometheus' own example of pods asks for
            found |= {"prometheus.io/scrape": "true", "prometheus.io/port": str(port)}
        return found


def job(
    name: str,
    labels: Mapping[str, str],
    container: Container,
    config: KubernetesConfig,
    *,
    count: int = 1,
    pod: Mapping[str, object] | None = None,
    own_end: bool = False,
) -> Document:
    """Return an Indexed Job of so many pods, each of which may fail `retries` times that count.

    Exit 75 and a lost node count nothing: what was done is in the workspace, and it runs again; a
    driver that has nothing to show for an attempt exits otherwise, so that attempts are bounded.
    Exit 2, 65 and 66 end the Job: the same command would end so again. No deadline holds: waiting
    is no failure. With `own_end` it removes itself in time; else its owner does.
    """
    spec = {**container.pod(config), "restartPolicy": "Never", **(pod or {})}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(name, config, labels),
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "backoffLimitPerIndex": config.retries,
            "maxFailedIndexes": 0,
            "podReplacementPolicy": "Failed",
            **({"ttlSecondsAfterFinished": 3600 * config.keep_hours} if own_end else {}),
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 65, 66]}},
                    {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [75]}},
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                ]
            },
            "template": {
                "metadata": {"labels": dict(labels), "annotations": container.annotations},
                "spec": spec,
            },
        },
    }


def metadata(name: str, config: KubernetesConfig, labels: Mapping[str, str] = PART_OF) -> Document:
    """Return an object's metadata."""
    return {"name": name, "namespace": config.namespace, "labels": dict(labels)}


def field(name: str, path: str) -> Document:
    """Return a variable from a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def value(name: str, text: str) -> Document:
    """Return a variable."""
    return {"name": name, "value": text}
