"""A server on loopback that speaks the vendors' forms and answers as a simulated model does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web

from ..errors import InputError
from ..types import Request
from .faults import Faults
from .model import PREFIX, FakeModel
from .wire import PROTOCOLS, Protocol, Unreadable, tool_of

_MESSAGES = "/messages"


class FakeServer:
    """A SIMULATOR behind HTTP, as an async context manager: OpenAI chat and Responses, Anthropic Messages, streams too.

    `model` answers (a FakeModel without faults of its own); a request for `fake/PERSONA` or `PERSONA` is answered by
    that persona with the same knowledge where `model` is not given. `script` orders events for the first calls and
    `faults` gives probabilities for the rest, by the names of EVENTS: 4xx and 5xx with a vendor's error body (429 with
    `Retry-After: retry_after_s`), `timeout` and `stall` wait `stall_s` and then close, `reset` closes at once, `half`
    breaks off in the middle of the body. `key` is the API key that callers must send.

    `base_url` is what a client is given. `calls` counts requests, `answered` the whole replies by the text of the last
    user turn, `most_at_once` the requests in flight together.
    """

    def __init__(  # noqa: PLR0913 - each is one knob of the simulation
        self,
        model: FakeModel | None = None,
        *,
        script: Iterable[str] = (),
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        stall_s: float = 30.0,
        retry_after_s: float = 0.0,
        key: str | None = None,
        port: int = 0,
    ) -> None:
        self._model, self._seed = model, seed
        self._faults = Faults(script, faults, seed)
        self._stall_s, self._retry_after_s = stall_s, retry_after_s
        self._key, self._port = key, port
        self._models: dict[str, FakeModel] = {}
        self._runner: web.AppRunner | None = None
        self._leaving = asyncio.Event()
        self._in_flight = 0
        self.most_at_once = 0
        self.answered: Counter[str] = Counter()

    @property
    def calls(self) -> int:
        """Requests so far, those that failed on order included."""
        return self._faults.calls

    @property
    def base_url(self) -> str:
        """Such as http://127.0.0.1:40123/v1; the port is the system's choice unless one was given."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> FakeServer:
        app = web.Application(client_max_size=64 * 2**20)
        for path, protocol in PROTOCOLS.items():
            app.router.add_post(f"/v1{path}", _handler(self, path, protocol))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def handle(self, http: web.Request, path: str, protocol: Protocol) -> web.StreamResponse:
        """The answer to one HTTP request, or the fault that is due."""
        event = self._faults.next()
        self._in_flight += 1
        self.most_at_once = max(self.most_at_once, self._in_flight)
        try:
            return await self._answer(http, path, protocol, event)
        finally:
            self._in_flight -= 1

    async def _answer(
        self, http: web.Request, path: str, protocol: Protocol, event: str
    ) -> web.StreamResponse:
        if not self._may_ask(http):
            return _failure(protocol, 401, "invalid_api_key", "simulated: wrong key")
        if event.isdecimal():
            return self._failed(protocol, int(event))
        if event == "input_blocked":
            return _failure(
                protocol, 400, "content_filter", "simulated: the prompt was filtered by content policy"
            )
        if event in {"stall", "timeout", "reset"}:
            return await self._hang_up(http, self._stall_s if event != "reset" else 0.0)
        try:
            body = msgspec.json.decode(await http.read(), type=dict[str, Any])
            request = protocol.request(body)
            model = self._model_of(str(body.get("model", "")))
        except (msgspec.MsgspecError, Unreadable, InputError) as error:
            return _failure(protocol, 400, "invalid_request", f"simulated: {error}")
        # What was ordered happens whatever the persona would have done.
        reply = await model(request) if event in {"ok", "half"} else model.reply(request, 0, event)
        if reply.outcome == "input_blocked":
            return _failure(
                protocol, 400, "content_filter", "simulated: the prompt was filtered by content policy"
            )
        name = str(body.get("model", model.name))
        tool = tool_of(body) if path == _MESSAGES else None
        if body.get("stream"):
            events = list(protocol.events(reply, name, tool))
            response = await _stream(http, events, half=event == "half")
        else:
            response = await _whole(
                http, msgspec.json.encode(protocol.body(reply, name, tool)), half=event == "half"
            )
        if event != "half":
            self._count(request)
        return response

    async def _hang_up(self, http: web.Request, wait_s: float) -> web.StreamResponse:
        try:
            async with asyncio.timeout(wait_s):
                await self._leaving.wait()
        except TimeoutError:
            pass
        _cut(http)
        return web.Response(status=500)  # nobody gets it: the connection is closed

    def _failed(self, protocol: Protocol, status: int) -> web.Response:
        response = _failure(protocol, status, f"simulated_{status}", f"simulated: status {status} on order")
        if status == 429:
            response.headers["Retry-After"] = f"{self._retry_after_s:g}"
        return response

    def _may_ask(self, http: web.Request) -> bool:
        sent = http.headers.get("x-api-key") or http.headers.get("Authorization", "").removeprefix("Bearer ")
        return self._key is None or sent == self._key

    def _model_of(self, name: str) -> FakeModel:
        if self._model is not None:
            return self._model
        if name not in self._models:
            self._models[name] = FakeModel(name.removeprefix(PREFIX) or "aligned", seed=self._seed)
        return self._models[name]

    def _count(self, request: Request) -> None:
        asked = next((turn.content for turn in reversed(request.messages) if turn.role == "user"), "")
        self.answered[asked] += 1


def _handler(server: FakeServer, path: str, protocol: Protocol) -> Any:
    async def handle(http: web.Request) -> web.StreamResponse:
        return await server.handle(http, path, protocol)

    return handle


async def _stream(http: web.Request, events: list[bytes], *, half: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(http)
    for event in events[: len(events) // 2] if half else events:
        await response.write(event)
    if half:
        _cut(http)
    else:
        await response.write_eof()
    return response


async def _whole(http: web.Request, content: bytes, *, half: bool) -> web.StreamResponse:
    if not half:
        return web.Response(body=content, content_type="application/json")
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    response = web.StreamResponse(headers=headers)
    await response.prepare(http)
    await response.write(content[: len(content) // 2])
    _cut(http)
    return response


def _failure(protocol: Protocol, status: int, code: str, text: str) -> web.Response:
    body = msgspec.json.encode(protocol.error(status, code, text))
    return web.Response(status=status, body=body, content_type="application/json")


def _cut(http: web.Request) -> None:
    """Close the connection in the middle, without a goodbye."""
    if http.transport is not None:
        http.transport.abort()
