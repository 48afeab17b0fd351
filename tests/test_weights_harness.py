"""Tasks of lm-evaluation-harness: the shape of the call, by a stand-in; the real one was run by hand (docs/howto/search-ratios.md)."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

import pytest

from aligntax.errors import InputError, MissingExtra
from aligntax.weights.searching.harness import Harness
from aligntax.weights.searching.objectives import from_functions, with_usefulness


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A stand-in for lm_eval 0.4: one task of 40 items, right where the item's number is even."""
    made: list[dict[str, Any]] = []

    def simple_evaluate(**asked: Any) -> dict[str, Any]:
        made.append(asked)
        rows = [
            {"doc_id": at, "metrics": ["acc"], "acc": float(at % 2 == 0), "perplexity": 7.0}
            for at in reversed(asked["samples"]["words"])
        ]
        return {"samples": {"words": rows}}

    package, tasks = types.ModuleType("lm_eval"), types.ModuleType("lm_eval.tasks")
    models, face = types.ModuleType("lm_eval.models"), types.ModuleType("lm_eval.models.huggingface")
    package.simple_evaluate, package.__version__ = simple_evaluate, "0.4"
    tasks.TaskManager = object
    tasks.get_task_dict = lambda names, _: {"words": types.SimpleNamespace(eval_docs=range(40))}
    face.HFLM = lambda **given: given
    for module in (package, tasks, models, face):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


TOKENIZER = types.SimpleNamespace(chat_template="{{ messages }}")


def test_items_are_split_in_two_and_scored_in_order(calls: list[dict[str, Any]]) -> None:
    selection, report = (Harness(["words"], TOKENIZER, half=half) for half in ("selection", "report"))
    assert not selection.keys & report.keys
    assert len(selection.keys | report.keys) == 40
    scores = selection("the live model")
    assert scores.tolist() == [float(at % 2 == 0) for at in selection.items["words"]]
    (asked,) = calls
    assert asked["model"]["pretrained"] == "the live model"
    assert asked["samples"] == selection.items
    assert asked["apply_chat_template"] is True
    assert selection.settings["chat_template"] is True
    assert selection.settings["few_shot"] == asked["num_fewshot"] == 0
    both = with_usefulness(from_functions(lambda _: [1.0], lambda _: [0.0]), selection)
    assert both("the live model").usefulness.tolist() == scores.tolist()


def test_a_metric_that_is_no_score_is_refused(calls: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="perplexity of words is no score from 0 to 1"):
        Harness(["words:perplexity"], TOKENIZER, half="report")("model")
    assert len(calls) == 1
    with pytest.raises(InputError, match="no item for the"):
        [Harness(["words"], TOKENIZER, half=half, limit=1) for half in ("selection", "report")]


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is not None, reason="lm_eval is installed")
def test_without_the_harness_the_error_says_what_to_install() -> None:
    with pytest.raises(MissingExtra, match="lm_eval"):
        Harness(["words"], TOKENIZER, half="report")
