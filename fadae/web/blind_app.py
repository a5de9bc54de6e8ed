"""The addresses of a blind test: its page, the trial, its sounds, and where answers go."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fadae.errors import FadaeError, UsageError
from fadae.web.app import STATIC, json_answer, refusal_of, refused
from fadae.web.blind import BlindTest
from fadae.web.guard import Guard, checked_token, hosts_for
from fadae.web.server import run_server, server_config

_HOST = "127.0.0.1"  # a listener sits at this computer; nothing leaves it
_ANSWER = "/api/answer"
_MOST_BYTES = 16_384  # of an answer

Answer = Callable[[Request], Awaitable[Response]]


def serve_blind(
    test: BlindTest,
    *,
    port: int = 8643,
    token: str | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve a blind test on this computer until it is over, or until SIGINT or SIGTERM."""
    running: list[uvicorn.Server] = []

    def over() -> None:
        for server in running:
            server.should_exit = True

    app = create_blind_app(test, hosts_for(_HOST), token, over)
    config = server_config(app)
    run_server(config, _HOST, port, ready=ready, open_to_all=False, started=running.append)


def create_blind_app(
    test: BlindTest,
    hosts: Iterable[str],
    token: str | None = None,
    over: Callable[[], None] = lambda: None,
) -> Starlette:
    """Return the ASGI app of a test; `over` is called when its last answer has been sent."""
    if token is not None:
        token = checked_token(token)
    one = _OneAtATime(test, over)
    routes = [
        Route("/", _page),
        Route("/api/trial", one.trial),
        Route("/api/clip", one.clip),
        Route(_ANSWER, one.answer, methods=["POST"]),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts, token=token, posts=[_ANSWER])],
        exception_handlers={HTTPException: refused},
        lifespan=one.lifespan,
    )


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "blind.html", headers={"Cache-Control": "no-cache"})


def _told(handle: Callable[[_OneAtATime, Request], Awaitable[Response]]) -> Any:
    """Return the endpoint with its errors as refusals."""

    @functools.wraps(handle)
    async def endpoint(self: _OneAtATime, request: Request) -> Response:
        try:
            return await handle(self, request)
        except (FadaeError, OSError) as error:
            return refusal_of(error, request.url.path)

    return endpoint


class _OneAtATime:
    """Hands requests to one thread: there is one listener, and one trial."""

    def __init__(self, test: BlindTest, over: Callable[[], None]) -> None:
        self.test, self.over = test, over
        self.thread: anyio.CapacityLimiter | None = None

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.thread = anyio.CapacityLimiter(1)
        yield

    async def _done(self, work: Callable[..., Any], *arguments: object) -> Any:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self.thread)

    @_told
    async def trial(self, request: Request) -> Response:
        return json_answer(await self._done(self.test.state))

    @_told
    async def clip(self, request: Request) -> Response:
        mark = request.query_params.get("mark", "")
        return Response(await self._done(self.test.clip, mark), media_type="audio/wav")

    @_told
    async def answer(self, request: Request) -> Response:
        given = await _body(request)
        arguments = (given.get("trial"), given.get("answers"), given.get("heard"))
        response = json_answer(await self._done(self.test.answer, *arguments))
        if self.test.over:
            response.background = BackgroundTask(self.over)
        return response


async def _body(request: Request) -> dict[str, Any]:
    """Return the object that a request carries; raises UsageError for anything else."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > _MOST_BYTES:
            raise UsageError(f"an answer has at most {_MOST_BYTES} bytes")
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        raise UsageError("an answer is a JSON object") from None
    if not isinstance(given, dict):
        raise UsageError("an answer is a JSON object")
    return given
