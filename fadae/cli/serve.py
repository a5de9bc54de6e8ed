"""`fadae serve`: the listening room in a browser."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Workspace

Host = Annotated[
    str, typer.Option(help="Address to listen on. The default is open to this computer only.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Answer browsers that ask for this host name; repeatable. --host 0.0.0.0 needs one.",
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


def serve(
    workspace: Workspace = DEFAULT_WORKSPACE,
    host: Host = "127.0.0.1",
    port: Port = 8642,
    allow_host: AllowHost = None,
    open_page: Open = False,
) -> dict[str, Any]:
    """Open the listening room: a page in the browser to search, see and hear a workspace."""
    from fadae.web import serve as serve_room

    address = ""

    def ready(url: str) -> None:
        nonlocal address
        address = url
        print(f"the listening room is open at {url} (Ctrl-C closes it)", flush=True)
        if open_page:
            typer.launch(url)

    serve_room(workspace, host=host, port=port, allow_hosts=allow_host or (), ready=ready)
    return {"address": address}
