"""Known items: exchanges with unmistakable labels, planted among the others to check the annotators."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources

import msgspec
import numpy as np

from ..errors import AlignTaxError
from ..types import Annotation, Answered, Draw, Item, Kind, ShouldAnswer

ANNOTATOR = "known"
"""Who labelled the known items, in `Item.known`."""
_LEAST, _LEAST_BUDGET = 2, 30  # from this budget on there are so many at least


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange that can be planted. An axis that is None is not unmistakable, and not checked."""

    key: str
    prompt: str
    response: str
    answered: Answered
    kinds: tuple[Kind, ...]
    disclaimer: bool | None
    hedging: int | None
    should_answer: ShouldAnswer | None  # None: some product may well leave such a request to others


@cache
def load_known() -> tuple[Known, ...]:
    """Those that ship with this version. Raises AlignTaxError when the file is missing or broken."""
    try:
        lines = (resources.files(__package__) / "known.jsonl").read_bytes().splitlines()
        return tuple(msgspec.json.decode(line, type=Known) for line in lines)
    except (OSError, msgspec.MsgspecError) as error:
        raise AlignTaxError("the known items of this installation are missing or broken") from error


def known_items(
    draw: Draw, use_cases: Sequence[str | None], share: float, pilot_end: float, random: np.random.Generator
) -> list[Item]:
    """`share` of what is asked for as planted items, anywhere in the queue: at least 2 of 30 asked on, 30 at most.

    Their ids look like those of a log, and each has the use case of an exchange that was drawn. `pilot_end` is the
    position at which the pilot ends.
    """
    known = load_known()
    asked = min(draw.budget, sum(stratum.size for stratum in draw.strata))
    count = round(share * asked)
    if share and asked >= _LEAST_BUDGET:
        count = max(count, _LEAST)
    chosen = random.permutation(len(known))[:count]
    items = []
    for place, number in enumerate(chosen):
        row, position = known[number], float((place + random.random()) / len(chosen))
        exchange = hashlib.blake2b(f"{draw.id} {row.key}".encode(), digest_size=12).hexdigest()
        right = Annotation(
            exchange=exchange,
            annotator=ANNOTATOR,
            answered=row.answered,
            kinds=row.kinds,
            disclaimer=row.disclaimer,
            hedging=row.hedging,
            should_answer=row.should_answer,
        )
        items.append(
            Item(
                exchange=exchange,
                stratum=None,
                place=place,
                position=position,
                phase="pilot" if position < pilot_end else "rest",
                wanted=1,
                known=right,
                use_case=use_cases[int(random.integers(len(use_cases)))] if use_cases else None,
                prompt=row.prompt,
                response=row.response,
            )
        )
    return items


def disguised(items: Iterable[Item]) -> list[Item]:
    """The items, known ones with the system prompt of a drawn exchange of their use case.

    Where a log has system prompts, an item without one would be known at a glance. For items that have their texts.
    """
    items = list(items)
    prompts: dict[str | None, list[str | None]] = {}
    for item in sorted(items, key=lambda item: item.exchange):
        if item.known is None:
            prompts.setdefault(item.use_case, []).append(item.system)
    return [item if item.known is None else _disguised(item, prompts.get(item.use_case)) for item in items]


def _disguised(item: Item, prompts: Sequence[str | None] | None) -> Item:
    if not prompts:
        return item
    return msgspec.structs.replace(item, system=prompts[int(item.exchange, 16) % len(prompts)])
