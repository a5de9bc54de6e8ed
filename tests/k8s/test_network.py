"""The network policies: closed, but for what the job needs and each cloud's credentials."""

from __future__ import annotations

import ipaddress

import pytest

from tests.k8s.rendering import OVERLAYS, Document, PodSpec, pod, pods, render, selects

DRIVERS = ("ingest", "extract", "reconstruct")
# What each identity asks for credentials, and at which port.
ENDPOINTS = {
    "aws-pod-identity": [("169.254.170.23", 80), ("fd00:ec2::23", 80)],
    "gke": [("169.254.169.254", 80), ("169.254.169.252", 988)],
}
NODE = [("169.254.169.254", 80), ("169.254.170.2", 80), ("fd00:ec2::254", 80)]


def policies(overlay: str) -> list[Document]:
    return [d["spec"] for d in render(overlay) if d["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_reach_each_other_where_dask_and_training_need_it(overlay: str) -> None:
    for p in pods(overlay):
        closing = [
            q for q in policies(overlay)
            if "Ingress" in q["policyTypes"] and "Egress" in q["policyTypes"]
        ]
        assert any(selects(q["podSelector"], p.labels) for q in closing)
    role = {p.spec["containers"][0]["name"]: p for p in pods(overlay)}
    allowed = [
        ("ingest", "scheduler", 8786), ("extract", "scheduler", 8786),
        ("worker", "scheduler", 8786), ("scheduler", "worker", 9000),
        ("worker", "worker", 9099), ("scheduler", "worker", 9100), ("train", "train", 29500),
    ]
    refused = [
        ("ingest", "scheduler", 8787), ("train", "scheduler", 8786), ("worker", "train", 29500),
        ("conductor", "scheduler", 8786), ("worker", "conductor", 443),
    ]
    for source, target, port in allowed:
        assert _between(overlay, role[source], role[target], port), (source, target)
    for source, target, port in refused:
        assert not _between(overlay, role[source], role[target], port), (source, target)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_world_is_reached_by_who_needs_it(overlay: str) -> None:
    for name in (*DRIVERS, "worker", "train"):
        assert _outward(overlay, pod(overlay, name), "207.241.224.2", 443)
        assert not _outward(overlay, pod(overlay, name), "207.241.224.2", 80)
    assert not _outward(overlay, pod(overlay, "scheduler"), "207.241.224.2", 443)
    assert _outward(overlay, pod(overlay, "conductor"), "10.0.0.1", 6443)
    assert not _outward(overlay, pod(overlay, "worker"), "10.0.0.1", 6443)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_credentials_are_reached_where_the_cloud_gives_them_and_nowhere_else(overlay: str) -> None:
    wanted = ENDPOINTS.get(overlay, [])
    every = {*NODE, *(one for found in ENDPOINTS.values() for one in found)}
    for name in (*DRIVERS, "worker", "train"):
        reached = {one for one in every if _outward(overlay, pod(overlay, name), *one)}
        assert reached == set(wanted), name
    for name in ("scheduler", "conductor"):
        assert not any(_outward(overlay, pod(overlay, name), *one) for one in every)


def _outward(overlay: str, source: PodSpec, address: str, port: int) -> bool:
    """Return whether a pod may reach an address outside at a TCP port."""
    ip = ipaddress.ip_address(address)

    def holds(block: Document) -> bool:
        inside = ip in ipaddress.ip_network(block["cidr"])
        return inside and not any(
            ip in ipaddress.ip_network(out) for out in block.get("except", [])
        )

    return any(
        any("ipBlock" in peer and holds(peer["ipBlock"]) for peer in rule.get("to", []))
        and any(r["port"] == port and r["protocol"] == "TCP" for r in rule["ports"])
        for policy in policies(overlay)
        if selects(policy["podSelector"], source.labels)
        for rule in policy.get("egress", [])
    )


def _between(overlay: str, source: PodSpec, target: PodSpec, port: int) -> bool:
    """Return whether both ends' policies let one pod reach another's TCP port."""

    def passes(end: PodSpec, other: PodSpec, direction: str, peers: str) -> bool:
        return any(
            any(
                "podSelector" in peer and selects(peer["podSelector"], other.labels)
                for peer in rule.get(peers, [])
            )
            and any(r["port"] <= port <= r.get("endPort", r["port"]) for r in rule["ports"])
            for policy in policies(overlay)
            if selects(policy["podSelector"], end.labels)
            for rule in policy.get(direction, [])
        )

    return passes(source, target, "egress", "to") and passes(target, source, "ingress", "from")
