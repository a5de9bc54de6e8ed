"""A Dask cluster and the one way the mapped stages use it: bags of small values."""

from fadae.cluster.bags import map_bag
from fadae.cluster.connection import connect, worker_name
from fadae.cluster.lazily import cluster_mapper
from fadae.cluster.turns import Turns

__all__ = ["Turns", "cluster_mapper", "connect", "map_bag", "worker_name"]
