"""What one model call costs in CPU time, against a server on loopback that answers at once, beside other clients.

The server is a process of its own, and so is each client: only the client's CPU time is counted, without its
start and its first calls. Calls go out as chat completions, and every answer is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ANSWER = "The usual adult dose is five to ten milligrams every four hours, and no more than sixty a day. " * 3
BODY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "measured-1",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}
        ],
        "usage": {"prompt_tokens": 90, "completion_tokens": 70, "total_tokens": 160},
    }
).encode()
CHUNKS = [
    {
        "model": "measured-1",
        "choices": [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}],
    }
    for word in ANSWER.split()
]
CHUNKS.append({"model": "measured-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
EVENTS = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in CHUNKS) + b"data: [DONE]\n\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
STREAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (
    len(EVENTS),
    EVENTS,
)
QUESTION = (
    "For a patient of {n} kg on the ward: what is the usual dose, how often, and what is the most a day? " * 3
)
WARM = 100

Ask = Callable[[int], Awaitable[str]]
"""Asks the n-th question, returns the text of the answer."""


class _Answering(asyncio.Protocol):
    """The least that HTTP needs: reads a request by its Content-Length, answers with bytes that are ready."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.data) < end + 4 + size:
                return
            asked = self.data[end + 4 : end + 4 + size]
            self.transport.write(STREAMED if b'"stream":true' in asked else WHOLE)
            self.data = self.data[end + 4 + size :]


async def serve() -> None:
    """Print the port, then answer until the parent ends this."""
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def timed(ask: Ask, calls: int, concurrency: int) -> float:
    """CPU seconds of this process for one call, after a few that are not counted."""

    async def worker(numbers: list[int]) -> None:
        for n in numbers:
            assert await ask(n) == ANSWER, "a wrong answer"

    async def all_of(numbers: range) -> None:
        await asyncio.gather(*(worker(list(numbers[at::concurrency])) for at in range(concurrency)))

    await all_of(range(WARM))
    begin = time.process_time()
    await all_of(range(WARM, WARM + calls))
    return (time.process_time() - begin) / calls


async def aligntax(url: str, calls: int, concurrency: int, kind: str = "") -> float:
    """Our client. "full": with a budget, limits, a price and the cache; "cached": every answer is at hand."""
    from aligntax.client import Budget, ClientSettings, Price, open_model
    from aligntax.types import Message, Request

    with tempfile.TemporaryDirectory() as folder:
        settings, budget = ClientSettings(concurrency=concurrency, stream=kind == "stream"), None
        if kind in {"full", "cached"}:
            settings = ClientSettings(
                concurrency=concurrency,
                requests_per_minute=1e9,
                tokens_per_minute=1e12,
                price=Price(input_usd=1, output_usd=1),
                cache=Path(folder) / "cache",
            )
            budget = Budget(usd=1e6, tokens=10**12)
        async with open_model("openai/m", base_url=url, settings=settings, budget=budget) as model:

            async def ask(n: int) -> str:
                return (
                    await model.send(
                        Request(
                            messages=(Message(role="user", content=QUESTION.format(n=n)),), max_tokens=200
                        )
                    )
                ).text

            if kind == "cached":
                await timed(ask, calls, concurrency)
            return await timed(ask, calls, concurrency)


async def bare_aiohttp(url: str, calls: int, concurrency: int) -> float:
    """No client at all: aiohttp and the standard library's JSON."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:

        async def ask(n: int) -> str:
            asked = {
                "model": "m",
                "max_tokens": 200,
                "messages": [{"role": "user", "content": QUESTION.format(n=n)}],
            }
            async with session.post(f"{url}/chat/completions", json=asked) as reply:
                return str(json.loads(await reply.read())["choices"][0]["message"]["content"])

        return await timed(ask, calls, concurrency)


async def openai(url: str, calls: int, concurrency: int) -> float:
    """OpenAI's own client, asynchronous."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        async def ask(n: int) -> str:
            reply = await client.chat.completions.create(
                model="m", max_tokens=200, messages=[{"role": "user", "content": QUESTION.format(n=n)}]
            )
            return reply.choices[0].message.content or ""

        return await timed(ask, calls, concurrency)


