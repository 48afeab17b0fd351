"""A certificate in words: its verdict in one sentence, what follows it, and names and numbers in short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .certificate import Certificate, Outside, changed, worst

_WORSE = ("outside", "unmeasured", "undecided")


def short_kinds(kinds: Iterable[str]) -> dict[str, str]:
    """The last word of each kind, "q_proj", where no other kind ends with it; else the kind whole."""
    ends: dict[str, list[str]] = {}
    for kind in kinds:
        ends.setdefault(kind.rpartition(".")[2], []).append(kind)
    return {kind: end if len(found) == 1 else kind for end, found in ends.items() for kind in found}


def verdict(certificate: Certificate) -> str:
    """The verdict as one sentence, for somebody who reads only one."""
    moved = changed(certificate.matrices)
    counted = {ruling: sum(matrix.ruling == ruling for matrix in moved) for ruling in _WORSE}
    matrices = _count(len(moved), "changed matrix", "changed matrices")
    target = f"a leak of {certificate.target:g}"
    if certificate.ruling == "unchanged":
        return "Nothing was changed: TUNED holds the weights of BASE."
    if certificate.ruling == "inside":
        all_of_them = "The one changed matrix stays" if len(moved) == 1 else f"All {matrices} stay"
        return f"{all_of_them} within {target} on held-out data, and nothing else was changed."
    if certificate.ruling == "undecided":
        return f"For {counted['undecided']} of {matrices} the data do not decide whether {target} is kept."
    if counted["outside"]:
        lie = "lies" if counted["outside"] == 1 else "lie"
        return f"{counted['outside']} of {matrices} {lie} above {target} on held-out data."
    if certificate.outside:
        were = "was" if len(certificate.outside) == 1 else "were"
        return f"{_sentence(groups_in_words(certificate.outside))} {were} changed, of which no leak speaks."
    if counted["unmeasured"]:
        return f"No inputs reached {counted['unmeasured']} of {matrices}."
    return "The settings of the two models differ, of which no leak speaks."


def details(certificate: Certificate) -> list[str]:
    """Sentences that follow the verdict: the largest leak, what else was changed, and what is missing."""
    moved = changed(certificate.matrices)
    peak, beyond = worst(moved), len(certificate.outside)
    leaking = any(matrix.ruling == "outside" for matrix in moved)
    said = []
    if peak and peak.leak:
        said.append(
            f"The largest leak is {measure(peak.leak.held_out)}, at layer {peak.layer} {peak.kind} "
            f"({100 * certificate.level:g}% interval {measure(peak.leak.low)} to {measure(peak.leak.high)})."
        )
    if unmeasured := sum(matrix.ruling == "unmeasured" for matrix in moved):
        said.append(f"No inputs reached {_count(unmeasured, 'changed matrix', 'changed matrices')}.")
    if beyond and leaking:
        were = "was" if beyond == 1 else "were"
        groups = groups_in_words(certificate.outside)
        said.append(f"{_count(beyond, 'parameter')} outside the guarantee {were} changed: {groups}.")
    elif beyond and moved:
        said.append(f"{_count(len(moved), 'matrix', 'matrices')} inside the layers changed beside.")
    if certificate.settings:
        said.append(f"Settings of the model differ: {', '.join(certificate.settings)}.")
    for missing, what in (
        (certificate.more_calibration, "calibration"),
        (certificate.more_held_out, "held-out"),
    ):
        if missing:
            said.append(f"About {missing:,} more {what} tokens are needed.")
    return said


def groups_in_words(outside: Sequence[Outside]) -> str:
    """What lies outside, counted: "the embedding, 5 norms and the head"."""
    counts: dict[str, int] = {}
    for parameter in outside:
        counts[parameter.why] = counts.get(parameter.why, 0) + 1
    said = [_group(why, count) for why, count in counts.items()]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def _group(why: str, count: int) -> str:
    one, several = {
        "embedding": ("the embedding", "embeddings"),
        "head": ("the head", "the head"),
        "norm": ("a norm", "norms"),
        "bias": ("a bias", "biases"),
        "layout": (
            "a parameter of a layout that is not followed",
            "parameters of layouts that are not followed",
        ),
    }[why]
    return one if count == 1 or why == "head" else f"{count} {several}"


def measure(number: float | None) -> str:
    """Three significant digits: 0.0431, 1.21, 1.3e-05; a dash where there is none."""
    if number is None:
        return "–"
    if number and not 1e-4 <= abs(number) < 1e5:
        return f"{number:.1e}"
    if not number:
        return "0"
    return f"{number:#.3g}" if abs(number) < 99.95 else f"{number:,.0f}"


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
