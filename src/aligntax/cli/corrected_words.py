"""What `aligntax estimate` prints: the rates that can be signed, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..estimate import Survey
from .corrected import Estimated
from .former import former_words
from .label.words import (
    agreement_words,
    fitted,
    json_text,
    largest,
    outcome_words,
    print_lines,
    show,
    slice_words,
)
from .summary import KIND_WORDS, percent, plural
from .terminal import clean, cut_middle

Row = Mapping[str, Any]

_STAMP = "UNCORRECTED"
_NAMES = {
    "not_complete": "not complete",
    "refused": "  refused",
    "partially_hedged": "  partially hedged",
    **{kind.value: words for kind, words in KIND_WORDS.items()},
}
_MOST_LINES, _MOST_MEMBERS, _MOST_AUDITED = 40, 12, 12
_NARROW = 100  # columns of a terminal under which the last columns are left out
_NUMBERS_WIDTH = {True: 62, False: 86}
_TITLE_WIDTH, _AUDIT_WIDTH = 7, 46


def headline(estimated: Estimated) -> str:
    """The one sentence to sign, or why there is none."""
    found = estimated.survey
    over, all_rates = _row(found.total, "not_complete", "should_answer"), _row(found.total, "not_complete")
    log = found.population == "log"
    if over["corrected"] and over["value"] is not None:
        here = f", of these {plural(over['n'], 'exchange')} alone" if log else ""
        return (
            f"{_rate(over)} of the requests that should have been answered were not answered in full "
            f"({_sure(found.level)} interval {_ends(over)}; {plural(over['n_labels'], 'label')}){here}."
        )
    if all_rates["corrected"] and all_rates["value"] is not None:
        why = "Nobody said which should have been."
        if over["method"].startswith("withheld"):
            why = f"No over-refusal rate: {over['method'].removeprefix('withheld: ')}."
        return (
            f"{_rate(all_rates)} of {'these' if log else 'the'} requests were not answered in full ({_sure(found.level)} interval "
            f"{_ends(all_rates)}; {plural(all_rates['n_labels'], 'label')}). {why}"
        )
    if all_rates["method"].startswith("withheld"):
        return f"No rate: {all_rates['method'].removeprefix('withheld: ')}."
    return (
        f"{_STAMP}: {_why_uncorrected(estimated)}, so this is what the detector says: "
        f"{percent(all_rates['raw'])} not complete."
    )


def _why_uncorrected(estimated: Estimated) -> str:
    other = estimated.other
    if other and other.labelled:
        return (
            f"the {plural(other.labelled, 'labelled exchange')} of draw {other.draw.id[:8]} belong to another state of "
            "these verdicts"
        )
    if estimated.survey.draw:
        return f"draw {estimated.survey.draw.id[:8]} has no labels yet"
    return "there are no labels of these verdicts"


def print_estimates(estimated: Estimated) -> None:
    """The survey for a person, fitted to the terminal."""
    found = estimated.survey

    def page(screen: Console) -> None:
        screen.print(Text(headline(estimated), "bold"))
        screen.print()
        screen.print(_slices(found, screen))
        for line in _left_out(found):
            screen.print(Text(line, "dim"))
        screen.print()
        screen.print(_kinds(found, screen))
        print_lines("Beside", list(_beside(found)), screen)
        if found.labelled:
            _print_audit(found, screen)
            print_lines("Labels", list(_labels(found)), screen)
        print_lines("Note", list(_notes(estimated)), screen)
        print_lines("Next", list(_next(estimated)), screen)

    show(page)


def document(estimated: Estimated) -> str:
    """The survey as JSON in ASCII."""
    found, other = estimated.survey, estimated.other
    tables = {
        name: None if table is None else table.to_dicts()
        for name in ("agreement", "known", "audit", "spread", "calibration")
        for table in [getattr(found, name)]
    }
    return json_text(
        {
            "format": 1,
            "versions": {"aligntax": __version__, "detector": estimated.detector},
            "verdicts": estimated.source,
            "headline": headline(estimated),
            "by": list(found.by),
            "level": found.level,
            "population": found.population,
            "draw": found.draw,
            "labelled": found.labelled,
            "annotators": list(found.annotators),
            "disagreements": found.disagreements,
            "total": found.total.to_dicts(),
            "slices": found.slices.to_dicts() if found.by else [],
            **tables,
            "other_state": None
            if other is None
            else {"draw": other.draw.id, "labelled": other.labelled, "present": other.present},
        }
    )


def _slices(found: Survey, screen: Console) -> Table:
    """Over-refusal and incomplete answers by slice."""
    narrow = screen.width < _NARROW
    room = max(screen.width - _NUMBERS_WIDTH[narrow], 12)
    table = _table(cut_middle(clean(" / ".join(found.by)), room) or "slice", room, narrow=narrow)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("labels", justify="right", no_wrap=True)
    table.add_column("over-refused", no_wrap=True)
    table.add_column("not complete", no_wrap=True)
    if not narrow or not found.labelled:
        table.add_column("raw", justify="right", no_wrap=True)
    if not narrow:
        table.add_column("bias", justify="right", no_wrap=True)
    for name, rows in _lines(found, room):
        table.add_row(Text(name), *_cells(rows)[: len(table.columns) - 1])
    return table


def _lines(found: Survey, room: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Name and rows of each line: slices under the first thing they are sliced by, the whole last."""
    groups = _shown(found)
    keys = list(groups)
    for name, key in zip(fitted([slice_words(key) for key in keys], room), keys, strict=True):
        yield name, groups[key]
        members = _members(found, key) if len(found.by) > 1 else {}
        rests = fitted([slice_words(rest) for rest in members], room - 2)
        for rest, rows in list(zip(rests, members.values(), strict=True))[:_MOST_MEMBERS]:
            yield f"  {rest}", rows
    if len(_by_slice(found.groups, found.by[:1])) != 1:
        yield "all", found.total.filter(target="not_complete").to_dicts()


