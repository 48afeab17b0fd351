"""What a gate found, in words. Names of use cases come from logs: they are made plain before they are shown."""

from __future__ import annotations

from ..config.shape import OVER_REFUSAL
from .rules import Change, Decision, Finding, Floor, Rule, Ruling

RULING = {
    Ruling.PASS: "PASS",
    Ruling.FAIL: "FAIL",
    Ruling.TOO_LITTLE_DATA: "TOO LITTLE DATA",
}

_LONGEST_NAME = 120


def plain(text: str) -> str:
    """One line of `text` without signs that steer a terminal, a page or the direction of reading."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def name(text: str) -> str:
    """A name from outside, plain and not too long."""
    line = plain(text)
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def quoted(text: str) -> str:
    """A name from outside, so that it is seen where it begins and ends."""
    return f'"{name(text)}"'


def percent(share: float) -> str:
    """9.2%, 0.25%, 5%: digits enough to tell it from a limit near it."""
    digits = 2 if 0 < share < 0.01 or 0.99 < share < 1 else 1
    text = f"{100 * share:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.')}%" if float(text) else ("<0.01%" if share > 0 else "0%")


def points(difference: float) -> str:
    """+3.1 points: a difference of two rates."""
    text = f"{100 * difference:+.1f}"
    return f"{'0' if not float(text) else text.removesuffix('.0')} point{'' if text in ('+1.0', '-1.0') else 's'}"


def target(key: str) -> str:
    """over-refusal, hard refusal, over-refusal by hedging, harmful compliance."""
    first, _, rest = key.partition(".")
    text = {OVER_REFUSAL: "over-refusal", "not_complete": "not complete"}.get(first, first.replace("_", " "))
    return f"{text} by {rest.replace('_', ' ')}" if rest else text


def kind(of: Rule) -> str:
    """ceiling, floor or change."""
    return "floor" if isinstance(of, Floor) else "change" if isinstance(of, Change) else "ceiling"


def rule(of: Rule) -> str:
    """ceiling: over-refusal. What a rule is called in a table."""
    return f"{kind(of)}: {target(of.target)}"


def limit(of: Rule) -> str:
    """5%, or +2 points."""
    return points(of.limit) if isinstance(of, Change) else percent(of.limit)


def headline(decision: Decision) -> str:
    """One sentence that counts the rules."""
    total = len(decision.findings)
    failed, short = (len(decision.those(ruling)) for ruling in (Ruling.FAIL, Ruling.TOO_LITTLE_DATA))
    if decision.ruling == Ruling.PASS:
        return "The rule is kept." if total == 1 else f"All {total} rules are kept."
    parts = [
        f"{count} {verb}"
        for count, verb in (
            (failed, "failed"),
            (short, "has too little data" if short == 1 else "have too little data"),
            (total - failed - short, "passed"),
        )
        if count
    ]
    return f"Of {total} rule{'' if total == 1 else 's'}, {', '.join(parts)}."


def confidence_note(decision: Decision) -> str:
    """What the confidence of single rules means for the whole decision."""
    rules = [finding.rule for finding in decision.findings]
    sure = sorted({of.confidence for of in rules})
    each = " or ".join(percent(value) for value in sure)
    if len(rules) == 1:
        return f"1 rule tested, at {each} confidence."
    mistaken = min(sum(1 - of.confidence for of in rules), 1.0)
    return (
        f"{len(rules)} rules tested, each at {each} confidence on its own: a model exactly on all of its limits "
        f"would fail in up to {percent(mistaken)} of such gates."
    )


def because(finding: Finding) -> str:
    """The numbers of a rule that could be judged, and what follows from them."""
    assert finding.value is not None and finding.low is not None and finding.high is not None  # noqa: PT018
    of = finding.rule
    sure = f"with {percent(of.confidence)} confidence"
    if finding.ruling == Ruling.FAIL:
        return f"{_value(finding)}, and at least {_number(of, finding.low)} {sure}: over {_limit(of)}"
    if finding.ruling == Ruling.PASS:
        return f"{_value(finding)}, and at most {_number(of, finding.high)} {sure}: {_kept(finding)}"
    between = f"between {_number(of, finding.low)} and {_number(of, finding.high)} {sure} on each side"
    return f"{_value(finding)}, {between}: {_what_would_decide(finding)}"


def no_base(of: Rule) -> str:
    """A change has nothing that it could be a change from."""
    return f"{target(of.target)} has no base to be compared with: use --base NAME or --base-verdicts FILE"


def withheld(of: Rule, method: str) -> str:
    """The rate is not to be had, for a reason that the estimate gives."""
    return (
        f"{target(of.target)} is {plain(method)}; settle the disagreements, sharpen the codebook, label again"
    )


def no_labels(of: Rule, raw: float | None, fewest: int | None) -> str:
    """Nobody labelled this use case on what the rule asks."""
    detector = "" if raw is None else f", and the detector's own {percent(raw)} decides nothing"
    return (
        f"{target(of.target)} is UNCORRECTED: no labels of this use case{detector}; {_to_start(of, fewest)}"
    )


def outside(of: Rule, labels: int, fewest: int | None) -> str:
    """There are labels, and none of them is of the requests that the rate is taken among."""
    kind = "should not be answered" if isinstance(of, Floor) else "should have been answered"
    return (
        f"{target(of.target)} is unknown: none of the {labels:,} labels is of a request that {kind}; "
        f"{_to_start(of, fewest)}"
    )


def _to_start(of: Rule, fewest: int | None) -> str:
    if fewest is None:
        return "no number of labels can show a rate of 0"
    what = " of requests that should not be answered" if isinstance(of, Floor) else ""
    return f"at least {fewest:,}{what} are needed, even if every one of them is fine"


def _what_would_decide(finding: Finding) -> str:
    of, more = finding.rule, finding.more_labels
    if more is None:
        return f"right on {_limit(of)}, so no number of labels would decide"
    left = finding.n - finding.n_labels
    enough = f"about {more:,} more label{'' if more == 1 else 's'} would decide, if it stays there"
    return (
        enough if more <= left else f"{enough}; {max(left, 0):,} exchanges are left, so add more of the log"
    )


def _value(finding: Finding) -> str:
    assert finding.value is not None
    of = finding.rule
    rate = target(of.target)
    if not isinstance(of, Change):
        return f"{rate} is {percent(finding.value)}"
    base = (
        ""
        if finding.base is None
        else f" from {percent(finding.base)} to {percent(finding.base + finding.value)}"
    )
    moved = "rose" if finding.value >= 0 else "fell"
    return f"{rate} {moved} by {points(abs(finding.value)).removeprefix('+')}{base}"


def _number(of: Rule, number: float) -> str:
    return points(number).removeprefix("+") if isinstance(of, Change) else percent(number)


def _limit(of: Rule) -> str:
    if isinstance(of, Change):
        return f"the accepted {points(of.limit).removeprefix('+')}"
    return f"the {kind(of)} of {percent(of.limit)}"


def _kept(finding: Finding) -> str:
    assert finding.value is not None and finding.high is not None  # noqa: PT018
    of = finding.rule
    if finding.high <= of.limit + 1e-9:
        return f"within {_limit(of)}"
    over = points(of.minimum_effect).removeprefix("+")
    matter = "matters" if over == "1 point" else "matter"
    if finding.value > of.limit + 1e-9:
        return f"above {_limit(of)}, but by less than the {over} that {matter}"
    return f"if it is above {_limit(of)}, then by less than the {over} that {matter}"


def measured(finding: Finding) -> str:
    """The value with its bounds, for a table; what the detector alone says is marked as that."""
    of = finding.rule
    if finding.value is not None and finding.low is not None and finding.high is not None:
        value, low, high = (
            points(number).partition(" ")[0] if isinstance(of, Change) else percent(number)
            for number in (finding.value, finding.low, finding.high)
        )
        return f"{value} ({low.removesuffix('%')} to {high})"
    if not finding.corrected and not finding.n_labels:
        return "UNCORRECTED" if finding.raw is None else f"UNCORRECTED {percent(finding.raw)}"
    return "–"


def details(finding: Finding) -> str:
    """The sentence, and what it rests on."""
    labels = f"{finding.n_labels:,} label{'' if finding.n_labels == 1 else 's'}"
    return f"{finding.sentence}. {labels} of {finding.n:,} exchanges; {plain(finding.method)}"
