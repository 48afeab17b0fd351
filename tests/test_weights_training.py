"""Tiny real models are trained by every method and adapter, cut off, resumed and loaded by other programs."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aligntax.errors import InputError
from aligntax.weights.training.data import Mix, Row, mix
from aligntax.weights.training.lora import LoraRecipe
from aligntax.weights.training.recipe import TrainingRecipe
from aligntax.weights.training.run import plan_training, train
from tiny_models import moved, saved, tiny_model

REFUSAL = "w7 w8 </s>"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, and no way out of this machine."""
    import torch

    torch.set_num_threads(1)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("CI", raising=False)  # TRL would count no runs there


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder of a tiny model by its layout."""
    made: dict[str, Path] = {}

    def model(layout: str = "llama") -> Path:
        if layout not in made:
            made[layout] = saved(tiny_model(layout), tmp_path_factory.mktemp(layout) / "base")
        return made[layout]

    return model


def mixed(method: str, n: int = 16) -> Mix:
    texts = {
        "sft": lambda at, no: {"completion": REFUSAL if no else f"w{at} </s>"},
        "dpo": lambda at, no: dict(
            zip(("chosen", "rejected"), (REFUSAL, f"w{at} </s>")[:: 1 if no else -1], strict=True)
        ),
        "grpo": lambda at, no: {},
    }[method]
    rows = [
        Row(
            texts={"prompt": f"w{at} w{at + 20}", **texts(at, at % 3 > 0)},
            intent="harmful" if at % 3 else "benign",
        )
        for at in range(n)
    ]
    return mix(rows, share=0.3)


def recipe(method: str, adapter: str = "lora", **said: Any) -> TrainingRecipe:
    settings: dict[str, Any] = {
        "lora": LoraRecipe(rank=2), "steps": 3, "batch_size": 4, "rows_at_once": 2, "max_length": 32,
        "generations": 2, "max_new_tokens": 4, "learning_rate": 1e-2, "save_every": 2,
    }  # fmt: skip
    return TrainingRecipe(method=method, adapter=adapter, **(settings | said))  # type: ignore[arg-type]


def judge(prompts: Sequence[str], answers: Sequence[str]) -> list[Any]:
    return ["refused" if len(answer) % 2 else "answered" for answer in answers]


def weights(folder: Path) -> dict[str, Any]:
    """What the folder's model computes with: the adapter merged where it is one."""
    import warnings

    import peft
    from transformers import AutoModelForCausalLM

    if (folder / "adapter_config.json").exists():
        base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
            model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
            model = model.merge_and_unload()
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def changed(base: Path, folder: Path) -> set[str]:
    import torch

    before, after = weights(base), weights(folder)
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("layout", "method"),
    [
        ("llama", "grpo"),
        ("gpt2", "sft"),
        ("phi3", "dpo"),
        pytest.param("llama", "sft", marks=pytest.mark.long),
        pytest.param("llama", "dpo", marks=pytest.mark.long),
        pytest.param("gpt2", "grpo", marks=pytest.mark.long),
    ],
)
def test_an_adapter_is_trained_by_every_method_and_loads_through_peft(
    layout: str, method: str, models: Any, tmp_path: Path
) -> None:
    from aligntax.weights.linears import linears

    base = models(layout)
    seen = []
    trained = train(recipe(method), base, mixed(method), tmp_path / "out", judge=judge, report=seen.append)
    assert [step.step for step in seen] == [1, 2, 3]
    assert [step for step, _, _ in trained.losses] == [1, 2, 3]
    assert all((reward is not None) == (method == "grpo") for _, _, reward in trained.losses)
    different = changed(base, tmp_path / "out")
    assert different
    assert different <= {f"{name}.weight" for name in linears(tiny_model(layout))}
    assert trained.plan.trained == sum(
        2 * (one.n_in + one.n_out) for one in linears(tiny_model(layout)).values()
    )


@pytest.mark.parametrize("method", [pytest.param("sft", marks=pytest.mark.long), "dpo", "grpo"])
def test_all_weights_are_trained_where_that_is_said(method: str, models: Any, tmp_path: Path) -> None:
    base = models()
    trained = train(recipe(method, "full"), base, mixed(method), tmp_path / "out", judge=judge)
    assert "lm_head.weight" in changed(base, tmp_path / "out")
    assert trained.plan.trained == trained.plan.parameters
    assert trained.plan.scale is None


