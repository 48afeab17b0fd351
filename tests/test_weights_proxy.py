"""The paper's recipe: the mean is held, the gradient reaches the ratios, and the ratios reach the forward pass."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aligntax.errors import InputError
from aligntax.weights.ratios import Ratios
from aligntax.weights.searching.proxy import batches_of, constrained, fit, loss_at, wanted_above_one
from aligntax.weights.searching.resident import Resident
from tiny_models import moved, tiny_model, tiny_tokenizer

torch.set_num_threads(1)

ROWS = [{"prompt": f"w{at} w{at + 1}", "completion": f"w{at + 2} w{at + 3}"} for at in range(12)]


def resident(layout: str = "llama", layers: int = 3) -> Resident:
    base = tiny_model(layout, layers=layers)
    return Resident(base, moved(base, by=0.2))


@given(
    st.lists(st.floats(-12, 12), min_size=1, max_size=9),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.1, 0.5, 0.9]),
)
@settings(max_examples=200, deadline=None)
def test_the_mean_of_the_ratios_is_the_share_asked_for(scores: list[float], share: float, eps: float) -> None:
    ratios = constrained(torch.tensor(scores, dtype=torch.float64), share, eps=eps)
    assert float(ratios.mean()) == pytest.approx(share, abs=1e-9)
    assert float(ratios.min()) >= 0
    assert float(ratios.max()) <= 1


def test_without_clipping_the_ratios_are_the_formula_with_its_factor() -> None:
    scores = torch.tensor([0.5, -0.4, 0.1], dtype=torch.float64)
    raised = torch.sigmoid(scores) + 0.1
    assert torch.allclose(constrained(scores, 0.5), 3 * 0.5 * raised / raised.sum())
    assert wanted_above_one(scores, 0.5) == 0
    assert wanted_above_one(torch.tensor([5.0, -5.0, -5.0]), 0.8) == 1
    assert float(constrained(torch.tensor([5.0, -5.0, -5.0]), 0.8)[0]) == 1


@pytest.mark.parametrize("layout", ["llama", "gpt2", "gemma"])
def test_every_ratio_gets_gradient_and_changes_the_forward_pass(layout: str) -> None:
    held = resident(layout)
    (batch, *_) = batches_of(tiny_tokenizer(), ROWS)
    shares = {name: torch.tensor(0.5, requires_grad=True) for name in held.base}
    loss = loss_at(held, shares, batch)
    gradients = dict(zip(shares, torch.autograd.grad(loss, list(shares.values())), strict=True))
    seen = {name: float(gradient) for name, gradient in gradients.items()}
    assert [name for name, gradient in seen.items() if gradient == 0] == []
    for name in (next(iter(held.base)), list(held.base)[len(held.base) // 2], list(held.base)[-1]):
        step = 1e-2
        nudged = [
            float(loss_at(held, {**shares, name: torch.tensor(0.5 + sign * step)}, batch).detach())
            for sign in (1, -1)
        ]
        assert (nudged[0] - nudged[1]) / (2 * step) == pytest.approx(seen[name], rel=0.1, abs=3e-4), name


def test_the_loss_is_that_of_the_weights_set_in_place() -> None:
    held = resident()
    (batch, *_) = batches_of(tiny_tokenizer(), ROWS)
    ratios = Ratios(blocks=(0.2, 0.9, 0.5))
    shares = {name: torch.tensor(share) for name, share in held.shares(ratios).items()}
    expected = loss_at(held, shares, batch).item()
    held.set(ratios)
    assert held.model(**batch).loss.item() == pytest.approx(expected, rel=1e-5)


def test_fitting_moves_the_ratios_and_lowers_the_loss() -> None:
    held = resident()
    before = held.canary()
    batches = batches_of(tiny_tokenizer(), ROWS, batch_size=12)
    fitted = fit(held, batches, share=0.5, n_blocks=3, steps=40)
    assert fitted.losses[-1] < fitted.losses[0] - 1e-3
    blocks = fitted.ratios.blocks
    assert sum(blocks) / 3 == pytest.approx(0.5, abs=1e-9)
    assert max(blocks) - min(blocks) > 0.1  # at the paper's rate they would stay within .01
    assert fit(held, batches, share=0.5, n_blocks=3, steps=40).ratios == fitted.ratios
    assert held.canary() == before  # the live weights were not touched


def test_only_answers_are_learned_and_padding_is_not() -> None:
    (batch,) = batches_of(tiny_tokenizer(), [ROWS[0], {"prompt": "w1", "completion": "w2"}])
    learned = (batch["labels"] != -100).sum(dim=1).tolist()
    assert learned == [3, 2]  # two words and the end; one word and the end
    assert bool((batch["labels"][batch["attention_mask"] == 0] == -100).all())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="mean ratio"):
        constrained(torch.zeros(3), 1.5)
    with pytest.raises(InputError, match="no answers"):
        fit(resident(), [], share=0.5, n_blocks=3)
