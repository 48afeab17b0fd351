"""The laboratory's methods: equal budgets, states that come back, constraints that hold, and a run that goes on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from aligntax.errors import InputError
from aligntax.lab.bench import Attempts, Bench
from aligntax.lab.experiment import FLOORS, Outcome, run
from aligntax.lab.findings import operating
from aligntax.lab.methods import METHODS, run_of
from aligntax.lab.plan import RATES, digest_of, plan_of
from aligntax.weights.linears import linears
from aligntax.weights.null_space.adapter import residue, save_as_lora
from lab_runs import cache_of, small_plan, small_run
from labs import quick_base

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(small_plan(), quick_base(), 0)


_SHOWN: dict[str, Attempts] = {}


def shown(bench: Bench, name: str) -> Attempts:
    """Each method once: its states can be put again."""
    if name not in _SHOWN:
        _SHOWN[name] = _show(bench, name)
    return _SHOWN[name]


def _show(bench: Bench, name: str) -> Attempts:
    attempts = Attempts(bench.selection, bench.plan.budget(name))
    run_of(name)(bench, attempts)
    return attempts


@pytest.mark.parametrize("name", METHODS)
def test_every_method_shows_all_the_states_it_may_and_no_more(name: str) -> None:
    plan = small_plan()
    for outcome in small_run().of(name):
        assert 1 <= len(outcome.points) <= plan.budget(name)
        if name != "steer":  # where hardly anything is refused wrongly there is nothing to ablate
            assert len(outcome.points) == plan.budget(name)


def test_methods_that_train_have_one_budget_and_all_others_another() -> None:
    plan = plan_of()
    budgets = {METHODS[name].trains: plan.budget(name) for name in METHODS}
    assert budgets == {True: 9, False: 12}
    assert all(len(rates) == 3 for rates in RATES.values())
    assert [len({METHODS[name].label for name in METHODS}), len(plan.curve)] == [len(METHODS), 12]


@pytest.mark.parametrize("name", ["early", "average", "lora-8", "null-lora", "displacement"])
def test_a_state_that_is_put_again_has_the_scores_it_had(bench: Bench, name: str) -> None:
    attempts = shown(bench, name)
    for tried in reversed(attempts.tried):
        again = bench.selection.scores(tried.put())
        assert (again.safe, again.useful, again.over) == (
            tried.selection.safe,
            tried.selection.useful,
            tried.selection.over,
        )


def test_averaging_runs_from_the_harsh_model_to_the_base(bench: Bench) -> None:
    tried = shown(bench, "average").tried
    harsh = bench.selection.scores(bench.model_of(bench.harsh[-1]))
    base = bench.selection.scores(bench.base.model)
    assert [tried[0].label, tried[-1].label] == ["1.00", "0.00"]
    assert tried[0].selection.measured.point == harsh.measured.point
    assert tried[-1].selection.measured.point == base.measured.point


def test_the_null_space_adapter_is_inside_and_a_plain_one_is_not(bench: Bench, tmp_path: Path) -> None:
    for name, inside in (("null-lora", True), ("lora-8", False)):
        model = shown(bench, name).tried[-1].put()
        save_as_lora(model, tmp_path / name)
        left = residue(tmp_path / name, bench.null_spaces)
        assert (left < 1e-5) is inside, (name, left)


def test_projected_displacement_stays_inside_and_projected_gradients_do_not(bench: Bench) -> None:
    outside = {}
    for name in ("displacement", "gradient"):
        model = shown(bench, name).tried[-1].put()
        before, after = linears(bench.base.model), linears(model)
        worst = 0.0
        for linear, basis in bench.null_spaces.items():
            moved = (after[linear].module.weight - before[linear].module.weight).detach().double()
            rest = moved - moved @ basis.double() @ basis.double().T
            worst = max(worst, float(rest.norm() / moved.norm()))
        outside[name] = worst
        frozen = {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"}
        start = dict(bench.base.model.named_parameters())
        assert all(torch.equal(value, start[key]) for key, value in model.named_parameters() if key in frozen)
    assert outside["displacement"] < 1e-4
    assert outside["gradient"] > 0.1


def test_ranks_are_trained_at_one_multiplier(bench: Bench) -> None:
    scales = set()
    for name in ("lora-1", "lora-32", "lora-up"):
        model = shown(bench, name).tried[-1].put()
        scales |= {
            module.scaling["default"]
            for module in model.modules()
            if isinstance(getattr(module, "scaling", None), dict) and module.scaling
        }
    assert scales == {2.0}


def test_replayed_items_are_training_cells_and_a_fifth_each_general_and_look_alike(bench: Bench) -> None:
    items = bench.mixed()
    assert len(items) == len(bench.items)
    kinds = [item.kind for item in items]
    alike = [item for item in items if item.kind in ("trigger_thing", "neutral_person")]
    general = sum(kind in bench.world.capabilities for kind in kinds)
    assert abs(len(alike) - 0.2 * len(items)) <= 1
    assert abs(general - 0.2 * len(items)) <= 1
    asked = {item.prompt for exam in (bench.selection, bench.report) for item in exam.items if item.cell}
    assert not {item.prompt for item in alike} & asked


def test_only_what_selection_could_choose_is_reported() -> None:
    results = small_run()
    for outcome in results.outcomes:
        chosen = [operating(outcome, floor) for floor in FLOORS]
        for point in chosen:
            assert point is None or (point.report is not None and point.report.kl is not None)
    assert any(point.report is None for outcome in results.outcomes for point in outcome.points)


def test_seeds_have_their_own_prompts_and_training_order() -> None:
    first, second = (Bench(small_plan(), quick_base(), seed) for seed in (0, 1))
    assert first.selection.keys.keys != second.selection.keys.keys
    assert [item.prompt for item in first.items] != [item.prompt for item in second.items]
    assert not first.selection.keys.keys & second.report.keys.keys


def test_a_second_run_measures_nothing_and_a_lost_result_is_made_again(tmp_path: Path) -> None:
    plan = small_plan(seeds=(0,), methods=("sft", "early", "average", "steer"))
    cache = cache_of(tmp_path / "cache")
    first = run(plan, cache=cache)
    again = run(plan, cache=cache)
    assert [first.resumed, again.resumed] == [0, 5]
    assert msgspec.json.encode(again.outcomes) == msgspec.json.encode(first.outcomes)
    lost = cache / "runs" / digest_of(plan) / "seed0-steer.json"
    lost.write_bytes(lost.read_bytes()[:100])  # as a full disk leaves it
    third = run(plan, cache=cache)
    assert third.resumed == 4
    assert _timeless(third.outcomes) == _timeless(first.outcomes)


def _timeless(outcomes: tuple[Outcome, ...]) -> bytes:
    return msgspec.json.encode([msgspec.structs.replace(one, cpu_s=0.0) for one in outcomes])


def test_seeds_and_methods_join_a_run_and_any_other_change_starts_anew() -> None:
    plan = small_plan()
    assert digest_of(plan) == digest_of(small_plan(seeds=(0, 1, 2), methods=("sft",)))
    for change in ({"steps": 9}, {"leak": 0.3}, {"report_prompts": 13}, {"device": "cuda"}):
        assert digest_of(plan) != digest_of(small_plan(**change))


def test_the_baselines_are_in_every_plan() -> None:
    assert plan_of(methods=("grpo",)).methods == ("sft", "early", "average", "grpo")
    with pytest.raises(InputError, match="no method 'gpo'"):
        plan_of(methods=("gpo",))
    with pytest.raises(InputError, match="no seed"):
        plan_of(seeds=0)
    assert plan_of("medium", device="cuda").scale.name == "medium"
