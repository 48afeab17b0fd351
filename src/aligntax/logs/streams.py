"""A named file as a stream of UTF-8: gzip and zstd unpacked, UTF-16 and UTF-32 converted, marks removed."""

from __future__ import annotations

import codecs
import io
import sys
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, TypeAlias

from .paths import STDIN

_BUFFER = 2**20
_PEEKED = 512
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

BROKEN = (OSError, EOFError)
"""What reading a damaged or unreadable file raises."""

Stream: TypeAlias = "io.BufferedReader[Any]"


class _Counted(io.RawIOBase):
    """A raw stream that says how many bytes were taken from it."""

    def __init__(self, raw: BinaryIO, count: Callable[[int], None]) -> None:
        self._raw, self._count = raw, count

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        self._count(len(data))
        return len(data)

    def close(self) -> None:
        if self._raw is not sys.stdin.buffer:
            self._raw.close()
        super().close()


class _Converted(io.RawIOBase):
    """A raw stream of what a step makes of another one: decompressed, or in another encoding.

    `step(data)` gives what follows from more input, and is called with b"" once at the end.
    """

    def __init__(self, inner: BinaryIO, step: Callable[[bytes], bytes], chunk: int = 2**16) -> None:
        self._inner, self._step, self._chunk = inner, step, chunk
        self._ready = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            data = self._inner.read(self._chunk)
            self._ended = not data
            self._ready = memoryview(self._step(data))
        taken = min(len(buffer), len(self._ready))
        buffer[:taken] = self._ready[:taken]
        self._ready = self._ready[taken:]
        return taken

    def close(self) -> None:
        self._inner.close()
        super().close()


class Peeked(io.RawIOBase):
    """A stream whose first bytes are looked at in `head`; reading starts with them again."""

    def __init__(self, inner: Stream, size: int) -> None:
        self._inner = inner
        self._failed: Exception | None = None
        self.head = b""
        self.extend(size)

    def extend(self, size: int) -> None:
        """Look at so many bytes, or at all there are; only before reading starts."""
        head = bytearray(self.head)
        while len(head) < size and self._failed is None:
            try:
                data = self._inner.read1(size - len(head))
            except BROKEN as error:  # raised again where reading comes to this point
                self._failed = error
                break
            if not data:
                break
            head += data
        self.head = bytes(head)
        self._ready = memoryview(self.head)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The first bytes again, then the rest."""
        if not self._ready:
            if self._failed:
                raise self._failed
            return self._inner.readinto1(buffer)
        taken = min(len(buffer), len(self._ready))
        buffer[:taken] = self._ready[:taken]
        self._ready = self._ready[taken:]
        return taken


def _unpacking(start: Callable[[], Any], errors: tuple[type[Exception], ...]) -> Callable[[bytes], bytes]:
    """A step that unpacks frames one after another and, unlike ready-made readers, gives what came before a cut.

    `start` makes a decompressor for one frame; its `errors` are raised as OSError, a cut frame as EOFError.
    """
    frame: Any = None

    def step(data: bytes) -> bytes:
        nonlocal frame
        if not data and frame is not None and not frame.eof:
            raise EOFError
        out = []
        while data:
            if frame is None or frame.eof:
                frame = start()
            try:
                out.append(frame.decompress(data))
            except errors:
                raise OSError("damaged") from None
            data = frame.unused_data if frame.eof else b""
        return b"".join(out)

    return step


def _gunzip() -> Callable[[bytes], bytes]:
    return _unpacking(lambda: zlib.decompressobj(wbits=31), (zlib.error,))


def _unzstd() -> Callable[[bytes], bytes]:
    import zstandard

    return _unpacking(zstandard.ZstdDecompressor().decompressobj, (zstandard.ZstdError,))


def _utf8_step(encoding: str) -> Callable[[bytes], bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    return lambda data: decoder.decode(data, final=not data).encode()


def open_stream(name: str, count: Callable[[int], None]) -> tuple[Stream, bool]:
    """The file's bytes, decompressed and in UTF-8 without a byte order mark, and whether they are the file's own.

    `count` is told of the bytes read, before decompression. Raises one of `BROKEN`.
    """
    raw: BinaryIO = sys.stdin.buffer if name == STDIN else open(name, "rb", buffering=0)  # noqa: SIM115 - the caller closes
    stream: Stream = io.BufferedReader(_Counted(raw, count), _BUFFER)
    own = name != STDIN
    magic = stream.peek(4)[:4]
    if magic.startswith(_GZIP):
        stream, own = io.BufferedReader(_Converted(stream, _gunzip()), _BUFFER), False
    elif magic == _ZSTD:
        # small steps: one byte of zstd may stand for 30 kB of text
        stream, own = io.BufferedReader(_Converted(stream, _unzstd(), 2**13), _BUFFER), False
    head = stream.peek(_PEEKED)[:_PEEKED]
    if encoding := _wide_encoding(head):
        return io.BufferedReader(_Converted(stream, _utf8_step(encoding)), _BUFFER), False
    if head.startswith(codecs.BOM_UTF8):
        stream.read(3)
    return stream, own


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by byte order mark or, in text of few scripts, by where the NUL bytes stand."""
    for mark, encoding in (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2].count(0), head[1::2].count(0)
    pairs = len(head) // 2
    if pairs >= 4 and odd > pairs // 2 and even <= pairs // 10:
        return "utf-16-le"
    if pairs >= 4 and even > pairs // 2 and odd <= pairs // 10:
        return "utf-16-be"
    return None
