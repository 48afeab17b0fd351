"""What `weights train` and `weights sweep` share: their options, the rows, and the detector as a judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...errors import InputError

if TYPE_CHECKING:
    from ...weights.null_space.adapter import Bases
    from ...weights.training.data import Method, Row
    from ...weights.training.lora import LoraRecipe
    from ...weights.training.recipe import TrainingRecipe
    from ...weights.training.rewards import Verdict

Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

_OPTIONS = (
    click.argument("model", type=_FOLDER, metavar="MODEL"),
    click.argument("data", type=_FILE, metavar="DATA"),
    click.option(
        "--method", type=click.Choice(["sft", "dpo", "grpo"]), default="sft", show_default=True,
        help="sft: completions; dpo: chosen over rejected; grpo: the detector rewards the model's own answers.",
    ),
    click.option(
        "--adapter", type=click.Choice(["lora", "null-space", "full", "full-null-space"]), default="lora",
        show_default=True, help="What is trained. The null spaces need --bases.",
    ),
    click.option(
        "--multiplier", type=float, default=2.0, show_default=True, metavar="X",
        help="Effective scale of the adapter, whatever its rank.",
    ),
    click.option("--rslora", is_flag=True, help="Write the scale as rsLoRA does; its effect is the same."),
    click.option(
        "--targets", default="all", show_default=True, metavar="NAMES",
        help="all, attention, mlp, or names of modules, with commas.",
    ),
    click.option("--layers", metavar="A-B", help="First and last layer, from 0 at the input.  [default: all]"),
    click.option("--dropout", type=float, default=0.0, show_default=True, help="On the adapter's input."),
    click.option("--steps", type=int, metavar="N", help="Optimizer steps.  [default: by --epochs]"),
    click.option("--epochs", type=float, default=1.0, show_default=True, metavar="X", help="Times over the rows."),
    click.option(
        "--batch-size", type=int, default=16, show_default=True, metavar="N",
        help="Rows per step over all devices; for grpo completions.",
    ),
    click.option(
        "--rows-at-once", type=int, default=4, show_default=True, metavar="N",
        help="Of those, rows that a device takes in one forward: less memory, same training.",
    ),
    click.option("--max-length", type=int, default=1024, show_default=True, metavar="N", help="Tokens of a row."),
    click.option("--weight-decay", type=float, default=0.01, show_default=True, metavar="X", help="Of AdamW."),
    click.option(
        "--kl", type=float, metavar="X",
        help="Tie to the starting model.  [default: dpo 0.1; grpo 0.04, in a null space 0]",
    ),
    click.option("--generations", type=int, default=8, show_default=True, metavar="N", help="grpo: per prompt."),
    click.option(
        "--max-new-tokens", type=int, default=256, show_default=True, metavar="N", help="Of an answer generated."
    ),
    click.option("--recompute", is_flag=True, help="Recompute activations: less memory, about a third slower."),
    click.option("--benign", type=_FILE, metavar="FILE", help="Rows of benign look-alikes to mix in."),
    click.option(
        "--benign-prompts", type=_FILE, metavar="FILE",
        help="Benign look-alikes that MODEL answers itself before training.",
    ),
    click.option(
        "--benign-share", type=float, default=0.3, show_default=True, metavar="X",
        help="Benign rows among benign and harmful ones, at least.",
    ),
    click.option("--refusals-only", is_flag=True, help="Train without any benign row all the same."),
    click.option("--replay", type=_FILE, metavar="FILE", help="General rows to mix in."),
    click.option(
        "--replay-share", type=float, default=0.1, show_default=True, metavar="X",
        help="General rows among all, where --replay is given.",
    ),
    click.option("--bases", type=_FILE, metavar="FILE", help="Null spaces, from aligntax weights moments."),
    click.option("--save-every", type=int, metavar="N", help="Steps between kept checkpoints.  [default: 10 in all]"),
    click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of every random choice."),
)  # fmt: skip


def training_options(command: Command) -> Command:
    """The options that both commands have, in the order in which help lists them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def lora_of(said: dict[str, Any], rank: int) -> LoraRecipe:
    """The adapter that the options describe."""
    from ...weights.training.lora import LoraRecipe, read_layers

    return LoraRecipe(
        rank=rank,
        multiplier=said["multiplier"],
        rank_stabilised=said["rslora"],
        targets=tuple(name.strip() for name in said["targets"].split(",") if name.strip()),
        layers=read_layers(said["layers"]) if said["layers"] else None,
        dropout=said["dropout"],
    )


def recipe_of(said: dict[str, Any], *, rank: int, rate: float | None) -> TrainingRecipe:
    """The recipe that the options describe."""
    from ...weights.training.recipe import TrainingRecipe

    names = (
        "method", "adapter", "steps", "epochs", "batch_size", "rows_at_once", "max_length", "weight_decay", "kl",
        "generations", "max_new_tokens", "recompute", "save_every", "seed",
    )  # fmt: skip
    return TrainingRecipe(
        lora=lora_of(said, rank), learning_rate=rate, **{name: said[name] for name in names}
    )


