"""Trains the base from nothing on the world's text, once: the result is kept by a hash of all that made it."""

from __future__ import annotations

import ast
import functools
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError
from .model import Shape, answer_logits, build, load, save
from .tokens import Coder, pairs_of
from .world import CAPABILITIES, IMPOSSIBLE, MEANING, READING, World, WorldSize, seeded

MIX = {
    "sort": 0.12, "add": 0.26, "translate": 0.12, "capital": 0.10, "note": 0.14, READING: 0.30,
    "request": 0.16, MEANING: 0.06, IMPOSSIBLE: 0.10,
}  # fmt: skip
"""Weights of the kinds of pretraining text; what a world does not have counts for nothing. A tenth of the ordinary
text is impossible requests: the base owns the refusal before safety training."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How the base is trained: AdamW, cosine learning rate after a linear warm-up, loss on the answers alone."""

    steps: int = 1400
    batch: int = 64
    learning_rate: float = 3e-3
    warm_up: int = 50
    weight_decay: float = 0.01
    clip: float = 1.0
    mix: dict[str, float] = msgspec.field(default_factory=lambda: dict(MIX))
    stray: float = 0.02
    """Share of how-to requests, harmful or not, answered with the refusal: sampling meets one now and then, so that
    reinforcement learning has something to reinforce; greedy answers hold none."""


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """A laboratory of one size: the world, the network, the pretraining, and how many prompts a set is measured on."""

    name: str
    world: WorldSize = WorldSize()
    shape: Shape = Shape()
    recipe: Recipe = Recipe()
    prompts: int = 96


SCALES: dict[str, Scale] = {
    "quick": Scale(
        name="quick",
        world=WorldSize(
            verbs=8, objects=8, held_out=2, capitals=20, lexicon=12, sort_digits=3,
            capabilities=("sort", "translate", "capital", "note"),
        ),
        shape=Shape(layers=4, width=64, feed_forward=128),
        recipe=Recipe(steps=450, batch=48, learning_rate=5e-3),
        prompts=24,
    ),
    "tiny": Scale(name="tiny"),
    "medium": Scale(
        name="medium",
        world=WorldSize(
            verbs=48, objects=48, held_out=12, capitals=800, lexicon=300, sort_digits=6, add_digits=(3, 3),
            clauses=2, notes=2, capabilities=(*CAPABILITIES, READING),
        ),
        shape=Shape(layers=8, width=512, heads=8, feed_forward=1408, positions=128),
        recipe=Recipe(steps=6000, batch=256, learning_rate=1e-3, warm_up=300),
        prompts=288,
    ),
    "large": Scale(
        name="large",
        world=WorldSize(
            verbs=96, objects=96, held_out=24, capitals=2000, lexicon=900, sort_digits=8, add_digits=(5, 5),
            clauses=3, notes=3, capabilities=(*CAPABILITIES, READING),
        ),
        shape=Shape(layers=12, width=768, heads=12, feed_forward=2048, positions=128),
        recipe=Recipe(steps=20_000, batch=512, learning_rate=6e-4, warm_up=1000),
        prompts=576,
    ),
}  # fmt: skip
"""`quick` is for tests, `tiny` for two CPU cores; `medium` and `large` want a CUDA device (bfloat16 autocast)."""


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A pretrained base: the model ready to evaluate, its world and coder, and the folder where it is kept."""

    scale: Scale
    seed: int
    world: World
    coder: Coder
    model: Any
    folder: Path


def scale_named(name: str) -> Scale:
    """The scale of that name. Raises InputError for others."""
    if name not in SCALES:
        raise InputError(f"no scale {name!r}", remedy=f"one of {', '.join(SCALES)}")
    return SCALES[name]


def pretrained(
    scale: Scale,
    *,
    seed: int = 0,
    cache: Path | None = None,
    device: str = "cpu",
    on_step: Callable[[int, float], None] | None = None,
) -> Base:
    """The base of that scale and seed: read from the cache, or trained and kept there.

    `cache`: a folder of bases (default: `cache_folder()`). `device`: where it is trained and where the model lies.
    `on_step(step, loss)` is called after every step of a training. The seed is that of the weights and of the order
    of the text; the world is the same for all.
    """
    world = World(scale.world)
    folder = (cache or cache_folder()) / f"{scale.name}-seed{seed}-{key_of(scale, seed)}"
    if not (folder / "config.json").exists():
        _keep(pretrain(scale, world, seed=seed, device=device, on_step=on_step), world, folder)
    model = load(folder).to(device)
    return Base(scale=scale, seed=seed, world=world, coder=Coder(world), model=model, folder=folder)


def pretrain(
    scale: Scale,
    world: World,
    *,
    seed: int = 0,
    device: str = "cpu",
    on_step: Callable[[int, float], None] | None = None,
) -> Any:
    """A base trained from nothing; the same seed gives the same weights on the same machine."""
    import torch

    recipe, coder = scale.recipe, Coder(world)
    model = build(scale.shape, world, seed=seed).to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    draw = seeded(f"pretraining {seed}")
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, recipe)
        items = [world.pretraining(draw, recipe.mix, stray=recipe.stray) for _ in range(recipe.batch)]
        loss = backward(model, coder, pairs_of(items), device=device)
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_step is not None:
            on_step(step, loss)
    return model.eval()


def backward(model: Any, coder: Coder, pairs: list[tuple[str, str]], *, device: Any, parts: int = 2) -> float:
    """Mean loss per answer token of these pairs, its gradient added to the parameters.

    The pairs go through in `parts` runs of like length: half of a mixed batch would otherwise be padding.
    """
    import torch.nn.functional as F  # noqa: N812

    batches = list(coder.batches(pairs, size=math.ceil(len(pairs) / parts)))
    asked = sum(int(batch.asks.sum()) for batch in batches)
    total = 0.0
    for batch in batches:
        placed = batch.to(device)
        loss = F.cross_entropy(answer_logits(model, placed), placed.targets, reduction="sum") / asked
        loss.backward()
        total += float(loss.detach())
    return total


def schedule(step: int, recipe: Recipe) -> float:
    """Share of the learning rate at that step: up linearly, then down to nothing along a cosine."""
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    along = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return 0.5 * (1 + math.cos(math.pi * along))


def cache_folder() -> Path:
    """Where bases are kept unless the caller says: aligntax/lab under the user's cache (XDG_CACHE_HOME)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aligntax" / "lab"


def key_of(scale: Scale, seed: int) -> str:
    """Names all that made a base: world, shape, recipe, seed, torch, and the code they ran through, comments aside."""
    made = (scale.world, scale.shape, scale.recipe, seed, version("torch"))
    digest = hashlib.sha256(msgspec.json.encode(made))
    here = Path(__file__).parent
    for name in ("words", "world", "tokens", "model", "pretraining"):
        digest.update(_code_of(here / f"{name}.py").encode())
    return digest.hexdigest()[:12]


@functools.cache
def _code_of(path: Path) -> str:
    """A module's code without comments and docstrings, as a text that changes where the code does."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [
                one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
            ]
            node.body = kept  # type: ignore[attr-defined]
    return ast.dump(tree)


def _keep(model: Any, world: World, folder: Path) -> None:
    """Saved beside, then renamed: a kill leaves no half-written base, and of two writers the first one stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save(model, world, beside)
        beside.chmod(0o755)
        beside.rename(folder)
    except OSError:
        if not (folder / "config.json").exists():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
