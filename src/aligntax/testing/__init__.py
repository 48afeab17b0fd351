"""Stand-ins for models, for tests without a key: a simulated model, and a server that speaks the vendors' forms.

Everything here is a SIMULATOR. Its answers are composed by rules from a seed, and say nothing about any real model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .behaviour import PERSONAS, Behaviour, Chances, behaviour_of
from .faults import EVENTS
from .model import FakeModel

if TYPE_CHECKING:
    from .server import FakeServer

__all__ = ["EVENTS", "PERSONAS", "Behaviour", "Chances", "FakeModel", "FakeServer", "behaviour_of"]


def __getattr__(name: str) -> Any:
    if name == "FakeServer":  # aiohttp loads only for those who want a server
        from .server import FakeServer

        return FakeServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
