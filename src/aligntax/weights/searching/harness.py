"""Tasks of lm-evaluation-harness as usefulness, run in process on the live model.

Scores of a task change with chat template, few-shot examples, backend and batch size, so they are kept beside the
result, and two results with other settings are never compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, MissingExtra

Half = Literal["selection", "report"]


class Harness:
    """Usefulness per item of some tasks: a function from the live model to scores in 0..1, for `with_usefulness`.

    `tasks`: names ("arc_easy", or "arc_easy:acc_norm" for a metric other than its first), or task configurations of
    the harness. `half`: which of the items, split by hash, so that selection and report share none. `limit`: items of a
    task, before the split. Data sets come from where the harness finds them; offline it needs local ones.

    Raises MissingExtra without lm-evaluation-harness, InputError for a task that it does not know or a metric that is
    not a score per item in 0..1.
    """

    def __init__(
        self,
        tasks: Sequence[str | Mapping[str, Any]],
        tokenizer: Any,
        *,
        half: Half,
        few_shot: int = 0,
        batch_size: int = 8,
        limit: int | None = None,
    ) -> None:
        self.tokenizer, self.few_shot, self.batch_size = tokenizer, few_shot, batch_size
        self._metrics: dict[str, str | None] = {}
        self._tasks: list[Any] = []
        for task in tasks:
            name, _, metric = (str(task["task"]) if isinstance(task, Mapping) else task).partition(":")
            self._metrics[name] = metric or None
            self._tasks.append(dict(task) if isinstance(task, Mapping) else name)
        self.items = {
            name: [at for at in range(min(size, limit or size)) if _half(name, at) == half]
            for name, size in _sizes(self._tasks).items()
        }
        for name, items in self.items.items():
            if not items:
                raise InputError(f"task {name} has no item for the {half}", remedy="raise the limit")

    @property
    def keys(self) -> frozenset[str]:
        """Names of the items, for `disjoint`."""
        return frozenset(f"{name} {at}" for name, items in self.items.items() for at in items)

    @property
    def settings(self) -> dict[str, Any]:
        """What the scores depend on beside the weights."""
        import lm_eval

        return {
            "backend": f"lm-evaluation-harness {getattr(lm_eval, '__version__', '')}, HFLM".replace(
                " ,", ","
            ),
            "tasks": {name: len(items) for name, items in self.items.items()},
            "chat_template": bool(self.tokenizer.chat_template),
            "few_shot": self.few_shot,
            "batch_size": self.batch_size,
        }

    def __call__(self, model: Any) -> NDArray[np.float64]:
        """The score of each item, tasks and items in a fixed order."""
        lm_eval, hflm = _harness()
        found = lm_eval.simple_evaluate(
            model=hflm(pretrained=model, tokenizer=self.tokenizer, batch_size=self.batch_size),
            tasks=self._tasks,
            num_fewshot=self.few_shot,
            samples=self.items,
            apply_chat_template=bool(self.tokenizer.chat_template),
            log_samples=True,
            bootstrap_iters=0,
        )
        scores = [self._scores(name, found["samples"].get(name, [])) for name in self.items]
        return np.concatenate(scores)

    def _scores(self, name: str, samples: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        by_item: dict[int, Mapping[str, Any]] = {int(sample["doc_id"]): sample for sample in samples}
        if sorted(by_item) != self.items[name]:
            raise InputError(
                f"the harness did not score all items of {name}", remedy="name tasks, not groups"
            )
        metric = self._metrics[name] or next(iter(by_item[self.items[name][0]].get("metrics", ())), "acc")
        scores = []
        for at in self.items[name]:
            value = by_item[at].get(metric)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(
                    f"{metric} of {name} is no score from 0 to 1 per item", remedy="name a metric: task:acc"
                )
            scores.append(float(value))
        return np.array(scores)


def _half(task: str, item: int) -> Half:
    return "report" if hashlib.sha256(f"{task} {item}".encode()).digest()[0] % 2 else "selection"


def _sizes(tasks: Sequence[Any]) -> dict[str, int]:
    """How many items each task has."""
    _harness()
    from lm_eval.tasks import TaskManager, get_task_dict

    try:
        found = get_task_dict(list(tasks), TaskManager())
    except (KeyError, ValueError, OSError) as fault:
        raise InputError(
            "the harness cannot load a task",
            where=", ".join(task if isinstance(task, str) else str(task["task"]) for task in tasks),
            remedy="lm_eval ls tasks lists the names; offline their data must be local",
        ) from fault
    return {str(name): len(list(task.eval_docs)) for name, task in found.items()}


def _harness() -> tuple[Any, Any]:
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
    except ImportError as absent:
        raise MissingExtra("lm_eval (pip install lm_eval) and transformers", "weights") from absent
    return lm_eval, HFLM