def test_full_training_of_some_layers_leaves_all_else_as_it_was(models: Any, tmp_path: Path) -> None:
    base = models()
    some = recipe("sft", "full", lora=LoraRecipe(targets=("mlp",), layers=(1, 1)))
    plan = train(some, base, mixed("sft"), tmp_path / "out").plan
    assert changed(base, tmp_path / "out") == {
        f"model.layers.1.mlp.{name}_proj.weight" for name in ("gate", "up", "down")
    }
    assert plan.trained == 3 * 32 * 64


def test_what_is_left_is_safetensors_a_tokenizer_and_a_card(models: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    trained = train(recipe("sft", steps=4), models(), mixed("sft"), out)
    assert [path.name for path in trained.checkpoints] == ["checkpoint-2", "checkpoint-4"]
    for checkpoint in trained.checkpoints:
        assert weights(checkpoint)
    left = {path.name for path in out.rglob("*") if path.is_file()}
    assert not {name for name in left if name.endswith((".bin", ".pt", ".pth"))}
    card = json.loads((out / "card.json").read_text())
    assert card["effective_scale"] == 2.0
    assert card["data"]["counts"] == {"harmful (data)": 10, "benign (data)": 6}
    assert set(card["model"]["sha256"]) == {"config.json", "model.safetensors"}
    assert card["versions"]["trl"]
    readme = (out / "README.md").read_text()
    assert "effective scale of the adapter: 2.0, rank 2" in readme
    assert "no constraint" in readme


def test_only_the_completion_is_learnt(models: Any, tmp_path: Path) -> None:
    """One row over and over: its completion becomes likely, its prompt does not."""
    import torch

    row = Row(texts={"prompt": "w10 w11 w12 w13", "completion": "w20 w21 w22 w23"}, intent="benign")
    data = Mix(rows=(row,) * 8, share=1.0)
    train(recipe("sft", "full", steps=30, save_every=30), models(), data, tmp_path / "out")
    from aligntax.weights.loading import load_model, load_tokenizer

    def losses(folder: Path) -> Any:
        ids = torch.tensor([load_tokenizer(folder)("w10 w11 w12 w13 w20 w21 w22 w23").input_ids])
        with torch.no_grad():
            logits = load_model(folder)(ids).logits[0, :-1]
        return torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")

    before, after = losses(models()), losses(tmp_path / "out")
    assert after[3:].max() < 0.5
    assert before[3:].min() > 3
    assert after[:3].mean() > before[:3].mean() - 0.5


def null_spaces(base: Path) -> Any:
    from aligntax.weights.batches import batches_of
    from aligntax.weights.loading import load_model, load_tokenizer
    from aligntax.weights.null_space.adapter import choose_bases
    from aligntax.weights.null_space.moments import collect

    model, tokenizer = load_model(base), load_tokenizer(base)
    texts = [" ".join(f"w{(at * 7 + step * step) % 30}" for step in range(8)) for at in range(24)]
    halves = [
        collect(model, batches_of(tokenizer, half, max_tokens=16, batch_size=8))
        for half in (texts[:12], texts[12:])
    ]
    return choose_bases(*halves, leak=0.5)


@pytest.mark.parametrize(
    ("layout", "method", "adapter"),
    [
        ("llama", "dpo", "null-space"), ("gpt2", "sft", "full-null-space"), ("llama", "grpo", "full-null-space"),
        pytest.param("llama", "sft", "null-space", marks=pytest.mark.long),
        pytest.param("gpt2", "grpo", "null-space", marks=pytest.mark.long),
        pytest.param("llama", "dpo", "full-null-space", marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_every_checkpoint_of_a_constrained_run_lies_in_the_null_spaces(
    layout: str, method: str, adapter: str, models: Any, tmp_path: Path
) -> None:
    from aligntax.weights.linears import linears

    base = models(layout)
    bases = null_spaces(base)
    said = recipe(method, adapter, steps=4, weight_decay=0.1)
    trained = train(said, base, mixed(method), tmp_path / "out", judge=judge, bases=bases)
    assert trained.plan.outside == ()
    before = weights(base)
    shapes = linears(tiny_model(layout))
    for folder in (*trained.checkpoints, tmp_path / "out"):
        after = weights(folder)
        different = {name for name in before if not before[name].equal(after[name])}
        assert different
        assert different <= {f"{name}.weight" for name in bases}
        for name in different:
            one = shapes[name.removesuffix(".weight")]
            change = (after[name] - before[name]).double()
            change = change.T if one.input_major else change
            basis = bases[one.name].double()
            assert (change - change @ basis @ basis.T).norm() < 1e-3 * change.norm() + 1e-6


@pytest.mark.parametrize("adapter", ["null-space", "full-null-space"])
def test_a_constrained_run_goes_on_inside_the_same_constraint(
    adapter: str, models: Any, tmp_path: Path
) -> None:
    import torch

    base, data, bases = models(), mixed("sft"), null_spaces(models())

    def stop(step: Any) -> None:
        if step.step == 3:
            raise Stopped

    said = recipe("sft", adapter, steps=4)
    train(said, base, data, tmp_path / "whole", bases=bases)
    with pytest.raises(Stopped):
        train(said, base, data, tmp_path / "cut", bases=bases, report=stop)
    assert train(said, base, data, tmp_path / "cut", bases=bases).resumed_from == 2
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-5)


def test_null_spaces_of_another_model_are_refused(models: Any, tmp_path: Path) -> None:
    other = saved(moved(tiny_model()), tmp_path / "other")
    said = recipe("sft", "null-space")
    with pytest.raises(InputError, match="another model"):
        train(said, other, mixed("sft"), tmp_path / "out", bases=null_spaces(models()))
    with pytest.raises(InputError, match="needs null spaces"):
        plan_training(recipe("sft", "null-space"), models(), mixed("sft"))


class Stopped(Exception):
    """In place of a kill."""


@pytest.mark.parametrize(
    ("method", "adapter"),
    [
        ("sft", "lora"),
        pytest.param("sft", "full", marks=pytest.mark.long),
        pytest.param("grpo", "lora", marks=pytest.mark.long),
    ],
)
def test_a_run_that_was_cut_off_goes_on_and_ends_as_one_that_was_not(
    method: str, adapter: str, models: Any, tmp_path: Path
) -> None:
    import torch

    said = recipe(method, adapter, steps=5)

    def stop(step: Any) -> None:
        if step.step == 4:
            raise Stopped

    base, data = models(), mixed(method)
    whole = train(said, base, data, tmp_path / "whole", judge=judge)
    with pytest.raises(Stopped):
        train(said, base, data, tmp_path / "cut", judge=judge, report=stop)
    assert not (tmp_path / "cut" / "card.json").exists()
    cut_off = tmp_path / "cut" / "checkpoints" / "checkpoint-4"  # as a kill leaves it: without its last file
    shutil.copytree(tmp_path / "cut" / "checkpoints" / "checkpoint-2", cut_off)
    (cut_off / "whole.json").unlink()
    resumed = train(said, base, data, tmp_path / "cut", judge=judge)
    assert resumed.resumed_from == 2
    assert [step for step, _, _ in resumed.losses] == [1, 2, 3, 4, 5]
    if method == "sft":
        assert [loss for _, loss, _ in resumed.losses] == pytest.approx([loss for _, loss, _ in whole.losses])
        first, second = weights(tmp_path / "whole"), weights(tmp_path / "cut")
        for name, value in first.items():
            torch.testing.assert_close(second[name], value)


def test_an_adapter_loads_from_any_working_folder(
    models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = models()
    monkeypatch.chdir(base.parent)
    train(recipe("sft"), base.name, mixed("sft"), tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    assert changed(base, tmp_path / "out")


def test_a_finished_run_is_not_trained_again(models: Any, tmp_path: Path) -> None:
    base, data = models(), mixed("sft")
    first = train(recipe("sft"), base, data, tmp_path / "out")
    when = (tmp_path / "out" / "adapter_model.safetensors").stat().st_mtime_ns
    again = train(recipe("sft"), base, data, tmp_path / "out")
    assert again.losses == first.losses
    assert (tmp_path / "out" / "adapter_model.safetensors").stat().st_mtime_ns == when


def test_a_folder_of_another_run_is_refused_saying_what_differs(models: Any, tmp_path: Path) -> None:
    base, data, out = models(), mixed("sft"), tmp_path / "out"
    train(recipe("sft"), base, data, out)
    with pytest.raises(InputError, match="recipe: seed differs"):
        train(recipe("sft", seed=1), base, data, out)
    with pytest.raises(InputError, match="rows differs"):
        train(recipe("sft"), base, mixed("sft", 12), out)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        train(recipe("sft"), base, data, tmp_path / "own")


def test_a_run_is_not_gone_on_with_another_model_of_the_same_shape(models: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(recipe("sft", steps=1), models(), mixed("sft"), out)
    with pytest.raises(InputError, match="model differs"):
        train(recipe("sft", steps=1), saved(tiny_model(seed=7), tmp_path / "other"), mixed("sft"), out)


def test_a_kill_before_the_card_is_written_loses_no_step(
    models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aligntax.weights.training import card

    def kill(*_: object) -> None:
        raise Stopped

    said, out = recipe("sft", steps=2), tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(card, "write_card", kill)
        with pytest.raises(Stopped):
            train(said, models(), mixed("sft"), out)
    assert train(said, models(), mixed("sft"), out).resumed_from == 2
    assert not list(out.rglob("*.pt"))


def test_a_plan_warns_where_nothing_teaches_the_model_to_stop(models: Any, tmp_path: Path) -> None:
    from aligntax.weights.loading import load_tokenizer

    def notes(template: str | None, method: str = "sft", end: str = "") -> tuple[str, ...]:
        tokenizer = load_tokenizer(base)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(base)
        row = Row(texts={"prompt": "w1", "completion": f"w2{end}"}, intent="benign")
        return plan_training(recipe(method), base, Mix(rows=(row,), share=1.0)).notes

    base = tmp_path / "base"
    shutil.copytree(models(), base)
    open_ended = "{% for message in messages %}{{ message['content'] + ' ' }}{% endfor %}"
    assert "does not teach the model to stop" in notes(open_ended)[0]
    assert notes(open_ended, "grpo") == ()
    assert notes(open_ended, end=" </s>") == ()
    assert notes("{% for message in messages %}{{ message['content'] + ' </s> ' }}{% endfor %}") == ()


def test_the_models_folder_is_never_written_to(models: Any, tmp_path: Path) -> None:
    base = models()
    for out in (base, base / "inner", base.parent):
        with pytest.raises(InputError, match="share a folder"):
            train(recipe("sft"), base, mixed("sft"), out)


@pytest.mark.long  # a run that was cut off ends as one that was not: that needs the same seed to do the same
def test_the_same_seed_trains_the_same_weights(models: Any, tmp_path: Path) -> None:
    import torch

    for name in ("a", "b"):
        train(recipe("sft"), models(), mixed("sft"), tmp_path / name)
    first, second = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_nothing_is_reported_and_all_switches_go_back(models: Any, tmp_path: Path) -> None:
    """The counters of TRL would be sent from here: no connection may be opened, and none may be queued."""
    import os

    from huggingface_hub import constants
    from huggingface_hub.utils import _telemetry

    before = (dict(os.environ), constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY)
    train(recipe("sft"), models(), mixed("sft"), tmp_path / "out")
    assert _telemetry._TELEMETRY_QUEUE.empty()
    assert _telemetry._TELEMETRY_THREAD is None
    assert (dict(os.environ), constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY) == before


def test_a_plan_reads_no_weight_and_says_what_would_be_trained(models: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    shutil.copytree(models(), empty)
    broken = empty / "model.safetensors"
    broken.write_bytes(b"\0" * broken.stat().st_size)
    said = recipe(
        "sft", lora=LoraRecipe(rank=4, layers=(1, 1), targets=("attention",)), steps=None, epochs=2.0
    )
    plan = plan_training(said, empty, mixed("sft", 18))
    assert (plan.steps, plan.layers, plan.modules) == (9, "1", {"attention": 4})
    assert plan.trained == 4 * (2 * (32 + 32) + 2 * (32 + 16))
    assert plan.outside is None


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"learning_rate": 0.0}, "learning rate"),
        ({"steps": 0}, "steps"),
        ({"method": "grpo", "generations": 3}, "3 completions"),
        ({"method": "dpo", "kl": 0.0}, "KL"),
        ({"temperature": float("nan")}, "temperature"),
    ],
)
def test_recipes_out_of_range_are_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe(**({"method": "sft"} | said))


def test_kl_is_off_where_the_null_space_stands_in_for_it() -> None:
    assert recipe("grpo", "null-space").beta == 0
    assert recipe("grpo", "lora").beta > 0
    assert recipe("grpo", "null-space", kl=0.1).beta == 0.1
    assert recipe("dpo").beta == 0.1


def test_a_batch_is_shared_by_the_devices() -> None:
    said = msgspec.structs.replace(recipe("sft"), batch_size=16, rows_at_once=4)
    assert said.accumulate(1) == (4, 4)
    assert said.accumulate(4) == (4, 1)
    assert said.accumulate(8) == (2, 1)
    with pytest.raises(InputError, match="3 devices"):
        said.accumulate(3)
