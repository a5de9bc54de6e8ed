"""The memory that a control group lets a process have, from files as the kernel writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fadae.config import TrainConfig
from fadae.memory import cache_within, memory_limit_bytes

GIB = 2**30
NO_LIMIT_V1 = "9223372036854771712\n"  # what the kernel tells


def groups(folder: Path, own: str, **files: str) -> tuple[Path, Path]:
    """Write control groups and the file that names a process's own."""
    for name, text in files.items():
        path = (
            folder
            / "cgroup"
            / name.replace("__", "/")
            .replace("_max", ".max")
            .replace("memory_limit", "memory.limit")
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "own").write_text(own)
    return folder / "cgroup", folder / "own"


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory_max": f"{2 * GIB}\n"}, 2 * GIB),  # v2, in a container
        ("0::/\n", {"memory_max": "max\n"}, 0),
        ("0::/a/b\n", {"a__memory_max": f"{3 * GIB}\n", "a__b__memory_max": "max\n"}, 3 * GIB),
        ("0::/a\n", {"memory_max": f"{GIB}\n", "a__memory_max": f"{3 * GIB}\n"}, GIB),
        ("5:memory:/x\n", {"memory__memory_limit_in_bytes": f"{GIB}\n"}, GIB),  # v1
        ("5:memory:/x\n", {"memory__x__memory_limit_in_bytes": f"{GIB}\n"}, GIB),
        ("5:memory:/\n", {"memory__memory_limit_in_bytes": NO_LIMIT_V1}, 0),
        ("5:cpu:/x\n", {"memory__x__memory_limit_in_bytes": f"{GIB}\n"}, 0),
        ("", {}, 0),
    ],
)
def test_the_smallest_limit_on_the_way_holds(
    own: str, files: dict[str, str], limit: int, tmp_path: Path
) -> None:
    assert memory_limit_bytes(*groups(tmp_path, own, **files)) == limit


def test_ranks_of_a_machine_share_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert cache_within(4 * GIB) == GIB // 2


def test_auto_stays_below_the_limit_and_a_number_is_taken() -> None:
    assert 0 <= TrainConfig().cache_bytes <= 4 * GIB
    assert TrainConfig(cache_gb="0.5").cache_bytes == GIB // 2
