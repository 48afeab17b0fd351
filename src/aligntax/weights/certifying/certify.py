"""The measurement behind a certificate: two models in memory, one pass over the data, one matrix of change at a time."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ... import __version__
from ...errors import InputError, NotEnoughData
from ...types import Estimate
from ..adapters import load_tuned
from ..linears import linears
from ..loading import load_model, load_tokenizer
from .certificate import (
    Certificate,
    Drift,
    Outside,
    Side,
    overall,
)
from .examples import data_of, encode, read_split
from .felt import Change, Sums, uneven
from .matrices import HELD_OUT_ROWS, matrices_of, more_of, outside_of
from .pair import Step, compared, narrowed, settings_that_differ, side_of, tokenizers_differ
from .reading import Part, Settings, Watch, read
from .resampled import RESAMPLES, ratios


def certify(
    base: str | Path,
    tuned: str | Path,
    data: str | Path,
    *,
    settings: Settings | None = None,
    watch: Watch = lambda *_: None,
) -> Certificate:
    """What the step from BASE to TUNED does on inputs like those of `data`: see `Certificate`.

    `base` is a folder with a whole model, `tuned` one of the same shape or a LoRA adapter for it, `data` JSON lines with
    a "prompt" and, better, a "completion". Both models are in memory at once, and one matrix of change beside them.

    Raises InputError where a folder or file cannot be used, where names or shapes of tensors differ or a weight is not
    finite (the tensor is named), NotEnoughData where fewer than two rows are held out.
    """
    settings, base, tuned, data = settings or Settings(), Path(base), Path(tuned), Path(data)
    sides = side_of(base), side_of(tuned)
    if sides[0].kind == "adapter":
        raise InputError("BASE is an adapter", where=str(base), remedy="give the whole model as BASE")
    *texts, notes = read_split(data, settings.held_out)
    if tokenizers_differ(base, tuned):
        notes += ("TUNED has another tokenizer; everything was measured with that of BASE",)
    tokenizer = load_tokenizer(base)
    watch("loading", 0, 2)
    before = load_model(base, dtype=settings.dtype, device=settings.device)
    watch("loading", 1, 2)
    after = load_tuned(tuned, base, dtype=settings.dtype, device=settings.device)
    files = (data, data if isinstance(settings.held_out, float) else settings.held_out)
    found = measure(before, after, tokenizer, texts, settings, narrow=narrowed(*sides), watch=watch)
    return Certificate(
        aligntax=__version__,
        written=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        packages=_packages(sides),
        base=sides[0],
        tuned=sides[1],
        calibration=data_of(files[0], found.parts[0].examples),
        held_out=data_of(files[1], found.parts[1].examples),
        notes=(*notes, *found.notes),
        **found.facts,
    )


_FEW = 0.1  # share of tokens that carries the energy of an input, under which a reader should know of it


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What two models in memory say: the fields of a certificate that do not speak of files, and the data read."""

    facts: dict[str, Any]
    parts: tuple[Part, Part]
    notes: tuple[str, ...]


