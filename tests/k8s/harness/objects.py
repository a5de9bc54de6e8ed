"""The objects of the cluster, and the part of the API that changes them, over HTTPS."""

from __future__ import annotations

import copy
import json
import ssl
import subprocess
import threading
import uuid
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Document = dict[str, Any]
Key = tuple[str, str]  # kind, name

_KINDS = {
    "jobs": "Job",
    "services": "Service",
    "deployments": "Deployment",
    "daskclusters": "DaskCluster",
}


class Objects:
    """All objects by kind and name; safe from the API's threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self.lock = threading.RLock()
        self._found: dict[Key, Document] = {}
        self._clock = datetime(2026, 1, 1, tzinfo=UTC)

    def apply(self, document: Document) -> str:
        """Do as `kubectl apply`: return created or unchanged; a Job's template cannot change."""
        with self.lock:
            key = document["kind"], document["metadata"]["name"]
            if key not in self._found:
                self.create(document)
                return "created"
            now = self._found[key]
            if document["kind"] == "Job" and document["spec"] != now["spec"]:
                raise ValueError(f"{key}: field is immutable")
            if now.get("immutable") and document["data"] != now["data"]:
                raise ValueError(f"{key}: field is immutable")
            changed = {k: v for k, v in document.items() if k not in ("metadata", "status")}
            if all(now.get(k) == v for k, v in changed.items()):
                return "unchanged"
            now |= copy.deepcopy(changed)
            return "configured"

    def create(self, document: Document) -> Document | None:
        """Add an object; None where one has its name."""
        with self.lock:
            key = document["kind"], document["metadata"]["name"]
            if key in self._found:
                return None
            made = copy.deepcopy(document)
            self._clock += timedelta(seconds=1)
            made["metadata"]["uid"] = str(uuid.uuid4())
            made["metadata"]["creationTimestamp"] = f"{self._clock:%Y-%m-%dT%H:%M:%SZ}"
            self._found[key] = made
            return made

    def delete(self, key: Key) -> None:
        """Mark an object and all that it owns: their pods end first, then they go."""
        with self.lock:
            about = self._found[key]["metadata"]
            about["deletionTimestamp"] = "now"
            for other, document in list(self._found.items()):
                owners = document["metadata"].get("ownerReferences", [])
                if any(owner["uid"] == about["uid"] for owner in owners):
                    self.delete(other)

    def remove(self, key: Key) -> None:
        """Take an object out for good."""
        with self.lock:
            del self._found[key]

    def find(self, key: Key) -> Document | None:
        """Return an object."""
        with self.lock:
            return self._found.get(key)

    def items(self) -> list[tuple[Key, Document]]:
        """Return all objects as they are now."""
        with self.lock:
            return list(self._found.items())

    def data(self, kind: str) -> dict[str, dict[str, str]]:
        """Return the data of all ConfigMaps or Secrets by name."""
        return {name: d["data"] for (its, name), d in self.items() if its == kind}


class ApiServer:
    """Serves objects to pods that show the token of a service account that a Role lets."""

    def __init__(self, objects: Objects, folder: Path) -> None:
        """Make a certificate in a folder, and listen on a free port of the loopback."""
        self.token = uuid.uuid4().hex
        self.certificate = folder / "ca.crt"
        key = folder / "api.key"
        about = "-subj /CN=kubernetes -addext subjectAltName=IP:127.0.0.1"
        made = f"-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 {about}"
        subprocess.run(
            ["openssl", "req", "-x509", *made.split(), "-keyout", key, "-out", self.certificate],
            check=True,
            capture_output=True,
        )
        api = self

        class Handler(_Handler):
            known, token = objects, api.token

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that every pod has."""
        port = str(self._server.server_address[1])
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    known: Objects
    token: str

    def do_GET(self) -> None:
        kind, name, query = self._asked()
        if name:
            self._answer(self.known.find((kind, name)))
            return
        wanted = dict(p.split("=") for p in query["labelSelector"][0].split(","))
        found = [
            document
            for (its, _), document in self.known.items()
            if its == kind and wanted.items() <= document["metadata"].get("labels", {}).items()
        ]
        self._answer({"items": found})

    def do_POST(self) -> None:
        self._asked()
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        made = self.known.create(document)
        self._answer(made or {"message": "AlreadyExists"}, 201 if made else 409)

    def do_DELETE(self) -> None:
        kind, name, _ = self._asked()
        options = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert options["propagationPolicy"] == "Foreground"
        found = self.known.find((kind, name))
        if found is not None:
            self.known.delete((kind, name))
        self._answer(found)

    def _asked(self) -> tuple[str, str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        words = parts.path.split("/namespaces/")[1].split("/")
        return _KINDS[words[1]], (words[2] if words[2:] else ""), parse_qs(parts.query)

    def _answer(self, document: Document | None, status: int = 200) -> None:
        if self.headers["Authorization"] != f"Bearer {self.token}":
            document, status = {"message": "Unauthorized"}, 401
        elif document is None:
            document, status = {"message": "NotFound"}, 404
        with self.known.lock:
            data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""
