"""axe-core on a page: what breaks WCAG 2.1, levels A and AA, contrast included."""

from __future__ import annotations

from typing import Any

import pytest

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
LEAST_RULES = 15  # that a page of ours has something for: a run that looked at nothing is none


def violations(page: Any) -> list[str]:
    """Return each violation as one line: rule, element, what to do."""
    axe = pytest.importorskip("axe_playwright_python.base", reason="needs fadae[dev]")
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe.AXE_SCRIPT)
    found = page.evaluate("levels => axe.run({ runOnly: levels })", LEVELS)
    assert len(found["passes"]) >= LEAST_RULES
    assert "color-contrast" in [rule["id"] for rule in found["passes"]]
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
