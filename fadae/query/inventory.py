"""The ledger counted: which recordings are decoded, which failed and why."""

from __future__ import annotations

from dataclasses import dataclass

from fadae.nouns import Commit, Failure, FailureClass
from fadae.store.dataset import RecordingTable
from fadae.store.ledger import LedgerPage, fresh_names, known_digests
from fadae.store.location import Location
from fadae.store.staging import PREFIXES


@dataclass(frozen=True, slots=True)
class Inventory:
    """Recordings decoded, published or not, and the failures, in the order of their ids."""

    ok: int
    failures: tuple[Failure, ...]

    @property
    def failed(self) -> int:
        """How many may be had later."""
        return len(self.failures) - self.quarantined

    @property
    def quarantined(self) -> int:
        """How many can never be had."""
        return sum(f.failure_class is FailureClass.PERMANENT for f in self.failures)


def count(location: Location, published: RecordingTable | None) -> Inventory:
    """Return what the ledger holds; of published recordings nothing is read again."""
    known = known_digests(published.column("key") if published is not None else ())
    pages = [LedgerPage(location, prefix, known.get(prefix, b"")) for prefix in PREFIXES]
    fresh = [
        f"staging/{page.prefix}/{name}"
        for page, names in zip(pages, location.concurrently(fresh_names, pages), strict=True)
        for name in names
    ]
    ok = 0 if published is None else len(published)
    failures = []
    for data in location.read_many(fresh):
        commit = Commit.from_json(data)
        if commit.failure is None:
            ok += 1
        else:
            failures.append(commit.failure)
    return Inventory(ok, tuple(sorted(failures, key=lambda failure: failure.id)))
