"""The workspace on disk or in a bucket: paths, staging, growing Zarr groups, plans."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.store import generations, paths, verify
    from fadae.store.features import (
        NO_RECORDING,
        NO_SAMPLE,
        PCM_SCALE,
        FeatureSet,
        feature_attrs,
        feature_specs,
        spread,
    )
    from fadae.store.frames import DamagedError, FrameStore, OvertakenError
    from fadae.store.history import (
        Publication,
        history_path,
        keep_root,
        number_at,
        open_publication,
        publication_number,
        publication_numbers,
        publications,
    )
    from fadae.store.index_objects import ROWS_PER_PACK, RecordingRow
    from fadae.store.indexing import superseded
    from fadae.store.layout import BLOCK_FRAMES, CHUNK_FRAMES
    from fadae.store.listing import publish_listing
    from fadae.store.location import PARTIAL, Location
    from fadae.store.mapping import Mapper, map_serially
    from fadae.store.paths import (
        FEATURES,
        pcm_path,
        reconstruction_path,
        source_path,
    )
    from fadae.store.plan import BlockTask, Part, Plan, create_plan, plan_header
    from fadae.store.publication import publish, published_plans
    from fadae.store.published import PublishedRecordings
    from fadae.store.reconstruction import (
        CODE_BYTES,
        CODED_FRAMES,
        HOPS,
        PREPARED,
        SCORES,
        SIDES,
        SUMS,
        attrs_of,
        code_size,
        features_sha256,
        reconstruction_attrs,
        reconstruction_specs,
        side_scores,
    )
    from fadae.store.recording_index import index_attrs
    from fadae.store.release import release_published, release_staging
    from fadae.store.root_checks import restore_lost_root
    from fadae.store.samples import heard_span, samples_of
    from fadae.store.staging import (
        FEW,
        LedgerRuns,
        forget_marks,
        fresh_names,
        improve_commit,
        ledger_pages,
        read_commit,
        read_commits,
        read_ledger,
        write_commit,
    )
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.store": ["generations", "paths", "verify"],
            "fadae.store.features": [
                "FeatureSet",
                "NO_RECORDING",
                "NO_SAMPLE",
                "PCM_SCALE",
                "feature_attrs",
                "feature_specs",
                "spread",
            ],
            "fadae.store.frames": ["DamagedError", "FrameStore", "OvertakenError"],
            "fadae.store.layout": ["BLOCK_FRAMES", "CHUNK_FRAMES"],
            "fadae.store.indexing": ["superseded"],
            "fadae.store.listing": ["publish_listing"],
            "fadae.store.location": ["Location", "PARTIAL"],
            "fadae.store.mapping": ["Mapper", "map_serially"],
            "fadae.store.paths": [
                "FEATURES",
                "pcm_path",
                "reconstruction_path",
                "source_path",
            ],
            "fadae.store.plan": ["BlockTask", "Part", "Plan", "create_plan", "plan_header"],
            "fadae.store.index_objects": ["ROWS_PER_PACK", "RecordingRow"],
            "fadae.store.history": [
                "Publication",
                "history_path",
                "keep_root",
                "number_at",
                "open_publication",
                "publication_number",
                "publication_numbers",
                "publications",
            ],
            "fadae.store.root_checks": ["restore_lost_root"],
            "fadae.store.publication": ["publish", "published_plans"],
            "fadae.store.published": ["PublishedRecordings"],
            "fadae.store.recording_index": ["index_attrs"],
            "fadae.store.reconstruction": [
                "CODE_BYTES",
                "CODED_FRAMES",
                "HOPS",
                "PREPARED",
                "SCORES",
                "SIDES",
                "SUMS",
                "attrs_of",
                "code_size",
                "features_sha256",
                "reconstruction_attrs",
                "reconstruction_specs",
                "side_scores",
            ],
            "fadae.store.release": ["release_published", "release_staging"],
            "fadae.store.samples": ["heard_span", "samples_of"],
            "fadae.store.staging": [
                "FEW",
                "LedgerRuns",
                "forget_marks",
                "fresh_names",
                "improve_commit",
                "ledger_pages",
                "read_commit",
                "read_commits",
                "read_ledger",
                "write_commit",
            ],
        },
    )

__all__ = [
    "BLOCK_FRAMES",
    "CHUNK_FRAMES",
    "CODED_FRAMES",
    "CODE_BYTES",
    "FEATURES",
    "FEW",
    "HOPS",
    "NO_RECORDING",
    "NO_SAMPLE",
    "PARTIAL",
    "PCM_SCALE",
    "PREPARED",
    "ROWS_PER_PACK",
    "SCORES",
    "SIDES",
    "SUMS",
    "BlockTask",
    "DamagedError",
    "FeatureSet",
    "FrameStore",
    "LedgerRuns",
    "Location",
    "Mapper",
    "OvertakenError",
    "Part",
    "Plan",
    "Publication",
    "PublishedRecordings",
    "RecordingRow",
    "attrs_of",
    "code_size",
    "create_plan",
    "feature_attrs",
    "feature_specs",
    "features_sha256",
    "forget_marks",
    "fresh_names",
    "generations",
    "heard_span",
    "history_path",
    "improve_commit",
    "index_attrs",
    "keep_root",
    "ledger_pages",
    "map_serially",
    "number_at",
    "open_publication",
    "paths",
    "pcm_path",
    "plan_header",
    "publication_number",
    "publication_numbers",
    "publications",
    "publish",
    "publish_listing",
    "published_plans",
    "read_commit",
    "read_commits",
    "read_ledger",
    "reconstruction_attrs",
    "reconstruction_path",
    "reconstruction_specs",
    "release_published",
    "release_staging",
    "restore_lost_root",
    "samples_of",
    "side_scores",
    "source_path",
    "spread",
    "superseded",
    "verify",
    "write_commit",
]
