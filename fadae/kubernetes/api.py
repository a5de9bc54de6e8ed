"""The few verbs of Kubernetes' API that the conductor needs, over HTTPS with the pod's token."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from fadae.errors import TransientError, UsageError
from fadae.kubernetes.pods import Document

_SECONDS = 30.0
_RESOURCES = {
    "Job": ("apis/batch/v1", "jobs"),
    "Service": ("api/v1", "services"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "DaskCluster": ("apis/kubernetes.dask.org/v1", "daskclusters"),
}


class Api:
    """The objects of one namespace."""

    def __init__(self, host: str, port: int, namespace: str, folder: Path) -> None:
        """Take the API server, and the folder with `token` and `ca.crt`; nothing is sent yet."""
        self._host, self._port, self._namespace = host, port, namespace
        self._folder = folder

    def get(self, kind: str, name: str) -> Document | None:
        """Return an object, None where there is none."""
        return self._call("GET", self._path(kind, name))

    def jobs(self, labels: Mapping[str, str]) -> list[Document]:
        """Return the Jobs with these labels."""
        wanted = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self._call("GET", f"{self._path('Job')}?{urlencode({'labelSelector': wanted})}")
        items = (found or {}).get("items", [])
        assert isinstance(items, list)
        return items

    def create(self, document: Document) -> None:
        """Make an object; one of the name that is there already is left as it is."""
        self._call("POST", self._path(str(document["kind"])), document, allowed=(409,))

    def delete(self, kind: str, name: str) -> None:
        """Remove an object and, before it, all that it owns; nothing where there is none."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        self._call("DELETE", self._path(kind, name), options)

    def _path(self, kind: str, name: str = "") -> str:
        group, plural = _RESOURCES[kind]
        path = f"/{group}/namespaces/{quote(self._namespace, safe='')}/{plural}"
        return f"{path}/{quote(name, safe='')}" if name else path

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        allowed: tuple[int, ...] = (),
    ) -> Document | None:
        """Return the answer, None for 404; raises TransientError, UsageError without the right."""
        try:
            token = (self._folder / "token").read_text("utf-8").strip()  # it is renewed
            context = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        except OSError as error:
            raise UsageError(f"no token or ca.crt in {self._folder}: {error}") from error
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=_SECONDS, context=context
        )
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"the API server does not answer: {error!r}") from error
        finally:
            connection.close()
        if answer.status == 404 and method != "POST":
            return None
        if answer.status in (401, 403, 400, 404, 422) and answer.status not in allowed:
            raise UsageError(f"the API server refuses {method} {path}: {_reason(data)}")
        if answer.status >= 300 and answer.status not in allowed:
            raise TransientError(f"the API server answers {answer.status} to {method} {path}")
        found: Document = json.loads(data)
        return found


def _reason(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data[:200].decode(errors="replace")
