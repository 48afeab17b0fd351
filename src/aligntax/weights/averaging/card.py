"""What stands beside the averaged weights: config and tokenizer of the aligned model, a card, the result as JSON."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from .operations import EXPLAINED
from .plan import Plan, role_rows
from .result import RESULT, Averaged

COMPANIONS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "tekken.json",
    "chat_template.jinja", "chat_template.json", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
"""What is copied from the aligned model, by name. Nothing else is: no code, no pickles, no other weights."""
_LONGEST = 256 << 20  # bytes; a tokenizer is smaller


def companions(plan: Plan) -> list[Path]:
    """Those of them that the aligned model has."""
    folder = plan.inputs[1].folder
    if folder is None:
        return []
    return [
        path for name in COMPANIONS if (path := folder / name).is_file() and path.stat().st_size <= _LONGEST
    ]


def write_companions(plan: Plan, result: Averaged, folder: Path) -> None:
    """Write everything but the weights into `folder`, and see it on the disk."""
    for path in companions(plan):
        shutil.copyfile(path, folder / path.name)
    aligned = plan.inputs[1]
    if aligned.index and aligned.folder:
        shutil.copyfile(aligned.folder / aligned.index, folder / aligned.index)
    stored = msgspec.json.format(msgspec.json.encode(result), indent=1)
    (folder / RESULT).write_bytes(stored + b"\n")
    (folder / "README.md").write_text(card(plan, result), "utf-8")
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def explained(plan: Plan) -> str:
    """What the plan's operation does, in one line."""
    if plan.recipe.operation == "linear" and len(plan.recipe.models) == 1:
        return "theta0 + a * (theta1 - theta0)"
    return EXPLAINED[plan.recipe.operation]


def card(plan: Plan, result: Averaged) -> str:
    """The model card, as Markdown: what was averaged with which ratios, hashes, and where the models differ most."""
    names = ["theta0, before safety training", *(f"theta{at}, after" for at in range(1, len(plan.inputs)))]
    lines = [
        "---",
        "tags: [merge, aligntax]",
        "---",
        "",
        f"# {_plain(plan.out.name)}",
        "",
        f"Averaged by aligntax {result.aligntax}, operation `{plan.recipe.operation}`: {explained(plan)}.",
        "`a` is the share of the aligned model: `theta = theta0 + a * (theta1 - theta0)`. Arithmetic in float64, one rounding at the end.",
        "",
        "This card says how the weights were made. It says nothing of how the model behaves: measure that.",
        "",
        *_table(
            ("input", "folder", "weight", "content SHA-256"),
            [
                (name, f"`{_plain(one.path.name)}`", weight, f"`{content}`")
                for name, one, weight, content in zip(
                    names,
                    plan.inputs,
                    ("", *(f"{w:g}" for w in plan.recipe.weights)),
                    result.contents,
                    strict=True,
                )
            ],
        ),
        *_table(
            ("role", "tensors", "policy", "a"),
            [
                (row.role, row.tensors, row.policy, ", ".join(f"{ratio:g}" for ratio in row.ratios))
                for row in role_rows(plan)
            ],
        ),
    ]
    if len(plan.blocks) > 1:
        lines += _table(
            ("block", "layers", "a"),
            [
                (at, f"{block[0]} to {block[-1]}", f"{ratio:g}")
                for at, (block, ratio) in enumerate(
                    zip(plan.blocks, plan.recipe.ratios.blocks, strict=True), start=1
                )
            ],
        )
    lines += ["Tensors that safety training moved most, relative to their own norm:", ""]
    lines += _table(
        ("tensor", "a", "moved"),
        [(f"`{_plain(one.name)}`", f"{one.ratio:g}", f"{one.relative:.4g}") for one in result.largest(10)],
    )
    lines += [
        f"Recipe SHA-256: `{result.recipe_sha256}`. All norms, hashes and ratios: `{RESULT}`.",
        f"{result.identical} tensors are the same in all inputs.",
    ]
    if result.strange:
        lines.append(f"{result.strange:,} values of the inputs are infinite or no number.")
    return "\n".join([*lines, ""])


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    shown = [head, tuple("---" for _ in head), *rows]
    return [*("| " + " | ".join(str(cell) for cell in row) + " |" for row in shown), ""]


def _plain(name: str) -> str:
    """A name that Markdown does not read as anything else."""
    return "".join(sign if sign.isalnum() or sign in " ._-" else "_" for sign in name)
