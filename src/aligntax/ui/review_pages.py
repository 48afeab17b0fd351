"""The addresses of the review page, and its server."""

from __future__ import annotations

import contextlib
import hashlib
import unicodedata
import urllib.parse
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..report.text import visible
from ..stats.binomial import clopper_pearson
from . import pages, session
from .desk import Refused
from .guard import Guard
from .questions import NOTE_LIMIT
from .review import TWINS, Changed, Progress, Table
from .serving import _address, _listen

HOST = "127.0.0.1"
_FIELDS = 10
_SAFE = "Every decision of before is in the file."
ERRORS = {
    400: ("That form cannot be read", f"Go back to the review. {_SAFE}"),
    401: (
        "Please open your personal link",
        f"It stands where the review was started, and is a new one each time. {_SAFE}",
    ),
    403: ("This form was not taken", f"It comes from another page. Go back to the review. {_SAFE}"),
    404: ("There is nothing here", "The address may be incomplete."),
    405: ("That is not how this page is used", f"Go back to the review. {_SAFE}"),
    409: (
        "The file was changed by somebody else",
        "Nothing was written over it. End the review with Ctrl-C and start it again: it goes on with the file as it "
        "is now.",
    ),
    413: ("That is too much for one form", f"Shorten the note. {_SAFE}"),
    421: ("This page does not answer at this address", "Use the link exactly as it was printed."),
    500: (
        "That could not be written",
        f"Is the disk full, or the folder read-only? Then try again. {_SAFE}",
    ),
}
"""Status -> what the page says of it, and what to do."""


def build(table: Table, token: str) -> Starlette:
    """The application, with its wall round it; `token` is the one link's."""
    site = _Site(table, token)
    return Starlette(
        routes=[
            Route("/", site.home),
            Route("/a/{token}", site.enter),
            Route("/decide", site.decide, methods=["POST"]),
            Route("/undo", site.undo, methods=["POST"]),
            Route("/static/{name}", _static),
            Route("/favicon.ico", _icon),
        ],
        middleware=[Middleware(Guard, hosts=(), error_page=error_page)],
        exception_handlers={
            HTTPException: _error,
            Refused: _error,
            Changed: _changed,
            OSError: _error,
        },
    )


def run(table: Table, token: str, *, port: int, announce: Callable[[str], object]) -> None:
    """Serve until Ctrl-C."""
    clopper_pearson(0, 1)  # loads what the first decision would wait for
    with _listen(HOST, port) as listening:
        config = uvicorn.Config(
            build(table, token),
            access_log=False,  # its lines would hold the token of the link
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=5,
        )
        base = _address(HOST, listening.getsockname()[1], secure=False)
        announce(f"{base}/a/{token}")
        announce("The link is yours alone: whoever has it decides in the file. Ctrl-C ends.")
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


