"""Accounts, rights and the network: closed, but for what the job needs."""

from __future__ import annotations

from collections.abc import Sequence

from fadae.config import KubernetesConfig
from fadae.kubernetes.pods import COMPONENT, PART_OF, Document, metadata
from fadae.kubernetes.stages import DASK

# Where a cloud gives pods their credentials: address and TCP ports. aws-irsa asks STS over HTTPS.
CREDENTIALS: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = {
    "none": (),
    "aws-irsa": (),
    # docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
    "aws-pod-identity": (("169.254.170.23/32", (80,)), ("fd00:ec2::23/128", (80,))),
    # cloud.google.com/kubernetes-engine/docs/how-to/network-policy: the metadata server
    "gke": (("169.254.169.254/32", (80,)), ("169.254.169.252/32", (987, 988))),
}
_EVERYWHERE = [
    # But for the node's own credentials and what else is local to it.
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}},
]
_MEASURED = ("ingest", "extract", "train", "reconstruct")
_OF_FADAE: Document = {"matchLabels": {"app.kubernetes.io/part-of": "fadae"}}


def accounts(config: KubernetesConfig) -> list[Document]:
    """Return who pods are: who has the bucket, who has nothing, who orders the stages."""
    annotation = {
        "aws-irsa": "eks.amazonaws.com/role-arn",
        "gke": "iam.gke.io/gcp-service-account",
    }.get(config.identity)
    found = []
    for name in ("fadae", "fadae-scheduler", "fadae-conductor"):
        about = metadata(name, config)
        if name == "fadae" and annotation:
            about["annotations"] = {annotation: config.role}
        found.append(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": about,
                "automountServiceAccountToken": False,
            }
        )
    return [*found, *_rights(config)]


def _rights(config: KubernetesConfig) -> list[Document]:
    """Return the conductor's rights: over this namespace's Jobs and Dask clusters, no pod."""
    verbs = ["get", "list", "create", "delete"]
    rules = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": verbs},
        # Asked for where what it makes may hold up its own removal.
        {"apiGroups": ["batch"], "resources": ["jobs/finalizers"], "verbs": ["update"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": verbs},
    ]
    if config.operator:
        group, resource = "kubernetes.dask.org", "daskclusters"
    else:
        group, resource = "apps", "deployments"
    rules.append({"apiGroups": [group], "resources": [resource], "verbs": verbs})
    name = "fadae-conductor"
    group = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": metadata(name, config),
            "rules": rules,
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata(name, config),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": config.namespace}],
        },
    ]


def policies(config: KubernetesConfig, metrics_port: int | None) -> list[Document]:
    """Return the network policies."""
    dask = _with(DASK, "In", "scheduler", "worker", "job-runner")
    dask_ports = [_port(8786), {**_port(9000), "endPort": 9199}]
    ranks = _with(COMPONENT, "In", "train")
    rank_ports = [{**_port(1024), "endPort": 65535}]  # gloo and NCCL choose their own
    outward = _without(_with(COMPONENT, "In", "check", *_MEASURED, "features"), "scheduler")
    https = sorted({443, config.s3_port})
    found = [
        _policy("default-deny", config, _OF_FADAE),
        # To anywhere: node-local DNS is not a pod.
        _policy("dns", config, _OF_FADAE, [{"ports": [_port(53, "UDP"), _port(53)]}]),
        _policy(
            "archive-and-bucket",
            config,
            outward,
            [{"to": _EVERYWHERE, "ports": [*map(_port, https)]}],
        ),
        # The API server's Service has port 443; behind it, where some networks look, 6443.
        _policy(
            "conductor",
            config,
            _with(COMPONENT, "In", "conductor"),
            [{"to": _EVERYWHERE, "ports": [_port(443), _port(6443)]}],
        ),
        # The dashboard, 8787, is reached by `kubectl port-forward` only.
        _between("dask", config, dask, dask_ports),
        _between("train", config, ranks, rank_ports),
    ]
    if metrics_port is not None:
        found.append(_to_metrics(config, metrics_port))
    endpoints = [
        {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [*map(_port, ports)]}
        for cidr, ports in CREDENTIALS[config.identity]
    ]
    if endpoints:
        found.append(_policy("credentials", config, outward, endpoints))
    return found


def _to_metrics(config: KubernetesConfig, port: int) -> Document:
    """Return the policy that lets this cluster's Prometheus in, whatever its namespace is."""
    serving = _without(_with(COMPONENT, "In", *_MEASURED), "scheduler", "worker")
    policy = _policy("metrics", config, serving)
    inside: Document = {"namespaceSelector": {}}
    policy["spec"] = {
        **_spec(policy),
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [inside], "ports": [_port(port)]}],
    }
    return policy


def _spec(policy: Document) -> Document:
    spec = policy["spec"]
    assert isinstance(spec, dict)
    return spec


def _with(key: str, operator: str, *values: str) -> Document:
    labels = {"app.kubernetes.io/part-of": PART_OF["app.kubernetes.io/part-of"]}
    return {
        "matchLabels": labels,
        "matchExpressions": [{"key": key, "operator": operator, "values": list(values)}],
    }


def _without(pods: Document, *roles: str) -> Document:
    """Return a selector of the pods that have none of these parts in a Dask cluster."""
    expressions = pods["matchExpressions"]
    assert isinstance(expressions, list)
    rule = {"key": DASK, "operator": "NotIn", "values": list(roles)}
    return {**pods, "matchExpressions": [*expressions, rule]}


def _port(number: int, protocol: str = "TCP") -> Document:
    return {"protocol": protocol, "port": number}


def _between(
    name: str, config: KubernetesConfig, pods: Document, ports: Sequence[Document]
) -> Document:
    """Return a policy that lets pods reach each other at some ports."""
    peers = [{"podSelector": pods}]
    policy = _policy(name, config, pods, [{"to": peers, "ports": list(ports)}])
    spec = _spec(policy)
    spec["policyTypes"] = ["Ingress", "Egress"]
    spec["ingress"] = [{"from": peers, "ports": list(ports)}]
    return policy


def _policy(
    name: str, config: KubernetesConfig, pods: Document, egress: Sequence[Document] | None = None
) -> Document:
    spec: Document = {"podSelector": pods, "policyTypes": ["Egress"]}
    if egress is None:
        spec["policyTypes"] = ["Ingress", "Egress"]
    else:
        spec["egress"] = list(egress)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(f"fadae-{name}", config),
        "spec": spec,
    }
