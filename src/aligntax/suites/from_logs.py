"""A suite from one's own log: requests that were not answered in full, and their neighbours that were."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from ..errors import InputError, NotEnoughData
from ..types import (
    HEDGING_GRADE,
    KIND_THRESHOLD,
    PROVIDER_BLOCKED,
    Annotation,
    Answered,
    Intent,
    Kind,
    Label,
    Outcome,
    Prompt,
    ShouldAnswer,
)
from .log_terms import has_terms, terms_in, terms_of
from .mask import Finder, by_rules, mask
from .near import leaders

WHY = {
    Kind.HARD_REFUSAL: "refused",
    Kind.SOFT_REFUSAL: "refused in part",
    Kind.TOPIC_AVOIDANCE: "avoided",
    Kind.HEDGING: "hedged",
    Kind.VERBOSITY_INFLATION: "padded",
}
"""Tag `why` of a request by the kind that its answer shows most; beside "blocked", "not answered", "answered in part"
and "neighbour"."""

NEIGHBOUR = "neighbour"
LIMIT = 200
SOURCE = "log"

_MOST_FAILED, _MOST_ANSWERED = 50_000, 50_000
_BLOCKED = [outcome.value for outcome in PROVIDER_BLOCKED]
_COLUMNS = ("id", "prompt", "system", "use_case")
_INTENTS = {ShouldAnswer.YES: Intent.BENIGN, ShouldAnswer.UNCLEAR: Intent.BORDERLINE}


class Picked(msgspec.Struct, frozen=True, kw_only=True):
    """A suite from a log, and what became of the rest. Holds no text but that of the prompts and the terms."""

    prompts: tuple[Prompt, ...]  # not answered in full first, then neighbours
    failed: int  # requests of the log that were not answered in full, and may deserve better
    answered: int  # requests of the log with a term that were answered in full; 0 where there are no terms
    terms: tuple[str, ...]  # by which neighbours were chosen
    terms_given: bool
    repeats: int  # requests left out because they nearly repeat another one
    masked: dict[str, int] | None  # type -> places; None: nothing was masked
    left_out: dict[str, int]  # reason -> exchanges
    labelled: int  # prompts whose intent a label says


class _Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A request that may come into the suite."""

    id: str
    prompt: str
    system: str | None
    use_case: str | None
    why: str
    kinds: tuple[str, ...]
    intent: Intent
    labelled: bool
    group: int = 1  # near-duplicates that it stands for, itself among them


