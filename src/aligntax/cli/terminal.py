"""Text from logs, made safe and fit for a terminal."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_JOINERS = "\u200c\u200d"  # Persian, Hindi and emoji need them, and they move no cursor


def clean(text: str) -> str:
    """One line of `text` that cannot steer a terminal.

    Escape sequences lose their escape, text that turns the reading direction its turn; whitespace of every
    kind becomes one space, so a line of a log cannot pass for a line of ours.
    """
    return " ".join("".join(_sign(sign) for sign in text).split())


def cut(text: str, length: int) -> str:
    """`text` within `length` characters, cut at its end."""
    return text if len(text) <= length else text[: max(length - 1, 0)].rstrip() + "…"


def cut_middle(name: str, length: int) -> str:
    """`name` within `length` characters, cut in its middle: names of models differ at their ends."""
    if len(name) <= length:
        return name
    end = (length - 1) // 2
    return f"{name[: length - 1 - end]}…{name[len(name) - end :]}"


def console(stream: TextIO | None = None) -> Console:
    """A console that neither colours nor reads meaning into what it is given; NO_COLOR and COLUMNS hold."""
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)


def _sign(sign: str) -> str:
    if sign.isprintable() or sign in _JOINERS:
        return sign
    category = unicodedata.category(sign)
    if sign.isspace() or category in ("Zl", "Zp", "Zs"):
        return " "
    return "" if category == "Cf" else "\ufffd"
