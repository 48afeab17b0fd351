"""The alignment tax as the page shows it: what sensitive words cost, in parts that add up, and where."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from markupsafe import Markup

from ..errors import InputError
from .foreign import Count, Figure, Level, Number, read
from .forest import Row, forest
from .text import clip, visible
from .wording import count, plural, points, sentence, signed, slice_name, sure, words

PLOTTED, LISTED = 12, 200  # slices in a plot, and in the table under it

_PARTS = {
    "refused": "Refused or avoided",
    "half_refused": "Refused in part",
    "hedged_or_padded": "Hedged or padded",
    "content_lost": "Content lost in other answers",
}
_MEASURES = {  # name -> (in words, whether it is a share)
    "coverage": ("Required facts stated", True),
    "directness": ("Directness", True),
    "actionability": ("Numbers, steps, code, names per 100 words", False),
    "padding": ("Text outside answering sentences", True),
    "hedge_density": ("Hedges per 100 words", False),
}
_SOURCES = {
    "facts": "Quality is a proxy: the share of the required facts that an answer states.",
    "detector": "Quality is a proxy: how much the detector thinks is answered, UNCORRECTED. Required facts would be better.",
    "facts and detector": "Quality is a proxy: required facts stated, and the detector's guess where a prompt has none.",
    "judge": "Quality is by a judge, and uncorrected.",
    "expert": "Quality is by experts.",
}
_STAMP = (
    "Who refused, hedged or padded is the detector's call. The intervals speak of chance between families, and not of "
    "the detector's errors."
)
_FEWEST = 6  # families with which a slice has an interval
_ROW, _LINE = 38, 22  # pixels: height of a row of the bar of parts, and from its top to its bar


class _Side(msgspec.Struct, frozen=True, kw_only=True):
    quality: Number


class _Shares(msgspec.Struct, frozen=True, kw_only=True):
    refused: Number
    half_refused: Number
    hedged_or_padded: Number
    content_lost: Number


class _Parts(msgspec.Struct, frozen=True, kw_only=True):
    refused: Figure
    half_refused: Figure
    hedged_or_padded: Figure
    content_lost: Figure


class _Refusals(msgspec.Struct, frozen=True, kw_only=True):
    neutral: Figure
    sensitive: Figure
    change: Figure


class _Measure(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    neutral: Number
    sensitive: Number
    change: Figure
    correlation: Figure | None


class _Money(msgspec.Struct, frozen=True, kw_only=True):
    extra: Figure
    for_nothing: Figure


class _Slice(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None
    families: Count
    tax: Figure
    refusals: Figure


class _Family(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    terms: tuple[str, ...]
    neutral: _Side
    sensitive: _Side
    parts: _Shares


class _Tax(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    simulated: bool
    source: str
    level: Level
    families: Count
    answers: Count
    tax: Figure
    check: Figure
    neutral: Number
    sensitive: Number
    parts: _Parts
    refusals: _Refusals
    hit: Count
    tokens: tuple[Figure, Figure] | None
    counted_in: str
    money: _Money | None
    measures: tuple[_Measure, ...]
    proxy: Figure | None
    judge: Figure | None
    domains: tuple[_Slice, ...]
    terms: tuple[_Slice, ...]
    worst: tuple[_Family, ...]
    lacking: tuple[str, ...]
    left_out: dict[str, Count]
    unasked: Count
    rare: bool


class _Beside(msgspec.Struct, frozen=True, kw_only=True):
    base: str
    aligned: str
    refusals: Figure
    refusals_sensitive: Figure | None
    refusals_neutral: Figure | None
    capability: Figure | None
    tax: Figure | None
    source: str


class _Review(msgspec.Struct, frozen=True, kw_only=True):
    failed: tuple[str, ...]
    open: Count
    rate: Figure | None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """What `aligntax twins --json` prints."""

    format: int
    tax: _Tax | None
    base: _Tax | None
    beside: _Beside | None
    review: _Review | None
    logs: dict[str, str]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table: its name and its cells, as text."""

    name: str
    cells: tuple[str, ...]


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """The tax by domain or by term."""

    title: str
    plot: Markup
    rows: tuple[Line, ...]
    hidden: int


