"""The addresses of the labelling page."""

from __future__ import annotations

import urllib.parse
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from . import pages, session
from .desk import Desk, Refused, View, Visitor
from .guard import Guard

if TYPE_CHECKING:
    from ..store import Store

Endpoint = Callable[[Request], Awaitable[Response]]
_FIELDS = 40  # of a form; ours have about ten


def build(store: Store, draw_id: str, *, secure: bool, hosts: Sequence[str]) -> Starlette:
    """The application, with its wall round it."""
    site = Site(Desk(store, draw_id), secure=secure)
    return Starlette(
        routes=[
            Route("/", site.home),
            Route("/codebook", site.codebook),
            Route("/a/{token}", site.enter),
            Route("/label", site.form(site.desk.label), methods=["POST"]),
            Route("/skip", site.form(site.desk.skip), methods=["POST"]),
            Route("/settle", site.form(site.desk.settle), methods=["POST"]),
            Route("/undo", site.form(lambda visitor, _: site.desk.undo(visitor)), methods=["POST"]),
            Route("/leave", site.leave, methods=["POST"]),
            Route("/static/{name}", _static),
            Route("/favicon.ico", _icon),
        ],
        middleware=[Middleware(Guard, hosts=hosts, error_page=pages.error_page)],
        exception_handlers={HTTPException: _error, Refused: _error},
    )


class Site:
    """The endpoints: who is asking, and the desk's answer as a page or as the part of it that htmx wants."""

    def __init__(self, desk: Desk, *, secure: bool) -> None:
        self.desk, self.secure = desk, secure
        self.cookie = session.cookie_name(desk.draw_id, secure=secure)

    async def home(self, request: Request) -> Response:
        """The next thing to do."""
        visitor = await self._visitor(request)
        if visitor is None and request.headers.get("sec-fetch-site") == "cross-site":
            # A link in a web mail: the browser holds a strict cookie back until the page itself asks.
            return _page(pages.page("again.html"))
        if visitor is None:
            raise Refused(401)
        return _answer(request, await run_in_threadpool(self.desk.home, visitor))

    async def codebook(self, request: Request) -> Response:
        """The codebook as a page of its own, for browsers without scripts."""
        if await self._visitor(request) is None:
            raise Refused(401)
        return _page(pages.page("codebook.html", title="Codebook"))

    async def enter(self, request: Request) -> Response:
        """A personal link: remember who it is, and take the token out of the address."""
        token = request.path_params["token"]
        if await run_in_threadpool(self.desk.visitor, token) is None:
            raise Refused(401)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            self.cookie,
            token,
            max_age=session.DAYS * 86_400,
            httponly=True,
            samesite="strict",
            secure=self.secure,
        )
        return response

    async def leave(self, request: Request) -> Response:
        """Forget who it is."""
        await self._posted(request)
        response = _page(pages.error_page(401))
        response.delete_cookie(self.cookie, httponly=True, samesite="strict", secure=self.secure)
        return response

    def form(self, work: Callable[[Visitor, dict[str, list[str]]], View]) -> Endpoint:
        """An endpoint that takes a form, does `work` with it and shows what comes of it."""

        async def endpoint(request: Request) -> Response:
            visitor, form = await self._posted(request)
            view = await run_in_threadpool(work, visitor, form)
            tells = view.status != 200 or view.shown["filled"] or view.shown["notice"]
            if not tells and not _by_htmx(request):
                return RedirectResponse("/", status_code=303)  # a reload sends nothing twice
            return _answer(request, view)

        return endpoint

    async def _visitor(self, request: Request) -> Visitor | None:
        token = request.cookies.get(self.cookie, "")
        return await run_in_threadpool(self.desk.visitor, token) if token else None

    async def _posted(self, request: Request) -> tuple[Visitor, dict[str, list[str]]]:
        """Who sent a form, and its fields. Raises Refused for strangers and for forms of other people's pages."""
        visitor = await self._visitor(request)
        if visitor is None:
            raise Refused(401)
        try:
            body = (await request.body()).decode()
            form = urllib.parse.parse_qs(
                body, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS
            )
        except ValueError:
            raise Refused(400) from None
        if not session.same("".join(form.get("form_key", ())), session.form_key(visitor.token)):
            raise Refused(403)
        return visitor, form


def _by_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def _answer(request: Request, view: View) -> Response:
    body = pages.page("page.html" if _by_htmx(request) else "desk.html", **view.shown)
    return _page(body, view.status)


def _page(body: bytes, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="text/html")


async def _error(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refused) else getattr(error, "status_code", 500)
    return _page(pages.error_page(status), status)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in pages.STATIC:
        raise Refused(404)
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(pages.static_file(name), media_type=pages.STATIC[name], headers=headers)


async def _icon(request: Request) -> Response:
    return Response(pages.static_file("icon.svg"), media_type=pages.STATIC["icon.svg"])
