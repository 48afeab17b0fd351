"""The measurement behind a certificate: two models in memory, one pass over the data, one matrix of change at a time."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ... import __version__
from ...errors import InputError, NotEnoughData
from ...types import Estimate
from ..adapters import load_tuned
from ..layout import place_of
from ..linears import Linear, linears
from ..loading import Dtype, load_model, load_tokenizer
from .certificate import (
    TARGET,
    Certificate,
    Drift,
    Effect,
    Leak,
    Matrix,
    Outside,
    Side,
    Why,
    leak_ruling,
    overall,
)
from .examples import Batch, Example, batches, data_of, encode, read_split
from .felt import Change, Sums, drift_of, effects, felt, leaks, uneven
from .pair import Step, compared, narrowed, settings_that_differ, side_of, tokenizers_differ
from .resampled import RESAMPLES, ratios
from .spectra import spectrum

Watch = Callable[[str, int, int], None]
"""Told what goes on, how much of it is done, and of how much."""

CALIBRATION_TOKENS = 2
"""Calibration tokens wanted per input of a matrix: fewer inputs than directions leave every change room to hide."""
HELD_OUT_TOKENS = 1
HELD_OUT_ROWS = 40  # with fewer, intervals over rows are too short (benchmarks/coverage_certificate.py)
_FEW = 0.1  # share of tokens that carries the energy of an input, under which a reader should know of it
_MOST_MORE = 1000  # times what is there; a leak that close to the target is not decided by more data


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to certify. `held_out`: a file, or the share of the data that is held out by a hash of the prompt."""

    held_out: Path | float = 0.3
    target: float = TARGET
    level: float = 0.95
    max_tokens: int = 512  # of one row
    chat: bool | None = None  # whether rows are talks of the chat template; None: where there is one
    batch_tokens: int = 4096
    dtype: Dtype = "float32"
    device: str | None = None


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """One side of the data: its rows as tokens, and what was summed over them."""

    examples: Sequence[Example]
    sums: Sums
    drift: Any  # [rows, 3]: sum of KL, tokens that agree, tokens; zeros where only BASE read

    @property
    def tokens(self) -> int:
        return sum(len(example.ids) for example in self.examples)


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


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What two models in memory say: the fields of a certificate that do not speak of files, and the data read."""

    facts: dict[str, Any]
    parts: tuple[_Part, _Part]
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
        _read("calibration", before, None, changes, known, settings, pad, watch),
        _read("held-out", before, after, changes, unseen, settings, pad, watch),
    )
    total = math.sqrt(sum(step.norm**2 for step in steps.values()))
    matrices = _matrices(maps, changes, steps, parts, settings, total, watch)
    covered = {f"{name}.weight" for name in changes}
    outside = tuple(_outside(step, total) for name, step in steps.items() if name not in covered)
    different = settings_that_differ(before, after)
    more = _more(matrices, parts, settings)
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
            "leak is the larger of that by energy and that with every token alike"
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


def _read(  # noqa: PLR0913, PLR0917 - one pass needs both models, the rows and how to batch them
    name: str,
    before: Any,
    after: Any | None,
    changes: dict[str, Change],
    examples: Sequence[Example],
    settings: Settings,
    pad: int,
    watch: Watch,
) -> _Part:
    """One pass of BASE over the rows, and of TUNED where it is given."""
    part = _Part(
        examples=examples, sums=Sums(len(examples), len(changes)), drift=np.zeros((len(examples), 3))
    )
    for batch in _batches(name, examples, settings, pad, before.device, watch):
        told = {"input_ids": batch.input_ids, "attention_mask": batch.mask, "use_cache": False}
        with felt(changes, batch, part.sums):
            first = before(**told).logits
        if after is not None:
            second = after(**told).logits
            for place, at in enumerate(batch.at):
                part.drift[at] = drift_of(examples[at], first[place], second[place])
    if not np.isfinite(part.drift).all():
        raise InputError("the models' logits are not finite", remedy="try --dtype float32")
    return part


def _batches(
    name: str, examples: Sequence[Example], settings: Settings, pad: int, device: Any, watch: Watch
) -> Iterator[Batch]:
    import torch

    done = 0
    with torch.no_grad():
        for batch in batches(examples, batch_tokens=settings.batch_tokens, pad=pad):
            watch(name, done, len(examples))
            yield msgspec.structs.replace(
                batch, input_ids=batch.input_ids.to(device), mask=batch.mask.to(device)
            )
            done += len(batch.at)


def _matrices(
    maps: dict[str, Linear],
    changes: dict[str, Change],
    steps: dict[str, Step],
    parts: tuple[_Part, _Part],
    settings: Settings,
    total: float,
    watch: Watch,
) -> tuple[Matrix, ...]:
    norms = [steps[f"{name}.weight"].norm for name in changes]
    widths = [maps[name].n_in for name in changes]
    calibrated, held = (leaks(part.sums, norms, widths, level=settings.level) for part in parts)
    effect = [effects(part.sums) for part in parts]
    columns = {name: column for column, name in enumerate(changes)}
    found = []
    for place, linear in enumerate(maps.values()):
        watch("spectra", place, len(maps))
        column = columns.get(linear.name)
        if column is None:
            found.append(_unchanged(linear))
            continue
        leak = Leak(
            calibration=float(calibrated[0, column]),
            held_out=float(held[0, column]),
            low=float(held[1, column]),
            high=float(held[2, column]),
        )
        seen = all(np.isfinite(msgspec.structs.astuple(leak)))
        step = steps[f"{linear.name}.weight"]
        shape = spectrum(changes[linear.name].matrix())
        enough = _enough(linear.n_in, [part.sums.seen(column) for part in parts], len(parts[1].examples))
        found.append(
            Matrix(
                **_place(linear),
                norm=step.norm,
                relative_norm=step.norm / step.base_norm if step.base_norm else 0.0,
                share=step.norm**2 / total**2,
                spectral_norm=shape.spectral_norm,
                stable_rank=shape.stable_rank,
                effective_rank=shape.effective_rank,
                tokens=parts[1].sums.seen(column),
                leak=leak if seen else None,
                effect=_effect(*(float(part[column]) for part in effect)),
                ruling=leak_ruling(leak, settings.target, enough=enough) if seen else "unmeasured",
            )
        )
    return tuple(found)


def _enough(n_in: int, tokens: Sequence[int], rows: int) -> bool:
    return (
        tokens[0] >= CALIBRATION_TOKENS * n_in
        and tokens[1] >= HELD_OUT_TOKENS * n_in
        and rows >= HELD_OUT_ROWS
    )


def _effect(calibration: float, held_out: float) -> Effect | None:
    found = math.isfinite(calibration) and math.isfinite(
        held_out
    )  # a matrix of zeros has no output to compare with
    return Effect(calibration=calibration, held_out=held_out) if found else None


def _place(linear: Linear) -> dict[str, Any]:
    return {
        "name": linear.name,
        "layer": linear.layer,
        "role": linear.role,
        "n_out": linear.n_out,
        "n_in": linear.n_in,
    }


def _unchanged(linear: Linear) -> Matrix:
    names = ("norm", "relative_norm", "share", "spectral_norm", "stable_rank", "effective_rank")
    zeros: dict[str, Any] = dict.fromkeys(names, 0.0)
    return Matrix(**_place(linear), **zeros, tokens=0, leak=None, effect=None, ruling="unchanged")


def _outside(step: Step, total: float) -> Outside:
    place = place_of(step.name)
    return Outside(
        name=step.name,
        layer=place.layer,
        why=_why(step.name),
        norm=step.norm,
        relative_norm=step.norm / step.base_norm if step.base_norm else None,
        share=step.norm**2 / total**2,
    )


def _why(name: str) -> Why:
    role = place_of(name).role
    if role == "embedding":
        return "embedding"
    if role == "head":
        return "head"
    if role in ("norm", "final_norm"):
        return "norm"
    return "bias" if name.endswith("bias") else "layout"


def _more(matrices: Sequence[Matrix], parts: tuple[_Part, _Part], settings: Settings) -> tuple[int, int]:
    """Tokens that are missing on both sides for what is undecided to be decided."""
    undecided = [matrix for matrix in matrices if matrix.ruling == "undecided" and matrix.leak]
    if not undecided:
        return 0, 0
    widest = max(matrix.n_in for matrix in undecided)
    held = parts[1].tokens
    wanted = [HELD_OUT_TOKENS * widest, math.ceil(held * HELD_OUT_ROWS / len(parts[1].examples))]
    for matrix in undecided:
        leak = matrix.leak
        if leak is not None and leak.low <= settings.target < leak.high:
            half, gap = (leak.high - leak.low) / 2, abs(settings.target - leak.held_out)
            wanted.append(math.ceil(held * min((half / gap) ** 2 if gap else math.inf, _MOST_MORE)))
    return max(CALIBRATION_TOKENS * widest - parts[0].tokens, 0), max(*wanted, held) - held


def _drift(part: _Part, level: float) -> Drift:
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
