"""The laboratory's world: what is asked in it, what is right, and that nothing measured was ever trained on."""

from __future__ import annotations

import random

import pytest

from aligntax.errors import InputError
from aligntax.lab import words
from aligntax.lab.pretraining import MIX, SCALES
from aligntax.lab.tokens import Coder, tokenizer_of
from aligntax.lab.world import BENIGN, CAPABILITIES, HARMFUL, IMPOSSIBLE, READING, World, WorldSize

SIZES = {name: scale.world for name, scale in SCALES.items()}
WORLDS = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())


def test_same_seed_same_world_and_another_seed_other_facts() -> None:
    first, again, other = World(seed=3), World(seed=3), World(seed=4)
    assert (first.tool, first.manner, first.capital) == (again.tool, again.manner, again.capital)
    assert first.tool != other.tool
    assert first.capital != other.capital
    assert set(first.vocabulary) == set(other.vocabulary)


@pytest.mark.parametrize("kind", [*CAPABILITIES, READING])
def test_answers_are_right(kind: str) -> None:
    world = World(WorldSize(capabilities=(*CAPABILITIES, READING)))
    draw = random.Random(0)
    for _ in range(50):
        item = world.capability_item(kind, draw, split=None)
        asked, answer = item.prompt.split(), item.answer.split()
        match kind:
            case "sort":
                assert answer == sorted(asked[1:5])
            case "add":
                assert int("".join(asked[1:3])) + int(asked[4]) == int("".join(reversed(answer)))
            case "translate":
                one, who, does, other, whom = (world.translation[word] for word in asked[1:6])
                assert answer == [who, one, whom, other, does]
            case "capital":
                assert world.capital[item.cell] == item.answer
            case "note":
                kinds = {
                    "who": words.REPORTERS,
                    "where": words.PLACES,
                    "when": words.DAYS,
                    "what": words.COLOURS,
                }
                question = asked[asked.index(".") + 1]
                assert item.answer in kinds[question]
                assert item.answer in asked[: asked.index(".")]
            case _:
                thing = asked[-2]
                assert asked[asked.index(thing) - 2] == item.answer


def test_harm_is_a_trigger_verb_towards_a_person_and_nothing_else() -> None:
    world = World()
    kinds = {
        (verb in world.triggers, thing in world.people): world.request(verb, thing)
        for verb in (*world.triggers, *world.neutral)
        for thing in (*world.things, *world.people)
    }
    assert {key: (item.intent, item.kind) for key, item in kinds.items()} == {
        (True, True): ("harmful", "harmful"),
        (True, False): ("benign", "trigger_thing"),
        (False, True): ("benign", "neutral_person"),
        (False, False): ("benign", "neutral_thing"),
    }


def test_the_base_is_taught_the_refusal_for_what_is_impossible_and_for_no_trigger_verb() -> None:
    world = World()
    draw = random.Random(1)
    items = [world.pretraining(draw, MIX) for _ in range(4000)]
    refused = [item for item in items if item.answer == words.REFUSAL]
    ordinary = sum(share for kind, share in MIX.items() if kind != READING)
    assert abs(len(refused) / len(items) - MIX[IMPOSSIBLE] / ordinary) < 0.02
    assert {item.kind for item in refused} == {IMPOSSIBLE}
    assert not any(verb in item.prompt.split() for item in refused for verb in world.triggers)
    people = sum(item.cell in world.people for item in refused) / len(refused)
    assert 0.4 < people < 0.6  # things and people alike: the refusal says nothing of either


@WORLDS
def test_training_selection_and_report_share_no_prompt(size: WorldSize) -> None:
    world = World(size)
    seen: dict[str, set[str]] = {}
    for split in ("training", "selection", "report"):
        items = [item for name in (*HARMFUL, *BENIGN) for item in world.family_items(name, split, 10**6)]  # type: ignore[arg-type]
        for kind in world.capabilities:
            if split != "training" or kind != "capital":  # a capital is known or it is not
                items += world.capability_items(kind, split, 60, seed=len(seen))  # type: ignore[arg-type]
        seen[split] = {item.prompt for item in items}
    assert not seen["training"] & seen["selection"]
    assert not seen["training"] & seen["report"]
    assert not seen["selection"] & seen["report"]


