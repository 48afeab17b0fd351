"""What `aligntax twins` prints for a person, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..twins import PARTS, Beside, Family, Review, Tax
from ..twins.ratio import FEWEST
from ..twins.tax import Slice
from ..types import Estimate
from .terminal import clean, cut_middle

SIMULATION = "SIMULATION: {} is a set of rules, not a model. These figures say nothing of any real model."

PART_WORDS = {
    "refused": "refused or avoided",
    "half_refused": "refused in part",
    "hedged_or_padded": "hedged or padded",
    "content_lost": "content lost in other answers",
}
_MEASURE_WORDS = {
    "coverage": ("required facts stated", "share"),
    "directness": ("directness", "share"),
    "actionability": ("numbers, steps, code, names per 100 words", "number"),
    "padding": ("text outside answering sentences", "share"),
    "hedge_density": ("hedges per 100 words", "number"),
}
_SOURCES = {
    "facts": "Quality is a proxy: the share of the required facts that an answer states.",
    "detector": "Quality is a proxy: how much the detector thinks is answered, UNCORRECTED. Required facts would be better.",
    "facts and detector": "Quality is a proxy: required facts stated, and the detector's guess where a prompt has none.",
    "judge": "Quality is by a judge, and uncorrected.",
    "expert": "Quality is by experts.",
}
_DETECTED = "Who refused, hedged or padded is the detector's call, UNCORRECTED; intervals speak of chance between families."
_WIDEST = 120
_NARROW = 100
_MOST_ROWS = 12


def headline(tax: Tax) -> str:
    """The one sentence: what sensitive words cost, how sure that is, and on how many families."""
    model = clean(tax.model)
    value = tax.tax.value or 0.0
    where = f"{_families(tax.families)}, {tax.answers:,} answers"
    if tax.tax.low is None or tax.tax.high is None:
        return (
            f"Sensitive words cost {model} {percent(value)} of the quality that its answers have in neutral words "
            f"({where}: too few, or too much alike, for an interval)."
        )
    ends = f"{_sure(tax.level)} interval {percent(tax.tax.low)} to {percent(tax.tax.high)}"
    if tax.tax.low <= 0 <= tax.tax.high:
        return (
            f"No tax shown for {model}: {percent(value)} of the quality in neutral words ({ends}; {where})."
        )
    verb = "cost" if value > 0 else "gain"
    return (
        f"Sensitive words {verb} {model} {percent(abs(value))} of the quality that its answers have in neutral words "
        f"({ends if value > 0 else ends + ' of cost'}; {where})."
    )


def print_tax(tax: Tax, console: Console, *, notes: Sequence[str] = ()) -> None:
    """Write everything of one model to `console`, fitted to its width."""
    console.width = min(console.width, _WIDEST)
    console.print(Text(headline(tax), "bold"))
    if tax.simulated:
        console.print(Text(SIMULATION.format(clean(tax.model)), "yellow"))
    console.print(Text(_source(tax)))
    if tax.source not in ("expert", "judge"):
        console.print(Text(_DETECTED, "yellow"))
    console.print()
    console.print(_parts_table(tax, console.width))
    console.print()
    console.print(_sides_table(tax, console.width))
    for title, slices in (("by domain", tax.domains), ("by term", tax.terms)):
        if len(slices) > 1 or (slices and title == "by term"):
            console.print()
            console.print(_slices_table(title, slices, console.width, tax.level))
    if tax.worst:
        console.print()
        console.print(_worst_table(tax.worst, console.width))
    _print_notes([*_notes(tax), *notes], console)


def print_beside(
    beside: Beside, base: Tax | None, aligned: Tax | None, console: Console, level: float
) -> None:
    """Two models on one suite: the differences, each with its interval."""
    console.width = min(console.width, _WIDEST)
    first, second = clean(beside.base), clean(beside.aligned)
    console.print(Text(_beside_headline(beside, level), "bold"))
    console.print(
        Text("Refusals are the detector's calls, UNCORRECTED: it errs differently on each model.", "yellow")
    )
    console.print()
    table = _table(console.width)
    room = max(console.width - 58, 20)
    table.add_column(f"{cut_middle(second, room // 2)} less {cut_middle(first, room // 2)}")
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column(f"{_sure(level)} interval", no_wrap=True)
    table.add_column("families", justify="right", no_wrap=True, style="dim")
    rows = (
        ("gave nothing, all prompts", beside.refusals),
        ("gave nothing, sensitive words", beside.refusals_sensitive),
        ("gave nothing, neutral words", beside.refusals_neutral),
        ("quality, neutral words", beside.capability),
        ("tax", beside.tax),
    )
    for name, estimate in rows:
        if estimate is not None:
            table.add_row(name, points(estimate.value), _ends(estimate, points), f"{estimate.n:,}")
    console.print(table)
    taxes = [
        f"{clean(tax.model)} {percent(tax.tax.value)} ({_ends(tax.tax, percent)})"
        for tax in (base, aligned)
        if tax
    ]
    if taxes:
        console.print()
        console.print(Text(f"Tax of each: {'; '.join(taxes)}."))


def to_json(
    tax: Tax | None,
    *,
    beside: Beside | None = None,
    base: Tax | None = None,
    review: Review | None = None,
    logs: Mapping[str, str] | None = None,
) -> str:
    """All of it as JSON, without any text of prompts or answers but the names of families and terms."""
    document: dict[str, Any] = {
        "format": 1,
        "versions": {"aligntax": __version__},
        "headline": None if tax is None else headline(tax),
        "logs": dict(logs or {}),
        "tax": None if tax is None else _builtins(tax),
        "base": None if base is None else _builtins(base),
        "beside": None if beside is None else msgspec.to_builtins(beside),
        "review": None if review is None else msgspec.to_builtins(review),
    }
    return json.dumps(document, indent=2)


def percent(share: float | None) -> str:
    """12.3 %, with one digit; what rounds to nothing bears no sign."""
    return "–" if share is None else f"{_round(100 * share):.1f} %"


def points(share: float | None) -> str:
    """+12.3 points."""
    return "–" if share is None else f"{_round(100 * share):+.1f}" if _round(100 * share) else "0.0"


def rounded_to_sum(values: Sequence[float], digits: int = 1) -> list[float]:
    """The values rounded so that what is printed adds up to the rounded sum: the largest rests are rounded up."""
    scale = 10**digits
    floors = [int(value * scale // 1) for value in values]
    missing = round(sum(values) * scale) - sum(floors)
    rests = sorted(range(len(values)), key=lambda place: floors[place] - values[place] * scale)
    for place in rests[: max(missing, 0)]:
        floors[place] += 1
    return [floor / scale for floor in floors]


def _builtins(tax: Tax) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(tax)
    return {**found, "rare": tax.rare}


def _parts_table(tax: Tax, width: int) -> Table:
    table = _table(width)
    table.add_column("what the tax is made of")
    table.add_column("share of\nneutral quality", justify="right", no_wrap=True)
    table.add_column(f"{_sure(tax.level)} interval", no_wrap=True, vertical="bottom")
    shown = rounded_to_sum([100 * (tax.parts[name].value or 0.0) for name in PARTS])
    for name, value in zip(PARTS, shown, strict=True):
        table.add_row(PART_WORDS[name], f"{value + 0.0:.1f} %", _ends(tax.parts[name], percent))
    table.add_row(Text("tax", "bold"), Text(f"{sum(shown) + 0.0:.1f} %", "bold"), _ends(tax.tax, percent))
    return table


def _sides_table(tax: Tax, width: int) -> Table:
    table = _table(width)
    table.add_column("")
    for name in ("neutral", "sensitive", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"{_sure(tax.level)} interval", no_wrap=True)
    if width >= _NARROW:
        table.add_column("follows experts", no_wrap=True)
    rows: list[tuple[str, ...]] = [
        (
            "quality",
            percent(tax.neutral),
            percent(tax.sensitive),
            points(tax.sensitive - tax.neutral),
            "",
            "" if tax.source == "expert" else _follows(tax.judge if tax.source == "judge" else tax.proxy),
        ),
        (
            "gave nothing",
            percent(tax.refusals["neutral"].value),
            percent(tax.refusals["sensitive"].value),
            points(tax.refusals["change"].value),
            _ends(tax.refusals["change"], points),
            "",
        ),
    ]
    for measure in tax.measures:
        words, unit = _MEASURE_WORDS[measure.name]
        of, change = (percent, points) if unit == "share" else (_plain, _signed)
        ends = _ends(measure.change, change)
        followed = _follows(measure.correlation)
        rows.append(
            (
                f"{words} *",
                of(measure.neutral),
                of(measure.sensitive),
                change(measure.change.value),
                ends,
                followed,
            )
        )
    if tax.tokens is not None:
        rows.append(
            (f"{tax.counted_in} *", "", "", _times(tax.tokens[0].value), _ends(tax.tokens[0], _times), "")
        )
    if tax.money is not None:
        for name, estimate in (
            ("USD per 1,000 requests *", tax.money.extra),
            ("USD for nothing per 1,000", tax.money.for_nothing),
        ):
            rows.append((name, "", "", _usd(estimate.value), _ends(estimate, _usd), ""))
    for row in rows:
        table.add_row(*row[: len(table.columns)])
    table.add_row(Text("* of answers that gave something on both sides", "dim"))
    return table


def _slices_table(title: str, slices: Sequence[Slice], width: int, level: float) -> Table:
    table = _table(width)
    table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=max(width - 60, 18))
    table.add_column("families", justify="right", no_wrap=True)
    table.add_column("tax", justify="right", no_wrap=True)
    table.add_column(f"{_sure(level)} interval", no_wrap=True)
    table.add_column("gave nothing", justify="right", no_wrap=True)
    for each in slices[:_MOST_ROWS]:
        ends = (
            _ends(each.tax, percent) if each.families >= FEWEST else Text(f"under {FEWEST} families", "dim")
        )
        name = "(none)" if each.name is None else clean(each.name)
        table.add_row(name, f"{each.families:,}", percent(each.tax.value), ends, points(each.refusals.value))
    if len(slices) > _MOST_ROWS:
        table.add_row(Text(f"{len(slices) - _MOST_ROWS} more in --json", "dim"))
    return table


def _worst_table(worst: Sequence[Family], width: int) -> Table:
    narrow = width < _NARROW
    table = _table(width)
    room = width - 54
    table.add_column(
        "worst families", no_wrap=True, overflow="ellipsis", max_width=max(room if narrow else room // 2, 20)
    )
    if not narrow:
        table.add_column("terms", no_wrap=True, overflow="ellipsis", max_width=room // 2)
    table.add_column("neutral", justify="right", no_wrap=True)
    table.add_column("sensitive", justify="right", no_wrap=True)
    table.add_column("mostly", no_wrap=True)
    for family in worst:
        most = max(PARTS, key=lambda name: family.parts[name])
        cells = [
            clean(family.name),
            clean(", ".join(family.terms)),
            percent(family.neutral.quality),
            percent(family.sensitive.quality),
            PART_WORDS[most].removesuffix(" in other answers"),
        ]
        table.add_row(*(cells[:1] + cells[2:] if narrow else cells))
    return table


def _families(number: int) -> str:
    return f"{number:,} {'family' if number == 1 else 'families'}"


def _notes(tax: Tax) -> Iterator[str]:
    yield f"Interval: {tax.tax.method}; bootstrap-t {_ends(tax.check, percent)}."
    if tax.rare:
        yield (
            f"Only {_families(tax.hit)} of {tax.families:,} gave nothing more often in sensitive words. Where losses are that "
            "rare, the interval may be too narrow: more families, not more repeats, mend it (docs/reference/tax.md)."
        )
    if tax.lacking:
        yield f"{len(tax.lacking):,} families left out: one of their sides has no answer."
    if tax.unasked:
        yield f"{tax.unasked:,} prompts of the suite have no answer in the log."
    for why, count in tax.left_out.items():
        yield f"Left out: {count:,} {why}."


def _source(tax: Tax) -> str:
    text = _SOURCES[tax.source]
    if tax.source in ("expert",):
        return text
    related = tax.judge if tax.source == "judge" else tax.proxy
    if related is None or related.value is None:
        return text
    return f"{text} Its correlation with the experts' quality is {_correlation(related)} on {related.n_labels:,} ratings."


def _beside_headline(beside: Beside, level: float) -> str:
    first, second = clean(beside.base), clean(beside.aligned)
    change = beside.refusals
    ends = (
        ""
        if change.low is None
        else f" ({_sure(level)} interval {points(change.low)} to {points(change.high)})"
    )
    more = "more" if (change.value or 0.0) >= 0 else "fewer"
    gap = points(abs(change.value or 0.0)).lstrip("+")
    text = f"{second} gives nothing in {gap} points {more} of its answers than {first}{ends}"
    if beside.tax is None or beside.tax.value is None:
        return f"{text}."
    way = "higher" if beside.tax.value >= 0 else "lower"
    return f"{text}; its tax is {points(abs(beside.tax.value)).lstrip('+')} points {way} ({_ends(beside.tax, points)})."


def _print_notes(notes: Sequence[str], console: Console) -> None:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=5, style="bold")
    grid.add_column(overflow="fold")
    for number, line in enumerate(notes):
        grid.add_row("" if number else "Notes", Text(clean(line)))
    console.print()
    console.print(grid)


def _table(width: int) -> Table:
    return Table(
        box=None,
        padding=(0, 1, 0, 0) if width < _NARROW else (0, 2, 0, 0),
        header_style="dim",
        pad_edge=False,
    )


def _ends(estimate: Estimate, written: Any) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    return f"{written(estimate.low)} to {written(estimate.high)}"


def _follows(estimate: Estimate | None) -> str:
    return "proxy" if estimate is None else _correlation(estimate)


def _correlation(estimate: Estimate) -> str:
    ends = "" if estimate.low is None else f" ({estimate.low:.2f} to {estimate.high:.2f})"
    return f"{estimate.value:.2f}{ends}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _times(value: float | None) -> str:
    return "–" if value is None else f"x {value:.2f}"


def _usd(value: float | None) -> str:
    return "–" if value is None else f"{'-' if value < 0 else ''}${abs(value):,.4f}"


def _round(value: float) -> float:
    return round(value, 1) + 0.0  # no -0.0


def _sure(level: float) -> str:
    return f"{round(100 * level, 3):g} %"
