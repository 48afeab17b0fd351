"""A decision as Markdown, for a pull request or the summary of a job."""

from __future__ import annotations

import re

from . import words
from .rules import Decision, Finding, Ruling

_SIGN = {Ruling.PASS: "✅", Ruling.FAIL: "❌", Ruling.TOO_LITTLE_DATA: "⚠️"}
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def markdown(decision: Decision, *, title: str, notes: tuple[str, ...] = ()) -> str:
    """The Markdown text: the ruling, a table with a row a rule, why, and what was decided from."""
    ruling = decision.ruling
    lines = [
        f"## {_SIGN[ruling]} {words.RULING[ruling]}: {escaped(title)}",
        "",
        words.headline(decision),
        "",
        "| | use case | rule | limit | value | labels |",
        "|---|---|---|---:|---:|---:|",
        *(_row(finding) for finding in decision.findings),
        "",
    ]
    unsettled = [finding for finding in decision.findings if finding.ruling != Ruling.PASS]
    lines += (
        f"- **{escaped(words.name(finding.rule.use_case))}**, {words.kind(finding.rule)}: {_ours(finding.sentence)}"
        for finding in unsettled
    )
    lines += [""] if unsettled else []
    lines += [f"{words.confidence_note(decision)}  ", *(f"{escaped(note)}  " for note in notes)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: no link, image, tag or mention comes of a name in a log."""
    return _PUNCTUATION.sub(r"\\\1", words.plain(text))


def _ours(sentence: str) -> str:
    """A sentence of `words`, which holds no name from a log, and may hold < or _."""
    return re.sub(r"([<_*|])", r"\\\1", sentence)


def _row(finding: Finding) -> str:
    rule = finding.rule
    cells = (
        f"{_SIGN[finding.ruling]} {words.RULING[finding.ruling]}",
        escaped(words.name(rule.use_case)),
        words.rule(rule),
        words.limit(rule),
        words.measured(finding),
        f"{finding.n_labels:,}",
    )
    return f"| {' | '.join(cells)} |"
