"""Money: quantities by prices, a table that is checked, the example that is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fadae.errors import UsageError
from fadae.estimate import Job, StageEstimate, estimate
from fadae.prices import Prices, bill, read_prices
from tests.command import fadae

EXAMPLE = Path(__file__).resolve().parents[1] / "docs/examples/prices.toml"
GOOD = """currency='USD'
cpu_hour=1
gpu_hour=10
storage_gb_month=1
requests_per_1000=1
egress_gb=1
"""


@given(st.floats(0, 10), st.floats(0, 24), st.floats(0, 1e12))
def test_a_bill_is_the_sum_of_its_parts(price: float, months: float, size: float) -> None:
    prices = Prices("USD", price, 2 * price, price, price, price)
    costs = estimate(Job(audio_hours=1000))
    told = bill(costs, prices, stored_bytes=size, months=months, fetched_bytes=size)
    parts = [*told.compute.values(), told.requests, told.storage, told.egress]
    assert told.total == pytest.approx(sum(parts), abs=0.01 * len(parts))
    assert told.compute["extract"] == pytest.approx(costs["extract"].core_hours * price, abs=0.01)


def test_gpus_are_paid_by_their_own_hours() -> None:
    one = StageEstimate(0, 0, 0, 0, core_hours=3, wall_hours=3, bound_by="cores")
    prices = Prices("USD", 1, 10, 0, 0, 0)
    for on_gpus, total in ((False, 6.0), (True, 33.0)):
        told = bill(
            {"train": one, "extract": one},
            prices,
            stored_bytes=0,
            months=1,
            fetched_bytes=0,
            on_gpus=on_gpus,
        )
        assert told.total == total
    slow, fast = (estimate(Job(1000, gpu_rate=rate))["train"] for rate in (1e4, 2e4))
    assert slow.core_hours == pytest.approx(2 * fast.core_hours)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no provider"),
        ("a = 1", "outside a provider's table"),
        ("[a]\ncpu_hour = 1", "is missing"),
        (f"[a]\n{GOOD}power = 3", "power of \\[a\\] is no price"),
        (f"[a]\n{GOOD}".replace("cpu_hour=1", "cpu_hour=-1"), "cpu_hour of \\[a\\] is -1"),
        (f"[a]\n{GOOD}".replace("cpu_hour=1", "cpu_hour=nan"), "cpu_hour of \\[a\\] is nan"),
        (f"[a]\n{GOOD}".replace("cpu_hour=1", "cpu_hour=true"), "cpu_hour of \\[a\\] is True"),
        (f"[a]\n{GOOD}".replace("'USD'", '"\\u001b"'), "currency of \\[a\\]"),
        ("[a", "--price"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_prices(tmp_path / "p.toml")


def test_the_example_says_that_it_is_one_and_prices_a_job(tmp_path: Path) -> None:
    assert "ILLUSTRATIVE" in EXAMPLE.read_text("utf-8")
    prices = read_prices(EXAMPLE)
    ended = fadae("estimate", "--hours", "1000", "--price", str(EXAMPLE), "--months", "2", "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)["1000 h"]
    assert told["money"].keys() == prices.keys()
    one = told["money"]["example-cloud"]
    stored = sum(told["workspace"][part] for part in ("total", "run", "reconstructions"))
    assert one["storage"] == pytest.approx(stored / 1e9 * 2 * 0.02, abs=0.01)
    gone = fadae("estimate", "--price", str(tmp_path / "none.toml"))
    assert (gone.returncode, "none.toml" in gone.stderr) == (2, True)
