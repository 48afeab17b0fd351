"""A FakeServer in a thread of its own, for tests that ask it from another process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aligntax.testing import FakeServer


@contextmanager
def served(make) -> Iterator[FakeServer]:
    """The server that `make()` gives, while it serves."""
    ready, leave = threading.Event(), []
    found: list[FakeServer] = []

    async def serve() -> None:
        async with make() as server:
            stop = asyncio.Event()
            leave.append((asyncio.get_running_loop(), stop))
            found.append(server)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield found[0]
    finally:
        loop, stop = leave[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
