"""The plan and the end of an average, in words and as JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import Any

import msgspec

from ...weights.averaging.card import companions, explained
from ...weights.averaging.checkpoint import Checkpoint
from ...weights.averaging.plan import Plan, role_rows
from ...weights.averaging.result import RESULT, Averaged, TensorResult
from ..terminal import clean, cut_middle

_ONE_VECTOR = {
    "task_arithmetic": "with one task vector this is averaging, the same as linear",
    "ties": "with one task vector this is pruning by magnitude: there is no sign to elect",
    "dare": "with one task vector this is averaging with noise: it keeps the mean alone",
}


def shown_plan(plan: Plan) -> str:
    """What will be done, before anything is: inputs, ratios by block and role, what is copied, notes."""
    said = plan.recipe
    lines = ["plan      theta = theta0 + a * (theta1 - theta0); a = share of the ALIGNED model", ""]
    for at, (checkpoint, fingerprint) in enumerate(zip(plan.inputs, plan.fingerprints, strict=True)):
        weight = f", weight {said.weights[at - 1]:g}" if at and len(said.models) > 1 else ""
        lines.append(f"theta{at}    {clean(str(checkpoint.path))}")
        lines.append(f"          {_size(checkpoint)}{weight}, fingerprint {fingerprint[:16]}")
    lines.append(f"output    {clean(str(plan.out))}")
    lines.append(f"          {size(plan.nbytes)}, tensors and shards in the order of theta1")
    lines.append(f"operation {said.operation}: {explained(plan)}")
    given = {name: getattr(said, name) for name in ("density", "drop", "seed")}
    lines += [f"          {name} {value:g}" for name, value in given.items() if value is not None]
    if len(said.models) == 1 and said.operation in _ONE_VECTOR:
        lines.append(f"          {_ONE_VECTOR[said.operation]}")
    lines += ["", *_blocks(plan), *_roles(plan), ""]
    copied = [step for step in plan.steps if step.action == "copy"]
    if copied:
        whys = dict.fromkeys(step.why for step in copied)
        counts = ", ".join(f"{sum(step.why == why for step in copied)} because {why}" for why in whys)
        lines.append(f"copied    {counts}")
    names = [path.name for path in companions(plan)]
    lines += _wrapped(
        "beside    ", [*names, "README.md", RESULT], "from theta1, no code; a card and all norms are new"
    )
    lines += [f"note      {clean(note)}" for note in plan.notes]
    return "\n".join(lines)


def shown_result(plan: Plan, result: Averaged) -> str:
    """What was written and checked, where the largest changes are, how to load it."""
    out = clean(str(plan.out))
    if result.was_there:
        first = f"there     {out} is this very average already: nothing was done"
    else:
        speed = (result.nbytes - result.resumed_bytes) / max(result.seconds, 1e-9) / 1e6
        first = f"written   {out}: {size(result.nbytes)} in {result.seconds:.1f} s, {speed:.0f} MB/s"
        if result.resumed_bytes:
            first += f" ({size(result.resumed_bytes)} were there from before)"
    lines = ["", first]
    lines.append("checked   every name, type and shape of what was written")
    lines.append(f"          {result.checked} tensors read back and sampled: equal to what is computed anew")
    if result.identical:
        lines.append(f"same      {result.identical} tensors are the same in all inputs")
    if result.strange:
        lines.append(f"warning   {result.strange:,} values of the inputs are infinite or no number")
    lines += ["", "moved most by safety training     a   ||theta1 - theta0|| / ||theta0||"]
    lines += [_moved(tensor) for tensor in result.largest(5)]
    lines += ["", f"hashes    {RESULT} and README.md in the folder"]
    if plan.inputs[1].config:
        lines.append(f'load      AutoModelForCausalLM.from_pretrained("{out}")')
    lines.append("measure   what this recovered, and what it cost: the files do not say")
    return "\n".join(lines)


def as_document(plan: Plan, result: Averaged | None, space: tuple[int, int] | None) -> str:
    """Plan and result as JSON. `result` is null after a dry run, `space` where nothing had to be written."""
    document: dict[str, Any] = {
        "format": 1,
        "out": str(plan.out),
        "convention": "theta = theta0 + a * (theta1 - theta0); a = share of the aligned model",
        "recipe": msgspec.to_builtins(plan.recipe),
        "recipe_sha256": plan.recipe.sha256(),
        "inputs": [
            {
                "path": str(one.path),
                "bytes": one.nbytes,
                "tensors": len(one.tensors),
                "fingerprint": fingerprint,
            }
            for one, fingerprint in zip(plan.inputs, plan.fingerprints, strict=True)
        ],
        "bytes": plan.nbytes,
        "layers": plan.n_layers,
        "blocks": [[block[0], block[-1]] for block in plan.blocks],
        "mean_of_blocks": _mean(plan.recipe.ratios.blocks),
        "mean_of_values": plan.mean_ratio(),
        "roles": msgspec.to_builtins(role_rows(plan)),
        "tensors": [
            {
                "name": s.name,
                "role": s.role,
                "layer": s.layer,
                "ratio": s.ratio,
                "action": s.action,
                "why": s.why,
            }
            for s in plan.steps
        ],
        "notes": list(plan.notes),
        "space": {"needed": space[0], "free": space[1]} if space else None,
        "result": msgspec.to_builtins(result) if result else None,
    }
    return json.dumps(document, indent=2)


def size(nbytes: int) -> str:
    """Bytes in decimal units, as disks are sold: `16.06 GB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if nbytes >= unit:
            return f"{nbytes / unit:.{2 if name == 'GB' else 1}f} {name}"
    return f"{nbytes} B"


def _size(checkpoint: Checkpoint) -> str:
    shards = len(checkpoint.shards)
    files = f"{shards} files" if shards > 1 else "1 file"
    return f"{size(checkpoint.nbytes)}, {len(checkpoint.tensors):,} tensors in {files}"


def _blocks(plan: Plan) -> list[str]:
    ratios = plan.recipe.ratios.blocks
    lines = [
        f"block {at:<4}layers {block[0]} to {block[-1]}: a = {ratio:g}"
        for at, (block, ratio) in enumerate(zip(plan.blocks, ratios, strict=True), start=1)
    ]
    mean = f"mean      a = {_mean(ratios):g} over blocks, {plan.mean_ratio():.4g} over values"
    return [*lines, mean, ""] if plan.blocks else [mean, ""]


def _roles(plan: Plan) -> list[str]:
    lines = [f"{'role':<11}{'tensors':>8}{'bytes':>10}  {'takes':<30}a"]
    for row in role_rows(plan):
        shown = ", ".join(f"{ratio:g}" for ratio in row.ratios)
        lines.append(f"{row.role:<11}{row.tensors:>8,}{size(row.nbytes):>10}  {row.policy:<30}{shown}")
    return lines


def _moved(tensor: TensorResult) -> str:
    ratio = f"{tensor.ratio:g}"
    return f"  {cut_middle(clean(tensor.name), 42):<42} {ratio:>6}   {tensor.relative:.4g}"


def _wrapped(head: str, names: Sequence[str], end: str) -> list[str]:
    width = min(shutil.get_terminal_size().columns, 120)
    lines = [head]
    for name in names:
        part = f"{name}, " if name != names[-1] else name
        if len(lines[-1]) + len(part) > width:
            lines.append(" " * len(head))
        lines[-1] += part
    return [*(line.rstrip() for line in lines), f"{' ' * len(head)}{end}"]


def _mean(ratios: tuple[float, ...]) -> float:
    return sum(ratios) / len(ratios)
