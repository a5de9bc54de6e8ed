"""The listening room's addresses: the page, its files, and the slices of data that it asks for.

It only reads, and every request is bounded: spans have a greatest length, a few threads do the
work, and a request that finds too many others waiting is told to come again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from fadae import figures, metrics
from fadae.audio import Tags
from fadae.audio.write import encode
from fadae.compare import table
from fadae.errors import FadaeError, NoInputError, UnknownNameError, UsageError
from fadae.query import ORIGINAL
from fadae.records import finite
from fadae.web import chooser
from fadae.web.alike import MOST_FOUND
from fadae.web.guard import Guard, checked_token, refuse
from fadae.web.parameters import Parameters
from fadae.web.pictures import Raster
from fadae.web.piece import disposition
from fadae.web.session import WorkspaceSession

log = logging.getLogger("fadae.web")

STATIC = Path(__file__).parent / "static"
LONGEST_AUDIO_SECONDS = 30.0
LONGEST_PICTURE_SECONDS = 60.0
LONGEST_BARK_SECONDS = 300.0
LONGEST_WAVEFORM_SECONDS = 900.0
LONGEST_GENERATED_SECONDS = 30.0
MOST_COLUMNS = 2048
MOST_RESULTS = 200
THREADS = 4
MOST_WAITING = 48
MOST_PIECES = 8  # whole recordings that are sent at the same time

Answer = Callable[[WorkspaceSession, Parameters], Response]


def create_app(
    session: WorkspaceSession | Mapping[str, WorkspaceSession],
    hosts: Iterable[str],
    token: str | None = None,
) -> Starlette:
    """Return the ASGI app of a room: `hosts` are the names it answers to, `token` opens it.

    Of several sessions each is under the path of its name, and "/" leads to them.
    """
    desk = _Desk()
    if token is not None:
        token = checked_token(token)  # here: Starlette makes its middleware when it is asked first
    if isinstance(session, WorkspaceSession):
        routes = _room(desk, session)
    else:
        rooms = [Mount(f"/{name}", routes=_room(desk, one)) for name, one in session.items()]
        names = {name: chooser.shown_name(one.location.url) for name, one in session.items()}
        routes = [Route("/", _chooser(chooser.page(names))), *rooms, _static()]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts, token=token)],
        exception_handlers={HTTPException: refused},
        lifespan=desk.lifespan,
    )


def _room(desk: _Desk, session: WorkspaceSession) -> list[BaseRoute]:
    """Return the addresses of a room; those in its page are relative to the page's own."""
    return [
        Route("/", _page),
        Route("/metrics", desk.answering(_metrics, session)),
        *(
            Route(f"/api/{name}", desk.answering(answer, session))
            for name, answer in ANSWERS.items()
        ),
        Route("/api/piece", desk.sending(session)),
        _static(),
    ]


def _static() -> Mount:
    return Mount("/static", StaticFiles(directory=STATIC))


def _chooser(text: str) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        headers = {"Cache-Control": "no-cache"}
        return Response(text.encode("utf-8", "replace"), 200, headers, "text/html")

    return endpoint


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


async def refused(request: Request, error: Exception) -> Response:
    """Return what Starlette itself refuses, such as an unknown address, as all refusals are."""
    assert isinstance(error, HTTPException)
    return refuse(error.status_code, str(error.detail))


def refusal_of(error: FadaeError | OSError, path: str) -> Response:
    """Return what a visitor is told of an error: what is not there, is wrong, or may pass."""
    if isinstance(error, NoInputError | UnknownNameError):
        return refuse(404, str(error))
    if isinstance(error, UsageError):
        return refuse(400, str(error))
    log.warning("%s: %s", path, error)
    return refuse(503, "the workspace does not answer; try again", {"Retry-After": "2"})


