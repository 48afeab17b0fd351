"""A draw: which exchanges people label, with what probability, and in which order they see them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import polars as pl

from ..errors import InputError
from ..types import CONTENT_COLUMNS, Annotation, Answered, Draw, Item, Outcome, Stratum
from .allocation import RARE, pilot_labels, shares, whole_labels
from .codebook import load_codebook
from .known import known_items
from .population import (
    Population,
    fingerprint,
    normal_recalibration,
    read_population,
    score,
    slice_table,
    with_slices,
)
from .strata import MOST, Parts, cut

__all__ = ["allocate_rest", "assign", "fingerprint", "plan", "planned", "second_label", "texts"]

_EDGE, _FIRST, _UNSCORED, _BLOCKED = "__edge_{}", "__first", "__unscored", "__blocked"
_INNER_EDGES = MOST - 1
_OUTCOMES = (Outcome.ANSWERED, Outcome.PROVIDER_REFUSED, Outcome.INPUT_BLOCKED, Outcome.OUTPUT_BLOCKED)


def plan(  # noqa: PLR0913 - each is one decision about the draw, and most have a default
    verdicts: pl.LazyFrame | pl.DataFrame,
    *,
    by: Sequence[str],
    budget: int,
    seed: int,
    now: dt.datetime,
    level: float = 0.95,
    source: str = "",
    pilot: int = 50,
    double_share: float = 0.3,
    known_share: float = 0.05,
    recalibration: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[Draw, list[Item]]:
    """Draw what people will label, and put it in the order in which they see it. Items have no text of the log yet.

    `verdicts` has the columns that `by` names as plain columns (`estimate.slice_columns` makes them). The slices
    share `budget` equally, and what a small one cannot use goes to the others; a budget above the population
    labels everything. `pilot` of it (at most half, at least 4 a stratum) is labelled first; until then
    `Stratum.labels` is the pilot alone and everything behind it is reserve. `planned` says what will follow.
    `double_share` (0 to 1) of the items want two annotators; `known_share` (0 to 0.5) of the budget comes on top
    as planted items, 30 at most. `recalibration` maps a slice as a JSON list to slope and intercept on the
    log-odds of the score. The same rows in any order and settings give the same draw, whenever it is planned.

    Raises InputError for settings out of range, more than 50 slices, slices too small a share of the budget for 4
    labels a stratum, and rows that are no verdicts.
    """
    _refuse_settings(budget, seed, level, pilot, double_share, known_share)
    by = tuple(dict.fromkeys(by))
    recalibration = normal_recalibration(recalibration or {})
    lazy = verdicts.lazy()
    population = read_population(lazy, by, recalibration)
    parts = cut(population, budget)
    strata = _with_pilot(parts.strata, budget, pilot)
    mark = population.fingerprint
    settings = (
        mark,
        seed,
        by,
        budget,
        level,
        pilot,
        double_share,
        known_share,
        sorted(recalibration.items()),
    )
    draw = Draw(
        id=_digest(*settings),
        created=now,
        seed=seed,
        source=source,
        fingerprint=mark,
        detector=population.detector,
        by=by,
        budget=budget,
        level=level,
        phase="pilot",
        strata=strata,
        population=population.frame.height,
        left_out=population.left_out,
        double_share=double_share,
        recalibration=recalibration,
        codebook=load_codebook().version,
    )
    if planned(draw).strata == strata:  # the pilot is all there is
        draw = msgspec.structs.replace(draw, phase="whole")
    return draw, _queue(draw, population, parts, lazy, known_share)


def planned(draw: Draw) -> Draw:
    """The draw as its second phase will leave it, if the labels bear the score out: what to expect in advance."""
    done = [stratum.labels for stratum in draw.strata]
    found = [stratum.labels * stratum.expected for stratum in draw.strata]
    return allocate_rest(draw, found, done)


def allocate_rest(draw: Draw, positives: Sequence[float], labelled: Sequence[int]) -> Draw:
    """The draw with its final `labels`, shared out anew with what the pilot has shown; its phase is "whole".

    `positives` and `labelled` count the pilot's labels per stratum, in the order of `draw.strata`: answers that
    were not complete, and in blocked strata calls that should have been answered. No stratum gets fewer labels
    than its pilot or than are there already. A draw whose phase is "whole" stays as it is: an allocation that
    followed every label would bias the estimate. Raises InputError when counts are missing.
    """
    if draw.phase == "whole":
        return draw
    if not len(positives) == len(labelled) == len(draw.strata):
        raise InputError(
            f"counts for {len(labelled)} strata, and the draw has {len(draw.strata)}",
            remedy="count every stratum of the draw",
        )
    strata = whole_labels(draw.strata, draw.budget, positives, labelled)
    return msgspec.structs.replace(draw, phase="whole", strata=strata)


def second_label(draw: Draw, item: Item, annotation: Annotation) -> bool:
    """Whether what was just labelled needs a second opinion: a positive where positives are rare.

    One wrong label there weighs as much as many right ones.
    """
    if item.stratum is None or item.wanted > 1:
        return False
    rare = draw.strata[item.stratum].expected < RARE
    return rare and annotation.answered in {Answered.PART, Answered.NONE}


def assign(verdicts: pl.LazyFrame | pl.DataFrame, draw: Draw) -> pl.LazyFrame:
    """The rows in their order with `stratum`, the position in `draw.strata`; null: not in the population.

    `verdicts` are those that the draw was made from, with the columns of `draw.by` as plain columns. Raises
    InputError where one is missing.
    """
    lazy = verdicts.lazy()
    missing = [name for name in draw.by if name not in lazy.collect_schema()]
    if missing:
        raise InputError(
            f"there is no column {', '.join(missing)}, by which the draw was sliced",
            remedy="name the verdicts that it was made from",
        )
    slices = list(dict.fromkeys(stratum.slice for stratum in draw.strata))
    table = slice_table(slices, draw.recalibration)
    places = pl.DataFrame([_places(draw, values) for values in slices], schema=_place_schema(), orient="row")
    joined = with_slices(lazy, draw.by, pl.concat([table, places], how="horizontal"))
    edges = [pl.col(name) for name in places.columns if name.startswith("__edge")]
    # An edge that a slice does not have is infinity. A slice without scores has no first stratum: null.
    above = pl.sum_horizontal((score() >= edge).cast(pl.Int32) for edge in edges)
    outcome = pl.col("outcome").cast(pl.String)
    stratum = (
        pl.when(outcome == Outcome.ANSWERED.value)
        .then(pl.when(score().is_null()).then(pl.col(_UNSCORED)).otherwise(pl.col(_FIRST) + above))
        .when(outcome.is_in([value.value for value in _OUTCOMES]))
        .then(pl.col(_BLOCKED))
    )
    kept = [name for name in lazy.collect_schema() if name != "stratum"]
    return joined.select(*kept, stratum.cast(pl.Int32).alias("stratum"))


def texts(verdicts: pl.LazyFrame | pl.DataFrame, ids: Sequence[str]) -> pl.DataFrame:
    """What annotators see of the exchanges with these ids: `id`, `source_id`, `use_case`, `outcome`, and the
    content columns but `tags`, as far as the frame has them. Ids that it does not have are not in it.
    """
    lazy = verdicts.lazy()
    wanted = ("id", "source_id", "use_case", "outcome", *(name for name in CONTENT_COLUMNS if name != "tags"))
    schema = lazy.collect_schema()
    names = [name for name in wanted if name in schema]
    drawn = pl.Series("id", list(ids), dtype=pl.String)
    return lazy.select(names).filter(pl.col("id").is_in(drawn.implode())).collect(engine="streaming")


def _with_pilot(strata: tuple[Stratum, ...], budget: int, pilot: int) -> tuple[Stratum, ...]:
    labels = pilot_labels(strata, budget, pilot)
    budgets = shares(strata, budget)
    return tuple(
        msgspec.structs.replace(
            stratum, pilot=first, labels=first, reserve=max(first, min(stratum.size, budgets[stratum.slice]))
        )
        for stratum, first in zip(strata, labels, strict=True)
    )


def _queue(
    draw: Draw, population: Population, parts: Parts, verdicts: pl.LazyFrame, known_share: float
) -> list[Item]:
    """The items of a draw, in the order of the queue."""
    random = np.random.Generator(np.random.PCG64(draw.seed))
    order = np.lexsort((random.random(population.frame.height), parts.stratum))
    sizes = [stratum.size for stratum in draw.strata]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    pilot = sum(stratum.pilot for stratum in draw.strata)
    behind = pilot / max(pilot, min(draw.budget, draw.population))  # where the queue of the pilot ends
    drawn = [
        order[start : start + stratum.reserve] for start, stratum in zip(starts, draw.strata, strict=False)
    ]
    rows = population.frame.select("id", "outcome")[np.concatenate(drawn)].iter_rows()
    items = []
    for number, stratum in enumerate(draw.strata):
        # In a stratum the queue keeps the random order, so that what is labelled is always the front of it.
        first = np.sort(random.random(stratum.pilot)) * behind
        rest = behind + np.sort(random.random(stratum.reserve - stratum.pilot)) * (1 - behind)
        doubled = _spread(stratum.reserve, draw.double_share, random.random())
        for place, position in enumerate(np.concatenate([first, rest])):
            exchange, outcome = next(rows)
            items.append(
                Item(
                    exchange=exchange,
                    stratum=number,
                    place=place,
                    position=float(position),
                    phase="pilot" if place < stratum.pilot else "reserve",
                    wanted=2 if doubled[place] else 1,
                    outcome=Outcome(outcome),
                )
            )
    items += known_items(draw, _use_cases(verdicts, items), known_share, behind, random)
    return sorted(items, key=lambda item: (item.position, item.exchange))


def _spread(count: int, share: float, start: float) -> list[bool]:
    """`share` of `count` places, evenly from a random start: the same share of every front part."""
    steps = np.floor(start + share * np.arange(count + 1) + 1e-9)
    return [bool(step) for step in np.diff(steps)]


def _use_cases(verdicts: pl.LazyFrame, items: Sequence[Item]) -> list[str | None]:
    """The use cases of the drawn exchanges, each as often as it occurs, sorted."""
    if "use_case" not in verdicts.collect_schema():
        return []
    drawn = pl.Series("id", [item.exchange for item in items], dtype=pl.String)
    found = verdicts.select("id", pl.col("use_case").cast(pl.String)).filter(
        pl.col("id").is_in(drawn.implode())
    )
    return found.collect(engine="streaming")["use_case"].sort().to_list()


def _places(draw: Draw, values: tuple[str | None, ...]) -> tuple[float | int | None, ...]:
    """Where the strata of a slice stand: the first scored one, unscored, blocked; then the inner edges."""
    where: dict[str, list[int]] = {"scored": [], "unscored": [], "blocked": []}
    for number, stratum in enumerate(draw.strata):
        if stratum.slice == values:
            where[stratum.kind].append(number)
    first, unscored, blocked = (next(iter(where[kind]), None) for kind in ("scored", "unscored", "blocked"))
    edges = [draw.strata[number].low for number in where["scored"][1:]]
    return first, unscored, blocked, *edges, *[float("inf")] * (_INNER_EDGES - len(edges))


def _place_schema() -> dict[str, pl.DataType]:
    whole = dict.fromkeys((_FIRST, _UNSCORED, _BLOCKED), pl.Int32())
    return {**whole, **{_EDGE.format(number): pl.Float64() for number in range(_INNER_EDGES)}}


def _digest(*settings: object) -> str:
    return hashlib.blake2b(repr(settings).encode(), digest_size=8).hexdigest()


def _refuse_settings(
    budget: int, seed: int, level: float, pilot: int, double_share: float, known_share: float
) -> None:
    wrong = [
        (budget < 1, f"a budget of {budget}", "label at least one exchange"),
        (seed < 0, f"seed {seed}", "use 0 or more"),
        (not 0 < level < 1, f"a confidence of {level:g}", "use a number between 0 and 1, such as 0.95"),
        (pilot < 1, f"a pilot of {pilot}", "use 1 or more"),
        (not 0 <= double_share <= 1, f"a double share of {double_share:g}", "use a number from 0 to 1"),
        (not 0 <= known_share <= 0.5, f"a known share of {known_share:g}", "use a number from 0 to 0.5"),
    ]
    for is_wrong, what, remedy in wrong:
        if is_wrong:
            raise InputError(f"{what} makes no draw", remedy=remedy)
