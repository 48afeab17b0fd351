"""The search: equal budgets, disjoint prompts, baselines always in the table, and no claim without all of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from aligntax.errors import InputError
from aligntax.stats.gain import Gain, Ruling
from aligntax.types import Estimate
from aligntax.weights.ratios import Ratios
from aligntax.weights.searching.journal import Journal
from aligntax.weights.searching.objectives import Measured, Prompts, disjoint, from_functions, with_usefulness
from aligntax.weights.searching.proxy import batches_of
from aligntax.weights.searching.search import CHECKPOINTS, Found, Settings, search
from aligntax.weights.searching.sensitivity import scan
from aligntax.weights.searching.strategies import STRATEGIES, Task, strategy
from search_world import objective, prompts, resident, sides, two_models
from tiny_models import moved, saved, tiny_model, tiny_tokenizer

ALL = tuple(STRATEGIES)
QUICK = Settings(strategies=ALL, budget=8, n_blocks=3, points=4)
ROWS = [{"prompt": f"w{at} w{at + 1}", "completion": f"w{at + 2}"} for at in range(8)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("checkpoints")
    base, _ = two_models()
    checkpoints = {
        short: [saved(moved(base, by=size, seed=seed), folder / f"{short}-{seed}") for size, seed in made]
        for short, made in (("early", ((0.05, 1), (0.1, 1))), ("lr", ((0.15, 7),)))
    }
    return search(
        resident(), sides(), QUICK, checkpoints=checkpoints, batches=batches_of(tiny_tokenizer(), ROWS)
    )


def test_every_strategy_and_every_baseline_is_in_the_table(found: Found) -> None:
    assert [front.method for front in found.fronts] == [
        "aligned", "base", *ALL, "early stopping", "learning-rate sweep",
    ]  # fmt: skip
    assert {front.method for front in found.fronts if front.baseline} == {
        "aligned", "base", "uniform", "early stopping", "learning-rate sweep",
    }  # fmt: skip
    assert {
        front.method: front.evaluations for front in found.fronts if front.method in ALL
    } == dict.fromkeys(ALL, QUICK.budget)
    assert found.missing == ()
    assert all(1 <= len(front.rows) <= QUICK.points for front in found.fronts)


def test_every_claim_stands_beside_all_baselines_with_intervals(found: Found) -> None:
    pairs = Counter(gain.method for gain in found.gains)
    assert pairs == {"blocks": 4, "likelihood": 4, "uniform": 1}
    assert {gain.baseline for gain in found.gains if gain.method == "blocks"} == {
        "aligned", "uniform", "early stopping", "learning-rate sweep",
    }  # fmt: skip
    for gain in found.gains:
        assert gain.hypervolume.low is not None
        if gain.ruling != "no operating point":
            assert gain.usefulness is not None
            assert gain.usefulness.low is not None
            assert gain.usefulness.level > 0.99  # nine comparisons


def test_the_ends_score_what_they_must(found: Found) -> None:
    rows = {front.method: front.rows for front in found.fronts}
    assert rows["aligned"][0].safety.value == 1
    assert rows["base"][0].usefulness.value == 1
    for front in found.fronts:
        for row in front.rows:
            assert row.safety.low is not None
            assert row.safety.low <= (row.safety.value or 0) <= (row.safety.high or 0)


def test_reported_numbers_are_those_of_the_report_prompts(found: Found) -> None:
    report, _ = objective(prompts(3, 40), prompts(4, 40))
    held = resident()
    for row in found.rows:
        if "blocks" not in row.settings:
            continue
        held.set(msgspec.convert(row.settings, Ratios))
        safety, usefulness = report(held.model).point
        assert (row.safety.value, row.usefulness.value) == pytest.approx((safety, usefulness))


def test_a_missing_baseline_is_said_and_nothing_claimed_over_it() -> None:
    found = search(resident(), sides(), Settings(strategies=("blocks",), budget=4))
    assert found.missing == ("early stopping", "learning-rate sweep")
    assert "Nothing is claimed over early stopping and learning-rate sweep" in found.verdict
    assert "uniform" in {front.method for front in found.fronts}  # also where nobody asks for it


def test_the_same_seed_finds_the_same() -> None:
    first, second = (
        search(resident(), sides(), Settings(strategies=("blocks",), budget=9, seed=3)) for _ in range(2)
    )
    other = search(resident(), sides(), Settings(strategies=("blocks",), budget=9, seed=4))
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    assert msgspec.json.encode(first) != msgspec.json.encode(other)


def test_a_search_that_was_killed_goes_on_and_measures_nothing_twice(tmp_path: Path) -> None:
    whole = search(resident(), sides(), Settings(strategies=("blocks",), budget=6))
    path, calls = tmp_path / "search.jsonl", 0

    def counted(stop: int | None) -> Any:
        nonlocal calls
        calls = 0
        held = sides()

        def selection(model: Any) -> Measured:
            nonlocal calls
            calls += 1
            if stop is not None and calls > stop:
                raise KeyboardInterrupt
            return held.selection(model)

        return msgspec.structs.replace(held, selection=selection)

    settings = Settings(strategies=("blocks",), budget=6)
    with pytest.raises(KeyboardInterrupt):
        search(resident(), counted(7), settings, journal=Journal(path, {"of": 1}))
    with path.open("a") as file:
        file.write('{"key": "cut sho')
    journal = Journal(path, {"of": 1})
    assert journal.resumed == 7
    again = search(resident(), counted(None), settings, journal=journal)
    assert msgspec.json.encode(again) == msgspec.json.encode(whole)
    asked = calls
    search(resident(), counted(0), settings, journal=Journal(path, {"of": 1}))  # all is there: none is asked
    assert 0 < asked < 14


def test_a_journal_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    Journal(path, {"prompts": "a"})
    with pytest.raises(InputError, match="another search"):
        Journal(path, {"prompts": "b"})
    path.write_text("[]\n")
    with pytest.raises(InputError, match="no line of a search's journal"):
        Journal(path, {})
    path.write_text("no journal")
    with pytest.raises(InputError, match="no journal"):
        Journal(path, {})
    header = json.dumps({"form": "aligntax search 1", "identity": {}})
    path.write_text(header + '\n{"key": 1}\n')
    with pytest.raises(InputError, match=":2"):
        Journal(path, {})


def test_selection_and_report_must_not_share_a_prompt() -> None:
    held = sides()
    shared = msgspec.structs.replace(held, report_prompts=held.selection_prompts)
    with pytest.raises(InputError, match="share 80 prompts"):
        search(resident(), shared, QUICK)
    disjoint(Prompts(keys=frozenset("a")), Prompts(keys=frozenset("b")))


@pytest.mark.parametrize("roles", [False, True])
def test_every_ratio_that_a_search_tries_changes_the_weights(roles: bool) -> None:
    tried: list[Ratios] = []
    held = resident()

    def attempt(ratios: Ratios) -> tuple[float, float]:
        tried.append(ratios)
        held.set(ratios)  # notices by itself where the forward pass does not follow
        mean = sum(ratios.blocks) / 3
        return mean, 1 - mean**2

    task = Task(attempt=attempt, n_blocks=3, roles=roles, budget=15, seed=0)
    strategy("blocks")(task)
    assert len(tried) == 15
    assert len({msgspec.json.encode(ratios) for ratios in tried}) >= 12
    assert all(bool(ratios.roles) == roles for ratios in tried)
    assert all(
        round(ratio / 0.05, 6) == round(ratio / 0.05)
        for ratios in tried
        if not roles
        for ratio in ratios.blocks
    )


def test_the_scan_finds_the_block_that_safety_lives_in() -> None:
    import torch

    base = tiny_model(layers=3)
    aligned = moved(base, by=1e-6)
    with torch.no_grad():
        aligned.model.layers[2].mlp.down_proj.weight.add_(
            0.5 * torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
        )
    from aligntax.weights.searching.resident import Resident
    from search_world import next_tokens

    harmful, useful = prompts(1, 240), prompts(2, 40)
    safe, right = next_tokens(aligned, harmful), next_tokens(base, useful)
    measure = from_functions(
        lambda model: (next_tokens(model, harmful) == safe).astype(float),
        lambda model: (next_tokens(model, useful) == right).astype(float),
    )
    rows = scan(Resident(base, aligned), measure, n_blocks=3, prompts=Prompts(keys=frozenset()))
    words = {(row.part, row.share): row.word for row in rows}
    assert words["layer 2", 0.0] == "costs safety"
    assert words["layer 0", 0.0] == words["layer 1", 0.0] == "free"
    assert words["mlp", 0.0] == "costs safety"
    assert words["attention", 0.0] == words["head", 0.0] == "free"
    moved_rows = {(row.part, row.share): row for row in rows}
    assert (moved_rows["layer 2", 0.0].usefulness.value or 0) > 0


def test_a_mistyped_name_says_what_there_is() -> None:
    with pytest.raises(InputError, match="use uniform, blocks, likelihood"):
        strategy("evolution")
    with pytest.raises(InputError, match=f"use {' or '.join(CHECKPOINTS)}"):
        search(resident(), sides(), QUICK, checkpoints={"late": ["x"]})
    with pytest.raises(InputError, match="needs answers"):
        search(resident(), sides(), Settings(strategies=("likelihood",), budget=2))


def test_objectives_give_scores_between_0_and_1_for_the_same_prompts() -> None:
    with pytest.raises(InputError, match="outside 0 to 1"):
        from_functions(lambda _: [2.0], lambda _: [1.0])(None)
    with pytest.raises(InputError, match="no row of safety"):
        from_functions(lambda _: [], lambda _: [1.0])(None)
    swapped = with_usefulness(from_functions(lambda _: [1.0], lambda _: [1.0]), lambda _: [0.0, 0.5])
    assert swapped(None).usefulness.tolist() == [0.0, 0.5]
    counts = iter(range(3, 99))
    held = sides()
    growing = msgspec.structs.replace(
        held,
        selection=lambda model: msgspec.structs.replace(held.selection(model), safety=np.ones(next(counts))),
    )
    with pytest.raises(InputError, match="the same prompts"):
        search(resident(), growing, QUICK)


def test_no_method_is_proposed_unless_it_gains_over_every_baseline(found: Found) -> None:
    from aligntax.weights.searching.search import judged

    one = Estimate(value=0.1, low=0.05, high=0.2, level=0.95, n=9, n_labels=0, method="", corrected=False)

    def gains(**rulings: str) -> list[Gain]:
        return [
            Gain(
                method=method, baseline=baseline, ruling=rulings.get(f"{method}_{baseline}", "gain"),
                usefulness=one, safety=one, hypervolume=one, margin=0.05,
            )
            for method, baseline in [
                ("blocks", "aligned"), ("blocks", "uniform"), ("likelihood", "aligned"), ("likelihood", "uniform"),
                ("uniform", "aligned"),
            ]
        ]  # fmt: skip

    lost = {"likelihood_aligned": "no gain beyond noise", "likelihood_uniform": "no gain beyond noise"}
    row, words = judged(found.fronts, gains(**lost), ())
    assert row is not None
    assert row.method == "blocks"
    assert "a gain over aligned and uniform" in words
    lost["blocks_uniform"] = "safety not shown"
    row, words = judged(found.fronts, gains(**lost), ("early stopping",))
    assert row is not None
    assert row.method == "uniform"
    assert words.startswith("no gain beyond noise of blocks or likelihood over the plain baselines")
    assert "Nothing is claimed over early stopping" in words
    lost["uniform_aligned"] = "no gain beyond noise"
    row, words = judged(found.fronts, gains(**lost), ())
    assert row is None
    assert "no gain beyond noise, beside the aligned model" in words
    lost["blocks_aligned"] = lost["uniform_aligned"] = "less useful"
    row, words = judged(found.fronts, gains(**lost), ())
    assert row is None
    assert "(blocks is less useful than aligned; for some: more useful, but safety" in words
    assert "Uniform averaging: less useful than the aligned model." in words


def test_a_search_that_proposes_nothing_says_what_to_try(found: Found) -> None:
    from aligntax.weights.searching.next_step import next_step

    def step(*rulings: Ruling, missing: tuple[str, ...] = ()) -> str:
        gains = tuple(msgspec.structs.replace(found.gains[0], ruling=ruling) for ruling in rulings)
        return next_step(msgspec.structs.replace(found, chosen=None, gains=gains, missing=missing))

    both = step("no gain beyond noise", "safety not shown", missing=("early stopping",))
    assert both.startswith("Next: keep ALIGNED, or try ")
    assert f"more benign prompts ({found.prompts['report useful families']} " in both
    assert f"more harmful prompts ({found.prompts['report harmful families']} " in both
    assert both.endswith("checkpoints of early stopping (--checkpoint).")
    worse = step("less useful")
    assert "prompts" not in worse  # that is known already
    assert "a --safety under" in step("no operating point")
    chosen = msgspec.structs.replace(found, chosen=found.rows[0])
    assert next_step(chosen) == ""
    uniform = next(front for front in found.fronts if front.method == "uniform")
    whole = msgspec.structs.replace(uniform.rows[0], settings={"blocks": [1.0, 1.0]}, chosen=True)
    stuck = msgspec.structs.replace(
        found, chosen=None, gains=(), fronts=(msgspec.structs.replace(uniform, rows=(whole,)),)
    )
    assert "a larger --budget" in next_step(stuck)
