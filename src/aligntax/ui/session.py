"""Who is asking: a personal link becomes a cookie, and the cookie vouches for the forms of its page.

Nothing is kept on the server beyond the hash of the token that the store has, so a page goes on after a
restart. What vouches is derived from the token, which only its owner's browser and our memory hold.
"""

from __future__ import annotations

import hashlib
import hmac
import re

DAYS = 30  # how long a browser remembers who it is

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")


def cookie_name(draw_id: str, *, secure: bool) -> str:
    """Of this draw: cookies know no ports, and two rounds of labelling may run on one machine.

    The prefix makes browsers refuse the cookie from anywhere but this very host over TLS.
    """
    name = f"aligntax-{hashlib.sha256(draw_id.encode()).hexdigest()[:12]}"
    return f"__Host-{name}" if secure else name


def looks_like_token(text: str) -> bool:
    """Whether it is worth asking the store."""
    return _TOKEN.fullmatch(text) is not None


def form_key(token: str) -> str:
    """What a form of this person's page carries; another site cannot know it."""
    return _derived(token, "form")


def ticket(token: str, exchange: str) -> str:
    """Proof that this person was shown this exchange: only what was asked can be labelled."""
    return _derived(token, f"exchange {exchange}")


def same(given: str, right: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode(), right.encode())


def _derived(token: str, purpose: str) -> str:
    return hmac.new(token.encode(), purpose.encode(), hashlib.sha256).hexdigest()[:40]