class _Site:
    def __init__(self, table: Table, token: str) -> None:
        self.table, self.token = table, token
        self.cookie = session.cookie_name(f"review {table.path}", secure=False)

    async def home(self, request: Request) -> Response:
        """The next open row, or how it came out."""
        if not request.cookies.get(self.cookie) and request.headers.get("sec-fetch-site") == "cross-site":
            return _page(pages.page("again.html"))  # a strict cookie comes once the page itself asks
        self._known(request)
        return await run_in_threadpool(self._shown, request, "")

    async def enter(self, request: Request) -> Response:
        """The link: remember the token, and take it out of the address."""
        if not session.same(request.path_params["token"], self.token):
            raise Refused(401)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return response

    async def decide(self, request: Request) -> Response:
        """Write one decision."""
        form = await self._posted(request)
        at = self._row(form)
        choice = next((one for one in self.table.kind.choices if one.name == form.get("choice")), None)
        words = " ".join(form.get("note", "").split())
        note = "".join(sign for sign in words if unicodedata.category(sign) != "Cc")
        if choice is None or len(note) > NOTE_LIMIT:
            raise Refused(400)
        await run_in_threadpool(self.table.decide, at, choice, note)
        return await self._answered(request, f"Written: {choice.title}.")

    async def undo(self, request: Request) -> Response:
        """Open the last one again."""
        form = await self._posted(request)
        await run_in_threadpool(self.table.undo, self._row(form))
        return await self._answered(request, "Taken back.")

    async def _answered(self, request: Request, said: str) -> Response:
        if not _by_htmx(request):
            return RedirectResponse("/", status_code=303)  # a reload sends nothing twice
        return await run_in_threadpool(self._shown, request, said)

    def _known(self, request: Request) -> None:
        if not session.same(request.cookies.get(self.cookie, ""), self.token):
            raise Refused(401)

    async def _posted(self, request: Request) -> dict[str, str]:
        self._known(request)
        try:
            body = (await request.body()).decode()
            fields = urllib.parse.parse_qs(
                body, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS
            )
        except ValueError:
            raise Refused(400) from None
        form = {name: values[0] for name, values in fields.items()}
        if not session.same(form.get("form_key", ""), session.form_key(self.token)):
            raise Refused(403)
        return form

    def _row(self, form: dict[str, str]) -> int:
        """Only what was shown can be decided."""
        word = form.get("row", "")
        if not session.same(form.get("ticket", ""), session.ticket(self.token, word)):
            raise Refused(403)
        if not word.isdecimal():  # where there is nothing to take back
            raise Refused(400)
        return int(word)

    def _shown(self, request: Request, said: str) -> Response:
        at, last, progress = self.table.next(), self.table.last(), self.table.progress()
        shown: dict[str, Any] = {
            "title": f"{progress.done} of {progress.total} decided" if at is not None else "Reviewed",
            "said": said,
            "kind": self.table.kind,
            "progress": progress,
            "rate": _rate(progress, self.table.kind.passing),
            "form_key": session.form_key(self.token),
            "row": at,
            "ticket": session.ticket(self.token, str(at)),
            "last": last,
            "last_ticket": session.ticket(self.token, str(last)),
            "passages": self._passages(at) if at is not None else [],
            "note": self.table.cell(at, "note") if at is not None else "",
            "note_limit": NOTE_LIMIT,
            "file": visible(self.table.path.name),
        }
        return _page(pages.page("review_page.html" if _by_htmx(request) else "review.html", **shown))

    def _passages(self, at: int) -> list[tuple[str, pages.Passage]]:
        """Headings and texts. Which twin is the sensitive one is not said, nor told by its place."""
        kind = self.table.kind
        texts = [pages.passage(self.table.cell(at, column)) for column in kind.texts]
        if kind is TWINS:
            name = self.table.cell(at, kind.needs[0])
            if hashlib.sha256(f"side {name}".encode()).digest()[0] % 2:
                texts.reverse()
            return list(zip(("First", "Second"), texts, strict=True))
        return [
            (title, text) for title, text in zip(("Prompt", "System prompt"), texts, strict=True) if text.text
        ]


def _rate(progress: Progress, passing: str) -> str:
    """In words; nothing before the first decision."""
    rate = progress.rate
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return ""
    percent = [f"{part * 100:.1f}%" for part in (rate.value, rate.low, rate.high)]
    return (
        f"{progress.passed} {passing}: {percent[0]} ({rate.level:.0%} interval {percent[1]} to {percent[2]})"
    )


def error_page(status: int) -> bytes:
    """A page that says what to do."""
    title, advice = ERRORS.get(status, ERRORS[500])
    return pages.page("review_error.html", title=title, advice=advice, way_back=status not in (401, 409, 421))


def _by_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def _page(body: bytes, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="text/html")


async def _error(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, Refused) else getattr(error, "status_code", 500)
    return _page(error_page(status), status)


async def _changed(request: Request, error: Exception) -> Response:
    return _page(error_page(409), 409)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in pages.STATIC:
        raise Refused(404)
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(pages.static_file(name), media_type=pages.STATIC[name], headers=headers)


async def _icon(request: Request) -> Response:
    return Response(pages.static_file("icon.svg"), media_type=pages.STATIC["icon.svg"])
