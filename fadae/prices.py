"""What a job costs in money: an estimate's quantities by the prices of a table that users edit.

The table is TOML, a section a provider: docs/examples/prices.toml. fadae knows no prices.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fadae.errors import UsageError
from fadae.estimate import StageEstimate

_GB = 1e9


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of one provider, in its currency."""

    currency: str
    cpu_hour: float  # one core
    gpu_hour: float
    storage_gb_month: float
    requests_per_1000: float
    egress_gb: float


@dataclass(frozen=True, slots=True)
class Bill:
    """What a job costs at one provider, by what is paid for."""

    currency: str
    compute: Mapping[str, float]  # by stage
    requests: float
    storage: float
    egress: float
    total: float


def read_prices(file: Path) -> dict[str, Prices]:
    """Return the prices of each provider of a file; raises UsageError for what is none.

    Every price must be there: one left out would read as free.
    """
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--price {file}: {error}") from error
    if not tables:
        raise UsageError(f"--price {file}: no provider; see docs/examples/prices.toml")
    return {name: _prices(file, name, table) for name, table in tables.items()}


def _prices(file: Path, name: str, table: object) -> Prices:
    where, names = f"--price {file}", {one.name for one in dataclasses.fields(Prices)}
    if not isinstance(table, dict):
        raise UsageError(f"{where}: {name} stands outside a provider's table, as [example-cloud]")
    if wrong := sorted(names ^ table.keys()):
        what = "is missing" if wrong[0] in names else "is no price"
        raise UsageError(f"{where}: {wrong[0]} of [{name}] {what}: {', '.join(sorted(names))}")
    for key, value in table.items():
        if key == "currency":
            is_right = isinstance(value, str) and value.isprintable()
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            is_right = number and math.isfinite(value) and value >= 0
        if not is_right:
            raise UsageError(f"{where}: {key} of [{name}] is {value!r}: expected a price, from 0")
    return Prices(**table)


def bill(
    costs: Mapping[str, StageEstimate],
    prices: Prices,
    *,
    stored_bytes: float,
    months: float,
    fetched_bytes: float,
    on_gpus: bool = False,
) -> Bill:
    """Return what stages cost, with bytes stored for so many months and some fetched once.

    on_gpus: whether the training's hours are those of GPUs.

    >>> one = StageEstimate(0, 0, 0, 2000, core_hours=10, wall_hours=1, bound_by="cores")
    >>> prices = Prices("USD", 0.1, 2, 0.02, 0.5, 0.1)
    >>> bill({"train": one}, prices, stored_bytes=1e9, months=3, fetched_bytes=2e9).total
    2.26
    """
    hours = {stage: cost.core_hours for stage, cost in costs.items()}
    gpu = {"train"} if on_gpus else set[str]()
    compute = {
        stage: spent * (prices.gpu_hour if stage in gpu else prices.cpu_hour)
        for stage, spent in hours.items()
    }
    requests = sum(cost.requests for cost in costs.values()) / 1000 * prices.requests_per_1000
    storage = stored_bytes / _GB * months * prices.storage_gb_month
    egress = fetched_bytes / _GB * prices.egress_gb
    parts = {stage: round(money, 2) for stage, money in compute.items()}
    total = sum(compute.values()) + requests + storage + egress
    return Bill(
        prices.currency,
        parts,
        round(requests, 2),
        round(storage, 2),
        round(egress, 2),
        round(total, 2),
    )
