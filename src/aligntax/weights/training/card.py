"""What a trained folder says of itself, for people (README.md) and for programs (card.json)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from .files import (
    CARD,
    CHECKPOINTS,
    Identity,
    check_same,
    file_hashes,
    read_json,
    versions,
    write_whole,
)
from .plan import Trained, TrainingPlan

_CONVENTION = "theta = theta0 + a * (theta1 - theta0); a is the share of the aligned model, theta1 this one"


def write_card(trained: Trained, known: Identity) -> None:
    """Write card.json and README.md; card.json is the last file of a run, and says that it is finished."""
    document = _document(trained, known)
    write_whole(trained.folder / "README.md", _readme(trained, document).encode())
    content = msgspec.json.encode(document)
    write_whole(trained.folder / CARD, msgspec.json.format(content, indent=2))


def finished(folder: Path, known: Identity, plan: TrainingPlan) -> Trained | None:
    """The run as it was finished before, None where it was not. Raises InputError where it is another run."""
    if not (folder / CARD).exists():
        return None
    check_same(folder, known)
    said = read_json(folder / CARD)
    return Trained(
        folder=folder,
        plan=plan,
        losses=tuple((step, loss, reward) for step, loss, reward in said["losses"]),
        checkpoints=tuple(folder / CHECKPOINTS / name for name in said["checkpoints"]),
        resumed_from=said["resumed_from"],
        seconds=said["seconds"],
    )


def _document(trained: Trained, known: Identity) -> dict[str, Any]:
    plan = trained.plan
    return {
        "format": 1,
        "convention": _CONVENTION,
        "recipe": msgspec.to_builtins(plan.recipe),
        "learning_rate": plan.recipe.rate,
        "kl": plan.recipe.beta,
        "effective_scale": plan.scale,
        "steps": plan.steps,
        "trained": {
            "numbers": plan.trained,
            "of": plan.parameters,
            "modules": plan.modules,
            "layers": plan.layers,
        },
        "outside_the_constraint": list(plan.outside) if plan.outside is not None else None,
        "data": {
            "rows": plan.rows,
            "counts": plan.counts,
            "benign_share": plan.share,
            "sha256": known["rows"],
            "notes": list(plan.notes),
        },
        "model": {"sha256": file_hashes(Path(plan.model))},
        "bases": known["bases"],
        "versions": versions(),
        "device": plan.device,
        "dtype": plan.dtype,
        "losses": [list(point) for point in trained.losses],
        "checkpoints": [path.name for path in trained.checkpoints],
        "resumed_from": trained.resumed_from,
        "seconds": round(trained.seconds, 1),
    }


def _readme(trained: Trained, document: dict[str, Any]) -> str:
    plan, recipe = trained.plan, trained.plan.recipe
    lines = [
        "# Safety training",
        "",
        f"{recipe.method.upper()}, adapter {recipe.adapter}, made by aligntax {document['versions']['aligntax']}.",
        "",
        f"- trained: {plan.trained:,} of {plan.parameters:,} numbers, layers {plan.layers}",
        f"- effective scale of the adapter: {plan.scale if plan.scale is not None else 'no adapter'}"
        + (f", rank {recipe.lora.rank}" if plan.scale is not None else ""),
        f"- {plan.steps:,} steps of {recipe.batch_size} rows, learning rate {recipe.rate:g}, seed {recipe.seed}",
        f"- rows: {', '.join(f'{count:,} {name}' for name, count in plan.counts.items())}",
        f"- benign share of the rows that are not replay: {plan.share:.2f}",
        *(f"- note: {note}" for note in plan.notes),
        f"- {constraint_words(plan)}",
        "",
        "What training cost is not in this file: a falling loss says nothing of capability or of over-refusal.",
        "Measure both before this is used: `aligntax weights certify`, `aligntax weights search`.",
        f"Folders under `{CHECKPOINTS}/` are the same training stopped earlier, as baselines.",
        f"Convention: {_CONVENTION}.",
        "",
    ]
    return "\n".join(lines)


def constraint_words(plan: TrainingPlan) -> str:
    """What is and what is not promised of the change, in one line."""
    if plan.outside is None:
        return "no constraint: the change may touch any behaviour of the model"
    return (
        "the change of every trained matrix lies in its null space of general inputs; norms, biases, embeddings "
        "and head are not trained. Promised to first order: inputs of later layers move with earlier ones"
    )