def measure(
    before: Any,
    after: Any,
    tokenizer: Any,
    texts: Sequence[Sequence[dict[str, Any]]],
    settings: Settings,
    *,
    narrow: str | None = None,
    watch: Watch = lambda *_: None,
) -> Found:
    """Measure two models in memory. `texts`: rows to calibrate on and rows held out; `narrow` as in `pair.compared`."""
    steps, rounded = _steps(before, after, narrow, watch)
    maps, others = linears(before), linears(after)
    changes = {name: Change(maps[name], others[name]) for name in maps if f"{name}.weight" in steps}
    longest = getattr(before.config, "max_position_embeddings", None) or settings.max_tokens
    known, unseen = (
        encode(tokenizer, rows, max_tokens=min(settings.max_tokens, longest), chat=settings.chat)
        for rows in texts
    )
    if len(unseen) < 2:
        raise NotEnoughData("one held-out row carries no interval: give more rows", needed=HELD_OUT_ROWS)
    pad = tokenizer.pad_token_id or 0
    parts = (
        read("calibration", before, None, changes, known, settings, pad, watch),
        read("held-out", before, after, changes, unseen, settings, pad, watch),
    )
    total = math.sqrt(sum(step.norm**2 for step in steps.values()))
    matrices = matrices_of(maps, changes, steps, parts, settings, total, watch)
    covered = {f"{name}.weight" for name in changes}
    outside = tuple(outside_of(step, total) for name, step in steps.items() if name not in covered)
    different = settings_that_differ(before, after)
    more = more_of(matrices, parts, settings)
    facts = {
        "dtype": str(before.dtype).removeprefix("torch."),
        "held_out_share": settings.held_out if isinstance(settings.held_out, float) else None,
        "max_tokens": settings.max_tokens,
        "chat": settings.chat,
        "target": settings.target,
        "level": settings.level,
        "displacement": total,
        "matrices": matrices,
        "outside": outside,
        "settings": different,
        "rounded": rounded,
        "more_calibration": more[0],
        "more_held_out": more[1],
        "drift": _drift(parts[1], settings.level),
        "ruling": overall(
            (matrix.ruling for matrix in matrices), otherwise_changed=bool(outside or different)
        ),
    }
    return Found(facts=facts, parts=parts, notes=tuple(_notes(before, outside, rounded, parts[1].sums)))


def _notes(before: Any, outside: Sequence[Outside], rounded: int, held: Sums) -> Iterator[str]:
    if few := int((uneven(held) < _FEW).sum()):
        yield (
            f"at {few} changed matrices a few tokens carry most of the energy of the inputs (massive activations); the "
            "leak is the larger of that by energy and that with every token alike; the change of output there is by energy"
        )
    if rounded:
        yield f"{rounded} tensors differ by the storage type of TUNED alone and count as unchanged"
    read, written = before.get_input_embeddings(), before.get_output_embeddings()
    tied = written is not None and read.weight is written.weight
    if tied and any(parameter.why == "embedding" for parameter in outside):
        yield "the embedding is also the head: its change is one of the outputs too"


def _steps(before: Any, after: Any, narrow: str | None, watch: Watch) -> tuple[dict[str, Step], int]:
    """What differs, by name, and how many tensors differ by their storage type alone."""
    total = len(before.state_dict())
    steps, rounded = {}, 0
    for place, step in compared(before, after, narrow=narrow):
        watch("comparing", place, total)
        if step is None:
            continue
        if step.rounded:
            rounded += 1
        else:
            steps[step.name] = step
    return steps, rounded


def _drift(part: Part, level: float) -> Drift:
    said = part.drift[part.drift[:, 2] > 0]
    if not len(said):
        raise NotEnoughData("no held-out row has an answer within --max-tokens: allow more tokens")
    method = f"percentile bootstrap over {len(said)} rows, {RESAMPLES} draws"
    kl, agreement = (
        [float(end[0]) for end in ratios(said[:, column], said[:, 2], level=level)] for column in (0, 1)
    )
    estimates = [
        Estimate(
            value=value,
            low=low,
            high=high,
            level=level,
            n=len(said),
            n_labels=0,
            method=method,
            corrected=False,
        )
        for value, low, high in (kl, agreement)
    ]
    return Drift(
        kl=estimates[0],
        kl_p95=float(np.quantile(said[:, 0] / said[:, 2], 0.95)),
        agreement=estimates[1],
        rows=len(said),
        tokens=int(said[:, 2].sum()),
        unanswered=sum(not example.answered for example in part.examples),
    )


def _packages(sides: tuple[Side, Side]) -> dict[str, str]:
    names = ("torch", "transformers", *(("peft",) if sides[1].kind == "adapter" else ()))
    return {name: importlib.metadata.version(name) for name in names}
