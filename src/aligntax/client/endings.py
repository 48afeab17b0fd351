"""How a live call ended: as a log of it would say."""

from __future__ import annotations

from ..outcomes import Ending, classify
from ..types import Outcome
from .answer import Answer

_ASKED_FOR = {"tool_use", "end_turn"}


def ending(answer: Answer, status: int = 200) -> Ending:
    """How a call ended that brought `answer` with this HTTP status. The wording of an answer never decides."""
    failed = bool(answer.error) or status >= 300
    if answer.structured and not failed and answer.raw in _ASKED_FOR:  # the tool was the form of the answer
        return Ending(Outcome.ANSWERED, answer.raw, answer.detail)
    return classify(
        answer.raw,
        answer.text,
        refused=answer.refused,
        tool_calls=answer.tool_calls,
        status=status,
        error=answer.error or ({"message": "redirected"} if failed else None),
        detail=answer.detail,
    )