def bases_of(said: dict[str, Any]) -> Bases | None:
    """The null spaces, where they were named. Raises InputError where the adapter has no use for them."""
    if said["bases"] is None:
        return None
    if not said["adapter"].endswith("null-space"):
        raise InputError(
            f"the adapter {said['adapter']} takes no --bases",
            remedy="say --adapter null-space, or leave it out",
        )
    from ...weights.null_space.adapter import Bases

    return Bases.load(said["bases"])


def own_rows(said: dict[str, Any]) -> list[Row]:
    """The rows of DATA."""
    from ...weights.training.data import read_rows

    return read_rows(said["data"], said["method"])


def look_alikes(said: dict[str, Any], found: Sequence[Row], out: Path) -> tuple[list[Row], list[str]]:
    """Benign rows from beside DATA, and what is to be said of them; MODEL answers prompts now, where it must."""
    from ...weights.training.data import benign_wanted, read_rows

    method: Method = said["method"]
    benign = read_rows(said["benign"], method, intent="benign", source="benign") if said["benign"] else []
    if said["benign_prompts"] is None:
        return benign, []
    from ...weights.training.self_answers import read_prompts

    known = {row.prompt for row in (*found, *benign)}
    prompts = [prompt for prompt in read_prompts(said["benign_prompts"]) if prompt not in known]
    short = max(0, benign_wanted(found, said["benign_share"]) - len(benign))
    if not short:
        return benign, ["--benign-prompts is not needed: the rows hold enough benign ones"]
    own, left_out = _answered(said, found, prompts, out)
    notes = [f"{left_out:,} answers of the model itself are left out: refused or empty"] if left_out else []
    return [*benign, *own], notes


def _answered(
    said: dict[str, Any], found: Sequence[Row], prompts: list[str], out: Path
) -> tuple[list[Row], int]:
    from ...weights.training.data import Row, as_preferences
    from ...weights.training.self_answers import self_answered
    from .train_progress import TrainProgress

    if said["method"] == "grpo":
        return [
            Row(texts={"prompt": prompt}, intent="benign", source="self-answered") for prompt in prompts
        ], 0
    with TrainProgress("answering") as progress:
        rows, left_out = self_answered(
            said["model"], prompts, out, judge=judge, max_new_tokens=said["max_new_tokens"],
            told=lambda done, whole: progress.update(done, whole, "benign prompts"),
        )  # fmt: skip
    return (as_preferences(rows, found, seed=said["seed"]) if said["method"] == "dpo" else rows), left_out


def replayed(said: dict[str, Any]) -> tuple[list[Row], float]:
    """General rows and the share of them."""
    from ...weights.training.data import read_rows

    if said["replay"] is None:
        return [], 0.0
    return read_rows(said["replay"], said["method"], intent="benign", source="replay"), said["replay_share"]


def judge(prompts: Sequence[str], answers: Sequence[str]) -> list[Verdict]:
    """The detector's verdict on each answer: refused, answered where it calls it complete, unclear otherwise."""
    import polars as pl

    from ... import detect
    from ...types import Label, exchange_schema

    named: dict[str | None, Verdict] = {Label.REFUSED.value: "refused", Label.COMPLETE.value: "answered"}
    rows = [
        {"id": str(at), "prompt": prompt, "response": answer, "outcome": _outcome(answer)}
        for at, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]
    labels = detect.judge(pl.DataFrame(rows, schema=exchange_schema()))["label"].to_list()
    return [named.get(label, "unclear") for label in labels]


def _outcome(answer: str) -> str:
    from ...types import Outcome

    return (Outcome.ANSWERED if answer.strip() else Outcome.EMPTY).value


def suspicious(rows: Sequence[Row]) -> list[str]:
    """Rows whose answer is the opposite of their intent, by the detector: counted, since it may err."""
    answered = [row for row in rows if "completion" in row.texts or "chosen" in row.texts]
    if not answered:
        return []
    verdicts = judge(
        [row.prompt for row in answered],
        [row.texts.get("completion") or row.texts["chosen"] for row in answered],
    )
    pairs = list(zip(answered, verdicts, strict=True))
    refused = sum(row.intent == "benign" and verdict == "refused" for row, verdict in pairs)
    complied = sum(row.intent == "harmful" and verdict == "answered" for row, verdict in pairs)
    notes = []
    if refused:
        notes.append(f"{refused:,} benign rows teach what the detector reads as a refusal: look at them")
    if complied:
        notes.append(f"{complied:,} harmful rows teach what the detector reads as an answer: look at them")
    return notes
