"""What every protocol turns a vendor's reply into, and the shape of a protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from ..types import Request
from .names import Target
from .settings import ClientSettings


class Answer(msgspec.Struct, kw_only=True):
    """One reply in no vendor's form; `endings.ending` says what it means."""

    text: str = ""
    raw: str | None = None  # finish or stop reason
    refused: bool = False  # the vendor put text into a refusal field
    structured: bool = False  # the text is the input of the tool that stands for a schema
    tool_calls: int = 0
    detail: str | None = None
    error: Any = None  # error body, also where the status was 200
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Assembler(Protocol):
    """Takes the events of a stream one by one, and gives the answer that they make together."""

    finished: bool  # whether the vendor has said that this was all

    def feed(self, data: bytes) -> None:
        """Take the data of one event. Raises msgspec.MsgspecError for what is no event of this protocol."""

    def answer(self) -> Answer:
        """What has come so far."""


class Wire(NamedTuple):
    """A protocol: how a request becomes bytes, and bytes an answer."""

    path: str  # after the base URL
    headers: Callable[[str | None], dict[str, str]]  # from the key
    encode: Callable[[Request, Target, ClientSettings], bytes]
    decode: Callable[[bytes], Answer]  # raises msgspec.MsgspecError
    assembler: Callable[[], Assembler]
    idempotent: bool  # whether to send an Idempotency-Key


def bearer(key: str | None) -> dict[str, str]:
    """The header that most vendors want a key in."""
    return {"Authorization": f"Bearer {key}"} if key else {}
