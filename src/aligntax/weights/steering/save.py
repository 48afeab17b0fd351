"""A steered model as files: a whole folder of safetensors, or the same edit as an ordinary LoRA."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...errors import InputError
from .directions import Directions
from .edit import Steering, Writers
from .proof import Certified

Form = Literal["weights", "lora"]

_NOT_COPIED = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".index.json", ".py", ".md")


def save(
    writers: Writers,
    directions: Directions,
    certified: Certified,
    out: Path,
    *,
    source: Path,
    form: Form = "weights",
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Write the chosen point to a new folder `out`, with a card (README.md) and everything measured (steering.json).

    `source`: the folder of the model, from which tokenizer and other small files are copied. `notes`: what else
    steering.json shall hold, such as names of the prompt files. The folder is there whole or not at all; the model
    is left as it was. Raises InputError, before anything is written, where no point holds the floor and where `out`
    exists already or lies in the model's folder.
    """
    chosen = certified.chosen
    if chosen is None or chosen.bound.low is None or not chosen.bound.low >= certified.floor:
        raise InputError(
            "no steering holds the safety floor, so none is written",
            remedy="nothing was found; the model as it was stays the safe choice",
        )
    steering = chosen.trial.steering
    assert steering is not None
    check_out(out, source)
    card = {
        "format": 1,
        "base": source.name,
        "form": form,
        "directions": _described(directions),
        **msgspec.to_builtins(certified),
        **(notes or {}),
    }
    with _whole(out) as part:
        if form == "lora":
            _write_lora(writers, steering, directions, part, source)
        else:
            with writers.steered(steering, directions) as model:
                model.save_pretrained(part, safe_serialization=True)
            _copy_small_files(source, part)
        (part / "steering.json").write_text(json.dumps(card, indent=2, allow_nan=False) + "\n", "utf-8")
        (part / "README.md").write_text(_card(certified, steering, source.name, form), "utf-8")
    return out


def check_out(out: Path, source: Path) -> None:
    """Raises InputError where writing to `out` would touch what is there, above all the model itself."""
    if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
        raise InputError(
            "is the model itself, or lies in its folder", where=str(out), remedy="name a new folder"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("is there already", where=str(out), remedy="name a new folder")


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when all is written."""
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        if out.exists():
            out.rmdir()  # empty: `check_out` has seen to it
        part.replace(out)
    except OSError as fault:
        raise InputError(
            f"cannot be written: {fault.strerror}", where=str(out), remedy="name another place"
        ) from fault
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy_small_files(source: Path, part: Path) -> None:
    """Tokenizer, chat template and the like; not what the new weights bring themselves, and no code."""
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.endswith(_NOT_COPIED) and not (part / path.name).exists():
            shutil.copyfile(path, part / path.name)


def _write_lora(
    writers: Writers, steering: Steering, directions: Directions, part: Path, source: Path
) -> None:
    """An adapter of rank 1, factor 1. Where writers have biases, so has the adapter (`lora_bias`)."""
    from peft import LoraConfig
    from safetensors.torch import save_file

    factors = writers.low_rank(steering, directions)
    biased = {name for name, (_, _, bias) in factors.items() if bias is not None}
    if biased and biased != set(factors):
        raise InputError("some writers have a bias and some none", remedy="save it as weights")
    tensors = {}
    for name, (down, up, bias) in factors.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = up.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = down.contiguous()
        if bias is not None:
            tensors[f"base_model.model.{name}.lora_B.bias"] = bias.contiguous()
    conv1d = any(writer.out_dim == 1 for writer in writers.all if writer.name in factors)
    config = LoraConfig(
        r=1,
        lora_alpha=1,
        lora_dropout=0.0,
        target_modules=sorted({_suffix(name) for name in factors}),
        fan_in_fan_out=conv1d,
        lora_bias=bool(biased),
        task_type="CAUSAL_LM",
        base_model_name_or_path=source.name,
        inference_mode=True,
    )
    config.save_pretrained(str(part))
    save_file(tensors, str(part / "adapter_model.safetensors"), metadata={"format": "pt"})


def _suffix(name: str) -> str:
    """The two last parts of a module's name: both halves of a layer of GPT-2 end in c_proj."""
    return ".".join(name.split(".")[-2:])


def _described(directions: Directions) -> dict[str, Any]:
    return {
        "prompts": directions.prompts,
        "cosines": list(directions.cosines()),
        "remainder_agrees": list(directions.remainder_agrees),
    }


def _card(certified: Certified, steering: Steering, base: str, form: Form) -> str:
    chosen = certified.chosen
    assert chosen is not None
    what = "an adapter (LoRA of rank 1) for it" if form == "lora" else "all of its weights"
    over = chosen.over_change
    lines = [
        f"# {base}, steered",
        "",
        f"This folder holds {what}: a direction of false refusals was taken out of what layers write into the",
        "residual stream. Made by `aligntax weights steer`; steering.json has every figure and the settings.",
        "",
        f"- Floor: {certified.floor:.0%} of harmful requests declined, at {certified.level:.0%} confidence.",
        f"- Harmful requests declined: {_rate(chosen.row.safety)}; at least {chosen.bound.low or 0:.1%}"
        f" by the one-sided exact bound on {chosen.bound.n} report prompts. Before: {_rate(certified.untouched.safety)}.",
        f"- Usefulness: {_rate(chosen.row.usefulness)}. Before: {_rate(certified.untouched.usefulness)}.",
    ]
    if over is not None and chosen.row.over is not None and certified.untouched.over is not None:
        lines.append(
            f"- Benign requests declined: {_rate(chosen.row.over)}. Before: {_rate(certified.untouched.over)}."
        )
    lines += [
        f"- KL of the first token on benign prompts: {chosen.trial.kl:.4f} nats.",
        f"- Direction: layer {steering.layer}, lambda {steering.orthogonality:.3f}; its cosine with the true refusal"
        f" vectors of the edited layers is {chosen.trial.along:.3f}.",
        "",
        "The bound holds for requests like those of the report. It says nothing of jailbreaks, other languages or",
        "other domains: measure those before this model serves anybody.",
        "",
    ]
    return "\n".join(lines)


def _rate(estimate: Any) -> str:
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"
