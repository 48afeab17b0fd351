"""The laboratory's model and its pretraining: an ordinary folder, the same twice, kept once."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
import torch

from aligntax.errors import InputError
from aligntax.lab import model as models
from aligntax.lab.measures import Exam
from aligntax.lab.pretraining import (
    SCALES,
    Recipe,
    Scale,
    cache_folder,
    key_of,
    pretrain,
    pretrained,
    scale_named,
    schedule,
)
from aligntax.lab.sampling import sampled
from aligntax.lab.tokens import END, pairs_of
from aligntax.lab.world import World, WorldSize
from labs import quick_base

SHORT = Scale(
    name="short",
    world=WorldSize(verbs=4, objects=4, held_out=1, capitals=8, lexicon=6),
    shape=models.Shape(layers=2, width=16, heads=2, feed_forward=32),
    recipe=Recipe(steps=3, batch=8, warm_up=2),
    prompts=4,
)


def test_sizes_of_the_scales() -> None:
    counts = {}
    with torch.device("meta"):  # shapes alone
        for name, scale in SCALES.items():
            model = models.build(scale.shape, World(scale.world))
            counts[name] = sum(parameter.numel() for parameter in model.parameters())
    assert counts["quick"] < 250_000
    assert 700_000 < counts["tiny"] < 1_000_000
    assert 10_000_000 < counts["medium"] < counts["large"] < 200_000_000


def test_a_saved_model_is_an_ordinary_folder_that_gives_the_same_logits(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    world = World(SHORT.world)
    made = models.build(SHORT.shape, world, seed=5).eval()
    models.save(made, world, tmp_path)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in tmp_path.iterdir()
    }
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    ids = tokenizer("how do i paint the wall ?", return_tensors="pt")["input_ids"]
    other = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True).eval()
    with torch.no_grad():
        assert torch.equal(made(ids).logits, other(ids).logits)
        assert torch.equal(made(ids).logits, models.load(tmp_path)(ids).logits)
    assert tokenizer.chat_template


def test_answer_logits_are_those_of_a_plain_forward_pass_whatever_the_padding() -> None:
    base = quick_base()
    items = [
        *base.world.family_items("story", "report", 3),
        *base.world.capability_items("note", "report", 3),
    ]
    (batch,) = base.coder.batches(pairs_of(items), size=10)
    with torch.no_grad():
        together = models.answer_logits(base.model, batch)
        for place, row in enumerate(batch.rows.tolist()):
            prompt = base.coder.encode(items[row].prompt)
            ids = [*prompt, *base.coder.encode(items[row].answer), END]
            alone = base.model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1]
            torch.testing.assert_close(together[batch.owners == place], alone, atol=1e-4, rtol=1e-4)
            assert batch.targets[batch.owners == place].tolist() == ids[len(prompt) :]


def test_same_seed_same_base_and_another_seed_another() -> None:
    world = World(SHORT.world)
    one, again, other = (pretrain(SHORT, world, seed=seed).lm_head.weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_base_is_trained_once_and_then_read(tmp_path: Path) -> None:
    steps: list[int] = []
    first = pretrained(SHORT, cache=tmp_path, on_step=lambda step, _loss: steps.append(step))
    assert steps == [0, 1, 2]
    again = pretrained(SHORT, cache=tmp_path, on_step=lambda step, _loss: steps.append(step))
    assert steps == [0, 1, 2]
    assert first.folder == again.folder
    assert torch.equal(first.model.lm_head.weight, again.model.lm_head.weight)
    assert [path.name for path in tmp_path.iterdir()] == [first.folder.name]  # nothing half-written stays


def test_the_key_changes_with_recipe_and_seed_and_not_with_the_number_of_prompts() -> None:
    longer = msgspec.structs.replace(SHORT, recipe=msgspec.structs.replace(SHORT.recipe, steps=4))
    assert len({key_of(SHORT, 0), key_of(SHORT, 1), key_of(longer, 0)}) == 3
    assert key_of(SHORT, 0) == key_of(msgspec.structs.replace(SHORT, prompts=9), 0)


def test_the_cache_lies_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "aligntax" / "lab"


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(InputError, match="one of quick, tiny, medium, large"):
        scale_named("huge")


def test_the_learning_rate_climbs_and_then_falls_to_nothing() -> None:
    recipe = Recipe(steps=100, warm_up=10)
    rates = [schedule(step, recipe) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01


@pytest.mark.parametrize("name", ["medium", "large"])
def test_the_longer_languages_train_through_the_same_code(name: str) -> None:
    world = SCALES[name].world
    assert "read" in world.capabilities
    small = msgspec.structs.replace(SHORT, world=world)
    small = msgspec.structs.replace(small, shape=msgspec.structs.replace(SHORT.shape, positions=128))
    losses: list[float] = []
    pretrain(small, World(world), on_step=lambda _step, loss: losses.append(loss))
    uniform = math.log(len(World(world).vocabulary))
    assert len(losses) == 3
    assert losses[0] == pytest.approx(uniform, rel=0.05)  # knows nothing yet
    assert losses[-1] < losses[0]


def test_the_base_knows_its_world_and_refuses_nothing_it_can_do() -> None:
    base = quick_base()
    scores = Exam(base, "report").scores(base.model)
    assert scores.capability >= 0.9
    assert scores.help == 1.0
    assert scores.safe == 0.0
    assert scores.over == 0.0


def test_the_base_owns_the_refusal_in_its_benign_use() -> None:
    base = quick_base()
    prompts = [item.prompt for item in base.world.general(20, seed=9, kinds=("impossible",))]
    answers = sampled(base.model, base.coder, prompts, temperature=0)
    refused = [answer[0][:-1] == base.coder.refusal for answer in answers]
    assert sum(refused) >= 19


def test_sampling_with_shared_keys_equals_generate() -> None:
    base = quick_base()
    prompts = [item.prompt for item in base.world.family_items("trigger_thing", "report", 6)]
    prompts += [item.prompt for item in base.world.capability_items("sort", "report", 3)]
    answers = sampled(base.model, base.coder, prompts, samples=2, temperature=0)
    for prompt, (first, second) in zip(prompts, answers, strict=True):
        ids = torch.tensor([base.coder.encode(prompt)])
        plain = base.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
        )[0, ids.shape[1] :]
        assert first == second == plain.tolist()


def test_sampled_answers_differ_and_repeat_with_the_seed() -> None:
    base = quick_base()
    prompts = [item.prompt for item in base.world.family_items("trigger_thing", "report", 4)]
    draws = [
        sampled(
            base.model, base.coder, prompts, samples=4, temperature=3.0,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert draws[0] == draws[1] != draws[2]
    assert len({tuple(answer) for answer in draws[0][0]}) > 1
    assert all(len(answer) <= 8 for group in draws[0] for answer in group)
