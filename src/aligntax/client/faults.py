"""Why a try brought no answer, in words that may be shown: never a key, never text of a request."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from ..errors import UpstreamError
from ..outcomes import Signs
from ..types import Request
from .names import Target

RETRYABLE = frozenset({408, 409, 429})
"""Statuses below 500 that a later try may mend; from 500 on all are."""

_NEVER = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_LONGEST = 200
_WINDOW = 16  # characters in a row that a message may not share with the request
_KEY = re.compile(r"\b(?:sk|pk|key|xai|gsk|AIza)[-_][\w*.\-]{4,}|\bBearer\s+\S+", re.IGNORECASE)
_QUOTED = re.compile(r"[\"'`“‘«]([^\"'`”’»]{2,})[\"'`”’»]")
_PASSING_CODES = ("rate_limit", "overloaded", "server_error", "api_error", "timeout", "unavailable")


class Fault(Exception):
    """One try failed."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        retryable: bool = True,
        throttled: bool = False,
        wait_s: float | None = None,
        sent: bool = False,
    ) -> None:
        self.reason, self.status, self.retryable = reason, status, retryable
        self.throttled = throttled  # the vendor asks us to slow down
        self.wait_s = wait_s  # what the vendor asks us to wait
        self.sent = sent  # the request went out and no error came back: it may have been paid
        super().__init__(reason)

    def as_error(self, target: Target, tries: int) -> UpstreamError:
        """What callers see once no further try is made."""
        tried = f" after {tries} tries" if tries > 1 else ""
        return UpstreamError(
            f"{target.name}{tried}: {self.reason}", status=self.status, retryable=self.retryable
        )


def refused_status(
    status: int, error: object, headers: Mapping[str, str], target: Target, request: Request, key: str | None
) -> Fault:
    """The fault behind an HTTP status from 300 on, or behind an error in a body with status 200."""
    signs = Signs(error)
    codes = {code.lower() for code in signs.codes}
    status = (
        next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), status)
        if status < 400
        else status
    )
    never = bool(codes & _NEVER) or headers.get("x-should-retry", "").lower() == "false"
    passing = status in RETRYABLE or status >= 500
    if status < 400:
        passing = any(part in code for code in codes for part in _PASSING_CODES)
    said = safe_message(signs.message, request, key)
    words = [f"answered {status}" if status >= 400 else "answered with an error"]
    if signs.code and not signs.code.isdigit():
        words.append(f"({safe_message(signs.code, request, key) or 'code withheld'})")
    remedy = _remedy(status, codes, target)
    return Fault(
        " ".join(words) + (f": {said}" if said else "") + (f" ({remedy})" if remedy else ""),
        status=status if status >= 400 else None,
        retryable=passing and not never,
        throttled=status in {429, 529},
        wait_s=retry_after(headers),
    )


def safe_message(message: str | None, request: Request, key: str | None = None) -> str:
    """A vendor's message, short, on one line, without keys; empty where it repeats what was asked."""
    if not message:
        return ""
    line = " ".join(message.split())
    line = _KEY.sub("***", line.replace(key, "***") if key else line)
    asked = [" ".join(text.split()).lower() for text in _texts(request)]
    line = _QUOTED.sub(lambda found: "..." if _in_any(found.group(1), asked) else found.group(), line)
    low = line.lower()
    for text in asked:
        if len(text) < _WINDOW:
            if _in_any(text, [low]):
                return ""
        elif any(low[at : at + _WINDOW] in text for at in range(max(0, len(low) - _WINDOW + 1))):
            return ""
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _in_any(piece: str, texts: list[str]) -> bool:
    """Whether a piece stands in one of the texts, as words of its own."""
    piece = piece.strip().lower()
    return bool(piece) and any(re.search(rf"(?<!\w){re.escape(piece)}(?!\w)", text) for text in texts)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the vendor asks to wait: `retry-after-ms`, else `Retry-After` as seconds or as an HTTP date."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        text = headers.get("Retry-After")
        return None if text is None else max(0.0, _seconds(text.strip()))
    except (ValueError, OverflowError):
        return None


def _seconds(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    when = parsedate_to_datetime(text)
    if when.tzinfo is None:
        when = when.replace(tzinfo=dt.UTC)
    return when.timestamp() - time.time()


def _texts(request: Request) -> list[str]:
    return [message.content for message in request.messages] + ([request.system] if request.system else [])


def _remedy(status: int, codes: set[str], target: Target) -> str | None:
    if codes & _NEVER:
        return "the account has no credit left; trying again does not help"
    if status == 401:
        return f"check {target.key_variable}"
    if status == 403:
        return f"the key in {target.key_variable} may not use this model"
    if status == 404:
        return "check the model's name and the base URL"
    if 300 <= status < 400:
        return "the base URL sends calls elsewhere: name the right one"
    return None
