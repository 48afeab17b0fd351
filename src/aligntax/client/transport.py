"""One try of one call over HTTP: a body goes out, an `Answer` or a `Fault` comes back."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from yarl import URL

from .. import __version__
from ..errors import InputError
from ..types import Outcome, Request
from .answer import Answer, Wire
from .endings import ending
from .faults import Fault, refused_status
from .names import Target
from .settings import ClientSettings
from .sse import Events

_LARGEST = 32 << 20  # bytes of a reply; no text answer comes near
_LARGEST_ERROR = 1 << 16
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class Transport:
    """The connections to one model. Use as an async context manager."""

    def __init__(self, target: Target, wire: Wire, key: str | None, settings: ClientSettings) -> None:
        self._target, self._wire, self._key, self._settings = target, wire, key, settings
        self._url = URL(target.base_url + wire.path)
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if settings.stream else "application/json",
            "User-Agent": f"aligntax/{__version__}",
            **wire.headers(key),
        }
        self._proxy = _proxy(target)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:  # never the headers: they hold the key
        return f"Transport({self._target.name!r})"

    async def __aenter__(self) -> Transport:
        settings = self._settings
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=settings.total_s, sock_connect=settings.connect_s),
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, request: Request, body: bytes, idempotency_key: str | None) -> tuple[Answer, int]:
        """The answer, and the HTTP status it came with. Raises Fault."""
        if self._session is None:
            raise InputError(
                "the model is closed", where=self._target.name, remedy="use it inside `async with`"
            )
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, proxy=self._proxy, allow_redirects=False
            ) as reply:
                return await self._read(request, reply)
        except TimeoutError as error:
            sent = not isinstance(error, _NOT_SENT)
            raise Fault("no whole answer in time" if sent else "no connection in time", sent=sent) from None
        except aiohttp.ClientSSLError:
            raise Fault("the server's certificate cannot be trusted", retryable=False) from None
        except (aiohttp.ClientError, OSError) as error:
            sent = not isinstance(error, _NOT_SENT)
            raise Fault(_broken(error), sent=sent) from None

    async def _read(self, request: Request, reply: aiohttp.ClientResponse) -> tuple[Answer, int]:
        status = reply.status
        if status >= 300:
            content = await self._content(reply, _LARGEST_ERROR, cut=True)
            answer = Answer(error=_error_in(content))
        elif self._settings.stream and reply.content_type == "text/event-stream":
            answer = await self._stream(reply)
        else:
            answer = self._decoded(await self._content(reply, _LARGEST))
        if (status >= 300 or answer.error) and ending(answer, status).outcome is Outcome.ERROR:
            raise refused_status(status, answer.error, reply.headers, self._target, request, self._key)
        return answer, status

    async def _content(self, reply: aiohttp.ClientResponse, most: int, *, cut: bool = False) -> bytes:
        """The body, whole; `cut`: no more than `most` of it, else more than `most` is a fault."""
        chunks, size = [], 0
        while chunk := await self._next(reply):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                if cut:
                    break
                raise Fault("the answer is larger than any text", retryable=False, sent=True)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _stream(self, reply: aiohttp.ClientResponse) -> Answer:
        events, assembler, size = Events(), self._wire.assembler(), 0
        try:
            while chunk := await self._next(reply):
                size += len(chunk)
                if size > 4 * _LARGEST:
                    raise Fault("the answer is larger than any text", retryable=False, sent=True)
                for data in events.feed(chunk):
                    assembler.feed(data)
            for data in events.close():
                assembler.feed(data)
        except (aiohttp.ClientError, OSError):
            if not assembler.finished:
                raise
        except (msgspec.MsgspecError, UnicodeError):
            raise Fault("the stream is none of this protocol", retryable=False, sent=True) from None
        answer = assembler.answer()
        if not assembler.finished and not answer.error:
            raise Fault("the stream ended before the answer did", sent=True)
        return answer

    async def _next(self, reply: aiohttp.ClientResponse) -> bytes:
        """The next piece of the body, empty at its end."""
        if reply.content.at_eof():
            return b""
        async with asyncio.timeout(self._settings.idle_s):
            return await reply.content.readany()

    def _decoded(self, content: bytes) -> Answer:
        try:
            return self._wire.decode(content)
        except msgspec.ValidationError:
            raise Fault(
                "the answer has another shape than this protocol's (check the base URL)",
                retryable=False,
                sent=True,
            ) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Fault("the answer is no JSON, or was cut", sent=True) from None


def _error_in(content: bytes) -> Any:
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return content[:_LARGEST_ERROR].decode("utf-8", "replace")
    return body.get("error", body) if isinstance(body, dict) else body


def _broken(error: Exception) -> str:
    """What happened to the connection; the error's own words may hold addresses, and say less."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the server's name is unknown (check the base URL)"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "nobody answers at the base URL"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer broke off"
    return "the connection broke"


def _proxy(target: Target) -> str | None:
    """The proxy of the environment for this host, looked up once."""
    scheme = target.base_url.partition(":")[0].lower()
    proxy = getproxies().get(scheme)
    if not proxy or target.host in {"localhost", "127.0.0.1", "::1"} or proxy_bypass(target.host):
        return None
    return proxy
