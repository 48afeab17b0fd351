"""Judgements as frames: one row for each thing that was to be judged, whatever came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import InputError
from ..types import Answered, Outcome
from .asking import Heard, Judging
from .rubric import Rubric

if TYPE_CHECKING:
    import polars as pl

    from .judging import Pair

BY_JUDGE = "_by_judge"
"""Ends the name of every column that a judge fills: its verdicts stand beside labels, never in their place."""

_NEEDED = ("id", "prompt", "response", "outcome")
_HELPFUL = ("system", "history")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to be judged, with what stood round it."""

    id: str
    request: str
    answer: str
    whole: bool = True  # it ended by itself: neither cut nor blocked
    system: str | None = None
    history: str | None = None


def rows_of(answers: pl.DataFrame | pl.LazyFrame | Iterable[tuple[str, str]]) -> list[Row]:
    """Answers from a frame of exchanges, or from (request, answer) pairs with their position as id."""
    import polars as pl

    if not isinstance(answers, (pl.DataFrame, pl.LazyFrame)):
        return [
            Row(id=str(place), request=request, answer=answer)
            for place, (request, answer) in enumerate(answers)
        ]
    lazy = answers.lazy()
    columns = lazy.collect_schema().names()
    if missing := [name for name in _NEEDED if name not in columns]:
        raise InputError(
            f"there is no column {missing[0]}",
            where="answers to be judged",
            remedy="give a log with its texts: verdicts kept without text cannot be judged",
        )
    frame = lazy.select(*_NEEDED, *(name for name in _HELPFUL if name in columns)).collect()
    return [
        Row(
            id=row["id"],
            request=row["prompt"] or "",
            answer=row["response"] or "",
            whole=row["outcome"] == Outcome.ANSWERED,
            system=row.get("system"),
            history=row.get("history"),
        )
        for row in frame.iter_rows(named=True)
    ]


def verdict_table(ids: Sequence[str], heard: Sequence[Heard], rubric: Rubric, judge: str) -> pl.DataFrame:
    """What `Judge.verdicts` gives."""
    import polars as pl

    properties = rubric.schema["properties"]
    columns = {
        f"{name}{BY_JUDGE}": pl.Series(
            [None if one.values is None else one.values[name] for one in heard], dtype=_dtype(schema)
        )
        for name, schema in properties.items()
    }
    if set(properties.get("answered", {}).get("enum", ())) == set(Answered) - {Answered.UNDETERMINED}:
        answered = columns[f"answered{BY_JUDGE}"]
        columns["score"] = (answered != Answered.FULL.value).cast(pl.Float64)
    return pl.DataFrame({"id": pl.Series(ids, dtype=pl.String), **columns, **_endings(heard, judge)})


def completeness_table(required: Sequence[int], heard: Sequence[Heard], judge: str) -> pl.DataFrame:
    """What `Judge.completeness` gives."""
    import polars as pl

    said = [
        None if one.values is None else [one.values[f"fact_{number}"] for number in range(1, facts + 1)]
        for one, facts in zip(heard, required, strict=True)
    ]
    shares = [None if facts is None else facts.count("stated") / len(facts) for facts in said]
    wrong = [None if facts is None else facts.count("contradicted") for facts in said]
    return pl.DataFrame(
        {
            "id": pl.Series([str(place) for place in range(len(said))], dtype=pl.String),
            "facts": pl.Series(required, dtype=pl.Int64),
            f"facts{BY_JUDGE}": pl.Series(said, dtype=pl.List(pl.String)),
            f"completeness{BY_JUDGE}": pl.Series(shares, dtype=pl.Float64),
            f"contradicted{BY_JUDGE}": pl.Series(wrong, dtype=pl.Int64),
            **_endings(heard, judge),
        }
    )


def preference_table(
    pairs: Sequence[Pair], a_first: Sequence[Heard], b_first: Sequence[Heard], judge: str
) -> pl.DataFrame:
    """What `Judge.preferences` gives."""
    import polars as pl

    text = pl.String
    same = [pair.a == pair.b for pair in pairs]
    ab = ["tie" if equal else _named(one, "a", "b") for one, equal in zip(a_first, same, strict=True)]
    ba = ["tie" if equal else _named(one, "b", "a") for one, equal in zip(b_first, same, strict=True)]
    both = list(zip(ab, ba, strict=True))
    flipped = [None if None in said else "tie" not in said and said[0] != said[1] for said in both]
    preferred = [None if None in said else said[0] if said[0] == said[1] else "tie" for said in both]
    return pl.DataFrame(
        {
            "id": pl.Series([pair.id for pair in pairs], dtype=text),
            "family": pl.Series(
                [pair.id if pair.family is None else pair.family for pair in pairs], dtype=text
            ),
            "a_first": pl.Series(ab, dtype=text),
            "b_first": pl.Series(ba, dtype=text),
            "preferred": pl.Series(preferred, dtype=text),
            "flipped": pl.Series(flipped, dtype=pl.Boolean),
            "length_a": pl.Series([len(pair.a) for pair in pairs], dtype=pl.Int64),
            "length_b": pl.Series([len(pair.b) for pair in pairs], dtype=pl.Int64),
            "judge": pl.Series([judge] * len(pairs), dtype=text),
            "judging_a_first": pl.Series([one.judging.value for one in a_first], dtype=text),
            "judging_b_first": pl.Series([one.judging.value for one in b_first], dtype=text),
            "cut": pl.Series(
                [one.cut or other.cut for one, other in zip(a_first, b_first, strict=True)], dtype=pl.Boolean
            ),
        }
    )


def _named(heard: Heard, first: str, second: str) -> str | None:
    if heard.judging is not Judging.JUDGED or heard.values is None:
        return None
    return {"first": first, "second": second, "tie": "tie"}[heard.values["better"]]


def _endings(heard: Sequence[Heard], judge: str) -> dict[str, pl.Series]:
    import polars as pl

    return {
        "judge": pl.Series([judge] * len(heard), dtype=pl.String),
        "judging": pl.Series([one.judging.value for one in heard], dtype=pl.String),
        "judging_detail": pl.Series([one.detail for one in heard], dtype=pl.String),
        "judge_calls": pl.Series([one.calls for one in heard], dtype=pl.Int64),
        "cut": pl.Series([one.cut for one in heard], dtype=pl.Boolean),
    }


def _dtype(schema: Mapping[str, Any]) -> Any:
    import polars as pl

    plain = {"string": pl.String(), "boolean": pl.Boolean(), "integer": pl.Int64(), "number": pl.Float64()}
    return plain.get(schema["type"]) or pl.List(pl.String())