def pick(
    verdicts: pl.LazyFrame,
    *,
    labels: Mapping[str, Annotation] | None = None,
    terms: Sequence[str] | None = None,
    use_case: str | None = None,
    limit: int = LIMIT,
    seed: int = 0,
    finders: Sequence[Finder] | None = (by_rules,),
) -> Picked:
    """Requests of `verdicts` that were refused, hedged, avoided, padded or blocked, and about as many neighbours.

    `labels` are settled labels by exchange; where one says how far a request was answered, or whether it should have
    been, the detector is not asked. Requests that should not have been answered are left out. Without a label the
    detector's kinds count from `KIND_THRESHOLD` on, and the intent is "borderline". Neighbours were answered in full
    and have one of `terms`; None: `log_terms.terms_of` finds some. Of near-duplicates one stays. `limit` bounds the
    prompts; labelled ones come first, then random ones, the same for the same seed. `finders` mask personal data in
    prompts and system prompts; None: they stay as they are.

    Later turns of a talk are left out, for they make no sense alone. Raises InputError for verdicts without text and
    for a use case that is not there, NotEnoughData where every request was answered in full.
    """
    rows = _rows(verdicts, use_case)
    left_out: Counter[str] = Counter()
    alone = _alone(rows, left_out)
    ids = pl.Series([*(labels or {})], dtype=pl.String).implode()
    said = _by_labels(alone.filter(pl.col("id").is_in(ids)), labels or {}, left_out)
    rest = alone.filter(~pl.col("id").is_in(ids))
    left_out["neither complete nor of a kind"] += (
        rest.select((~pl.col("failed") & ~pl.col("complete")).sum()).collect(engine="streaming").item()
    )
    failed = [
        *(one for one in said if one.why != NEIGHBOUR),
        *_bounded(rest.filter("failed"), _MOST_FAILED, seed, left_out),
    ]
    if not failed:
        raise NotEnoughData(
            "no request of these verdicts was refused, hedged, avoided, padded or blocked, so there is nothing to pick"
        )
    complete = rest.filter("complete")
    if terms:
        complete = complete.filter(has_terms("prompt", terms))
    answered = [
        *(one for one in said if one.why == NEIGHBOUR),
        *_bounded(complete, _MOST_ANSWERED, seed, left_out if terms else None),
    ]
    kept, repeats = _one_of_each(
        [
            *sorted(failed, key=lambda one: _order(one, seed)),
            *sorted(answered, key=lambda one: _order(one, seed)),
        ]
    )
    fails = [one for one in kept if one.why != NEIGHBOUR]
    pool = [one for one in kept if one.why == NEIGHBOUR]
    used = tuple(terms) if terms is not None else terms_of(_frame(fails), _frame(pool))
    pool = _with_terms(pool, used)
    chosen = _chosen(fails, pool, limit)
    prompts, counts = _prompts(chosen, used, finders)
    return Picked(
        prompts=prompts,
        failed=len(failed),
        answered=len(pool),
        terms=used,
        terms_given=terms is not None,
        repeats=repeats + len(chosen) - len(prompts),
        masked=counts,
        left_out={reason: count for reason, count in left_out.items() if count},
        labelled=sum((prompt.tags or {}).get("label") == "expert" for prompt in prompts),
    )


def _rows(verdicts: pl.LazyFrame, use_case: str | None) -> pl.LazyFrame:
    """The columns that decide; `failed` and `complete` are what the detector says."""
    schema = verdicts.collect_schema()
    if "prompt" not in schema:
        raise InputError(
            "these verdicts were kept without text, so there is nothing to ask again",
            where="column prompt",
            remedy="scan the logs again without --no-text",
        )
    blank = pl.lit(None, pl.String)
    scores = {kind: pl.col(kind.value).fill_null(0) for kind in Kind}
    answered = pl.col("outcome") == Outcome.ANSWERED.value
    shown = [(kind, answered & (score >= KIND_THRESHOLD)) for kind, score in scores.items()]
    rows = verdicts.select(
        *(pl.col(name) if name in schema else blank.alias(name) for name in (*_COLUMNS, "history")),
        blocked=pl.col("outcome").cast(pl.String).is_in(_BLOCKED),
        answered=answered,
        complete=answered & (pl.col("label").cast(pl.String) == Label.COMPLETE.value),
        kinds=pl.concat_list(  # the surest first
            pl.struct(score=scores[kind], kind=pl.when(is_shown).then(pl.lit(kind.value)))
            for kind, is_shown in shown
        )
        .list.sort(descending=True)
        .list.eval(pl.element().struct.field("kind").drop_nulls()),
    )
    if use_case is not None:
        rows = rows.filter(pl.col("use_case").cast(pl.String) == use_case)
        if not rows.select(pl.len()).collect(engine="streaming").item():
            raise InputError(
                "no exchange has this use case",
                where="--use-case",
                remedy="aligntax scan --by use_case lists them",
            )
    shows = pl.col("kinds").list.len() > 0
    return rows.with_columns(failed=pl.col("blocked") | shows, complete=pl.col("complete") & ~shows)


