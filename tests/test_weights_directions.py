"""Directions: read at the right token whatever the padding, true refusal kept, too few prompts said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from aligntax.errors import InputError, NotEnoughData
from aligntax.weights.steering.directions import (
    LEAST,
    MOST_ALONG,
    Directions,
    activations,
    decoder_layers,
    find_directions,
    last_log_probabilities,
    says,
)
from refusing_model import BENIGN, HARMFUL, LOOK_ALIKES, REFUSE, refusing_model
from tiny_models import LAYOUTS, tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def some_directions(seed: int = 0, *, layers: int = 4, width: int = 32) -> Directions:
    """Directions of random activations, with a false-refusal vector that is mostly the refusal vector."""
    generator = torch.Generator().manual_seed(seed)
    noise = lambda n: torch.randn(n, layers, width, generator=generator)  # noqa: E731
    refusal = 3 * torch.randn(layers, width, generator=generator)
    own = torch.randn(layers, width, generator=generator)
    return find_directions(noise(40) + refusal, noise(40), noise(40) + 0.8 * refusal + own)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_activations_are_what_a_layer_gives_for_the_prompt_alone(layout: str) -> None:
    model = tiny_model(layout, layers=3)
    prompts = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [15, 16]]
    batched = activations(model, prompts, batch_size=3)
    assert batched.shape == (4, 3, model.config.hidden_size)
    for prompt, row in zip(prompts, batched, strict=True):
        with torch.no_grad():
            hidden = model(torch.tensor([prompt]), output_hidden_states=True, use_cache=False).hidden_states
        torch.testing.assert_close(row[0], hidden[1][0, -1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(row[1], hidden[2][0, -1], atol=1e-5, rtol=1e-5)
    # The last of `hidden_states` has the final norm in it; what a layer writes has not.
    assert len(decoder_layers(model)) == 3


def test_log_probabilities_are_those_of_the_first_token_of_the_answer() -> None:
    model = tiny_model("llama")
    prompts = [[5, 6, 7], [8]]
    found = last_log_probabilities(model, prompts)
    with torch.no_grad():
        alone = model(torch.tensor([prompts[0]])).logits[0, -1].log_softmax(-1)
    torch.testing.assert_close(found[0], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(2))


def test_says_reads_the_first_words_of_the_greedy_answer() -> None:
    model, prompts = tiny_model("llama", seed=5), [[5, 6, 7], [8], [30, 31]]
    answers = [model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=2,
                              do_sample=False)[0, len(prompt):].tolist() for prompt in prompts]  # fmt: skip
    for number, answer in enumerate(answers):
        found = says(model, prompts, answer)
        assert found[number]
        assert found.tolist() == [other == answer for other in answers]


def test_the_vectors_are_differences_of_means() -> None:
    generator = torch.Generator().manual_seed(1)
    harmful, benign, wrong = (torch.randn(20, 2, 8, generator=generator) for _ in range(3))
    found = find_directions(harmful, benign, wrong)
    assert found.refusal.dtype == torch.float64
    torch.testing.assert_close(found.refusal, harmful.double().mean(0) - benign.double().mean(0))
    torch.testing.assert_close(found.false_refusal, wrong.double().mean(0) - benign.double().mean(0))
    expected = torch.nn.functional.cosine_similarity(found.refusal, found.false_refusal, dim=1)
    assert found.cosines() == pytest.approx(expected.tolist())


def test_halves_agree_where_there_is_something_and_not_where_there_is_noise() -> None:
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(60, 1, 400, generator=generator)
    refusal = torch.zeros(400)
    refusal[0] = 5
    noise = torch.randn(60, 1, 400, generator=generator)
    only_noise = find_directions(base + refusal, base.flip(0) + 0, noise + 0.9 * refusal)
    own = torch.zeros(400)
    own[7] = 12
    something = find_directions(base + refusal, base.flip(0) + 0, noise + 0.9 * refusal + own)
    assert abs(only_noise.remainder_agrees[0]) < 0.3
    assert something.remainder_agrees[0] > 0.7


@pytest.mark.parametrize("seed", range(5))
def test_with_lambda_1_the_direction_is_at_right_angles_to_refusing_in_every_edited_layer(seed: int) -> None:
    found = some_directions(seed)
    direction = found.direction(1, orthogonality=1.0, edited=(1, 2, 3))
    assert float(direction.norm()) == pytest.approx(1)
    for layer in (1, 2, 3):
        assert abs(float(direction @ found.refusal[layer])) < 1e-12 * float(found.refusal[layer].norm())
    assert found.along_refusal(direction, (1, 2, 3)) < 1e-12


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("edited", [(2,), (0, 1, 2, 3)])
def test_the_true_refusal_direction_cannot_be_asked_for(seed: int, edited: tuple[int, ...]) -> None:
    found = some_directions(seed)
    least = found.least_lambda(2, edited)
    assert 0 < least < 1  # the false-refusal vector is mostly the true one here
    allowed = found.direction(2, orthogonality=least, edited=edited)
    assert found.along_refusal(allowed, edited) == pytest.approx(MOST_ALONG)
    for layer in edited:  # ablated in full, three quarters of each true vector stay at least
        true = found.refusal[layer] / found.refusal[layer].norm()
        kept = true - allowed * (allowed @ true)
        assert float(kept @ true) >= 1 - MOST_ALONG**2 - 1e-9
    for bad in (0.0, least - 0.01, 1.01, float("nan")):
        with pytest.raises(InputError, match="would ablate the true refusal direction"):
            found.direction(2, orthogonality=bad, edited=edited)


def test_where_false_refusing_is_refusing_there_is_nothing_to_ablate() -> None:
    found = some_directions()
    same = Directions(
        refusal=found.refusal, false_refusal=0.9 * found.refusal, remainder_agrees=(0.0,) * 4, prompts={}
    )
    assert same.least_lambda(1, (1,)) == pytest.approx(1)
    with pytest.raises(InputError, match="all along the true one"):
        same.direction(1, orthogonality=1.0, edited=(1,))


@pytest.mark.parametrize("group", range(3))
def test_too_few_prompts_are_no_direction(group: int) -> None:
    groups = [torch.randn(LEAST, 2, 8) for _ in range(3)]
    groups[group] = groups[group][:-3]
    with pytest.raises(NotEnoughData, match=f"{LEAST - 3} prompts are .* needs {LEAST}") as caught:
        find_directions(*groups)
    assert caught.value.needed == 3


def test_a_vector_that_is_0_or_no_number_is_said() -> None:
    groups = torch.randn(3, LEAST, 2, 8)
    with pytest.raises(InputError, match="refusal vector of a layer is 0"):
        find_directions(groups[0], groups[0], groups[2])
    groups[2, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="false-refusal vector of a layer is 0 or no number"):
        find_directions(*groups)


def test_a_prompt_without_the_token_is_said() -> None:
    with pytest.raises(InputError, match="no token at position -2"):
        activations(tiny_model("llama"), [[5, 6], [7]], position=-2)
    with pytest.raises(InputError, match="no token"):
        last_log_probabilities(tiny_model("llama"), [[5], []])


def test_a_model_that_over_refuses_has_both_vectors_and_they_are_alike() -> None:
    model = refusing_model()
    assert says(model, HARMFUL, [REFUSE]).mean() > 0.99
    assert says(model, BENIGN, [REFUSE]).mean() < 0.01
    wrong = says(model, LOOK_ALIKES, [REFUSE])
    assert 0.5 < wrong.mean() < 1
    refused = [prompt for prompt, no in zip(LOOK_ALIKES, wrong, strict=True) if no]
    found = find_directions(*(activations(model, group) for group in (HARMFUL, BENIGN, refused)))
    assert min(found.cosines()) > 0.9  # as in the laboratory: most of refusing wrongly is refusing
    assert min(found.remainder_agrees) > 0.5
