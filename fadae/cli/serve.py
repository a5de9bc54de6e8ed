"""`fadae serve`: the listening room in a browser."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fadae.cli.options import DEFAULT_WORKSPACE, Workspace

Host = Annotated[str, typer.Option(help="Address to listen on; other machines need another.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


def serve(
    workspace: Workspace = DEFAULT_WORKSPACE,
    host: Host = "127.0.0.1",
    port: Port = 8642,
    open_page: Open = False,
) -> dict[str, Any]:
    """Listen to a workspace: a page to browse, see and hear it, until stopped."""
    from fadae.web import serve as serve_room

    address = ""

    def ready(url: str) -> None:
        nonlocal address
        address = url
        print(f"the listening room is open at {url} (Ctrl-C closes it)", flush=True)
        if open_page:
            typer.launch(url)

    serve_room(workspace, host=host, port=port, ready=ready)
    return {"address": address}