class _Desk:
    """Takes requests, hands each to a thread, and says no when too many wait."""

    def __init__(self) -> None:
        self.waiting = self.pieces = 0
        self.threads: anyio.CapacityLimiter | None = None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.threads = anyio.CapacityLimiter(THREADS)
        yield

    def answering(self, answer: Answer, session: WorkspaceSession) -> Callable[[Request], Any]:
        """Return the endpoint that answers a request of a room in a thread."""

        async def endpoint(request: Request) -> Response:
            if self.waiting >= MOST_WAITING:
                return refuse(503, "too many requests are waiting; try again", {"Retry-After": "1"})
            self.waiting += 1
            try:
                return await anyio.to_thread.run_sync(
                    self._answer, answer, session, request, limiter=self.threads
                )
            except asyncio.CancelledError:  # the server closes and has waited long enough
                return refuse(503, "the listening room is closing")
            finally:
                self.waiting -= 1

        return endpoint

    def sending(self, session: WorkspaceSession) -> Callable[[Request], Any]:
        """Return the endpoint that sends whole recordings of a room, made as they are taken."""
        ready = self.answering(_piece, session)

        async def endpoint(request: Request) -> Response:
            if self.pieces >= MOST_PIECES:
                reason = "too many recordings are being sent; try again"
                return refuse(503, reason, {"Retry-After": "5"})
            made: Response = await ready(request)
            if not isinstance(made, _Made) or request.method == "HEAD":
                return made
            headers = {"Content-Disposition": made.headers["Content-Disposition"]}
            return StreamingResponse(self._sent(made.parts), 200, headers, "audio/flac")

        return endpoint

    async def _sent(self, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the parts, each made in one of the threads that answer everything else."""
        self.pieces += 1
        try:
            while part := await anyio.to_thread.run_sync(next, parts, b"", limiter=self.threads):
                yield part
        finally:
            self.pieces -= 1

    def _answer(self, answer: Answer, session: WorkspaceSession, request: Request) -> Response:
        try:
            given = Parameters(request.query_params.multi_items())
            state = given.text("state", "", longest=32)
            response = answer(session, given)
        except (FadaeError, OSError) as error:
            return refusal_of(error, request.url.path)
        if state and state == session.open()[1]:
            # The address names the state it shows: what it returned once, it will return again.
            response.headers["Cache-Control"] = "private, max-age=86400"
        return response


def _workspace(session: WorkspaceSession, given: Parameters) -> Response:
    given.done()
    return json_answer(session.about())


def _recordings(session: WorkspaceSession, given: Parameters) -> Response:
    text = given.text("search", "", longest=200)
    offset, limit = given.whole("offset", 0), given.whole("limit", 50, most=MOST_RESULTS)
    given.done()
    return json_answer(session.search(text, offset, limit))


def _recording(session: WorkspaceSession, given: Parameters) -> Response:
    recording_id = given.text("recording")
    given.done()
    return json_answer(session.recording(recording_id))


def _audio(session: WorkspaceSession, given: Parameters) -> Response:
    recording_id, source = given.text("recording"), given.text("source", ORIGINAL)
    seconds, hz = given.span(LONGEST_AUDIO_SECONDS), given.band()
    given.done()
    samples, rate_hz = session.audio(recording_id, seconds, source, hz)
    return _wav(samples, rate_hz, session.open()[0].tags(source, recording_id))


def _bands(session: WorkspaceSession, given: Parameters) -> Response:
    recording_id, source = given.text("recording"), given.text("source", ORIGINAL)
    seconds = given.span(LONGEST_PICTURE_SECONDS)
    columns = given.whole("columns", 8, least=2, most=32)
    given.done()
    if columns % 2:
        raise UsageError("parameter 'columns' must be even")
    return _raster(session.band_picture(recording_id, seconds, source, columns))


def _bark(session: WorkspaceSession, given: Parameters) -> Response:
    return _raster(session.bark_picture(*_columns(given, LONGEST_BARK_SECONDS)))


def _waveform(session: WorkspaceSession, given: Parameters) -> Response:
    return _raster(session.waveform(*_columns(given, LONGEST_WAVEFORM_SECONDS)))


def _columns(given: Parameters, longest_seconds: float) -> tuple[str, slice, str, int]:
    """Return the recording, seconds, source and number of columns that a picture is asked for."""
    recording_id, source = given.text("recording"), given.text("source", ORIGINAL)
    seconds = given.span(longest_seconds)
    columns = given.whole("columns", 600, least=1, most=MOST_COLUMNS)
    given.done()
    return recording_id, seconds, source, columns


def _similar(session: WorkspaceSession, given: Parameters) -> Response:
    recording_id, k = given.text("recording"), given.whole("k", 8, least=1, most=MOST_FOUND)
    seconds = given.span(1e6)
    given.done()
    return json_answer(session.more_like(recording_id, seconds, k))


def _map(session: WorkspaceSession, given: Parameters) -> Response:
    given.done()
    return json_answer(session.map())


class _Made(Response):
    """A recording that is ready to be sent."""

    parts: Iterator[bytes]


def _piece(session: WorkspaceSession, given: Parameters) -> Response:
    recording_id, source = given.text("recording"), given.text("source", ORIGINAL)
    given.done()
    found = session.piece(recording_id, source)
    made = _Made(headers={"Content-Disposition": disposition(found.name)}, media_type="audio/flac")
    made.parts = found.parts
    return made


def _codes(session: WorkspaceSession, given: Parameters) -> Response:
    recording_id, run = given.text("recording"), given.text("run")
    seconds = given.span(LONGEST_PICTURE_SECONDS)
    given.done()
    return _raster(session.code_picture(recording_id, seconds, run))


def _generated(session: WorkspaceSession, given: Parameters) -> Response:
    run, method = given.text("run"), given.text("method", "walk", longest=40)
    seed = given.whole("seed", 0, most=2**32 - 1)
    seconds = given.number("seconds", 10.0, least=0.5, most=LONGEST_GENERATED_SECONDS)
    shown = given.choice("as", ("audio", "picture"), "audio")
    between = None
    if method == "interpolate":
        between = (given.text("first"), given.text("second"))
    given.done()
    generated = session.generated(run, method, seed, seconds, between)
    if shown == "picture":
        return _raster(generated.picture)
    workspace = session.open()[0]
    return _wav(generated.samples, workspace.rate_hz, workspace.tags(run, *(between or ())))


def _methods(session: WorkspaceSession, given: Parameters) -> Response:
    run = given.text("run")
    given.done()
    return json_answer(session.methods(run))


def _curves(session: WorkspaceSession, given: Parameters) -> Response:
    run = given.text("run")
    given.done()
    return json_answer(session.curves(run))


def _comparison(session: WorkspaceSession, given: Parameters) -> Response:
    name = given.text("name", longest=80)
    shown = given.choice("as", ("table", "picture"), "table")
    given.done()
    comparison = session.comparison(name)
    if shown == "picture":
        return Response(figures.rate_distortion(comparison), media_type="image/png")
    heads, rows = table.cells(comparison)
    return json_answer(
        {
            "heads": heads,
            "rows": rows,
            "explained": table.explained(comparison),
            "runs": [code["name"] for code in comparison["codes"] if code["kind"] == "run"],
            "recordings": comparison["recordings"],
            "left_out": comparison["left_out"],
        }
    )


ANSWERS: dict[str, Answer] = {
    "workspace": _workspace,
    "recordings": _recordings,
    "recording": _recording,
    "audio": _audio,
    "bands": _bands,
    "bark": _bark,
    "waveform": _waveform,
    "similar": _similar,
    "map": _map,
    "codes": _codes,
    "generated": _generated,
    "methods": _methods,
    "curves": _curves,
    "comparison": _comparison,
}


def _metrics(session: WorkspaceSession, given: Parameters) -> Response:
    given.done()
    return Response(session.metrics(), media_type=metrics.CONTENT_TYPE)


def json_answer(value: dict[str, Any]) -> Response:
    """Return a value as JSON; numbers that are none are null."""
    body = json.dumps(finite(value), allow_nan=False, ensure_ascii=False)
    # Texts come from outside: half a surrogate pair must not stop the rest.
    return Response(body.encode("utf-8", "replace"), media_type="application/json")


def _wav(samples: Any, rate_hz: int, tags: Tags) -> Response:
    return Response(encode(samples, rate_hz, "wav", tags), media_type="audio/wav")


def _raster(raster: Raster) -> Response:
    rows, columns = raster.values.shape
    headers = {
        "Fadae-Rows": str(rows),
        "Fadae-Columns": str(columns),
        "Fadae-Start": repr(raster.start_seconds),
        "Fadae-Stop": repr(raster.stop_seconds),
    }
    return Response(raster.values.tobytes(), 200, headers, "application/octet-stream")
