"""Ratios: where a tensor stands, and how much of the aligned model it gets."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aligntax.errors import InputError
from aligntax.weights.layout import count_layers, place_of, split_layers
from aligntax.weights.ratios import Ratios
from tiny_models import LAYOUTS, tiny_model

SHARE = st.floats(0, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tensor_of_every_layout_has_a_place(layout):
    names = [name for name, _ in tiny_model(layout, layers=3).named_parameters()]
    assert count_layers(names) == 3
    roles = {place_of(name).role for name in names}
    assert "other" not in roles
    assert {"embedding", "attention", "mlp", "norm", "final_norm"} <= roles


@pytest.mark.parametrize(
    ("name", "layer", "role"),
    [
        ("model.layers.7.self_attn.q_norm.weight", 7, "norm"),
        ("gpt_neox.layers.3.attention.query_key_value.weight", 3, "attention"),
        ("gpt_neox.embed_out.weight", None, "head"),
        ("transformer.h.1.ln_attn.weight", 1, "norm"),
        ("model.layers.2.block_sparse_moe.experts.4.w1.weight", 2, "mlp"),
        ("model.layers.2.rotary_emb.inv_freq", 2, "other"),
        ("h.0.mlp.c_fc.weight", 0, "mlp"),
        ("something.else", None, "other"),
    ],
)
def test_names_of_other_families(name, layer, role):
    assert (place_of(name).layer, place_of(name).role) == (layer, role)


def test_the_paper_s_blocks():
    assert [len(block) for block in split_layers(26, 3)] == [8, 9, 9]
    with pytest.raises(ValueError, match="1 to 4"):
        split_layers(4, 5)


@given(st.lists(SHARE, min_size=1, max_size=6), st.integers(6, 40))
def test_every_layer_gets_the_ratio_of_its_block_and_the_ends_follow_their_neighbours(blocks, n_layers):
    ratios = Ratios(blocks=tuple(blocks))
    inside = [ratios.of(f"model.layers.{at}.mlp.up_proj.weight", n_layers) for at in range(n_layers)]
    assert set(inside) == set(blocks)
    assert inside[0] == blocks[0] == ratios.of("model.embed_tokens.weight", n_layers)
    assert (
        inside[-1]
        == blocks[-1]
        == ratios.of("lm_head.weight", n_layers)
        == ratios.of("model.norm.weight", n_layers)
    )


def test_a_role_may_have_a_policy_a_number_or_its_own_list():
    ratios = Ratios(
        blocks=(0.2, 0.8), roles={"embedding": "mean", "mlp": (1.0, 0.0), "head": 0.5, "final_norm": "first"}
    )
    assert ratios.of("model.embed_tokens.weight", 4) == 0.5
    assert [ratios.of(f"model.layers.{at}.mlp.up_proj.weight", 4) for at in range(4)] == [1, 1, 0, 0]
    assert [ratios.of(f"model.layers.{at}.self_attn.q_proj.weight", 4) for at in range(4)] == [
        0.2,
        0.2,
        0.8,
        0.8,
    ]
    assert ratios.of("lm_head.weight", 4) == 0.5
    assert ratios.of("model.norm.weight", 4) == 0.2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"blocks": ()}, "without a ratio"),
        ({"blocks": (1.2,)}, "outside 0 to 1"),
        ({"blocks": (float("nan"),)}, "out of range"),
        ({"blocks": (0.1, 0.2), "roles": {"mlp": (0.1,)}}, "1 ratios for 2 blocks"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, words):
    with pytest.raises(InputError, match=words):
        Ratios(**settings)


def test_extrapolation_is_asked_for():
    assert Ratios(blocks=(1.2,), extrapolate=True).of("lm_head.weight", 1) == 1.2


def test_more_ratios_than_layers_are_refused():
    with pytest.raises(InputError, match="3 ratios for a model of 2 layers"):
        Ratios(blocks=(0.1, 0.2, 0.3)).of("model.layers.0.mlp.up_proj.weight", 2)


def test_read_from_a_recipe():
    text = b'{"blocks": [0.9, 0.7], "roles": {"embedding": "first", "mlp": [0.5, 1], "head": 1}}'
    ratios = msgspec.json.decode(text, type=Ratios)
    assert ratios.of("model.layers.1.mlp.up_proj.weight", 2) == 1
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"blocks": [1], "roles": {"heads": 1}}', type=Ratios)