def _alone(rows: pl.LazyFrame, left_out: Counter[str]) -> pl.LazyFrame:
    """Answered and blocked requests that make sense without what was said before."""
    prompted = pl.col("prompt").fill_null("").str.strip_chars() != ""
    first = pl.col("history").fill_null("").str.strip_chars().is_in(["", "[]"])
    counted = pl.col("answered") | pl.col("blocked")
    counts = rows.select(
        (~counted).sum().alias("neither answered nor blocked"),
        (counted & ~prompted).sum().alias("without a prompt"),
        (counted & prompted & ~first).sum().alias("later turns of a talk"),
    )
    left_out.update(counts.collect(engine="streaming").row(0, named=True))
    return rows.filter(counted & prompted & first)


def _by_labels(
    rows: pl.LazyFrame, labels: Mapping[str, Annotation], left_out: Counter[str]
) -> list[_Candidate]:
    """Labelled requests, as people say; where a label is silent on how far one was answered, as the detector does."""
    found = []
    for row in rows.collect(engine="streaming").iter_rows(named=True) if labels else ():
        label = labels[row["id"]]
        if label.should_answer == ShouldAnswer.NO:
            left_out["should not be answered, as labels say"] += 1
            continue
        silent = label.skipped is not None or (label.answered is None and not row["blocked"])
        kinds = tuple(row["kinds"]) if silent else _kinds(label)
        whole = row["complete"] if silent else label.answered == Answered.FULL and not kinds
        if row["blocked"] or kinds or (not silent and not whole):
            found.append(_candidate(row, _why(row, label, kinds), kinds, label))
        elif whole:
            found.append(_candidate(row, NEIGHBOUR, (), label))
    return found


def _kinds(label: Annotation) -> tuple[str, ...]:
    named = {*(label.kinds or ())}
    if (label.hedging or 0) >= HEDGING_GRADE:
        named.add(Kind.HEDGING)
    return tuple(kind.value for kind in WHY if kind in named)


def _why(row: Mapping[str, Any], label: Annotation | None, kinds: Sequence[str]) -> str:
    if row["blocked"]:
        return "blocked"
    if kinds:
        return WHY[Kind(kinds[0])]
    return "not answered" if label and label.answered == Answered.NONE else "answered in part"


def _candidate(
    row: Mapping[str, Any], why: str, kinds: Sequence[str], label: Annotation | None = None
) -> _Candidate:
    should = label.should_answer if label and label.skipped is None else None
    return _Candidate(
        **{name: row[name] for name in _COLUMNS},
        why=why,
        kinds=tuple(kinds),
        intent=_INTENTS.get(should, Intent.BORDERLINE) if should else Intent.BORDERLINE,
        labelled=should is not None,
    )


