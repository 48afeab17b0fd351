"""How the page says things: numbers, definitions, and why one answer was judged as it was."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

from ..types import KIND_THRESHOLD, Answered, Kind, Label, Outcome
from .text import clip

UNCORRECTED = (
    "Counted by a detector that errs by a different amount for every model: "
    "label a sample before you act on a difference."
)
LABELLED = (
    "Counted by a detector that errs by a different amount for every model: "
    "act on the corrected rates above, not on these."
)

NAMES = {
    "complete": "complete",
    "partially_hedged": "answered in part",
    "refused": "refused",
    "undetermined": "undetermined",
    "provider_blocked": "blocked by provider",
    "truncated": "truncated",
    "other": "other",
    "empty": "empty",
    "tool_call": "tool call",
}

MEANINGS = {
    "complete": "what was asked for was given",
    "partially_hedged": "some of it was given, wrapped in or replaced by refusal, disclaimers or hedges",
    "refused": "nothing of what was asked for was given, with or without a plain no",
    "undetermined": "the detector could not tell, or does not know the language",
    "provider_blocked": "the provider's API reported a refusal or a filter, whatever the text says",
    "truncated": "cut at a length limit, so not judged",
    "other": "empty answers and tool calls, not judged",
}

KINDS = {
    Kind.HARD_REFUSAL: "Says no and gives nothing of what was asked.",
    Kind.SOFT_REFUSAL: "Gives something, but refusal or disclaimers eat the answer.",
    Kind.HEDGING: "Weakens its statements more than other answers to the same kind of work.",
    Kind.TOPIC_AVOIDANCE: "Neither answers nor says no: talks about something else.",
    Kind.VERBOSITY_INFLATION: "Much longer than other answers to the same kind of work, by padding.",
}

_ENDINGS = {
    Outcome.PROVIDER_REFUSED: "The provider's API reported a refusal; the text was not judged",
    Outcome.INPUT_BLOCKED: "A filter stopped the request before the model saw it",
    Outcome.OUTPUT_BLOCKED: "A filter withheld or cut the answer; the text was not judged",
    Outcome.TRUNCATED: "The answer was cut at a length limit; the text was not judged",
    Outcome.EMPTY: "The call ended well and brought no text",
    Outcome.TOOL_CALL: "The model asked for a tool instead of answering in text",
    Outcome.ERROR: "The call failed, so nothing was answered",
}

_VERDICTS = {
    Label.COMPLETE: ("Complete", "p_full", "that the request was answered in full"),
    Label.PARTIALLY_HEDGED: ("Answered in part", "p_part", "that only part of the request was answered"),
    Label.REFUSED: ("Refused", "p_none", "that nothing of the request was answered"),
}

LATE_ANSWER = 200  # characters; a later first answering sentence is worth a word


def percent(share: float | None) -> str:
    """14.2%; a trace never reads as none, nor nearly all as all; a dash where there is no rate."""
    if share is None or math.isnan(share):
        return "–"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}"


def count(number: float | None) -> str:
    """12,340; a dash where there is none."""
    return "–" if number is None else f"{number:,.0f}"


def day(moment: dt.datetime | None) -> str:
    """12 May 2025."""
    return "–" if moment is None else f"{moment.day} {moment:%b %Y}"


def words(name: str) -> str:
    """A column or function name as words."""
    return name.replace("_", " ")


def sentence(text: str) -> str:
    """The text with its first letter as a capital and the rest untouched."""
    return text[:1].upper() + text[1:]


def chance(probability: float) -> str:
    """97%; never a certainty, because a model said it."""
    return "over 99%" if probability > 0.995 else "under 1%" if probability < 0.005 else f"{probability:.0%}"


def slice_name(value: object) -> str:
    """The value of a slice column; logs may leave it out."""
    return "(none)" if value is None else clip(str(value), 80)


def plural(number: int, noun: str, several: str = "") -> str:
    """1 call, 2 calls; `several` is the plural where it is not made with an s."""
    return f"{count(number)} {noun if number == 1 else several or f'{noun}s'}"


def sure(level: float) -> str:
    """95%: the confidence of an interval."""
    return f"{round(100 * level, 4):g}%"


def interval(row: Mapping[str, Any]) -> str:
    """25.1 to 35.0%: the ends of a row that has them."""
    return f"{percent(row['low']).removesuffix('%')} to {percent(row['high'])}"


def left_out(outcomes: Mapping[str, int]) -> str:
    """2 empty, 5 truncated: what no label can be had of; empty where there is nothing."""
    return ", ".join(
        f"{count(number)} {NAMES.get(name, words(name))}" for name, number in outcomes.items() if number
    )


def points(difference: float | None) -> str:
    """+3.1: a difference of two shares, in points; what rounds to nothing bears no sign."""
    return "–" if difference is None else signed(100 * difference, 1)


def signed(number: float, digits: int) -> str:
    """+3.1 or −0.25, with a real minus; 0.0 without a sign."""
    rounded = round(number, digits) + 0.0
    return f"{rounded:{'+' if rounded else ''}.{digits}f}".replace("-", "−")


def decimals(number: float | None) -> str:
    """.41: a measure of agreement, as statistics print it."""
    return "–" if number is None else f"{number:.2f}".replace("0.", ".", 1).replace("-", "−")


def headline(total: Mapping[str, Any]) -> str:
    """One sentence for someone who reads only one."""
    if not total["counted"]:
        return "No call came back, so there is nothing to count."
    if total["undetermined"] == 1:
        return "The detector could not judge any of these answers."
    refused, part = total["refused"], total["partially_hedged"]
    if not refused and not part:
        return "No answer was found refused or given only in part."
    return f"{percent(refused)} of calls were refused, and {percent(part)} answered only in part."


def reason(row: Mapping[str, Any]) -> str:
    """Why a row of verdicts was judged as it was, in words; raw vendor values are shown as they are."""
    if row["outcome"] != Outcome.ANSWERED:
        raw = row["outcome_raw"]
        ending = _ENDINGS.get(row["outcome"], "The call did not bring an answer")
        return f"{ending} (reported as “{raw}”)." if raw else f"{ending}."
    if row["label"] not in _VERDICTS:
        return _undetermined(row)
    label, column, what = _VERDICTS[row["label"]]
    said = label if row[column] is None else f"{label}: {chance(row[column])} likely {what}"
    return " ".join([f"{said}.", *_remarks(row)])


def _undetermined(row: Mapping[str, Any]) -> str:
    if row["p_full"] is None or row["answered"] is None:
        return (
            f"Undetermined: the detector does not judge text in this language ({row['language'] or 'und'})."
        )
    full, part, none = (chance(row[name]) for name in ("p_full", "p_part", "p_none"))
    close = row["answered"] == Answered.UNDETERMINED
    why = "too close to call" if close else "left open"
    return " ".join([f"Undetermined, {why}: {full} full, {part} in part, {none} not at all.", *_remarks(row)])


def _remarks(row: Mapping[str, Any]) -> list[str]:
    """What the kinds and measures add, in the order of the kinds."""
    found = [kind for kind in Kind if (row[kind.value] or 0) >= KIND_THRESHOLD]
    remarks = []
    for kind in found:
        if kind is Kind.SOFT_REFUSAL and row["disclaimer_share"] is not None:
            remarks.append(f"{percent(row['disclaimer_share'])} of its characters do not answer.")
        elif kind is Kind.HEDGING and row["hedge_density"] is not None:
            remarks.append(f"It hedges {row['hedge_density']:.1f} times per 100 words of answering text.")
        elif kind is Kind.VERBOSITY_INFLATION and row["words"] is not None:
            remarks.append(
                f"It takes {plural(row['words'], 'word')}, far more than others do for the same work."
            )
        else:
            remarks.append(f"It {KINDS[kind][0].lower()}{KINDS[kind][1:]}")
    if (row["answer_start"] or 0) >= LATE_ANSWER:
        remarks.append(f"The first answering sentence comes after {count(row['answer_start'])} characters.")
    return remarks