def inspect(url: str, calls: int, concurrency: int) -> float:
    """inspect-ai: an evaluation of so many samples, without its display and its realtime log."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import get_model

    model = get_model("openai/gpt-4o", base_url=url, api_key="none", responses_api=False)

    def evaluate(count: int, folder: str) -> None:
        samples = [Sample(input=QUESTION.format(n=n)) for n in range(count)]
        (log,) = eval(
            Task(dataset=samples), model=model, log_dir=folder, display="none", log_realtime=False,
            max_connections=concurrency, max_samples=concurrency,
        )  # fmt: skip
        assert log.status == "success", log.error
        assert log.samples
        assert all(sample.output.completion == ANSWER for sample in log.samples)

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        evaluate(20, folder)
        begin = time.process_time()
        evaluate(calls, folder)
        return (time.process_time() - begin) / calls


CLIENTS: dict[str, tuple[str, Callable[[str, int, int], float]]] = {
    "aiohttp alone": ("aiohttp", lambda *a: asyncio.run(bare_aiohttp(*a))),
    "aligntax": ("", lambda *a: asyncio.run(aligntax(*a))),
    "aligntax, budget + limits + cache": ("", lambda *a: asyncio.run(aligntax(*a, kind="full"))),
    "aligntax, streamed": ("", lambda *a: asyncio.run(aligntax(*a, kind="stream"))),
    "aligntax, at hand": ("", lambda *a: asyncio.run(aligntax(*a, kind="cached"))),
    "openai": ("openai", lambda *a: asyncio.run(openai(*a))),
    "inspect-ai": ("inspect-ai", inspect),
}
"""Name -> package whose version is printed, and what measures it: (url, calls, concurrency) -> CPU seconds a call."""
MODULES = {"openai": "openai", "inspect-ai": "inspect_ai"}
SLOW = {"openai": 4, "inspect-ai": 10}
"""So many times fewer calls: enough for a mean, and the run stays short."""


def measure(name: str, url: str, calls: int, concurrency: int) -> float:
    """CPU seconds a call, measured in a new process."""
    command = [sys.executable, __file__, "--client", name, "--url", url, "--calls", str(calls),
               "--concurrency", str(concurrency)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this file
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def compare(arguments: argparse.Namespace) -> None:
    """Every client in turn, so many times over, and a table."""
    absent = [name for name, module in MODULES.items() if importlib.util.find_spec(module) is None]
    clients = [name for name in CLIENTS if name not in absent]
    found: dict[str, list[float]] = {name: [] for name in clients}
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)  # noqa: S603 - this file
    try:
        assert server.stdout
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        for _ in range(arguments.repeats):
            for name in clients:
                calls = max(100, arguments.calls // SLOW.get(name, 1))
                found[name].append(measure(name, url, calls, arguments.concurrency) * 1e3)
    finally:
        server.terminate()
        server.wait()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
          f"{arguments.calls:,} calls, {arguments.concurrency} at once, {arguments.repeats} times")  # fmt: skip
    ours = statistics.median(found["aligntax"])
    print(f"\n{'client':36} {'version':>9} {'CPU ms a call':>14} {'best':>7} {'x aligntax':>11}")
    for name in CLIENTS:
        if name in absent:
            print(f"{name:36} {'not installed':>9}")
            continue
        package = CLIENTS[name][0]
        version = importlib.metadata.version(package) if package else ""
        median = statistics.median(found[name])
        print(f"{name:36} {version:>9} {median:14.3f} {min(found[name]):7.3f} {median / ours:11.1f}")
    fullest = statistics.median(found["aligntax, budget + limits + cache"])
    print(
        f"\nbar: at most 1 ms a call with everything on: {fullest:.3f} ms, {'met' if fullest <= 1 else 'MISSED'}"
    )


def main() -> None:
    """Compare, or be one of the processes of a comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
    elif arguments.client:
        print(CLIENTS[arguments.client][1](arguments.url, arguments.calls, arguments.concurrency))
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
