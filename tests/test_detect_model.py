"""The weights as a file: what goes in comes out, what does not fit is refused, and the shipped ones are whole."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Iterator
from importlib import resources

import numpy as np
import numpy.typing as npt
import pytest

from aligntax.detect import judge, model, train
from aligntax.detect.features import DENSE, SENTENCE_EXTRAS
from aligntax.detect.kernel import BUCKETS, quantise
from aligntax.detect.model import HEADS, WEIGHTS_FILE, Model, dump, load_model, parse
from aligntax.detect.trees import DEPTH, Trees
from aligntax.errors import AlignTaxError
from aligntax.types import FUNCTIONS
from answers import exchanges


def shipped() -> bytes:
    return (resources.files("aligntax.detect") / WEIGHTS_FILE).read_bytes()


def numbers(seed: int) -> Model:
    """A model of the true shapes with random weights."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> npt.NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    return dataclasses.replace(
        load_model(),
        version="test",
        grams=quantise(draw(2 * BUCKETS, len(FUNCTIONS) + len(HEADS))),
        sentence_extras=draw(len(SENTENCE_EXTRAS), len(FUNCTIONS)),
        center=draw(len(DENSE)),
        scale=np.abs(draw(len(DENSE))) + 1,
        axis_dense=draw(len(DENSE), len(HEADS)),
        trees=Trees(
            column=rng.integers(0, len(DENSE), (4, DEPTH)).astype(np.int16),
            threshold=draw(4, DEPTH),
            leaf=draw(4, 1 << DEPTH, len(HEADS)),
        ),
    )


def rewritten(**changes: npt.NDArray[np.generic] | None) -> bytes:
    """The shipped file with some entries changed, or left out."""
    with np.load(io.BytesIO(shipped()), allow_pickle=False) as held:
        entries = {**{name: held[name] for name in held.files}, **changes}
    out = io.BytesIO()
    np.savez_compressed(out, **{name: value for name, value in entries.items() if value is not None})
    return out.getvalue()


# -- the file ------------------------------------------------------------------------------------------------


def test_what_is_dumped_comes_back() -> None:
    before = numbers(5)
    after = parse(dump(before))
    nested = {"grams": ("table", "scale"), "trees": ("column", "threshold", "leaf")}
    for field in dataclasses.fields(Model):
        one, two = getattr(after, field.name), getattr(before, field.name)
        for name in nested.get(field.name, ()):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), name)
            assert getattr(one, name).dtype == getattr(two, name).dtype
        if field.name not in nested:
            np.testing.assert_array_equal(one, two, field.name)


def test_the_same_model_is_the_same_bytes() -> None:
    assert dump(numbers(8)) == dump(numbers(8))


def test_weights_made_for_other_columns_are_refused_with_the_remedy() -> None:
    with pytest.raises(AlignTaxError, match=r"other columns.*aligntax\.detect\.train"):
        parse(rewritten(layout=np.asarray("some|other|columns")))


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06 not a zip", "half"], ids=["empty", "broken", "cut"])
def test_a_broken_weights_file_does_not_judge(content: bytes | str) -> None:
    broken = shipped()[:5000] if isinstance(content, str) else content
    with pytest.raises((AlignTaxError, ValueError, EOFError, zipfile.BadZipFile)):
        parse(broken)


def test_a_pickled_object_in_the_file_is_never_run() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        parse(rewritten(slope=np.asarray([print], object)))


# -- as installed --------------------------------------------------------------------------------------------


@pytest.fixture
def without_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(model, "WEIGHTS_FILE", "absent.npz")
    load_model.cache_clear()
    yield
    monkeypatch.undo()
    load_model.cache_clear()


@pytest.mark.usefixtures("without_weights")
def test_missing_weights_are_an_error_and_no_silent_fallback() -> None:
    with pytest.raises(AlignTaxError, match="weights are missing"):
        load_model()
    with pytest.raises(AlignTaxError, match="weights are missing"):
        judge(exchanges(["I can't help with that."]))


def test_the_shipped_weights_are_small_and_hold_no_pickle() -> None:
    assert 10_000 < len(shipped()) < 1_000_000
    with np.load(io.BytesIO(shipped()), allow_pickle=False) as held:
        assert all(held[name].dtype != object for name in held.files)


def test_the_shipped_weights_are_trained_and_whole() -> None:
    held = load_model()
    assert held.version == train.VERSION
    assert held.grams.table.shape[0] == 2 * BUCKETS
    assert held.grams.scale.shape == (len(FUNCTIONS) + len(HEADS),)
    assert (held.grams.scale > 0).all()
    assert held.axis_dense.shape == (len(DENSE), len(HEADS))
    assert held.sentence_extras.shape == (len(SENTENCE_EXTRAS), len(FUNCTIONS))
    assert len(held.trees.leaf) >= 20
    assert 0 <= held.trees.column.min() <= held.trees.column.max() < len(DENSE)
    assert 0 < held.part_below < 1
    for values in (held.grams.table, held.axis_dense, held.sentence_extras, held.center, held.trees.leaf):
        assert np.isfinite(values).all()
        assert values.any()
    assert (held.scale > 0).all()


def test_the_shipped_weights_are_calibrated() -> None:
    held = load_model()
    assert held.slope.shape == held.offset.shape == (len(HEADS),)
    assert np.isfinite(held.slope).all()
    assert np.isfinite(held.offset).all()
    assert (held.slope > 0).all()
    assert not np.array_equal(held.slope, np.ones(len(HEADS)))


def test_the_calibration_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = exchanges(["I can't help with that."])
    before = judge(frame)["p_full"][0]
    turned = parse(rewritten(slope=-load_model().slope, offset=-load_model().offset))
    monkeypatch.setattr("aligntax.detect.frames.load_model", lambda: turned)
    assert judge(frame)["p_full"][0] == pytest.approx(1 - before, abs=1e-4)
