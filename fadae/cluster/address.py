"""Where a job's Dask scheduler is: an address, a file that holds it, a cluster of a gateway."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed.comm.registry import backends
from distributed.security import Security

from fadae.config import FILE_SCHEME
from fadae.errors import TransientError, UsageError

log = logging.getLogger("fadae.cluster")

CONNECT_SECONDS = 30.0
GATEWAY_SCHEME = "gateway://"
_ENCRYPTED = ("tls://", "wss://")
_TLS = "distributed.comm.tls"
_MOST_BYTES = 1 << 20  # of a scheduler's file; Dask's are a few kB
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Scheduler:
    """A scheduler's address, and the keys to it where they are not Dask's configuration."""

    address: str
    security: Security | None = None


def find_scheduler(named: str, seconds: float = CONNECT_SECONDS) -> Scheduler:
    """Return the scheduler that `--scheduler` names, a file waited for at most so long.

    named: an address as `tcp://host:8786` or `tls://host:8786`, `file:PATH` of what
    `dask scheduler --scheduler-file PATH` writes, or `gateway://NAME` of a running cluster of
    Dask Gateway. Raises UsageError for a file that is none, for TLS without certificates and
    where an extra is missing; TransientError where the file or the cluster is not there yet.
    """
    if named.startswith(GATEWAY_SCHEME):
        return _of_gateway(named)
    if named.startswith(FILE_SCHEME):
        named = _address_in(Path(named.removeprefix(FILE_SCHEME)), seconds)
    _check_scheme(named)
    _check_tls(named)
    return Scheduler(named)


def _check_scheme(address: str) -> None:
    """Raise UsageError for a way to connect that Dask knows by name only, as ucx without ucxx."""
    scheme = address.partition("://")[0]
    backend = backends.get(scheme if "://" in address else "tcp")
    try:
        if backend is not None:  # else Dask says which it knows
            backend.get_connector()
    except TypeError as error:
        raise UsageError(
            f"{address}: this Dask cannot connect by {scheme}; install the package that it needs "
            "(distributed-ucxx for ucx), or use tcp://"
        ) from error


def _address_in(path: Path, seconds: float) -> str:
    """Return the address that a scheduler has written; waits for one that has yet to start."""
    deadline, told = time.monotonic() + seconds, False
    while not (text := _read(path)):  # Dask creates it empty, then writes it at once
        if not path.parent.is_dir():
            raise UsageError(f"--scheduler-file {path}: there is no folder {path.parent}")
        if time.monotonic() > deadline:
            raise TransientError(
                f"--scheduler-file {path}: no scheduler has written it within {seconds:.0f} s"
            )
        if not told:
            log.info("waiting for a scheduler to write %s", path)
            told = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    try:
        found = json.loads(text)["address"]
    except (ValueError, TypeError, KeyError, RecursionError):
        found = None
    if not isinstance(found, str) or found.startswith((FILE_SCHEME, GATEWAY_SCHEME)):
        raise UsageError(
            f"--scheduler-file {path}: not what `dask scheduler --scheduler-file` writes"
        )
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:  # a folder, no rights
        raise UsageError(f"--scheduler-file {path}: {error.strerror}") from error


def _check_tls(address: str) -> None:
    """Raise UsageError where Dask's configuration cannot encrypt what the address asks for."""
    if dask.config.get("distributed.client.security-loader"):
        return  # it gives the client its own
    encrypted = address.startswith(_ENCRYPTED)
    files = {key: _configured(key) for key in ("ca-file", "client.cert", "client.key")}
    for key in ("ca-file", "client.cert"):
        if encrypted and not files[key]:
            raise UsageError(
                f"{address} needs a certificate: set {_TLS}.{key} in Dask's configuration, as "
                f"by {_variable(key)}=FILE"
            )
    for key, file in files.items():
        if file and "\n" not in file and not os.access(file, os.R_OK):
            raise UsageError(f"{_TLS}.{key} of Dask's configuration: cannot read {file}")
    try:
        security = Security()
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # no PEM; a key that is not the certificate's
        raise UsageError(f"{_TLS} of Dask's configuration: {error}") from error
    if security.require_encryption and not encrypted:
        raise UsageError(f"{address} is not encrypted; Dask's configuration requires tls://")


def _configured(key: str) -> str:
    return str(dask.config.get(f"{_TLS}.{key}") or "")


def _variable(key: str) -> str:
    """Return the environment variable of a key of Dask's TLS configuration.

    >>> _variable("client.cert")
    'DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT'
    """
    return f"DASK_{_TLS}.{key}".upper().replace(".", "__").replace("-", "_")


def _of_gateway(named: str) -> Scheduler:
    """Return the scheduler of a gateway's cluster; the name is the last part of its address."""
    if importlib.util.find_spec("dask_gateway") is None:
        raise UsageError(f"{named} needs Dask Gateway's client: pip install 'fadae[gateway]'")
    import aiohttp  # dask_gateway's client of HTTP
    import dask_gateway

    name = named.rstrip("/").rpartition("/")[2]
    try:
        # Not in a with block: it closes itself when it is dropped, and cannot be closed twice.
        report: Any = dask_gateway.Gateway().get_cluster(name)
    except (ValueError, dask_gateway.GatewayClusterError) as error:  # no gateway; no such cluster
        raise UsageError(f"{named}: {error}") from error
    except (aiohttp.ClientError, OSError, dask_gateway.GatewayServerError) as error:
        status = getattr(error, "status", 500)
        if 400 <= status < 500:  # no rights
            raise UsageError(f"{named}: the gateway refuses ({error})") from error
        raise TransientError(f"{named}: the gateway does not answer ({error})") from error
    if report.scheduler_address is None:
        state = report.status.name.lower()
        kind = TransientError if state == "pending" else UsageError
        raise kind(f"{named}: the cluster is {state}")
    return Scheduler(report.scheduler_address, report.security)