def _bounded(rows: pl.LazyFrame, most: int, seed: int, left_out: Counter[str] | None) -> list[_Candidate]:
    """Rows as candidates; where there are more than `most`, about as many of them, by a hash of their ids."""
    count = rows.select(pl.len()).collect(engine="streaming").item()
    if count > most:
        rows = rows.filter(pl.col("id").hash(seed=seed) < pl.lit(2**64 * most // count, pl.UInt64))
    found = [
        _candidate(row, NEIGHBOUR if not row["failed"] else _why(row, None, row["kinds"]), row["kinds"])
        for row in rows.collect(engine="streaming").iter_rows(named=True)
    ]
    if left_out is not None and count > len(found):
        left_out["more than are read at once"] += count - len(found)
    return found


def _order(one: _Candidate, seed: int) -> tuple[bool, bytes]:
    """Labelled ones first, then at random, the same for the same seed on every machine."""
    return not one.labelled, hashlib.blake2b(
        f"{seed}:{one.id}".encode("utf-8", "replace"), digest_size=8
    ).digest()


def _one_of_each(candidates: Sequence[_Candidate]) -> tuple[list[_Candidate], int]:
    """The first of each group of near-duplicates, with the size of the group, and how many others there were."""
    leading = leaders([one.prompt for one in candidates]).tolist()
    sizes = Counter(leading)
    kept = [
        msgspec.structs.replace(one, group=sizes[place])
        for place, one in enumerate(candidates)
        if leading[place] == place
    ]
    return kept, len(candidates) - len(kept)


def _frame(candidates: Sequence[_Candidate]) -> pl.DataFrame:
    return pl.DataFrame(
        {name: [getattr(one, name) for one in candidates] for name in ("prompt", "use_case")},
        schema={"prompt": pl.String, "use_case": pl.String},
    )


def _with_terms(pool: list[_Candidate], terms: Sequence[str]) -> list[_Candidate]:
    if not terms or not pool:
        return []
    has = _frame(pool).select(has_terms("prompt", terms)).to_series()
    return [one for one, found in zip(pool, has, strict=True) if found]


def _chosen(fails: list[_Candidate], pool: list[_Candidate], limit: int) -> list[_Candidate]:
    """About one neighbour for each that failed, from the same use case as far as there are any."""
    wanted = min(len(pool), limit // 2, len(fails))
    failed = fails[: limit - wanted]
    room = Counter(one.use_case for one in failed)
    first: list[_Candidate] = []
    others: list[_Candidate] = []
    for one in pool:
        room[one.use_case] -= 1
        (first if room[one.use_case] >= 0 else others).append(one)
    return [*failed, *[*first, *others][: min(wanted, len(failed))]]


def _prompts(
    chosen: Sequence[_Candidate], terms: Sequence[str], finders: Sequence[Finder] | None
) -> tuple[tuple[Prompt, ...], dict[str, int] | None]:
    """Prompts with personal data masked; those that are nearly the same once it is are one."""
    texts, counts = [], Counter[str]()
    for one in chosen:
        said = (_whole(one.prompt), *([_whole(one.system)] if one.system else []))
        if finders is not None:
            masked = mask(said, finders=finders)
            said = masked.texts
            counts.update(masked.counts)
        texts.append(said)
    leading = leaders([said[0] for said in texts]).tolist()
    sizes: Counter[int] = Counter()
    for place, one in zip(leading, chosen, strict=True):
        sizes[place] += one.group
    prompts = tuple(
        _prompt(one, said, terms, sizes[place])
        for place, (one, said) in enumerate(zip(chosen, texts, strict=True))
        if leading[place] == place
    )
    return prompts, dict(counts.most_common()) if finders is not None else None


def _prompt(one: _Candidate, said: Sequence[str], terms: Sequence[str], group: int) -> Prompt:
    tags = {"why": one.why, "label": "expert" if one.labelled else "detector", "group": str(group)}
    if one.kinds:
        tags["kind"] = ", ".join(one.kinds)
    return Prompt(
        id=one.id,
        text=said[0],
        family=one.id,
        domain=one.use_case,
        intent=one.intent,
        terms=terms_in(said[0], terms),
        system=said[1] if len(said) > 1 else None,
        source=SOURCE,
        tags=tags,
    )


def _whole(text: str) -> str:
    """Without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def terms_of_document(document: object, where: str) -> tuple[str, ...]:
    """The trigger words of what `aligntax triggers --json` has printed. Raises InputError for anything else."""
    found = [*_listed(document)]
    if not found:
        wrong = not isinstance(document, dict) or "triggers" not in document
        raise InputError(
            "is not what aligntax triggers --json prints" if wrong else "no word of it is a trigger",
            where=where,
            remedy="make it: aligntax triggers VERDICTS --json > FILE"
            if wrong
            else "leave --triggers out: words that stand out are found without it",
        )
    return tuple(dict.fromkeys(found))


def _listed(document: object) -> Iterator[str]:
    triggers = document.get("triggers") if isinstance(document, dict) else None
    for trigger in triggers if isinstance(triggers, list) else ():
        words = trigger.get("words") if isinstance(trigger, dict) else None
        yield from (word for word in words or () if isinstance(word, str) and word.strip())
