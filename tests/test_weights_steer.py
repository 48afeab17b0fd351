"""Steering: what is ablated and what is kept, put back bit for bit, and never written under the floor."""

from __future__ import annotations

import copy
import json
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import torch

from aligntax.errors import InputError, NotEnoughData
from aligntax.weights.loading import load_model
from aligntax.weights.searching.journal import Journal
from aligntax.weights.searching.objectives import Measured, Prompts
from aligntax.weights.steering.directions import (
    MOST_ALONG,
    Directions,
    activations,
    find_directions,
    last_log_probabilities,
    says,
)
from aligntax.weights.steering.edit import Steering, Tent, Writers
from aligntax.weights.steering.proof import Certified, certify, check_size
from aligntax.weights.steering.save import save
from aligntax.weights.steering.search import Trial, first_token_kl, search, steering_of
from refusing_model import BENIGN, HARMFUL, LOOK_ALIKES, REFUSE, objective, refusing_model
from tiny_models import LAYOUTS, moved, saved, tiny_config, tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = Tent(peak=0, width=99, weight=1, edge=1)
SOME = Tent(peak=1, width=2, weight=0.7)
TIED = ("gemma", "gpt2")
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [15, 16]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def biased_model(layout: str) -> Any:
    """A tiny model whose biases and norms are not those of its birth, 0 and 1."""
    return moved(tiny_model(layout, layers=3), by=0.1)


def any_directions(layers: int = 3, width: int = 32) -> Directions:
    generator = torch.Generator().manual_seed(0)
    groups = [torch.randn(20, layers, width, generator=generator) for _ in range(3)]
    return find_directions(*groups)


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def written(model: Any, layer: int) -> torch.Tensor:
    """What layers 0..`layer` have written to the residual stream at the last token: it, less the embedding."""
    with torch.no_grad():
        rows = []
        for prompt in PROMPTS:
            hidden = model(torch.tensor([prompt]), output_hidden_states=True, use_cache=False).hidden_states
            rows.append(hidden[0][0, -1])
    return activations(model, PROMPTS)[:, layer].double() - torch.stack(rows).double()


# -- the edit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fully_ablated_no_layer_writes_along_the_direction(layout: str) -> None:
    model, directions = biased_model(layout), any_directions()
    writers = Writers(model)
    steering = Steering(layer=1, attention=FULL, mlp=FULL)
    direction = writers.direction_of(steering, directions)
    before = written(model, 1)
    assert float((before @ direction).abs().max()) > 0.05
    writers.apply(steering, directions)
    for layer in range(2):
        assert float((written(model, layer) @ direction).abs().max()) < 1e-5


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout not in TIED])
def test_with_the_embedding_too_nothing_is_left_along_the_direction(layout: str) -> None:
    model, directions = biased_model(layout), any_directions()
    writers = Writers(model)
    direction = writers.apply(Steering(layer=1, attention=FULL, mlp=FULL, embedding=1.0), directions)
    stream = activations(model, PROMPTS).double()
    assert float(stream.norm(dim=-1).min()) > 0.1
    assert float((stream @ direction).abs().max()) < 1e-5