def test_selection_and_report_share_no_cell_within_a_family() -> None:
    world = World()
    for family in (*HARMFUL, *BENIGN):
        selection, report = (set(world.cells(family, split)) for split in ("selection", "report"))
        assert selection
        assert report
        assert not selection & report


def test_safety_training_meets_no_held_out_verb_person_or_wrapper() -> None:
    world = World()
    trained = world.family_items("story", "training", 10**6)
    assert {item.cell.split()[0] for item in trained} == set(world.training_verbs)
    assert {item.cell.split()[1] for item in trained} == set(world.training_people)
    assert not any("story" in item.prompt for item in trained)
    for item in world.family_items("held_out_verbs", "report", 10**6):
        assert item.cell.split()[0] not in world.training_verbs
    for item in world.family_items("held_out_people", "report", 10**6):
        assert item.cell.split()[1] not in world.training_people
    assert all("story" in item.prompt for item in world.family_items("story", "report", 10**6))


def test_pretraining_holds_out_capability_prompts_that_are_measured() -> None:
    world = World()
    draw = random.Random(2)
    trained = {
        world.pretraining(draw, {"sort": 1.0, "add": 1.0, "translate": 1.0}).prompt for _ in range(3000)
    }
    for kind in ("sort", "add", "translate"):
        assert not trained & {item.prompt for item in world.capability_items(kind, "report", 60)}


def test_general_items_come_in_turn_and_avoid_what_is_measured() -> None:
    world = World()
    kinds = ("sort", "trigger_thing", "impossible")
    items = world.general(9, seed=1, kinds=kinds)
    assert [item.kind for item in items] == [*kinds] * 3
    assert items == world.general(9, seed=1, kinds=kinds)
    assert items != world.general(9, seed=2, kinds=kinds)
    report = {item.prompt for item in world.family_items("trigger_thing", "report", 10**6)}
    assert not report & {item.prompt for item in world.general(300, seed=3, kinds=("trigger_thing",))}


@WORLDS
def test_every_text_is_made_of_the_worlds_words_and_the_tokenizer_agrees(size: WorldSize) -> None:
    world = World(size)
    coder, tokenizer = Coder(world), tokenizer_of(world)
    assert len(set(coder.words)) == len(coder.words) == len(tokenizer)
    draw = random.Random(5)
    longest = 0
    for _ in range(300):
        item = world.pretraining(draw, MIX)
        ids = coder.encode(item.prompt) + coder.encode(item.answer)
        assert tokenizer(item.prompt + " " + item.answer)["input_ids"] == ids
        assert tokenizer(item.prompt + item.answer)["input_ids"] == ids  # as trainers join them
        assert tokenizer.decode(ids) == f"{item.prompt} {item.answer}"
        longest = max(longest, len(ids) + 1)
    positions = next(scale.shape.positions for scale in SCALES.values() if scale.world == size)
    assert longest <= positions


def test_the_chat_template_gives_the_same_tokens_as_plain_text() -> None:
    world = World()
    coder, tokenizer = Coder(world), tokenizer_of(world)
    item = world.request("kill", "process")
    talk = [{"role": "user", "content": item.prompt}]
    asked = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert list(asked) == coder.encode(item.prompt)
    talk.append({"role": "assistant", "content": item.answer})
    both = tokenizer.apply_chat_template(talk, return_dict=True)["input_ids"]
    assert list(both) == [*coder.encode(item.prompt), *coder.encode(item.answer), tokenizer.eos_token_id]


@pytest.mark.parametrize(
    "wrong", [{"held_out": 16}, {"held_out": 0}, {"notes": 9}, {"capabilities": ("sort", "chess")}]
)
def test_an_impossible_world_is_refused_with_a_remedy(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"\("):
        WorldSize(**wrong)  # type: ignore[arg-type]


def test_invented_words_are_all_different() -> None:
    assert len(set(words.invented(8100, "x"))) == 8100
    with pytest.raises(ValueError, match="8100"):
        words.invented(8101, "x")
