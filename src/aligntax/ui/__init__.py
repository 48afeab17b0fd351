"""The labelling page: experts label exchanges in a browser, blind to model and detector. Needs the extra `serve`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..errors import MissingExtra

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ..store import Store

__all__ = ["app", "serve"]


def app(store: Store, draw_id: str, *, secure: bool = False, hosts: Sequence[str] = ()) -> Starlette:
    """The page as an ASGI application, for a server of your own.

    It answers at localhost, 127.0.0.1, [::1] and the names in `hosts`. `secure` says that browsers reach it by
    TLS, and keeps its cookie to that. Give people `/a/TOKEN` with the token of `store.add_annotator`.
    Run it in one process: what one person sends is put in order within it.

    Raises InputError where there is no such draw, and MissingExtra without starlette.
    """
    _need("starlette")
    from .server import build

    return build(store, draw_id, secure=secure, hosts=hosts)


def serve(  # noqa: PLR0913 - each is one fact of the address, and all but one have a default
    store: Store,
    draw_id: str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    annotators: Sequence[str] = (),
    adjudicators: Sequence[str] = (),
    announce: Callable[[str], object] = print,
    public_url: str | None = None,
    certificate: str | None = None,
    certificate_key: str | None = None,
) -> None:
    """Serve the page until Ctrl-C, after one line a person, with their link, was handed to `announce`.

    Port 0 takes a free one. `public_url` is where a reverse proxy with TLS shows the page; `certificate` and
    `certificate_key` are PEM files for TLS without one. New links are made each time, and void the old ones.

    Raises InputError where it cannot listen, where `host` is not of this machine and there is no TLS, where nobody
    is named or somebody twice; MissingExtra without starlette and uvicorn.
    """
    _need("starlette")
    _need("uvicorn")
    from .serving import run

    run(
        store,
        draw_id,
        host=host,
        port=port,
        annotators=annotators,
        adjudicators=adjudicators,
        announce=announce,
        public_url=public_url,
        certificate=certificate,
        certificate_key=certificate_key,
    )


def _need(package: str) -> None:
    if find_spec(package) is None:
        raise MissingExtra(package, "serve")
