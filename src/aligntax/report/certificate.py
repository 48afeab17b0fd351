"""The page of a certificate: one self-contained HTML file, in the style of the report."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup

from .. import __version__
from ..types import Estimate
from ..weights.certifying.certificate import Certificate, Matrix, changed, worst
from ..weights.certifying.words import details, groups_in_words, measure, verdict
from . import wording
from .leaks import Panel, panels
from .sheet import environment, policy, template_text, write_page
from .text import clip

RULINGS = {
    "inside": "inside",
    "outside": "outside",
    "undecided": "too little data",
    "unchanged": "unchanged",
    "unmeasured": "not measured",
}
_CSS = {
    "inside": "pass",
    "outside": "fail",
    "unmeasured": "fail",
    "undecided": "too_little_data",
    "unchanged": "none",
}


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number beside the verdict: what it is, how large, and what belongs to it."""

    name: str
    value: str
    note: str


def write_certificate(certificate: Certificate, out: str | Path) -> Path:
    """Write the page to `out`, in one step, and return its path. Raises InputError where it cannot be written."""
    return write_page(Path(out), render_certificate(certificate))


def render_certificate(certificate: Certificate) -> str:
    """The page as text. Names from the certificate are escaped, and nothing is fetched."""
    css = Markup(template_text("page.css") + template_text("certificate.css"))  # noqa: S704 - our own files
    js = Markup(template_text("page.js"))  # noqa: S704 - our own file
    moved = changed(certificate.matrices)
    layers = 1 + max((matrix.layer for matrix in certificate.matrices), default=0)
    return (
        environment()
        .get_template("certificate.html")
        .render(
            css=css,
            js=js,
            policy=policy(css, js),
            certificate=certificate,
            moved=moved,
            still=len(certificate.matrices) - len(moved),
            verdict=clip(verdict(certificate), 300),
            details=clip(" ".join(details(certificate)), 1000),
            figures_beside=_figures(certificate, moved),
            panels=panels(moved, target=certificate.target, layers=layers),
            outside=sorted(certificate.outside, key=lambda parameter: -parameter.share),
            groups=groups_in_words(certificate.outside),
            command=_command(certificate),
            written=dt.datetime.fromisoformat(certificate.written),
            version=__version__,
            layers=layers,
            measure=measure,
            summary=_summary,
            clip=clip,
            estimate=_estimate,
            share=_share,
            rulings=RULINGS,
            ruling_css=_CSS,
        )
    )


def _figures(certificate: Certificate, moved: Sequence[Matrix]) -> list[Figure]:
    peak, drift = worst(moved), certificate.drift
    beside = sum(parameter.share for parameter in certificate.outside)
    found = []
    if peak and peak.leak:
        found.append(
            Figure(
                name="Largest held-out leak",
                value=measure(peak.leak.held_out),
                note=f"{measure(peak.leak.low)} to {measure(peak.leak.high)}; the target is {certificate.target:g}",
            )
        )
    return [
        *found,
        Figure(
            name="KL(BASE ‖ TUNED), nats a token",
            value=measure(drift.kl.value),
            note=f"{measure(drift.kl.low)} to {measure(drift.kl.high)}; 95% of rows under {measure(drift.kl_p95)}",
        ),
        Figure(
            name="Same first token",
            value=wording.percent(drift.agreement.value),
            note=f"{_between(drift.agreement)} of {wording.count(drift.tokens)} held-out tokens",
        ),
        Figure(
            name="Of all change, outside the matrices",
            value=wording.percent(beside) if certificate.outside else "none",
            note=groups_in_words(certificate.outside)
            or "embeddings, head, norms and biases are those of BASE",
        ),
    ]


def _summary(panel: Panel) -> dict[str, Any]:
    """A row of the table of kinds: medians over the layers, beside the matrix that weighs most."""
    leaks = [matrix.leak.held_out for matrix in panel.matrices if matrix.leak]
    effects = [matrix.effect.held_out for matrix in panel.matrices if matrix.effect]
    return {
        "leak": statistics.median(leaks) if leaks else None,
        "effect": max(effects, default=None),
        "relative": statistics.median(matrix.relative_norm for matrix in panel.matrices),
        "stable": statistics.median(matrix.stable_rank for matrix in panel.matrices),
    }


def _command(certificate: Certificate) -> str:
    held = certificate.held_out_share
    options = [
        f"--held-out {'FILE' if held is None else f'{held:g}'}",
        f"--leak-target {certificate.target:g}",
        f"--level {certificate.level:g}",
        f"--max-tokens {certificate.max_tokens}",
        f"--dtype {certificate.dtype}",
    ]
    if certificate.chat is not None:
        options.append("--chat" if certificate.chat else "--no-chat")
    return f"aligntax weights certify BASE TUNED --data DATA {' '.join(options)} --report certificate.html"


def _estimate(estimate: Estimate) -> str:
    return f"{measure(estimate.value)} ({measure(estimate.low)} to {measure(estimate.high)})"


def _share(estimate: Estimate) -> str:
    return f"{wording.percent(estimate.value)} ({_between(estimate)})"


def _between(estimate: Estimate) -> str:
    return f"{wording.percent(estimate.low).removesuffix('%')} to {wording.percent(estimate.high)}"
