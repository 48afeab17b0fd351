"""Server-sent events: the data of each, as bytes arrive. Ref: WHATWG HTML, "Interpreting an event stream"."""

from __future__ import annotations

from collections.abc import Iterator


class Events:
    """Cuts a byte stream into the data of its events; comments, names and ids are passed over."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of each event that this chunk completes."""
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            bare = line.removesuffix(b"\r")
            if not bare:
                if self._data:
                    yield b"\n".join(self._data)
                    self._data = []
            elif bare.startswith(b"data:"):
                self._data.append(bare[5:].removeprefix(b" "))

    def close(self) -> Iterator[bytes]:
        """An event that nobody closed with an empty line, at the end of a stream that ended well."""
        yield from self.feed(b"\n\n")