class Taxed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the section about the tax shows. Texts are fit to show; `sides` and so on may be empty."""

    headline: str
    simulated: tuple[str, ...]  # models that are sets of rules
    source: str
    stamp: str  # empty where people rated the quality
    base: str  # its name, or empty
    level: str
    parts_plot: Markup
    parts: tuple[Line, ...]
    sides: tuple[Line, ...]
    beside_headline: str
    beside: tuple[Line, ...]
    beside_plot: Markup
    slices: tuple[Slices, ...]
    worst: tuple[Line, ...]
    notes: tuple[str, ...]


def taxed(path: str | os.PathLike[str]) -> Taxed:
    """The section of a file that `aligntax twins --json` has printed. Raises InputError for any other file."""
    command = "aligntax twins SUITE ..."
    file = read(path, _File, command)
    if file.format != 1:
        raise InputError(
            f"format {file.format} is of another version of aligntax",
            where=str(path),
            remedy=f"write it again with {command} --json > FILE",
        )
    if file.tax is None and file.beside is None:
        raise InputError("holds neither a tax nor two models", where=str(path), remedy="measure twins first")
    tax, beside = file.tax, file.beside
    sources = tax or beside
    return Taxed(
        headline=_headline(tax) if tax else _beside_headline(beside),
        simulated=tuple(
            dict.fromkeys(slice_name(each.model) for each in (file.base, tax) if each and each.simulated)
        ),
        source=_source(tax) if tax else _SOURCES.get(sources.source if sources else "", ""),
        stamp=_STAMP if sources and sources.source != "expert" else "",
        base=slice_name(file.base.model) if file.base and tax else "",
        level=sure(tax.level if tax else beside.refusals.level if beside else 0.95),
        parts_plot=_waterfall(tax) if tax else Markup(""),
        parts=tuple(_parts(tax, file.base)) if tax else (),
        sides=tuple(_sides(tax)) if tax else (),
        beside_headline=_beside_headline(beside) if tax else "",
        beside=tuple(_beside(beside)) if beside else (),
        beside_plot=_beside_plot(beside) if beside else Markup(""),
        slices=tuple(_every_slice(tax, file.base)) if tax else (),
        worst=tuple(map(_family, tax.worst)) if tax else (),
        notes=tuple(_notes(file)),
    )


def share(value: float | None) -> str:
    """−0.7%, with a real minus; what rounds to nothing bears none."""
    return "–" if value is None else f"{round(100 * value, 1) + 0.0:.1f}%".replace("-", "−")


def _headline(tax: _Tax) -> str:
    model, of = slice_name(tax.model), tax.tax
    where = f"{plural(tax.families, 'family', 'families')}, {plural(tax.answers, 'answer')}"
    if of.value is None or of.low is None or of.high is None:
        return (
            f"Sensitive words cost {model} {share(of.value)} of the quality that its answers have in neutral words "
            f"({where}: too few, or too much alike, for an interval)."
        )
    ends = f"{sure(tax.level)} interval {share(of.low)} to {share(of.high)}"
    if of.low <= 0 <= of.high:
        return (
            f"No tax shown for {model}: {share(of.value)} of the quality in neutral words ({ends}; {where})."
        )
    verb, ends = ("cost", ends) if of.value > 0 else ("gain", f"{ends} of cost")
    return (
        f"Sensitive words {verb} {model} {share(abs(of.value))} of the quality that its answers have in neutral words "
        f"({ends}; {where})."
    )


def _beside_headline(beside: _Beside | None) -> str:
    if beside is None:
        return ""
    base, aligned, change = slice_name(beside.base), slice_name(beside.aligned), beside.refusals
    more = "more" if (change.value or 0.0) >= 0 else "fewer"
    said = f"{aligned} gives nothing in {_gap(change)} points {more} of its answers than {base}{_in_brackets(change)}"
    if beside.tax is None or beside.tax.value is None:
        return f"{said}."
    way = "higher" if beside.tax.value >= 0 else "lower"
    return f"{said}; its tax is {_gap(beside.tax)} points {way}{_in_brackets(beside.tax)}."


def _gap(figure: Figure) -> str:
    return points(abs(figure.value or 0.0)).lstrip("+")


def _in_brackets(figure: Figure) -> str:
    return "" if figure.low is None else f" ({sure(figure.level)} interval {_point_ends(figure)})"


def _source(tax: _Tax) -> str:
    said = _SOURCES.get(tax.source, f"Quality is by {clip(tax.source, 80)}.")
    related = tax.judge if tax.source == "judge" else tax.proxy
    if tax.source == "expert" or related is None or related.value is None:
        return said
    return f"{said} Its correlation with the experts' quality is {_correlation(related)} on {plural(related.n_labels, 'rating')}."


def _parts(tax: _Tax, base: _Tax | None) -> Iterator[Line]:
    """The parts, rounded so that what is printed adds up, and their sum."""
    of = [_shares(each) for each in (tax, base) if each]
    for place, (name, title) in enumerate(_PARTS.items()):
        cells = [share(of[0][place]), _share_ends(getattr(tax.parts, name))]
        yield Line(name=title, cells=(*cells, *(share(one[place]) for one in of[1:])))
    yield Line(
        name="Tax",
        cells=(share(sum(of[0])), _share_ends(tax.tax), *(share(sum(one)) for one in of[1:])),
    )


def _shares(tax: _Tax) -> list[float]:
    """The parts in tenths of a percent: the largest rests are rounded up."""
    values = [1000 * (getattr(tax.parts, name).value or 0.0) for name in _PARTS]
    whole = [int(value // 1) for value in values]
    rests = sorted(range(len(values)), key=lambda place: whole[place] - values[place])
    for place in rests[: max(round(sum(values)) - sum(whole), 0)]:
        whole[place] += 1
    return [number / 1000 for number in whole]


def _waterfall(tax: _Tax) -> Markup:
    """Each part's bar starts where the one above ends, so they end at the tax; a part may lead back."""
    values = _shares(tax)
    stops = [sum(values[:place]) for place in range(len(values) + 1)]
    low, high = min(stops), max(stops)
    wide = max(high - low, 1e-9)
    rows = [
        *zip(_PARTS, _PARTS.values(), stops, stops[1:], strict=False),
        ("tax", "Tax", 0.0, stops[-1]),
    ]
    drawn = []
    for place, (css, title, start, end) in enumerate(rows):
        left, width = 100 * (min(start, end) - low) / wide, 100 * abs(end - start) / wide
        drawn.append(
            Markup(
                '<text class="row-name" x="0" y="{y}">{}</text>'
                '<text class="row-value" x="100%" y="{y}" text-anchor="end">{}</text>'
                '<rect class="track" x="0" y="{bar}" width="100%" height="10"/>'
                '<rect class="fill-{}" x="{:.2f}%" y="{bar}" width="{:.2f}%" height="10"/>'
            ).format(
                title, share(end - start), css, left, width, y=place * _ROW + 14, bar=place * _ROW + _LINE
            )
        )
    zero = Markup('<line class="zero" x1="{x:.2f}%" x2="{x:.2f}%" y1="20" y2="{}"/>').format(
        _ROW * len(rows) - 4, x=100 * -low / wide
    )
    return Markup(
        '<svg class="waterfall" role="img" height="{}" aria-label="{title}"><title>{title}</title>{}{}</svg>'
    ).format(
        _ROW * len(rows),
        Markup("").join(drawn),
        zero,
        title="What the tax is made of: parts that add up, in percent of the quality in neutral words",
    )


