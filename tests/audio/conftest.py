"""Decoders for tests: one of a test's own, and one that serves many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fadae.audio.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="session")
def one_child() -> Iterator[Sandbox]:
    """One child for all: whatever a file does to it, the next ones come out right."""
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()
