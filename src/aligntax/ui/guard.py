"""The wall round the page: whom it answers, what it accepts, and which headers every reply carries.

The page shows what people wrote and takes labels that a release may hang on. So it answers only at its own
addresses (a foreign name that resolves to 127.0.0.1 is how a web page reaches into a machine), takes a form
only from itself, reads no more than a form can hold, and never shows or logs the text of an error.
"""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
BODY_LIMIT = 64 * 1024  # bytes; a form with the longest note has about a tenth

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}

_log = logging.getLogger("aligntax.ui")


class _TooLarge(Exception):
    """The body went over the limit while it was read."""


class Guard:
    """An ASGI application round another one. `error_page` gives the body of an error by its status."""

    def __init__(self, app: App, *, hosts: Collection[str], error_page: Callable[[int], bytes]) -> None:
        self.app, self.error_page = app, error_page
        self.hosts = frozenset(host_name(host) for host in (*LOOPBACK, *hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on and dress the reply."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _with_headers(message.get("headers", ()))
            await send(message)

        try:
            if status := self._refusal(scope):
                await self._reply(status, dressed)
            else:
                await self.app(scope, _limited(receive), dressed)
        except _TooLarge:
            await self._reply(413, dressed)
        except Exception as error:  # noqa: BLE001 - whatever it is, its message may hold text of a log
            _log.error("%s failed: %s", scope["method"], type(error).__name__)
            if not started:
                await self._reply(500, dressed)

    def _refusal(self, scope: Scope) -> int | None:
        """The status to refuse a request with, or None."""
        headers = _headers(scope)
        hosts = headers.get("host", ())
        if len(hosts) != 1 or host_name(hosts[0]) not in self.hosts:
            return 421
        if scope["method"] in ("GET", "HEAD"):
            return None
        if not from_this_page(headers, hosts[0]):
            return 403
        length = headers.get("content-length", ("0",))[0]
        if not length.isdecimal() or len(length) > 12:
            return 400
        return 413 if int(length) > BODY_LIMIT else None

    async def _reply(self, status: int, send: Send) -> None:
        body = self.error_page(status)
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
        ]
        if status == 413:
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def host_name(host: str) -> str:
    """The name in a Host header or in what a person configured: no port, no brackets, lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def from_this_page(headers: Mapping[str, tuple[str, ...]], host: str) -> bool:
    """Whether a browser says that its request comes from a page of ours. Other programs say nothing.

    A form that is posted under `no-referrer` has the origin `null`; then the browser must vouch in another way.
    """
    site = headers.get("sec-fetch-site", ("",))[0]
    if site not in ("", "same-origin"):
        return False
    origin = headers.get("origin", ("",))[0]
    if origin in ("", "null"):
        return origin == "" or site == "same-origin"
    return urllib.parse.urlsplit(origin).netloc.lower() == host.strip().lower()


def _headers(scope: Scope) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        found[key] = (*found.get(key, ()), value.decode("latin-1"))
    return found


def _with_headers(headers: Collection[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The reply's own headers and ours; what the reply says itself stands."""
    own = {name.lower() for name, _ in headers}
    ours = ((name.encode(), value.encode()) for name, value in HEADERS.items())
    return [*headers, *((name, value) for name, value in ours if name not in own)]


def _limited(receive: Receive) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > BODY_LIMIT:
            raise _TooLarge
        return message

    return counted