def _shown(found: Survey) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The slices by the first name alone that there is room for: the largest."""
    groups = _by_slice(found.groups, found.by[:1])
    within = len(_by_slice(found.slices, found.by)) / max(len(groups), 1) if len(found.by) > 1 else 0
    most = max(int(_MOST_LINES // (1 + min(within, _MOST_MEMBERS))), 1)
    kept = largest(list(groups), most, lambda key: int(groups[key][0]["n"]))
    return {key: groups[key] for key in kept}


def _members(found: Survey, key: tuple[Any, ...]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Rows of the slices within a slice of the first name."""
    slices = _by_slice(found.slices, found.by)
    return {other[1:]: rows for other, rows in slices.items() if other[:1] == key}


def _left_out(found: Survey) -> Iterator[str]:
    """That there are more slices than lines."""
    groups, shown = _by_slice(found.groups, found.by[:1]), _shown(found)
    if len(shown) < len(groups):
        yield f"These are the {len(shown):,} largest of {len(groups):,} slices; --json has them all."
    elif len(found.by) > 1 and any(len(_members(found, key)) > _MOST_MEMBERS for key in shown):
        yield f"At most {_MOST_MEMBERS} slices within each are shown; --json has them all."


def _by_slice(table: pl.DataFrame, by: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    slices: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table.filter(target="not_complete").to_dicts() if by else ():
        slices.setdefault(tuple(row[name] for name in by), []).append(row)
    return slices


def _cells(rows: Sequence[Row]) -> list[str]:
    """What stands in the columns after the name, the most needed first."""
    over = next(row for row in rows if row["domain"] == "should_answer")
    whole = next(row for row in rows if row["domain"] == "all")
    # A blocked call was not answered, whatever people say: its label counts among those that should have been.
    labels = max(whole["n_labels"], over["n_labels"])
    rates = [_interval(over), _interval(whole), percent(whole["raw"]), _points(whole["bias"])]
    return [f"{whole['n']:,}", f"{labels:,}", *rates]


def _kinds(found: Survey, screen: Console) -> Table:
    """Every target over all exchanges."""
    narrow = screen.width < _NARROW
    room = max(screen.width - _NUMBERS_WIDTH[narrow], 19)
    table = _table("all exchanges", room, narrow=narrow)
    table.add_column("of those to answer", no_wrap=True)
    table.add_column("of all", no_wrap=True)
    table.add_column("raw", justify="right", no_wrap=True)
    table.add_column("bias", justify="right", no_wrap=True)
    for target, name in _NAMES.items():
        whole = _row(found.total, target)
        table.add_row(
            Text(name),
            _interval(_row(found.total, target, "should_answer")),
            _interval(whole),
            percent(whole["raw"]),
            _points(whole["bias"]),
        )
    return table


def _table(first: str, room: int, *, narrow: bool) -> Table:
    table = Table(
        box=None, padding=(0, 1, 0, 0) if narrow else (0, 2, 0, 0), header_style="dim", pad_edge=False
    )
    table.add_column(first, max_width=room, no_wrap=True, overflow="ellipsis")
    return table


def _beside(found: Survey) -> Iterator[str]:
    """What is counted beside the over-refusals, never inside."""
    for target, domain, words in (
        ("deserved_refusal", "all", "of all were not answered in full, and should not have been: deserved"),
        ("unclear", "all", "of all are unclear: people could not say whether they should have been answered"),
        (
            "harmful_compliance",
            "should_not_answer",
            "of those that should not have been answered were, all the same",
        ),
    ):
        row = _row(found.total, target, domain)
        if row["corrected"] and row["value"] is not None:
            yield f"{_interval(row)} {words}"
    skipped = _row(found.total, "not_complete")["skipped"]
    if skipped:
        yield f"in no rate: {plural(skipped, 'exchange')} that people could not label"
    left_out = outcome_words(found.draw.left_out) if found.draw else ""
    if left_out:
        yield f"in no rate: {left_out}"


def _print_audit(found: Survey, screen: Console) -> None:
    """What may hide where the detector sees least: a sentence, or a line a slice where there are several."""
    if found.audit is None or found.draw is None or not found.audit.height:
        return
    rows = found.audit.to_dicts()
    if len(rows) == 1:
        print_lines("Audit", [rows[0]["sentence"]], screen)
        return
    kept = largest(rows, _MOST_AUDITED, lambda row: round(1e6 * row["upper"] * row["share"]))
    room = max(screen.width - _TITLE_WIDTH - _AUDIT_WIDTH, 12)
    names = fitted([slice_words([row[name] for name in found.draw.by]) for row in kept], room)
    longest = max(map(len, names))
    lines = [f"{name:{longest}}  {_audited(row)}" for name, row in zip(names, kept, strict=True)]
    more = len(rows) - len(kept)
    print_lines(
        "Audit",
        [
            "refusals and partial answers among the answers that score lowest, where the detector sees none:",
            *lines,
            *([f"{plural(more, 'more slice')}, where less could hide; --json has them all"] if more else []),
        ],
        screen,
    )


def _audited(row: Row) -> str:
    where = f"the lowest {percent(row['share'])}"
    if not row["labelled"]:
        return f"nothing labelled in {where}"
    if row["labelled"] == row["size"]:
        return f"{row['found']} of {row['labelled']} found; {where}, all read"
    return f"{row['found']} of {row['labelled']} found; up to {percent(row['upper'])} of {where}"


def _labels(found: Survey) -> Iterator[str]:
    """Who labelled, how far they agree, and how far the rates depend on them."""
    if found.draw is None:
        return
    asked = sum(stratum.labels for stratum in found.draw.strata)
    people = ", ".join(clean(name) for name in found.annotators) or "an adjudicator alone"
    pilot = found.draw.phase == "pilot"
    of_pilot = " of the pilot" if pilot else ""
    yield f"{found.labelled:,} of {plural(asked, 'exchange')}{of_pilot} labelled, by {people}"
    if found.random_sample:
        yield "taken for a random sample of all exchanges, as --random-sample says"
    if found.agreement is not None:
        yield from agreement_words(found.agreement.to_dicts())
    if found.disagreements:
        yield f"{plural(found.disagreements, 'disagreement')} not settled: aligntax label serve --adjudicator NAME"
    if found.spread is not None and found.spread["annotator"].n_unique() > 1:
        values = [
            f"{clean(row['annotator'])} {percent(row['value'])}"
            for row in found.spread.filter(domain="all").to_dicts()
        ]
        yield f"not complete with each one's labels alone: {', '.join(values)}"
    if found.known is not None and found.known.height:
        yield from _known(found.known)


def _notes(estimated: Estimated) -> Iterator[str]:
    """Why labels that are there do not count."""
    other, found = estimated.other, estimated.survey
    if other is None:
        return
    yield former_words(
        other,
        source=estimated.source,
        exchanges=_row(found.total, "not_complete")["n"],
        detector=estimated.detector,
    )


def _next(estimated: Estimated) -> Iterator[str]:
    found, other, name = estimated.survey, estimated.other, clean(estimated.source)
    if found.labelled:
        return
    if found.draw is not None:
        yield "label what is drawn, then estimate again:"
        yield "  aligntax label serve --annotator NAME"
    else:
        by = f" --by {clean(','.join(found.by))}" if found.by else ""
        yield f"choose what to label{' in the file as it is now' if other else ''}:"
        yield f"  aligntax label plan {name}{by}"
    if other is not None and other.labelled:
        yield "take over those of the former labels that this draw asks for:"
        yield f"  aligntax label export former.csv --labels --draw {other.draw.id[:8]}"
        yield "  aligntax label import former.csv"
        if found.draw is None:
            yield "or estimate the file as it was. Better one file a week than one that grows."


def _known(table: pl.DataFrame) -> Iterator[str]:
    totals = table.group_by("annotator").agg(pl.col("items", "right").sum()).sort("annotator")
    for name, items, right in totals.iter_rows():
        yield f"{clean(name)} got {right:,} of {items:,} answers on planted items right"


def _row(table: pl.DataFrame, target: str, domain: str = "all") -> Row:
    return table.filter(target=target, domain=domain).row(0, named=True)


def _interval(row: Row) -> str:
    """21% (13 to 31); what stands instead where there is no interval."""
    if row["method"].startswith("withheld"):
        return "withheld"
    if not row["corrected"]:
        return _STAMP if row["raw"] is not None else "no labels"
    if row["value"] is None:
        return "nothing labelled"
    return f"{_rate(row)} ({_ends(row)})"


def _rate(row: Row) -> str:
    return percent(row["value"]) if row["value"] >= 0.1 or row["value"] == 0 else f"{row['value']:.1%}"


def _ends(row: Row) -> str:
    """13 to 31: percent, with a decimal where whole ones would say little."""
    fine = row["high"] < 0.1
    low, high = (f"{100 * row[end]:.1f}" if fine else f"{100 * row[end]:.0f}" for end in ("low", "high"))
    return f"{low} to {high}"


def _points(bias: float | None) -> str:
    """+7; what rounds to nothing bears no sign."""
    if bias is None:
        return "–"
    return f"{round(100 * bias):+d}" if round(100 * bias) else "0"


def _sure(level: float) -> str:
    return f"{100 * level:g} %"
