"""The questions the laboratory was built for, answered in sentences that are made of the run's numbers and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..types import Estimate
from .experiment import Ground, Results
from .findings import AT, Ends, Question, Row, compare, ends_of, grain_of, number, rows_of
from .over_seeds import ALPHA, Difference, OverSeeds, differences
from .safety import GENTLE, HARSH
from .world import BENIGN

RULE = (
    "X is called higher or lower than Y only where the difference, paired by seed, has a Holm-adjusted p-value under "
    f'{ALPHA:.2g} among the comparisons of its question; everything else is "no difference beyond noise".'
)
LOW_RANK = ("lora-1", "lora-8", "lora-32", "lora-up")
NULL = ("null-lora", "displacement", "gradient", "nspo")
FAMILIES = {
    "trigger_thing": "trigger verb with a thing",
    "neutral_person": "neutral verb with a person",
    "neutral_thing": "neutral verb with a thing",
}


def questions_of(results: Results) -> tuple[Question, ...]:
    """Each question with its comparisons and its answer, in the order of the report."""
    rows, grain = rows_of(results), grain_of(results)
    return (
        _tax(ends_of(results), grain),
        _averaging(rows, ends_of(results), grain),
        _blocks(rows, grain),
        _protected(rows, grain),
        _over(rows, grain),
        _beaten(rows, grain),
        _free(results.grounds),
    )


def headline(results: Results) -> str:
    """The two findings that matter most, in one line: what decides the tax, and what beats the plain baseline."""
    found = {question.key: question for question in questions_of(results)}
    tax, beaten = found["tax"].compared, found["beaten"].compared
    decided = next(one for one in tax if one.metric == "CAP" and one.first == "gentle")
    first = {
        "higher": "The learning rate decides what safety training costs",
        "one seed": "One seed: what follows describes it and shows nothing",
    }.get(decided.word, "That the learning rate decides the cost is not shown")
    better = [one for one in beaten if one.word == "higher"]
    if not beaten:
        return first
    return f"{first}; {_count(len(better), len(beaten))} tuned fine-tuning beyond noise"


# -- the questions


def _tax(ends: Ends, grain: float) -> Question:
    def pair(metric: str, first: str, second: str) -> tuple[str, str, OverSeeds, str, OverSeeds]:
        return metric, first, ends.scores[first][metric], second, ends.scores[second][metric]

    pairs = [pair("CAP", "harsh", "base"), pair("CAP", "gentle", "harsh"), pair("SAFE", "gentle", "harsh"),
             pair("OVER", "gentle", "base"), pair("OVER", "gentle", "harsh")]  # fmt: skip
    found = differences(pairs, grain=grain)
    costs, decides, safe, over, beside = found
    base, gentle, harsh = (ends.scores[name] for name in ("base", "gentle", "harsh"))
    tax = "Yes" if costs.word == "lower" else "Not beyond noise"
    by_rate = (
        "The learning rate decides it"
        if decides.word == "higher"
        else "That the learning rate decides it is not shown"
    )
    answer = (
        f"{tax}: the harsh run (learning rate {HARSH:g}) ends with capability {_each(harsh['CAP'])} where the base has "
        f"{_each(base['CAP'])}: {_said(costs)}.",
        f"{by_rate}: at {GENTLE:g}, with the same data and steps, capability is {_each(gentle['CAP'])} ({_said(decides)}), "
        f"at safety {_each(gentle['SAFE'])} against {_each(harsh['SAFE'])} ({_said(safe)}).",
        f"The other half of the tax is refusing what is harmless: {_each(gentle['OVER'])} of benign look-alikes after the "
        f"gentle run, 0 in the base ({_said(over)}), and {_each(harsh['OVER'])} after the harsh one ({_said(beside)}).",
    )
    return Question(
        key="tax",
        asked="Does the tax appear, and does the learning rate decide it?",
        compared=found,
        answer=answer,
    )


def _averaging(rows: Sequence[Row], ends: Ends, grain: float) -> Question:
    asked = "Does averaging recover capability, and at what price in safety?"
    known = {row.method: row for row in rows}
    if "average" not in known:
        return _not_run("averaging", asked)
    average, harsh = known["average"], ends.scores["harsh"]
    metrics = [
        (metric, average.label, average.scores[metric], "harsh model", harsh[metric])
        for metric in ("CAP", "SAFE", "UTIL")
    ]
    plain = [
        (metric, average.label, number(average, metric), known[name].label, number(known[name], metric))
        for metric, name in (("UTIL", "early"), ("hypervolume", "early"), ("UTIL", "sft"))
    ]
    found = differences([*metrics, *plain], grain=grain)
    cap, safe, useful, early, volume, tuned = found
    recovers = "Yes" if cap.word == "higher" else "Not beyond noise"
    answer = (
        f"{recovers}: at the ratio that selection chose for safety {_share(AT)}, capability is {_each(average.scores['CAP'])} "
        f"where the harsh model has {_each(harsh['CAP'])}: {_said(cap)}. The price: safety {_said(safe)}. "
        f"Usefulness in all: {_said(useful)}.",
        f"Beside stopping the same run earlier: usefulness {_said(early)}, hypervolume {_said(volume)}. "
        f"Beside tuned SFT: usefulness {_said(tuned)}.",
    )
    return Question(key="averaging", asked=asked, compared=found, answer=answer)


def _blocks(rows: Sequence[Row], grain: float) -> Question:
    asked = "Do ratios per block beat uniform averaging beyond noise?"
    pairs = [
        (metric, name, "average") for name in ("blocks", "likelihood") for metric in ("UTIL", "hypervolume")
    ]
    found = compare(rows, pairs, grain=grain)
    if not found:
        return _not_run("blocks", asked)
    better = [one for one in found if one.word == "higher"]
    told = [f"{one.first}, {_metric(one)}: {_said(one)}" for one in found]
    head = "Yes, in part" if better else "No"
    return Question(key="blocks", asked=asked, compared=found, answer=(f"{head}. {'; '.join(told)}.",))


def _protected(rows: Sequence[Row], grain: float) -> Question:
    asked = "What do low rank and null-space constraints protect?"
    present = [name for name in (*LOW_RANK, *NULL) if any(row.method == name for row in rows)]
    found = compare(
        rows,
        [(metric, name, "sft") for metric in ("CAP", "lowest CAP", "OVER") for name in present],
        grain=grain,
    )
    if not found:
        return _not_run("protected", asked)
    capability = [one for one in found if one.metric == "CAP"]
    lowest = [one for one in found if one.metric == "lowest CAP"]
    over = [one for one in found if one.metric == "OVER"]
    known = {row.label: row for row in rows}
    answer = [f"Capability at the operating point, less that of tuned SFT. {_grouped(capability)}"]
    told = "; ".join(f"{one.first} {_each(known[one.first].spared)}" for one in lowest)
    answer.append(
        f"What a wrong choice of learning rate or step costs: the lowest capability among all states is {told}; "
        f"tuned SFT {_each(lowest[0].seconds)}; the harsh run is no part of its sweep."
    )
    answer.append(f"Over-refusal there, less that of tuned SFT. {_grouped(over)}")
    return Question(key="protected", asked=asked, compared=found, answer=tuple(answer))


def _over(rows: Sequence[Row], grain: float) -> Question:
    asked = "What touches over-refusal?"
    others = [row.method for row in rows if row.method != "sft"]
    found = compare(rows, [("OVER", name, "sft") for name in others], grain=grain)
    if not found:
        return _not_run("over", asked)
    known = {row.method: row for row in rows}
    tuned = known["sft"]
    families = ", ".join(f"{FAMILIES[family]} {_each(tuned.scores[family])}" for family in BENIGN)
    whole = [row for row in rows if row.scores["OVER"].whole and row is not tuned]
    least = sorted(whole, key=lambda row: _value(row.scores["OVER"].mean))[:3]
    told = "; ".join(f"{row.label} {_each(row.scores['OVER'])}" for row in least)
    answer = (
        f"Over-refusal at the operating points for safety {_share(AT)}, less that of tuned SFT. {_grouped(found)}",
        f"The least over-refusal: {told}; tuned SFT {_each(tuned.scores['OVER'])}, by family: {families}.",
    )
    return Question(key="over", asked=asked, compared=found, answer=answer)


def _beaten(rows: Sequence[Row], grain: float) -> Question:
    asked = "What does not beat a tuned learning rate with early stopping?"
    others = [row.method for row in rows if row.method != "sft"]
    found = compare(rows, [("UTIL", name, "sft") for name in others], grain=grain)
    if not found:
        return _not_run("beaten", asked)
    beats = [one for one in found if one.word == "higher"]
    head = f"Beaten by {_list([one.first for one in beats])} alone" if beats else "Nothing beats it here"
    answer = (
        f"{head}. Usefulness at safety {_share(AT)}, less that of tuned SFT, which has {_each(found[0].seconds)}. "
        f"{_grouped(found)}",
        _power(found),
    )
    return Question(key="beaten", asked=asked, compared=found, answer=answer)


def _free(grounds: Sequence[Ground]) -> Question:
    """No comparison over seeds: what each seed says, by the scan's own intervals over its prompts."""
    asked = "Which block of the harsh model is free to restore, and is it the same one everywhere?"
    told, frees = [], []
    for ground in grounds:
        blocks = [part for part in ground.parts if part.kind == "block" and part.share == 0]
        free = [part.part for part in blocks if part.word == "free"]
        worst = min(blocks, key=lambda part: _value(part.safety))
        best = max(blocks, key=lambda part: _value(part.safety))
        frees.append((best.part, worst.part))
        told.append(
            f"seed {ground.seed} (base {ground.base}): restoring {best.part} changes safety by {_signed(best.safety)} and "
            f"usefulness by {_signed(best.usefulness)}, restoring {worst.part} changes safety by {_signed(worst.safety)}; "
            f"free within .05: {_list(free) if free else 'none'}"
        )
    same = len(set(frees)) == 1
    head = "The same on every seed" if same else "It differs by seed"
    return Question(
        key="free",
        asked=asked,
        compared=(),
        answer=(f"{head}. " + ". ".join(_capital(one) for one in told) + ".",),
    )


