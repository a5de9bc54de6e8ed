"""How the embedded archive answers one request: the front's part and the datanode's."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from fadae.embedded.faults import Fault, Kind, Where
from fadae.embedded.items import QueryError, scrape
from fadae.embedded.state import ArchiveState, Request

WEB_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Internet Archive</title></head><body></body></html>"
)
_PIECES = 100
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Listener(ThreadingHTTPServer):
    """A listening port, one thread a connection; knows the archive it belongs to."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], handler: type[_Handler], archive: ArchiveState
    ) -> None:
        """Listen at an address, in a thread of its own."""
        super().__init__(address, handler)
        self.archive = archive
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; answers under way go on."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that hang up: it is what the tests make them do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fadae-embedded"
    timeout = 60
    server: Listener

    @property
    def archive(self) -> ArchiveState:
        return self.server.archive

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the archive keeps its requests itself."""

    def begin(self, where: Where, name: str) -> Fault | None:
        """Keep the request and return what goes wrong with it, if anything."""
        headers = self.headers
        asked = headers.get("Range", "")
        self.archive.note(
            Request(
                where,
                name,
                self.path,
                asked,
                headers.get("User-Agent", ""),
                headers.get("Accept-Encoding", ""),
                time.monotonic(),
            )
        )
        fault = self.archive.mischief.draw(where, name, bool(asked))
        if fault and fault.kind is Kind.STALL_HEADERS:
            self.stall(fault.seconds)
        return fault

    def stall(self, seconds: float) -> None:
        """Say nothing for a while, or until the archive stops, then hang up."""
        self.archive.stopping.wait(seconds)
        self.close_connection = True
        raise ConnectionAbortedError("stalled, as planned")

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; header names are written with _ for -."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_page(self, status: int = 200, **headers: str) -> None:
        """Send a web page, as the archive does where a person would read it."""
        self.answer(status, WEB_PAGE, Content_Type="text/html; charset=UTF-8", **headers)

    def misbehave(self, fault: Fault | None) -> bool:
        """Answer as a fault says where that needs no file; return whether it did."""
        if fault is None:
            return False
        if fault.kind is Kind.STATUS:
            wait = {} if fault.retry_after is None else {"Retry_After": fault.retry_after}
            self.answer_page(fault.status, **wait)
        elif fault.kind in (Kind.HTML, Kind.NOT_JSON):
            self.answer_page()
        elif fault.kind is Kind.ERROR:
            self.answer_json({"error": "something went wrong inside"}, fault.status)
        else:
            return False
        return True

    def answer_json(self, value: object, status: int = 200) -> None:
        """Send JSON, in gzip and chunks where the client takes gzip, as the archive does."""
        self.answer_text(json.dumps(value).encode(), status)

    def answer_text(self, body: bytes, status: int = 200) -> None:
        """Send a JSON text."""
        if "gzip" not in self.headers.get("Accept-Encoding", ""):
            self.answer(status, body, Content_Type="application/json")
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (*_pieces(gzip.compress(body, 6), 4096), b""):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))


class FrontHandler(_Handler):
    """archive.org itself: metadata, search, and downloads as redirects to a datanode."""

    def do_GET(self) -> None:
        """Answer, or pass over a client that hung up."""
        path, _, query = self.path.partition("?")
        first, _, rest = path.lstrip("/").partition("/")
        if first == "metadata":
            self._metadata(unquote(rest))
        elif path == "/services/search/v1/scrape":
            self._scrape(dict(parse_qsl(query)))
        elif first == "download":
            item, _, name = rest.partition("/")
            self._download(unquote(item), unquote(name))
        else:
            self.answer_page(404)

    def _metadata(self, identifier: str) -> None:
        fault = self.begin(Where.METADATA, identifier)
        if self.misbehave(fault):
            return
        item = self.archive.items.get(identifier)
        body = json.dumps(item.answer() if item else {}).encode()
        if fault and fault.kind is Kind.BOMB:
            body = b'{"padding": "' + b" " * fault.size_bytes + b'"}'
        self.answer_text(body)

    def _scrape(self, asked: dict[str, str]) -> None:
        fault = self.begin(Where.SEARCH, asked.get("q", ""))
        if self.misbehave(fault):
            return
        try:
            answer = scrape(list(self.archive.items.values()), asked)
        except QueryError as error:
            self.answer_json({"error": str(error)}, 400)
            return
        if fault and fault.kind is Kind.FEWER:
            answer["total"] += 1
        self.answer_json(answer)

    def _download(self, identifier: str, name: str) -> None:
        fault = self.begin(Where.FRONT, f"{identifier}/{name}")
        if self.misbehave(fault):
            return
        item = self.archive.items.get(identifier)
        file = item.file(name) if item else None
        if file is None or file.is_private:
            self.answer_page(404 if file is None else 403)
            return
        host = self.archive.datanode_url
        if fault and fault.kind is Kind.REFUSED:
            host = self.archive.closed_url
        elif fault and fault.kind is Kind.FOREIGN:
            host = "http://archive.org.example.com"
        self.answer(302, Location=f"{host}/1/items/{quote(identifier)}/{quote(name)}")


class DatanodeHandler(_Handler):
    """A datanode: the bytes of the files, whole or from a place on."""

    def do_GET(self) -> None:
        """Answer, or pass over a client that hung up."""
        path = self.path.partition("?")[0].removeprefix("/1/items/")
        identifier, _, name = path.partition("/")
        identifier, name = unquote(identifier), unquote(name)
        fault = self.begin(Where.DATANODE, f"{identifier}/{name}")
        if self.misbehave(fault):
            return
        item = self.archive.items.get(identifier)
        file = item.file(name) if item else None
        if file is None:
            self.answer_page(404)
            return
        self._send_file(file.path.read_bytes(), fault)

    def _send_file(self, data: bytes, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        if kind is Kind.CHANGED:
            data = bytes(byte ^ 0xFF for byte in data[:100]) + data
        elif kind is Kind.CORRUPT:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        start = self._start(len(data), kind)
        if start is None:
            self.answer(416, Content_Range=f"bytes */{len(data)}")
            return
        body = data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        if start:
            told = start + 1 if kind is Kind.WRONG_RANGE else start
            self.send_header("Content-Range", f"bytes {told}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        # The transfer is over for the count before the client can know that it is.
        with self.archive.transfer():
            self._send_body(body[:-1], fault)
        self.wfile.write(body[-1:])

    def _start(self, size: int, kind: Kind | None) -> int | None:
        """Return where the answer begins: 0 for the whole file, None where it cannot."""
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        if found is None or kind is Kind.NO_RANGE:
            return 0
        start = int(found[1])
        return None if start >= size or kind is Kind.UNSATISFIABLE else start

    def _send_body(self, body: bytes, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        half = len(body) // 2
        if fault is not None and kind in (Kind.TRUNCATED, Kind.STALL_BODY):
            self.wfile.write(body[:half])
            self.stall(fault.seconds if kind is Kind.STALL_BODY else 0)
        seconds = fault.seconds if fault and kind is Kind.DRIP else self.archive.transfer_seconds
        if not seconds:
            self.wfile.write(body)
            return
        for piece in _pieces(body, max(1, len(body) // _PIECES)):
            self.archive.stopping.wait(seconds / _PIECES)
            self.wfile.write(piece)


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))
