"""The network policies: closed, but for what the job needs."""

from __future__ import annotations

import pytest

from tests.k8s.rendering import OVERLAYS, Document, PodSpec, find, pod, pods, render, selects


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_network_is_closed_but_for_what_is_needed(overlay: str) -> None:
    for p in pods(overlay):
        assert selects(_policy(overlay, "fadae-default-deny")["podSelector"], p.labels)
    deny = _policy(overlay, "fadae-default-deny")
    assert set(deny) == {"podSelector", "policyTypes"}
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    role = {name: pod(overlay, name) for name in ("scheduler", "worker", "extract", "train")}
    assert _allowed(overlay, role["extract"], role["scheduler"], 8786)
    assert _allowed(overlay, role["worker"], role["scheduler"], 8786)
    assert _allowed(overlay, role["scheduler"], role["worker"], 9000)
    assert _allowed(overlay, role["worker"], role["worker"], 9099)
    assert _allowed(overlay, role["scheduler"], role["worker"], 9100)
    assert _allowed(overlay, role["train"], role["train"], 29500)
    assert not _allowed(overlay, role["extract"], role["scheduler"], 8787)
    assert not _allowed(overlay, role["train"], role["scheduler"], 8786)
    assert not _allowed(overlay, role["worker"], role["train"], 29500)
    outward = _policy(overlay, "fadae-archive-and-bucket")["podSelector"]
    assert selects(outward, role["worker"].labels)
    assert selects(outward, role["train"].labels)
    assert not selects(outward, role["scheduler"].labels)


def _policy(overlay: str, name: str) -> Document:
    spec: Document = find(render(overlay), "NetworkPolicy", name)["spec"]
    return spec


def _allowed(overlay: str, source: PodSpec, target: PodSpec, port: int) -> bool:
    """Return whether both ends' policies let one pod reach another's TCP port."""
    policies = [d["spec"] for d in render(overlay) if d["kind"] == "NetworkPolicy"]

    def passes(end: PodSpec, other: PodSpec, direction: str, peers: str) -> bool:
        return any(
            any(selects(peer.get("podSelector", {}), other.labels) for peer in rule[peers])
            and any(r["port"] <= port <= r.get("endPort", r["port"]) for r in rule["ports"])
            for policy in policies
            if selects(policy["podSelector"], end.labels)
            for rule in policy.get(direction, [])
            if any("podSelector" in peer for peer in rule.get(peers, []))
        )

    return passes(source, target, "egress", "to") and passes(target, source, "ingress", "from")
