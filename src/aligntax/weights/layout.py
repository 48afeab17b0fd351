"""Where a tensor stands in a transformer, read from its name: which layer, and in which role."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, get_args

import msgspec

Role = Literal["embedding", "attention", "mlp", "norm", "final_norm", "head", "other"]
ROLES: tuple[Role, ...] = get_args(Role)
"""`norm` stands inside a layer, `final_norm` behind the last one; `other` is what no rule knows."""

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?|decoder_layers)\.(\d+)(?:\.|$)")
_IN_LAYER: tuple[tuple[Role, re.Pattern[str]], ...] = (  # norms first: "self_attn.q_norm" is one
    ("norm", re.compile(r"norm|(?:^|\.)ln_?\d|(?:^|\.)ln_[a-z]+(?:\.|$)")),
    ("attention", re.compile(r"attn|attention|(?:^|\.)[qkvo]_proj|query_key_value")),
    (
        "mlp",
        re.compile(
            r"mlp|feed_forward|ffn|(?:^|\.)fc\d|experts|(?:gate|up|down)_proj|dense_(?:h_to_4h|4h_to_h)"
        ),
    ),
)
_OUTSIDE: tuple[tuple[Role, re.Pattern[str]], ...] = (
    ("head", re.compile(r"(?:^|\.)(?:lm_head|embed_out|output_projection|score)(?:\.|$)")),
    ("embedding", re.compile(r"embed|(?:^|\.)w[tp]e(?:\.|$)")),
    ("final_norm", re.compile(r"norm|(?:^|\.)ln_f(?:\.|$)")),
)


class Place(msgspec.Struct, frozen=True):
    """Where a tensor stands. `layer` counts from 0 at the input and is None outside the layers."""

    layer: int | None
    role: Role


def place_of(name: str) -> Place:
    """The place of a tensor by its name in a checkpoint or a state dict.

    Knows the names of Llama, Mistral, Qwen, Gemma, Phi, GPT-2, GPT-NeoX, Falcon and what follows them; a name that
    it does not know has the role "other", with its layer where one is named.
    """
    found = _LAYER.search(name)
    layer = int(found[1]) if found else None
    rest = name[found.end() :] if found else name
    for role, pattern in _IN_LAYER if found else _OUTSIDE:
        if pattern.search(rest):
            return Place(layer, role)
    return Place(layer, "other")


def count_layers(names: Iterable[str]) -> int:
    """How many layers these names speak of; 0 where none names one."""
    return 1 + max((place.layer for place in map(place_of, names) if place.layer is not None), default=-1)


def split_layers(n_layers: int, n_blocks: int) -> tuple[range, ...]:
    """Contiguous blocks of layers from the input on, as equal as can be; the later ones take the rest.

    26 layers in 3 blocks are 8, 9 and 9, as in the averaging paper (arXiv:2309.06256). Raises ValueError where there
    are more blocks than layers, or none.
    """
    if not 1 <= n_blocks <= n_layers:
        raise ValueError(f"{n_blocks} blocks of {n_layers} layers: there can be 1 to {n_layers}")
    edges = [at * n_layers // n_blocks for at in range(n_blocks + 1)]
    return tuple(range(start, end) for start, end in pairwise(edges))
