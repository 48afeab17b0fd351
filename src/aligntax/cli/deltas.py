"""What a comparison prints for a person, and as JSON: a headline, a table, a forest plot, and how it was made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..estimate.comparison import HEDGE_DENSITY, LENGTH, OVER_REFUSAL, Side
from ..types import Kind
from .forest import Bar, forest_lines
from .summary import KIND_WORDS, plural
from .terminal import clean, cut_middle

_NAMES = {  # measure -> as printed, and where space is short
    "not_complete": ("not complete", "not complete"),
    OVER_REFUSAL: ("over-refusal", "over-refusal"),
    "refused": ("  refused", "  refused"),
    "partially_hedged": ("  partially hedged", "  partially hedged"),
    **{kind.value: (KIND_WORDS[kind], KIND_WORDS[kind]) for kind in Kind},
    HEDGE_DENSITY: ("hedges per 100 words", "hedges/100 words"),
    LENGTH: ("words, if complete", "words, if complete"),
}
_ORDER = ("not_complete", "refused", "partially_hedged", OVER_REFUSAL)  # the rest follows as it comes
_MOST_SLICES = 20
_WIDEST = 120
_NARROW = 100
_STAMP = "UNCORRECTED"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """A comparison ready to be shown: all exchanges together, and each slice by itself."""

    base: Side
    aligned: Side
    files: tuple[Path, Path]
    former: tuple[str, ...] = ()  # sentences: labels that belong to another state of these files
    level: float
    by: tuple[str, ...]
    total: pl.DataFrame
    slices: pl.DataFrame | None


def headline(result: Compared) -> str:
    """The one sentence: whether the sides differ in how much they answer, by how much, and how sure that is."""
    row = _row_of(result.total, "not_complete")
    base, aligned = clean(result.base.name), clean(result.aligned.name)
    if row is None or row["delta"] is None:
        return f"No difference can be given between {base} and {aligned}: {row['method'] if row else 'nothing to count'}."
    if not row["corrected"]:
        more = "more" if row["delta"] >= 0 else "fewer"
        return (
            f"{_STAMP}: the detector calls {_number(abs(row['delta']))} points {more} of {aligned} not complete than "
            f"of {base}. It errs by a different amount on each side, so the difference may be its error."
        )
    labels = row["labels_base"] + row["labels_aligned"]
    change = (
        f"{_points(row['delta'])} points not complete ({_sure(result.level)} interval "
        f"{_number(row['low'])} to {_number(row['high'])}), corrected by {plural(labels, 'label')}"
    )
    if not _shown(row):
        return f"No difference shown between {base} and {aligned}: {change}."
    return f"{aligned} refuses or hedges {'more' if row['delta'] > 0 else 'less'} than {base}: {change}."


def print_comparison(result: Compared, console: Console, *, plain: bool) -> None:
    """Write the whole comparison to `console`, fitted to its width. `plain`: the plot in ASCII."""
    console.width = min(console.width, _WIDEST)
    console.print(Text(headline(result), "bold"))
    over = _row_of(result.total, OVER_REFUSAL)
    if over is not None and over["low"] is not None:
        console.print(Text(_over_refusal(over)))
    console.print()
    console.print(_table(result, console.width))
    for title, bars, percent in _plots(result):
        lines = forest_lines(bars, width=console.width, number=_percent if percent else _on_axis, plain=plain)
        if lines:
            console.print()
            console.print(Text(title, "bold"))
            for line in lines:
                console.print(Text(line), no_wrap=True, overflow="ignore", crop=True)
    console.print()
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=5, style="bold")
    grid.add_column(overflow="fold")  # a path that is cut could not be copied
    for number, line in enumerate(_notes(result)):
        grid.add_row("" if number else "Notes", Text(line))
    console.print(grid)


def to_json(result: Compared) -> str:
    """The comparison as JSON in ASCII, without any text of the logs but the names of slices and files."""
    document = {
        "format": 1,
        "versions": {"aligntax": __version__},
        "headline": headline(result),
        "level": result.level,
        "by": list(result.by),
        "base": _side(result.base, result.files[0]),
        "aligned": _side(result.aligned, result.files[1]),
        "other_states": list(result.former),
        "total": result.total.to_dicts(),
        "slices": [] if result.slices is None else result.slices.to_dicts(),
    }
    return json.dumps(document, indent=2, default=str)


def _side(side: Side, file: Path) -> dict[str, Any]:
    return {
        "name": side.name,
        "file": str(file),
        "where": dict(side.where),
        "draw": side.draw.id if side.draw else None,
    }


def _over_refusal(row: Mapping[str, Any]) -> str:
    ends = f"{_number(row['low'])} to {_number(row['high'])}"
    shown = "" if _shown(row) else "no difference shown, "
    return f"Among requests that should have been answered: {shown}{_points(row['delta'])} points ({ends})."


def _table(result: Compared, width: int) -> Table:
    narrow = width < _NARROW
    room = 11 if narrow else 18
    table = Table(
        box=None, padding=(0, 1, 0, 0) if narrow else (0, 2, 0, 0), header_style="dim", pad_edge=False
    )
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=_name_room(narrow=narrow))
    for name in (result.base.name, result.aligned.name):
        table.add_column(cut_middle(clean(name), room), justify="right", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column(f"{_sure(result.level)} interval", no_wrap=True)
    table.add_column("rests on", no_wrap=True, style="dim")
    groups = list(_groups(result))
    for number, (name, rows) in enumerate(groups):
        if number:
            table.add_row()
        table.add_row(Text(cut_middle(name, _name_room(narrow=narrow)), "bold"), *_sizes(rows))
        for row in sorted(rows, key=lambda row: _place(row["measure"])):
            table.add_row(*_cells(row, narrow=narrow))
    hidden = _count_slices(result) - (len(groups) - 1)
    if hidden:
        table.add_row(Text(f"{plural(hidden, 'smaller slice')} not shown", "dim"))
    return table


def _name_room(*, narrow: bool) -> int:
    return 22 if narrow else 40


def _place(measure: str) -> int:
    return _ORDER.index(measure) if measure in _ORDER else len(_ORDER)


def _groups(result: Compared) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """All exchanges first, then the largest slices in their order."""
    yield "all", result.total.to_dicts()
    if result.slices is None:
        return
    by = list(dict.fromkeys(result.by))
    sizes = result.slices.filter(measure="not_complete").select(
        *by, size=pl.sum_horizontal("n_base", "n_aligned")
    )
    shown = sizes.sort("size", descending=True).head(_MOST_SLICES).select(by)
    rows = result.slices.join(shown, on=by, how="semi", nulls_equal=True, maintain_order="left")
    for key, group in rows.group_by(by, maintain_order=True):
        yield _slice_name(key), group.to_dicts()


def _slice_name(key: Sequence[Any]) -> str:
    return " · ".join("(none)" if value is None else clean(str(value)) for value in key)


def _count_slices(result: Compared) -> int:
    return 0 if result.slices is None else result.slices.filter(measure="not_complete").height


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[Text]:
    row = next(row for row in rows if row["measure"] == "not_complete")
    return [Text(f"n {row[name] or 0:,}", "dim") for name in ("n_base", "n_aligned")]


def _cells(row: Mapping[str, Any], *, narrow: bool) -> list[Text]:
    base, aligned = (_value(row[side], row["unit"]) for side in ("base", "aligned"))
    return [
        Text(_NAMES[row["measure"]][narrow]),
        Text(base),
        Text(aligned),
        Text(_change(row["delta"], row["unit"]), "bold" if _shown(row) else ""),
        _interval(row),
        Text(_rests_on(row)),
    ]


def _shown(row: Mapping[str, Any]) -> bool:
    """Whether the interval leaves no difference out."""
    same = 1.0 if row["unit"] == "ratio" else 0.0
    return row["low"] is not None and not row["low"] <= same <= row["high"]


def _interval(row: Mapping[str, Any]) -> Text:
    if row["low"] is not None:
        return Text(f"{_change(row['low'], row['unit'])} to {_change(row['high'], row['unit'])}")
    if row["delta"] is not None and row["corrected"] is False:
        return Text(_STAMP, "yellow")
    return Text("–", "dim")


def _rests_on(row: Mapping[str, Any]) -> str:
    if row["unit"] == "share":
        labels = (row["labels_base"] or 0) + (row["labels_aligned"] or 0)
        return plural(labels, "label") if row["corrected"] else ""
    if row["pairs"]:
        return plural(row["pairs"], "pair")
    return plural((row["n_base"] or 0) + (row["n_aligned"] or 0), "answer")


def _plots(result: Compared) -> Iterator[tuple[str, list[Bar], bool]]:
    """Title, bars, and whether values are percent of a ratio. One plot a measure where there are slices."""
    if result.slices is None:
        rows = [row for row in result.total.to_dicts() if row["unit"] == "share"]
        rows.sort(key=lambda row: _place(row["measure"]))
        yield "Change in points", _bars((_NAMES[row["measure"]][0], row) for row in rows), False
        return
    for measure, title, percent in (
        ("not_complete", "Not complete: change in points", False),
        (OVER_REFUSAL, "Over-refusal: change in points", False),
        (LENGTH, "Words of complete answers: change in percent", True),
    ):
        found = [(name, row) for name, rows in _groups(result) for row in rows if row["measure"] == measure]
        yield title, _bars(found), percent


def _bars(rows: Any) -> list[Bar]:
    bars = []
    for name, row in rows:
        if row["delta"] is None:
            continue
        value, low, high = (
            end - 1 if end is not None and row["unit"] == "ratio" else end
            for end in (row["delta"], row["low"], row["high"])
        )
        note = _STAMP if row["corrected"] is False else _change(row["delta"], row["unit"])
        bars.append(Bar(label=name, value=value, low=low, high=high, note=note))
    return bars


def _notes(result: Compared) -> Iterator[str]:
    total = result.total
    row = _row_of(total, "not_complete")
    if row is not None and row["corrected"]:
        yield f"Rates: {row['method']}."
    yield from _pairing(result)
    for name, frame in _levels(result):
        calls = _row_of(frame, "not_complete")
        if calls is not None and not calls["corrected"] and calls["calls_low"] is not None:
            where = "O" if result.slices is None else f"{name}: o"
            p = "" if calls["calls_p"] is None else f", McNemar mid-p {_p(calls['calls_p'])}"
            yield (
                f"{where}n matching prompts the detector's own calls of not complete change by "
                f"{_points(calls['calls_delta'])} ({_number(calls['calls_low'])} to {_number(calls['calls_high'])}{p}); "
                f"{_STAMP}: its errors are not in this interval."
            )
    compared = sum(frame["low"].count() for _, frame in _levels(result))
    if compared:
        missing = round(compared * (1 - result.level))
        chance = f": of so many, about {missing} may miss by chance" if missing else ""
        yield f"{plural(compared, 'interval')}, each at {_sure(result.level)} by itself{chance}."
    yield from (f"{line[0].upper()}{line[1:]}" for line in result.former)
    if row is not None and row["corrected"] is False and row["method"].startswith(_STAMP):
        yield from _how_to_label(result)


def _levels(result: Compared) -> Iterator[tuple[str, pl.DataFrame]]:
    yield "all", result.total
    if result.slices is not None:
        for key, frame in result.slices.group_by(list(dict.fromkeys(result.by)), maintain_order=True):
            yield _slice_name(key), frame


def _pairing(result: Compared) -> Iterator[str]:
    rows = [row for measure in (HEDGE_DENSITY, LENGTH) if (row := _row_of(result.total, measure))]
    matched = rows[0]["matched"]
    told = "; ".join(
        f"{words}: {row['method']}" for words, row in zip(("hedges", "words"), rows, strict=True)
    )
    if matched is None:
        why = "The verdicts hold no prompts, so nothing is paired."
    elif any(row["pairs"] for row in rows):
        why = f"{plural(matched, 'prompt')} came up on both sides."
    elif matched:
        why = f"{plural(matched, 'prompt')} came up on both sides, too few to speak for the rest: not paired."
    else:
        why = "No prompt came up on both sides, so nothing is paired."
    yield f"{why} {told[0].upper()}{told[1:]}."


def _how_to_label(result: Compared) -> Iterator[str]:
    """What would make the difference one to sign."""
    sides = (result.base, result.aligned)
    if result.files[0] == result.files[1]:
        names = ",".join(dict.fromkeys([*result.base.where, *result.aligned.where, *result.by]))
        yield f"To correct it: aligntax label plan {clean(str(result.files[0]))} --by {names} --budget 200, label, compare again."
        return
    lacking = [
        clean(str(file))
        for file, side in zip(result.files, sides, strict=True)
        if side.draw is None or not side.annotations
    ]
    by = f" --by {','.join(result.by)}" if result.by else ""
    plans = " and ".join(f"aligntax label plan {file}{by} --budget 100" for file in lacking)
    yield f"To correct it: {plans}, label, compare again."


def _row_of(frame: pl.DataFrame, measure: str) -> dict[str, Any] | None:
    rows = frame.filter(measure=measure).to_dicts()
    return rows[0] if rows else None


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return {"share": f"{value:.1%}", "per_100_words": f"{value:.2f}", "ratio": f"{value:,.0f}"}[unit]


def _change(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "share":
        return _points(value)
    return f"{value:+.2f}" if unit == "per_100_words" else _percent(value - 1)


def _points(share: float) -> str:
    """+18.0; what rounds to nothing bears no sign."""
    return f"{_round(100 * share):+.1f}" if _round(100 * share) else "0.0"


def _number(share: float) -> str:
    return f"{_round(100 * share):.1f}"


def _on_axis(share: float) -> str:
    return _points(share) if share else "0"


def _percent(share: float) -> str:
    return f"{round(100 * share):+d}%" if round(100 * share) else "0%"


def _round(value: float) -> float:
    return round(value, 1) + 0.0  # no -0.0


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _sure(level: float) -> str:
    return f"{round(100 * level, 3):g} %"