def _sides(tax: _Tax) -> Iterator[Line]:
    """Name; neutral, sensitive, change, its interval, and how well the measure follows the experts."""
    follows = "" if tax.source == "expert" else _follows(tax.judge if tax.source == "judge" else tax.proxy)
    yield Line(
        name="Quality",
        cells=(
            share(tax.neutral),
            share(tax.sensitive),
            points(tax.sensitive - tax.neutral),
            "",
            follows,
        ),
    )
    nothing = tax.refusals
    yield Line(
        name="Gave nothing",
        cells=(
            share(nothing.neutral.value),
            share(nothing.sensitive.value),
            points(nothing.change.value),
            _point_ends(nothing.change),
            "",
        ),
    )
    yield from map(_measure, tax.measures)
    if tax.tokens is not None:
        ratio = tax.tokens[0]
        yield Line(
            name=f"{sentence(words(clip(tax.counted_in, 40)))} *",
            cells=("", "", _times(ratio.value), _ends(ratio, _times), ""),
        )
    if tax.money is not None:
        for name, figure in (
            ("USD per 1,000 requests *", tax.money.extra),
            ("USD for nothing per 1,000", tax.money.for_nothing),
        ):
            yield Line(name=name, cells=("", "", _usd(figure.value), _ends(figure, _usd), ""))


def _measure(measure: _Measure) -> Line:
    name, is_share = _MEASURES.get(measure.name, (sentence(words(clip(measure.name, 80))), False))
    sides = (measure.neutral, measure.sensitive)
    return Line(
        name=f"{name} *",
        cells=(
            *(share(side) if is_share else f"{side:.2f}" for side in sides),
            points(measure.change.value) if is_share else _plain(measure.change.value),
            _point_ends(measure.change) if is_share else _ends(measure.change, _plain),
            _follows(measure.correlation),
        ),
    )


def _beside_rows(beside: _Beside) -> list[tuple[str, Figure]]:
    rows = (
        ("Gave nothing, all prompts", beside.refusals),
        ("Gave nothing, sensitive words", beside.refusals_sensitive),
        ("Gave nothing, neutral words", beside.refusals_neutral),
        ("Quality, neutral words", beside.capability),
        ("Tax", beside.tax),
    )
    return [(name, figure) for name, figure in rows if figure is not None]


