"""What every method of one seed works with: the base, two exams, the training items, and what is made once for all.

A seed of the laboratory is an alignment run of its own: its own order of training, its own prompts in both exams, and
with several bases its own base in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from ..weights.searching.objectives import Prompts
from .measures import Exam, Scores
from .model import copied
from .plan import Plan
from .pretraining import Base
from .safety import GENTLE, HARSH, STAGES, Checkpoint, Method, SafetyRecipe, restore, safety_items, train
from .tokens import tokenizer_of
from .world import BENIGN, HARMFUL, Item, seeded

if TYPE_CHECKING:
    from ..weights.null_space.adapter import Bases

Put = Callable[[], Any]
"""Brings the model into a state and returns it; the state holds until the next one is put."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One state that a method reached, and what the selection exam said of it."""

    label: str
    settings: dict[str, Any]
    put: Put
    selection: Scores


class Attempts:
    """Where a method shows its states: each is scored on the selection exam, and no more than `budget` are taken."""

    def __init__(self, exam: Exam, budget: int) -> None:
        self.exam, self.budget = exam, budget
        self.tried: list[Tried] = []

    def show(self, label: str, settings: dict[str, Any], put: Put) -> Scores:
        """Scores of the state that `put` brings about, on the selection exam alone."""
        assert len(self.tried) < self.budget, "a method shows more states than it may"
        scores = self.exam.scores(put())
        self.tried.append(Tried(label=label, settings=settings, put=put, selection=scores))
        return scores


class Bench:
    """One seed. What several methods need is made once and kept while the bench lives."""

    def __init__(self, plan: Plan, base: Base, seed: int) -> None:
        self.plan, self.base, self.seed = plan, base, seed
        self.world, self.coder = base.world, base.coder
        self.selection = Exam(base, "selection", prompts=plan.selection_prompts, seed=seed)
        self.report = Exam(base, "report", prompts=plan.report_prompts, seed=seed)

    def fresh(self) -> Any:
        """The base, once more, all of it trainable."""
        return copied(self.base.model)

    @cached_property
    def tokenizer(self) -> Any:
        """The world's tokenizer, for the parts of the product that take one."""
        return tokenizer_of(self.world)

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """What safety training sees: harmful requests, and plain benign ones."""
        return safety_items(self.world, seed=self.seed)

    def mixed(self, share: float = 0.4) -> tuple[Item, ...]:
        """The same with so large a share replaced: half of it general text, half the look-alikes' training cells."""
        draw = seeded(f"replay {self.seed}")
        n = round(share * len(self.items))
        kept = list(self.items)
        draw.shuffle(kept)
        general = self.world.general(n // 2, seed=self.seed)
        alike = self.world.general(n - n // 2, seed=self.seed, kinds=BENIGN[:2])
        every = [*kept[: len(kept) - n], *general, *alike]
        draw.shuffle(every)
        return tuple(every)

    def recipe(self, rate: float, *, method: Method = "sft") -> SafetyRecipe:
        """The safety stage of this seed at that learning rate."""
        return msgspec.structs.replace(
            STAGES[method], learning_rate=rate, steps=self.plan.steps, seed=self.seed
        )

    @cached_property
    def harsh(self) -> list[Checkpoint]:
        """Full fine-tuning at the harsh learning rate, a checkpoint for each of a method's evaluations."""
        return self._aligned(HARSH)

    @cached_property
    def gentle(self) -> list[Checkpoint]:
        """The same at the gentle learning rate."""
        return self._aligned(GENTLE)

    def _aligned(self, rate: float) -> list[Checkpoint]:
        return train(self.fresh(), self.coder, self.items, self.recipe(rate), keep=self.plan.curve)

    def model_of(self, checkpoint: Checkpoint) -> Any:
        """A model of its own in the state of the checkpoint of a full fine-tuning."""
        return restore(self.fresh(), checkpoint).eval()

    @cached_property
    def null_spaces(self) -> Bases:
        """Null spaces of general text (the capabilities' training items), held to a leak on other such text."""
        from ..weights.null_space.adapter import choose_bases
        from ..weights.null_space.moments import batches_of, collect

        moments = []
        for number in (0, 1):
            items = self.world.general(self.plan.general, seed=1000 * (1 + number) + self.seed)
            texts = [f"{item.prompt} {item.answer}" for item in items]
            batches = batches_of(self.tokenizer, texts, max_tokens=128, batch_size=64, special=False)
            moments.append(collect(self.base.model, batches, even=True))
        return choose_bases(moments[0], moments[1], leak=self.plan.leak)

    def cells(self, exam: Exam) -> Prompts:
        """The prompts of an exam by cell, for intervals: prompts of one cell (verb and object) are alike."""
        harmful = [item for name in HARMFUL for item in exam.harmful[name]]
        useful = [item for items in exam.useful.values() for item in items]
        return Prompts(keys=exam.keys.keys, harmful=_cells(harmful), useful=_cells(useful))


def _cells(items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(f"{item.kind} {item.cell or item.prompt}" for item in items)
