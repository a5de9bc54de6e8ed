"""Where everything lies in a workspace: the one place that spells its folders' names.

All paths are relative to the workspace's URL, with "/" on every filesystem.
"""

from __future__ import annotations

import posixpath
import re

from fadae.records import sha256_hex

FEATURES = "features.zarr"
STAGING = "staging"  # decoded recordings and their commits
SOURCES = "sources"  # original files, where they are kept
INGESTS = "ingests"  # what sources listed
PLANS = "plans"  # of extraction
RUNS = "runs"  # of training
RECONSTRUCTIONS = "reconstructions"
REPORTS = "reports"
GENERATIONS = "generations"  # passes over the stages: which of them ended
COMPARISONS = "comparisons"  # of codes, by rate and distortion
TOMBSTONES = "tombstones"  # of what is to be forgotten

# What a reader that cannot list is told, and of which folders: see `listing`.
LISTING = "index.json"
LISTED = (RUNS, RECONSTRUCTIONS, COMPARISONS, TOMBSTONES)

# Up to which row staged PCM was let go; in an array's folder, where Zarr looks for no members.
RELEASED = f"{FEATURES}/audio/released.json"
# Which rows of the recording table the tombstones mean; there too, so that it goes with them.
FORGOTTEN_ROWS = f"{FEATURES}/recording_id/forgotten"
# What is derived of published blocks, likewise.
SEGMENTS = f"{FEATURES}/features/segments"  # a vector for each stretch of some seconds
SEGMENT_INDEX = f"{FEATURES}/features/index"  # of these vectors
PRINTS = f"{FEATURES}/audio/prints"  # fingerprints: by block, then in packs
DUPLICATES = f"{FEATURES}/recording_id/duplicates"  # pairs of recordings that share sound
RATE = f"{STAGING}/rate.json"  # the sample rate that the workspace is bound to
MARKS = f"{STAGING}/new"  # of the recordings whose commits may not be published yet
PREFIXES = tuple(f"{number:02x}" for number in range(256))  # folders that recordings spread over
ALL_MARKED = "all"  # in that folder: whoever has no mark is published
_ZARR = ".zarr"


def recording_key(recording_id: str) -> str:
    """Return a file name safe on every filesystem, one to one with the id.

    >>> recording_key("AOC11B/../etc/passwd")[:21]
    'AOC11B_.._etc_passwd-'
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", recording_id[:40])
    return f"{safe}-{sha256_hex(recording_id)[:32]}"


def staging_prefix(recording_id: str) -> str:
    """Return the two hex digits that spread recordings over 256 folders."""
    return sha256_hex(recording_id)[:2]


def prefix_of(key: str) -> str:
    """Return the same of a recording's key.

    >>> prefix_of(recording_key("a/b")) == staging_prefix("a/b")
    True
    """
    return key[-32:-30]


def staged(prefix: str, *name: str) -> str:
    """Return a folder of the staging area, or an object in it.

    >>> staged("0f"), staged("0f", "a.json")
    ('staging/0f', 'staging/0f/a.json')
    """
    return posixpath.join(STAGING, prefix, *name)


def pcm_path(recording_id: str) -> str:
    """Return where a recording's int16 little-endian mono PCM lies."""
    return staged(staging_prefix(recording_id), f"{recording_key(recording_id)}.pcm")


def commit_path(recording_id: str) -> str:
    """Return where a recording's commit lies."""
    return staged(staging_prefix(recording_id), f"{recording_key(recording_id)}.json")


def mark_path(recording_id: str) -> str:
    """Return where it says that a recording's commit may not be published yet."""
    return marked(staging_prefix(recording_id), recording_key(recording_id))


def marked(prefix: str, *key: str) -> str:
    """Return a folder of such marks, or the mark of a recording's key.

    >>> marked("0f")
    'staging/new/0f'
    """
    return posixpath.join(MARKS, prefix, *key)


def source_path(recording_id: str) -> str:
    """Return where a recording's original bytes lie when they are kept."""
    return kept_source(recording_key(recording_id))


def kept_source(key: str) -> str:
    """Return the same of a recording's key."""
    return f"{SOURCES}/{prefix_of(key)}/{key}"


def listing(selection_sha256: str) -> str:
    """Return where a selection's listing lies: a folder, and beside it its .json when finished."""
    return f"{INGESTS}/{selection_sha256[:32]}"


def folder_name(item: str) -> str:
    """Return what says which folder an item's name stands for."""
    return f"{INGESTS}/folders/{recording_key(item)}.json"


def print_path(block: int) -> str:
    """Return where the fingerprints of a block lie until a pack holds them.

    >>> print_path(3)
    'features.zarr/audio/prints/blocks/0000003'
    """
    return f"{PRINTS}/blocks/{block:07d}"


def plan_path(number: int) -> str:
    """Return where a plan lies.

    >>> plan_path(3)
    'plans/00003.jsonl.gz'
    """
    return f"{PLANS}/{number:05d}.jsonl.gz"


def run_path(run: str, *name: str) -> str:
    """Return a run's folder, or an object in it.

    >>> run_path("a"), run_path("a", "config.json")
    ('runs/a', 'runs/a/config.json')
    """
    return posixpath.join(RUNS, run, *name)


def reconstruction_path(run: str) -> str:
    """Return where a run's reconstructions lie.

    >>> reconstruction_path("a"), reconstructed_run("a.zarr"), reconstructed_run("a.zarr~")
    ('reconstructions/a.zarr', 'a', 'a.zarr~')
    """
    return f"{RECONSTRUCTIONS}/{run}{_ZARR}"


def reconstructed_run(name: str) -> str:
    """Return the run of a name in the folder of the reconstructions."""
    return name.removesuffix(_ZARR)


def generation_path(generation: str, stage: str) -> str:
    """Return what says that a stage ended in a generation.

    >>> generation_path("0a1b", "train")
    'generations/0a1b/train.json'
    """
    return f"{GENERATIONS}/{generation}/{stage}.json"


def report_path(run: str) -> str:
    """Return the folder of a run's report."""
    return f"{REPORTS}/{run}"


def comparison_path(name: str) -> str:
    """Return where a comparison of codes lies.

    >>> comparison_path("default")
    'comparisons/default.json'
    """
    return f"{COMPARISONS}/{name}.json"


def tombstone_path(kind: str, value: str, *, erase: bool) -> str:
    """Return where a tombstone lies: its name is bound to what it is for.

    >>> tombstone_path("item", "AOC11B", erase=True)
    'tombstones/item-30333762fbfcdbab0b4c91cba06a1f68-erase.json'
    """
    return f"{TOMBSTONES}/{kind}-{sha256_hex(value)[:32]}{'-erase' if erase else ''}.json"
