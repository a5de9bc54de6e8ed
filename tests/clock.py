"""A clock that only sleeping moves: what waits by it takes no time, and how long is exact."""

from __future__ import annotations

from types import ModuleType

import pytest


class Clock:
    """Stands for the module `time` in one module; `naps` holds the sleeps, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        self.now = 1000.0
        self.naps: list[float] = []
        monkeypatch.setattr(module, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.naps.append(seconds)
        self.now += seconds
