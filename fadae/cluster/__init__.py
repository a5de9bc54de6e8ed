"""A Dask cluster and the one way the mapped stages use it: bags of small values."""

from typing import TYPE_CHECKING

from fadae._lazy import lazily

if TYPE_CHECKING:
    from fadae.cluster.bags import map_bag
    from fadae.cluster.client import (
        answers,
        check_versions,
        connect,
        kept_token,
        reach,
        read_token,
        scheduler_fadae,
        worker_addresses,
        worker_name,
    )
    from fadae.cluster.mapper import cluster_mapper
    from fadae.cluster.semaphore import ClusterSemaphore
else:
    __getattr__ = lazily(
        __name__,
        {
            "fadae.cluster.bags": ["map_bag"],
            "fadae.cluster.client": [
                "answers",
                "check_versions",
                "connect",
                "kept_token",
                "reach",
                "read_token",
                "scheduler_fadae",
                "worker_addresses",
                "worker_name",
            ],
            "fadae.cluster.mapper": ["cluster_mapper"],
            "fadae.cluster.semaphore": ["ClusterSemaphore"],
        },
    )

__all__ = [
    "ClusterSemaphore",
    "answers",
    "check_versions",
    "cluster_mapper",
    "connect",
    "kept_token",
    "map_bag",
    "reach",
    "read_token",
    "scheduler_fadae",
    "worker_addresses",
    "worker_name",
]