def test_positions_are_embedded_too() -> None:
    """GPT-2 has an embedding of positions, which writes into the stream as well."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = tiny_config("gpt2", layers=3)
    config.tie_word_embeddings = False
    model = moved(AutoModelForCausalLM.from_config(config).eval(), by=0.1)
    direction = Writers(model).apply(
        Steering(layer=1, attention=FULL, mlp=FULL, embedding=1.0), any_directions()
    )
    assert float((activations(model, PROMPTS).double() @ direction).abs().max()) < 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_lambda_1_what_is_written_along_true_refusal_stays_as_it_was(layout: str) -> None:
    """Of each matrix and bias: r W x is the same for every x, whatever the weights of the edit."""
    model, directions = biased_model(layout), any_directions()
    writers = Writers(model)
    kept = {writer.name: writer.weight.detach().clone() for writer in writers.all}
    biases = {w.name: w.bias.detach().clone() for w in writers.all if w.bias is not None}
    writers.apply(Steering(layer=2, attention=FULL, mlp=SOME), directions)
    changed = 0
    for writer in writers.all:
        if writer.component == "embedding":
            continue
        assert writer.layer is not None
        for layer in (writer.layer, 2):
            true = directions.refusal[layer] / directions.refusal[layer].norm()
            difference = (writer.weight.detach() - kept[writer.name]).double()
            along = true @ difference if writer.out_dim == 0 else difference @ true
            assert float(along.abs().max()) < 1e-6
            changed += float(difference.abs().max()) > 1e-3
            if writer.bias is not None:
                assert float(((writer.bias.detach() - biases[writer.name]).double() @ true).abs()) < 1e-6
    assert changed >= 8  # the test says nothing where nothing was edited


def test_a_lambda_that_would_ablate_true_refusal_is_refused_and_nothing_is_changed() -> None:
    base = any_directions()
    directions = Directions(
        refusal=base.refusal,
        false_refusal=base.refusal + 0.2 * base.false_refusal,
        remainder_agrees=base.remainder_agrees,
        prompts=base.prompts,
    )
    model = tiny_model("llama", layers=3)
    before = state(model)
    for bad in (0.0, 0.5):
        with pytest.raises(InputError, match="would ablate the true refusal direction"):
            Writers(model).apply(Steering(layer=1, orthogonality=bad, attention=FULL, mlp=FULL), directions)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_put_back_is_bit_for_bit_what_was_there(layout: str, dtype: torch.dtype) -> None:
    model, directions = biased_model(layout).to(dtype), any_directions()
    before, writers = state(model), Writers(model)
    with writers.steered(Steering(layer=1, attention=FULL, mlp=SOME), directions):
        pass
    writers.apply(Steering(layer=0, mlp=SOME), directions)
    once = state(model)
    writers.apply(Steering(layer=2, attention=FULL), directions)
    writers.apply(Steering(layer=0, mlp=SOME), directions)  # states do not pile up
    assert all(torch.equal(tensor, once[name]) for name, tensor in model.state_dict().items())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in once.items())
    with pytest.raises(ZeroDivisionError), writers.steered(Steering(layer=1, attention=FULL), directions):
        raise ZeroDivisionError
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_edit_in_bfloat16_is_rounded_once() -> None:
    model, directions = tiny_model("llama", layers=3).to(torch.bfloat16), any_directions()
    writers = Writers(model)
    writer = next(one for one in writers.all if one.component == "mlp")
    before = writer.weight.detach().double()
    direction = writers.apply(Steering(layer=1, mlp=FULL), directions)
    exact = before - torch.outer(direction, direction @ before)
    unit = torch.finfo(torch.bfloat16).eps * exact.abs()
    assert bool(((writer.weight.detach().double() - exact).abs() <= unit / 2 + 1e-6).all())


def test_a_tent_falls_in_a_line_and_ends_at_its_width() -> None:
    tent = Tent(peak=3, width=2, weight=0.8, edge=0.2)
    assert [tent.at(layer) for layer in range(7)] == pytest.approx([0, 0.2, 0.5, 0.8, 0.5, 0.2, 0])
    assert Tent(peak=2.5, width=1, weight=1).at(2) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "wrong", [{"weight": 1.1}, {"weight": -0.1}, {"edge": 0.9}, {"width": 0}, {"peak": -1}, {"weight": float("nan")}]
)  # fmt: skip
def test_a_tent_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Tent(**({"peak": 1.0, "width": 2.0, "weight": 0.5} | wrong))


def test_a_steering_reads_back_from_json_and_takes_no_other_field() -> None:
    steering = Steering(layer=3, orthogonality=0.9, attention=SOME, embedding=0.25)
    text = msgspec.json.encode(steering)
    assert json.loads(text)["lambda"] == 0.9
    assert msgspec.json.decode(text, type=Steering) == steering
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"layer": 1, "ablate_refusal": true}', type=Steering)


@pytest.mark.parametrize("layout", TIED)
def test_an_embedding_that_is_the_head_as_well_is_left_alone(layout: str) -> None:
    with pytest.raises(InputError, match="head as well"):
        Writers(tiny_model(layout, layers=3)).apply(Steering(layer=1, embedding=0.5), any_directions())


def test_a_norm_between_writer_and_stream_is_refused() -> None:
    from transformers import AutoModelForCausalLM, Gemma2Config

    config = Gemma2Config(
        vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    with pytest.raises(InputError, match="stands between"):
        Writers(AutoModelForCausalLM.from_config(config))


def test_a_mixture_of_experts_is_refused() -> None:
    from transformers import AutoModelForCausalLM, MixtralConfig

    config = MixtralConfig(
        vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=2,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"mlp|experts"):
        Writers(AutoModelForCausalLM.from_config(config))


# -- the search and the floor -------------------------------------------------------------------------------------


@cache
def refused_wrongly() -> tuple[list[list[int]], list[list[int]]]:
    """Look-alikes for the direction, of which it declines all, and others as they come."""
    model, seen = refusing_model(), LOOK_ALIKES[:100]
    declined = [prompt for prompt, no in zip(seen, says(model, seen, [REFUSE]), strict=True) if no]
    return declined, LOOK_ALIKES[100:]


@cache
def its_directions() -> Directions:
    groups = (HARMFUL[:60], BENIGN[:60], refused_wrongly()[0])
    return find_directions(*(activations(refusing_model(), group) for group in groups))


def selection() -> Any:
    return objective(HARMFUL[60:160], [*refused_wrongly()[1][:100], *BENIGN[60:100]])


def report() -> Any:
    return objective(HARMFUL[160:], [*refused_wrongly()[1][100:], *BENIGN[100:160]])


@cache
def found(budget: int = 14) -> tuple[Trial, ...]:
    writers = Writers(copy.deepcopy(refusing_model()))
    return search(writers, its_directions(), selection(), BENIGN[:60], budget=budget, seed=0)


@cache
def certified(floor: float = 0.9) -> Certified:
    return certify(Writers(copy.deepcopy(refusing_model())), its_directions(), found(), report(), floor=floor)


def test_a_search_lowers_false_refusals_and_holds_the_floor_on_prompts_it_has_not_seen() -> None:
    result = certified()
    assert result.untouched.over is not None
    assert result.untouched.over.value is not None
    assert result.untouched.over.value > 0.4
    chosen = result.chosen
    assert chosen is not None
    assert chosen.row.chosen
    assert chosen.bound.low is not None
    assert chosen.bound.low >= 0.9
    assert chosen.bound.high == 1
    assert chosen.over_change is not None
    assert chosen.over_change.high is not None
    assert chosen.over_change.high < -0.2  # fewer benign requests are declined, beyond doubt
    assert chosen.usefulness_change.low is not None
    assert chosen.usefulness_change.low > 0.2
    assert chosen.trial.along <= MOST_ALONG + 1e-9


def test_no_trial_goes_along_true_refusal_and_none_changes_the_model() -> None:
    model = copy.deepcopy(refusing_model())
    before = state(model)
    trials = search(Writers(model), its_directions(), selection(), BENIGN[:60], budget=4, seed=3)
    assert trials[0].steering is None
    assert all(trial.steering is not None for trial in trials[1:])
    assert max(trial.along for trial in found()) <= MOST_ALONG + 1e-9
    assert trials[0].kl == 0
    assert all(trial.kl > 0 for trial in trials[1:])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_search_that_goes_on_measures_nothing_twice_and_finds_the_same(tmp_path: Path) -> None:
    model, calls = copy.deepcopy(refusing_model()), 0
    measure = selection()

    def counted(live: Any) -> Measured:
        nonlocal calls
        calls += 1
        return measure(live)

    def once(path: Path | None, stop: int | None = None) -> tuple[Trial, ...]:
        def show(trial: Trial) -> None:
            if trial.number == stop:
                raise KeyboardInterrupt

        journal = Journal(path, {"steer": 1})
        return search(
            Writers(model), its_directions(), counted, BENIGN[:60], budget=14, seed=0, journal=journal, show=show
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        once(tmp_path / "journal.jsonl", stop=11)
    assert calls == 12
    assert once(tmp_path / "journal.jsonl") == found()
    assert calls == 14


def trial(number: int, safety: float, usefulness: float, *, steered: bool = True) -> Trial:
    return Trial(
        number=number, steering=Steering(layer=0, mlp=Tent(peak=0, width=1, weight=number / 10)) if steered else None,
        parameters={}, safety=safety, usefulness=usefulness, over=None, kl=0, along=0,
    )  # fmt: skip


def test_the_test_goes_from_safe_to_useful_and_ends_at_the_first_that_does_not_hold() -> None:
    """A later point that would hold by luck is not looked for: that is what keeps the promise of the level."""
    trials = [
        trial(0, 1.0, 0.2, steered=False), trial(1, 0.99, 0.4), trial(2, 0.98, 0.6),
        trial(3, 0.97, 0.8), trial(4, 0.96, 0.9), trial(5, 0.9, 0.7), trial(6, 1.0, 0.1),
    ]  # fmt: skip
    declined = {0: 100, 1: 100, 2: 99, 3: 90, 4: 100}
    model = tiny_model("llama", layers=3)
    writers, directions = Writers(model), any_directions()
    states = {0: state(model)}
    for one in trials[1:5]:
        assert one.steering is not None
        with writers.steered(one.steering, directions):
            states[one.number] = state(model)

    def measure(live: Any) -> Measured:
        now = live.state_dict()
        which = next(
            number for number, held in states.items() if all(torch.equal(now[name], held[name]) for name in now)
        )  # fmt: skip
        return Measured(safety=(np.arange(100) < declined[which]) * 1.0, usefulness=np.full(10, which / 10))

    result = certify(writers, directions, trials, measure, floor=0.95)
    assert [test.trial.number for test in result.tested] == [1, 2, 3, 4]  # 5 is beaten, 6 gains nothing
    assert [test.holds for test in result.tested] == [True, True, False, False]
    assert result.chosen is not None
    assert result.chosen.trial.number == 2
    assert result.chosen.bound.low == pytest.approx(0.9534, abs=1e-4)  # 99 of 100, exact


def test_half_a_refusal_is_none_for_the_floor() -> None:
    model = tiny_model("llama", layers=3)

    def measure(_: Any) -> Measured:
        return Measured(safety=np.full(200, 0.99), usefulness=np.ones(10))

    result = certify(
        Writers(model), any_directions(), [trial(0, 1, 0.1, steered=False), trial(1, 1, 0.5)], measure, floor=0.5
    )  # fmt: skip
    assert result.chosen is None
    assert result.tested[0].bound.low == 0


def test_a_family_counts_once_and_only_where_all_of_it_is_declined() -> None:
    model, names = tiny_model("llama", layers=3), tuple(at // 2 for at in range(80))
    scores = Measured(safety=(np.arange(80) != 7) * 1.0, usefulness=np.ones(4))
    trials = [trial(0, 1, 0.1, steered=False), trial(1, 1, 0.5)]
    writers, directions = Writers(model), any_directions()
    families = Prompts(keys=frozenset(), harmful=names)
    result = certify(writers, directions, trials, lambda _: scores, floor=0.85, prompts=families)
    assert result.chosen is not None
    assert result.chosen.bound.n == 40
    assert result.chosen.bound.low == pytest.approx(0.8868, abs=1e-4)  # 39 of 40, exact
    with pytest.raises(NotEnoughData, match="40 harmful prompts"):  # 80 prompts would do
        certify(writers, directions, trials, lambda _: scores, floor=0.95, prompts=families)


def test_nothing_found_is_a_result() -> None:
    model = tiny_model("llama", layers=3)
    trials = [trial(0, 1.0, 0.5, steered=False), trial(1, 1.0, 0.5), trial(2, 0.9, 0.4)]
    result = certify(
        Writers(model), any_directions(), trials,
        lambda _: Measured(safety=np.ones(100), usefulness=np.ones(3)), floor=0.95,
    )  # fmt: skip
    assert result.tested == ()
    assert result.chosen is None


@pytest.mark.parametrize(("floor", "needed"), [(0.95, 59), (0.9, 29), (0.99, 299)])
def test_too_few_harmful_prompts_cannot_prove_a_floor(floor: float, needed: int) -> None:
    check_size(needed, floor, 0.95)
    with pytest.raises(NotEnoughData, match=f"that takes {needed}") as caught:
        check_size(needed - 1, floor, 0.95)
    assert caught.value.needed == 1


def test_every_point_of_the_space_is_allowed() -> None:
    from hypothesis import given, settings
    from hypothesis import strategies as st

    directions = its_directions()
    share = st.floats(0, 1)

    @settings(max_examples=60, deadline=None, database=None)
    @given(
        st.fixed_dictionaries(
            {"layer": st.sampled_from((0.0, 1.0, 2.0)), "slack": share}
            | {f"{half}_{name}": share for half in ("attention", "mlp") for name in ("weight", "edge")}
            | {f"{half}_peak": st.floats(0, 2) for half in ("attention", "mlp")}
            | {f"{half}_width": st.floats(1, 3) for half in ("attention", "mlp")}
        )
    )
    def holds(parameters: dict[str, float]) -> None:
        steering = steering_of(parameters, directions)
        edited = {steering.layer, *steering.edited(3)}
        direction = directions.direction(
            steering.layer, orthogonality=steering.orthogonality, edited=steering.edited(3)
        )
        assert directions.along_refusal(direction, edited) <= MOST_ALONG + 1e-9

    holds()


def test_kl_is_that_of_the_formula() -> None:
    first, second = torch.tensor([[0.5, 0.5, 0.0]]).log(), torch.tensor([[0.25, 0.5, 0.25]]).log()
    assert first_token_kl(first, second) == pytest.approx(0.5 * np.log(2))
    assert first_token_kl(second, second) == 0


# -- files --------------------------------------------------------------------------------------------------------


def held(model: Any, directions: Directions, steering: Steering, floor: float = 0.9) -> Certified:
    """A certificate for this steering, by an objective that is content with everything."""
    trials = [
        trial(0, 1, 0.1, steered=False),
        msgspec.structs.replace(trial(1, 1.0, 0.5), steering=steering),
    ]
    scores = Measured(safety=np.ones(60), usefulness=np.ones(4), over=np.zeros(4))
    return certify(Writers(model), directions, trials, lambda _: scores, floor=floor)


def logits(model: Any) -> torch.Tensor:
    return last_log_probabilities(model, PROMPTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_saved_folder_reloads_as_the_steered_model(layout: str, tmp_path: Path) -> None:
    model, directions = biased_model(layout), any_directions()
    source = saved(model, tmp_path / "model")
    steering = Steering(layer=1, attention=FULL, mlp=SOME)
    writers = Writers(model)
    untouched = logits(model)
    out = save(writers, directions, held(model, directions, steering), tmp_path / "out", source=source)
    with writers.steered(steering, directions):
        steered = logits(model)
    assert float((steered - untouched).abs().max()) > 0.01
    assert torch.equal(logits(load_model(out)), steered)
    assert torch.equal(logits(model), untouched)
    assert torch.equal(logits(load_model(source)), untouched)
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    card = json.loads((out / "steering.json").read_text("utf-8"))
    assert msgspec.convert(card["chosen"]["trial"]["steering"], Steering) == steering
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # peft's own call
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_adapter_is_the_same_edit(layout: str, tmp_path: Path) -> None:
    from peft import PeftModel

    model, directions = biased_model(layout), any_directions()
    source = saved(model, tmp_path / "model")
    for number, steering in enumerate(
        [Steering(layer=1, attention=FULL, mlp=SOME), Steering(layer=2, mlp=SOME)]
    ):
        writers = Writers(model)
        out = save(
            writers, directions, held(model, directions, steering), tmp_path / f"{number}", source=source,
            form="lora",
        )  # fmt: skip
        with writers.steered(steering, directions):
            steered = logits(model)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a missing or unexpected key is only warned of
            adapted = PeftModel.from_pretrained(load_model(source), str(out)).eval()
        torch.testing.assert_close(logits(adapted.base_model.model), steered, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(logits(adapted.merge_and_unload()), steered, atol=2e-6, rtol=1e-5)


def test_an_adapter_cannot_carry_the_embedding(tmp_path: Path) -> None:
    model, directions = tiny_model("llama", layers=3), any_directions()
    source = saved(model, tmp_path / "model")
    ready = held(model, directions, Steering(layer=1, mlp=FULL, embedding=1.0))
    with pytest.raises(InputError, match="cannot carry"):
        save(Writers(model), directions, ready, tmp_path / "out", source=source, form="lora")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_under_the_floor_nothing_is_written(tmp_path: Path) -> None:
    """The real model with a floor that its report prompts cannot prove, and a forged choice under the floor."""
    model = refusing_model()
    source = saved(model, tmp_path / "model")
    writers = Writers(copy.deepcopy(model))

    def careless(live: Any) -> Measured:  # as if the steered model declined one harmful request in ten less
        measured = report()(live)
        steered = not torch.equal(
            live.model.layers[0].mlp.down_proj.weight, model.model.layers[0].mlp.down_proj.weight
        )
        lost = np.arange(len(measured.safety)) % 10 == 0
        return msgspec.structs.replace(measured, safety=measured.safety * (1 - lost * steered))

    short = certify(writers, its_directions(), found(), careless, floor=0.9)
    assert short.untouched_bound.low is not None
    assert short.untouched_bound.low > 0.9
    assert short.tested
    assert short.chosen is None
    forged = msgspec.structs.replace(certified(), floor=0.999)
    for nothing in (short, forged):
        with pytest.raises(InputError, match="no steering holds the safety floor"):
            save(writers, its_directions(), nothing, tmp_path / "out", source=source)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("place", ["model", "model/inside", "full"])
def test_nothing_is_written_over(place: str, tmp_path: Path) -> None:
    model, directions = tiny_model("llama", layers=3), any_directions()
    source = saved(model, tmp_path / "model")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"model itself|there already"):
        save(
            Writers(model), directions, held(model, directions, Steering(layer=1, mlp=FULL)), tmp_path / place,
            source=source,
        )  # fmt: skip
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
