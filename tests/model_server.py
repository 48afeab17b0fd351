"""A model endpoint on loopback that answers, fails, breaks off and stalls as a test's plan says, and counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

from aligntax.types import Message, Request


class Call(NamedTuple):
    """One request that came in."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: dict[str, Any]
    number: int  # of the call, from 0

    @property
    def text(self) -> str:
        """The last user turn."""
        turns = self.body.get("messages") or self.body.get("input")
        return str(turns[-1]["content"])


class Whole(NamedTuple):
    """A reply that arrives whole."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Stream(NamedTuple):
    """Pieces of a chunked body; `end`: "well", "reset" or "stall"."""

    pieces: list[bytes]
    end: str = "well"
    pause_s: float = 0.0


class Half(NamedTuple):
    """The first half of a reply, then the connection closes, or stalls."""

    body: bytes
    stall: bool = False


class Reset(NamedTuple):
    """The connection is torn before a byte is sent."""


class Silence(NamedTuple):
    """Nothing comes, until the client gives up."""


Answer = Whole | Stream | Half | Reset | Silence


class ModelServer:
    """Use with `async with`; `url` is the base URL with /v1."""

    def __init__(self, plan: Callable[[Call], Answer], *, delay_s: float = 0.0) -> None:
        self.plan, self.delay_s = plan, delay_s
        self.calls: list[Call] = []
        self.completed: list[str] = []  # the text of each call with status 200 whose answer was sent whole
        self.in_flight = self.peak = self.connections = self.left = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> ModelServer:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # the server ends; asyncio's callback would log it
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        call = Call(head[0].split()[1], headers, body, len(self.calls))
        self.calls.append(call)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            return await self._reply(call, self.plan(call), reader, writer)
        finally:
            self.in_flight -= 1

    async def _reply(
        self, call: Call, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        match answer:
            case Whole(body, status, headers):
                writer.write(_head(status, {"Content-Length": str(len(body)), **dict(headers)}) + body)
                if status == 200:
                    self.completed.append(call.text)
                await writer.drain()
                return True
            case Half(body, stall):
                writer.write(_head(200, {"Content-Length": str(len(body))}) + body[: len(body) // 2])
                await writer.drain()
                if stall:
                    await self._gone(reader)
            case Stream(pieces, end, pause_s):
                kind = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
                writer.write(_head(200, kind))
                for piece in pieces:
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    await writer.drain()
                    await asyncio.sleep(pause_s)
                if end == "well":
                    writer.write(b"0\r\n\r\n")
                    self.completed.append(call.text)
                    await writer.drain()
                    return True
                if end == "stall":
                    await self._gone(reader)
            case Silence():
                await self._gone(reader)
            case Reset():
                writer.transport.abort()
        return False

    async def _gone(self, reader: asyncio.StreamReader) -> None:
        """Wait until the client has closed the connection, and count it."""
        while await reader.read(1024):
            pass
        self.left += 1


def _head(status: int, headers: dict[str, str]) -> bytes:
    fields = {"Content-Type": "application/json", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode()


def asking(text: str = "What is the usual dose?", **fields: Any) -> Request:
    """A request of one user turn."""
    return Request(messages=(Message(role="user", content=text),), **fields)


def chat(text: str | None = "Ten milligrams.", **message: Any) -> Whole:
    """A chat completion; `finish_reason` and `usage` apart, keywords are fields of the message."""
    finish = message.pop("finish_reason", "stop")
    usage = message.pop("usage", {"prompt_tokens": 10, "completion_tokens": 5})
    body = {
        "object": "chat.completion",
        "model": "served-1",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": usage,
    }
    return Whole(json.dumps(body).encode())


def message(content: list[Any], stop_reason: str = "end_turn", **fields: Any) -> Whole:
    """A message of Anthropic."""
    body = {"type": "message", "model": "served-1", "content": content, "stop_reason": stop_reason,
            "usage": {"input_tokens": 10, "output_tokens": 5}, **fields}  # fmt: skip
    return Whole(json.dumps(body).encode())


def response(output: list[Any], status: str = "completed", **fields: Any) -> Whole:
    """A response of OpenAI Responses."""
    body = {"object": "response", "model": "served-1", "status": status, "output": output, "error": None,
            "usage": {"input_tokens": 10, "output_tokens": 5}, **fields}  # fmt: skip
    return Whole(json.dumps(body).encode())


def spoken(*parts: Any) -> list[Any]:
    """Output items of a response that says these parts."""
    return [{"type": "reasoning", "summary": []}, {"type": "message", "content": list(parts)}]


def text_part(text: str) -> dict[str, str]:
    """A part of a response that is text."""
    return {"type": "output_text", "text": text}


def failing(status: int, message: str = "no", headers: dict[str, str] | None = None, **error: Any) -> Whole:
    """An error in OpenAI's form."""
    return Whole(
        json.dumps({"error": {"message": message, **error}}).encode(),
        status,
        headers=tuple((headers or {}).items()),
    )


def events(*datas: Any) -> list[bytes]:
    """Each value as one event of a stream."""
    return [
        b"data: " + (data.encode() if isinstance(data, str) else json.dumps(data).encode()) + b"\n\n"
        for data in datas
    ]