def _not_run(key: str, asked: str) -> Question:
    return Question(key=key, asked=asked, compared=(), answer=("Its methods were not run.",))


# -- numbers as words


def _said(one: Difference) -> str:
    """Such as "+.16 [.09, .23] on 3 of 3 seeds, higher": mean, interval, on how many seeds it has this sign, ruling."""
    if one.word == "no operating point":
        lacking = one.first if not one.firsts.whole else one.second
        return f"not comparable ({lacking} has no state that safe on some seed)"
    if one.word == "one seed":
        return f"{_signed(one.mean)} on one seed, which shows nothing"
    alike = sum(value is not None and value * _value(one.mean) > 0 for value in one.values)
    return f"{_signed(one.mean)} {_between(one.mean)} on {alike} of {len(one.values)} seeds, {_ruled(one)}"


def _ruled(one: Difference) -> str:
    """The ruling; where the interval alone would have claimed more, why it does not."""
    low, high = one.mean.low, one.mean.high
    if not one.shown and low is not None and high is not None and not low <= 0 <= high:
        return "beyond noise alone, not among all comparisons of this question"
    return one.word


def _grouped(found: Sequence[Difference]) -> str:
    """Comparisons by their ruling, a sentence each: claims with their intervals, the others with their means."""
    told = []
    for word in ("higher", "lower", "no difference beyond noise", "one seed"):
        held = sorted((one for one in found if one.word == word), key=lambda one: -_value(one.mean))
        if held:
            ends = [f" {_between(one.mean)}" if one.shown else "" for one in held]
            named = "; ".join(
                f"{one.first} {_signed(one.mean)}{end}" for one, end in zip(held, ends, strict=True)
            )
            told.append(f"{_capital(word)}: {named}.")
    lacking = [one.first for one in found if one.word == "no operating point"]
    if lacking:
        told.append(f"Without a state that safe on every seed: {'; '.join(lacking)}.")
    return " ".join(told)