def _beside(beside: _Beside) -> Iterator[Line]:
    for name, figure in _beside_rows(beside):
        yield Line(name=name, cells=(points(figure.value), _point_ends(figure), count(figure.n)))


def _beside_plot(beside: _Beside) -> Markup:
    rows = [
        Row(label=name, value=figure.value, low=figure.low, high=figure.high)
        for name, figure in _beside_rows(beside)
    ]
    return forest(rows, title="Aligned less base, in points", zero=True)


def _every_slice(tax: _Tax, base: _Tax | None) -> Iterator[Slices]:
    for title, slices, others in (
        ("domain", tax.domains, base.domains if base else ()),
        ("term", tax.terms, base.terms if base else ()),
    ):
        if len(slices) > 1 or (slices and title == "term"):
            yield _slices(title, slices, {each.name: each for each in others} if base else None)


def _slices(title: str, slices: Sequence[_Slice], others: Mapping[str | None, _Slice] | None) -> Slices:
    plotted = [
        Row(label=slice_name(each.name), value=each.tax.value, low=each.tax.low, high=each.tax.high)
        for each in slices[:PLOTTED]
    ]
    rows = []
    for each in slices[:LISTED]:
        few = each.families < _FEWEST
        cells = [count(each.families), share(each.tax.value)]
        cells += [f"under {_FEWEST} families" if few else _share_ends(each.tax), points(each.refusals.value)]
        if others is not None:
            cells.append(share(others[each.name].tax.value) if each.name in others else "–")
        rows.append(Line(name=slice_name(each.name), cells=tuple(cells)))
    return Slices(
        title=title,
        plot=forest(plotted, title=f"Tax by {title}, in percent of the quality in neutral words", zero=False),
        rows=tuple(rows),
        hidden=max(len(slices) - LISTED, 0),
    )


def _family(family: _Family) -> Line:
    most = max(_PARTS, key=lambda name: getattr(family.parts, name))
    return Line(
        name=slice_name(family.name),
        cells=(
            clip(", ".join(family.terms), 120),
            share(family.neutral.quality),
            share(family.sensitive.quality),
            _PARTS[most].removesuffix(" in other answers"),
        ),
    )


def _notes(file: _File) -> Iterator[str]:
    review, tax = file.review, file.tax
    if review is None:
        if tax:
            yield "Nobody has said that these twins ask for the same (--review); the tax rests on it."
    elif review.rate is None:
        yield "The review of the twins has no answers yet."
    else:
        yield (
            f"People passed {share(review.rate.value)} of {plural(review.rate.n, 'twin')} "
            f"({_share_ends(review.rate)}); {len(review.failed):,} that failed are left out, {review.open:,} are not "
            "looked at yet."
        )
    if tax:
        yield from _tax_notes(tax)
    for name, log in list(file.logs.items())[:2]:
        yield f"{'Answers' if name == 'log' else 'Base'}: {clip(pathlib.PurePath(log).name, 120)}."


def _tax_notes(tax: _Tax) -> Iterator[str]:
    yield f"Interval: {clip(tax.tax.method, 200)}; bootstrap-t {_share_ends(tax.check)}."
    if tax.rare:
        yield (
            f"Only {tax.hit:,} of {plural(tax.families, 'family', 'families')} gave nothing more often in sensitive "
            "words. Where losses are that rare, the interval may be too narrow: more families, not more repeats, mend it."
        )
    if tax.lacking:
        yield f"{plural(len(tax.lacking), 'family', 'families')} left out: one of their sides has no answer."
    if tax.unasked:
        yield f"{plural(tax.unasked, 'prompt')} of the suite have no answer in the log."
    for why, number in list(tax.left_out.items())[:20]:
        yield f"Left out: {number:,} {clip(why, 120)}."


def _ends(figure: Figure, written: Callable[[float], str]) -> str:
    if figure.low is None or figure.high is None:
        return "no interval"
    return f"{written(figure.low)} to {written(figure.high)}"


def _share_ends(figure: Figure) -> str:
    return _ends(figure, share)


def _point_ends(figure: Figure) -> str:
    return _ends(figure, points)


def _follows(figure: Figure | None) -> str:
    return "proxy" if figure is None or figure.value is None else _correlation(figure)


def _correlation(figure: Figure) -> str:
    ends = "" if figure.low is None else f" ({figure.low:.2f} to {figure.high:.2f})"
    return visible(f"{figure.value:.2f}{ends}".replace("-", "−"))


def _plain(value: float | None) -> str:
    return "–" if value is None else signed(value, 2)


def _times(value: float | None) -> str:
    return "–" if value is None else f"× {value:.2f}"


def _usd(value: float | None) -> str:
    return "–" if value is None else f"{'−' if value < 0 else ''}${abs(value):,.4f}"
