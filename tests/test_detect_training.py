"""Training: from labelled rows to weights, the same bytes twice, and what must never reach a fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from aligntax.detect import examples, kernel, train
from aligntax.detect.examples import compose, load_examples
from aligntax.detect.features import DENSE, SENTENCE_EXTRAS
from aligntax.detect.model import HEADS, parse
from aligntax.errors import InputError
from aligntax.types import FUNCTIONS

ANSWERS = {
    "complete": "Stop unit {n} with systemctl, then read its log. The last lines name the disk that was missing.",
    "partial": "I can't go into unit {n} in detail. In general, reading the log helps. Please ask your administrator.",
    "refused": "I'm sorry, but I can't help with unit {n}. Please ask your administrator.",
}


def rows(source: str, labels: str, *, train_ok: bool = True, count: int = 8) -> list[dict[str, Any]]:
    """`count` labelled rows of each label, in the documented shape."""
    return [
        {
            "id": f"{source}:{label}:{n}",
            "set": source,
            "model": "model-a",
            "lang": "en",
            "prompt": f"How do I stop unit {n}?",
            "response": ANSWERS[label].format(n=n),
            "label": label,
            "raw_label": label,
            "axes": {},
            "label_origin": "author",
            "licence": "Apache-2.0",
            "train_ok": train_ok,
            "notes": "",
        }
        for label in labels.split()
        for n in range(count)
    ]


def write(folder: Path, **sources: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in sources.items():
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in content) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("data") / "responses",
        xstest=rows("xstest", "complete partial refused"),
        other=rows("other", "complete refused"),
        closed=rows("closed", "complete refused", train_ok=False),
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few trees, compositions and steps, and one authored corpus: the same path in a fraction of the time."""

    def few_steps(*arguments: Any, **named: Any) -> optimize.OptimizeResult:
        return minimize(*arguments, **{**named, "options": {"maxiter": 3}})

    minimize = optimize.minimize
    monkeypatch.setattr(optimize, "minimize", few_steps)
    monkeypatch.setattr(train, "TREES", 3)
    monkeypatch.setattr(train, "COMPOSED_PER_SOURCE", 8)
    monkeypatch.setattr(examples, "AUTHORED", ("writing.jsonl",))


# -- the command ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_the_command_writes_the_same_weights_twice(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for out in outputs:
        assert train.main(["--data", str(folder), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert str(outputs[0]) in said
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    model = parse(outputs[0].read_bytes())
    assert model.version == train.VERSION
    assert model.axis_dense.shape == (len(DENSE), len(HEADS))
    assert model.grams.table.any(axis=0)[: len(FUNCTIONS)].all()
    assert np.isfinite(model.axis_dense).all()
    assert len(model.trees.leaf) == 3


def test_the_module_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aligntax.detect.train", "--help"], capture_output=True, text=True, check=True
    )
    assert "--data" in done.stdout


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("make", [False, True], ids=["missing", "empty"])
def test_a_folder_without_rows_is_one_clear_line(
    make: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent"
    if make:
        absent.mkdir()
    assert train.main(["--data", str(absent), "--out", str(tmp_path / "weights.npz")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert str(absent) in said[0]
    assert "no labelled responses" in said[0]
    assert not (tmp_path / "weights.npz").exists()


@pytest.mark.parametrize("line", ["not json", '{"set": "x", "label": "complete"}', "[1]"])
def test_a_broken_row_is_named_by_file_and_line(line: str, tmp_path: Path) -> None:
    good = write(tmp_path / "data", xstest=rows("xstest", "complete", count=1))
    with (good / "xstest.jsonl").open("a", encoding="utf-8") as out:
        out.write("\n" + line + "\n")
    with pytest.raises(InputError, match=r"xstest\.jsonl:3"):
        load_examples(good)


# -- what may train ------------------------------------------------------------------------------------------


@pytest.fixture
def table(folder: Path, small: None) -> train.Table:
    grams = np.zeros((kernel.BUCKETS, len(FUNCTIONS)), np.float32)
    extras = np.zeros((len(SENTENCE_EXTRAS), len(FUNCTIONS)), np.float32)
    return train.build_table(folder, train.Sentences(grams=grams, extras=extras))


def sources(table: train.Table, at: np.ndarray[Any, Any]) -> set[str]:
    return {table.examples[row].source for row in at.tolist()} | {
        table.examples[row].parent for row in at.tolist()
    } - {""}


def test_rows_that_must_not_train_never_do(table: train.Table) -> None:
    everything = np.zeros(len(table.examples), np.bool_)
    assert "closed" in {e.source for e in table.examples}
    assert sources(table, table.rows_for(everything)) == {"xstest", "other", "authored", "composed"}


def test_nothing_is_composed_of_rows_that_must_not_train(folder: Path) -> None:
    made = compose(load_examples(folder), 5, 1)
    assert {example.parent for example in made} == {"xstest", "other"}
    assert all(example.trains for example in made)


def test_a_source_held_out_is_held_out_with_what_was_composed_of_it(
    table: train.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []

    def remember(given: train.Table, at: np.ndarray[Any, Any]) -> train.Axes:
        seen.append(sources(given, at))
        return fit(given, at)

    fit = train.fit_axes
    monkeypatch.setattr(train, "fit_axes", remember)
    groups = train.source_groups(table, trained_only=True)
    logits = train.leave_out(table, [groups["xstest"]])
    assert seen == [{"other", "authored", "composed"}]
    np.testing.assert_array_equal(np.isnan(logits).all(axis=1), ~groups["xstest"])


def test_compositions_are_no_source_to_hold_out(table: train.Table) -> None:
    assert set(train.source_groups(table)) == {"xstest", "other", "closed", "authored"}
    assert set(train.source_groups(table, trained_only=True)) == {"xstest", "other", "authored"}


# -- labels --------------------------------------------------------------------------------------------------


def test_labels_become_the_heads_that_they_speak_of(tmp_path: Path) -> None:
    data = write(
        tmp_path / "data",
        xstest=rows("xstest", "complete partial refused", count=1),
        speechmap_criticism=rows("speechmap_criticism", "partial refused", count=1),
        refusalbench=rows("refusalbench", "partial", count=1),
    )
    found = {(e.source, e.row["label"]): (e.not_full, e.none, e.avoidance) for e in load_examples(data)}
    unknown = pytest.approx(float("nan"), nan_ok=True)
    assert found == {
        ("xstest", "complete"): (0, unknown, unknown),
        ("xstest", "partial"): (1, 0, 0),
        ("xstest", "refused"): (1, 1, 0),
        ("speechmap_criticism", "partial"): (1, unknown, 1),
        ("speechmap_criticism", "refused"): (1, unknown, 0),
        ("refusalbench", "partial"): (unknown, unknown, unknown),
    }


def test_rows_without_a_label_or_a_text_of_the_models_own_are_left_out(tmp_path: Path) -> None:
    content = rows("xstest", "refused", count=4)
    content[1]["label"] = None
    content[2]["response"] = " "
    content[3]["axes"] = {"provider_block": True}
    data = write(tmp_path / "data", xstest=content)
    assert [e.row["id"] for e in load_examples(data)] == ["xstest:refused:0"]


def test_the_same_seed_composes_the_same_answers(folder: Path) -> None:
    loaded = load_examples(folder)
    texts = [[example.response for example in compose(loaded, 6, seed)] for seed in (1, 1, 2)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