def _power(found: Sequence[Difference]) -> str:
    """What a run of this size could have shown."""
    from scipy.stats import t

    tested = [one for one in found if one.p is not None]
    if not tested:
        return "Nothing could be tested: a difference needs two seeds at least."
    n = tested[0].mean.n
    spreads = sorted(float(np.std([value or 0.0 for value in one.values], ddof=1)) for one in tested)
    strict = float(t.ppf(1 - ALPHA / 2 / len(tested), n - 1))
    least = spreads[len(spreads) // 2] * strict / math.sqrt(n)
    return (
        f"With {n} seeds and {len(tested)} comparisons, a difference of typical spread would have had to exceed "
        f"{_share(least)} to be claimed: smaller gains may be there and are not shown."
    )


def _each(numbers: OverSeeds) -> str:
    """Mean, and every seed's own value in brackets."""
    if numbers.mean.value is None:
        return "none"
    if len(numbers.values) == 1:
        return _share(numbers.mean.value)
    own = " ".join("none" if value is None else _share(value) for value in numbers.values)
    return f"{_share(numbers.mean.value)} ({own})"


def _share(value: float) -> str:
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and "0." in text else text


def _signed(estimate: Estimate) -> str:
    value = round(_value(estimate), 2)
    return ("-" if value < 0 else "+") + _share(abs(value))


def _between(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{_ended(estimate.low)}, {_ended(estimate.high)}]"


def _ended(value: float) -> str:
    rounded = round(value, 2)
    return ("-" if rounded < 0 else "") + _share(abs(rounded))


def _metric(one: Difference) -> str:
    return {"UTIL": "usefulness"}.get(one.metric, one.metric)


def _count(better: int, of: int) -> str:
    """How many of the other methods are better, as the start of a clause."""
    if not better:
        return f"none of {of} other methods beats" if of > 1 else "the other method does not beat"
    return f"{better} of {of} other methods beat{'s' if better == 1 else ''}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _value(estimate: Estimate) -> float:
    return _value_of(estimate.value)


def _value_of(value: float | None) -> float:
    return 0.0 if value is None else value
