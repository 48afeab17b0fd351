"""The detector's weights, and what they say of a chunk: sentence functions and three probabilities an answer."""

from __future__ import annotations

import dataclasses
import io
from functools import cache
from importlib import resources

import numpy as np

from ..errors import AlignTaxError
from ..types import FUNCTIONS as SENTENCE_FUNCTIONS
from . import kernel
from .features import DENSE, SENTENCE_EXTRAS, Floats, Reading, dense
from .lexicon import FUNCTIONS as PHRASE_FUNCTIONS
from .trees import Trees

WEIGHTS_FILE = "weights.npz"

HEADS = ("not full", "none", "avoidance")
"""P(not fully answered), P(nothing given | not full), P(no refusal is said | not full)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """All learned numbers. `version` rises when the meaning of a verdict changes."""

    version: str
    grams: kernel.Weights  # heads: sentence functions, then HEADS
    sentence_extras: Floats  # (SENTENCE_EXTRAS, sentence functions)
    center: Floats  # (DENSE,)
    scale: Floats  # (DENSE,)
    axis_dense: Floats  # (DENSE, HEADS)
    trees: Trees
    slope: Floats  # (HEADS,) of the calibration: p = sigmoid(slope * logit + offset)
    offset: Floats  # (HEADS,)
    part_below: float  # an answer that is not full counts as part under this probability of none


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What the model says of one chunk."""

    functions: Floats  # (S, sentence functions) probabilities
    probabilities: Floats  # (R, HEADS), calibrated


def score(reading: Reading, model: Model) -> Scores:
    """Judge one chunk."""
    tokens = reading.tokens
    sums = kernel.sentence_sums(tokens, reading.mixed, reading.later, model.grams)
    width = len(SENTENCE_FUNCTIONS)
    functions = sentence_functions(reading, sums[:, :width], model.sentence_extras)
    columns = dense(reading, functions)
    logits = gram_logits(reading, sums[:, width:])
    scaled = np.clip((columns - model.center) / model.scale, -CLIP, CLIP)
    logits = (logits + scaled @ model.axis_dense + model.trees.score(columns)) / 2
    probabilities = 1 / (1 + np.exp(-(logits * model.slope + model.offset)))
    return Scores(functions=functions, probabilities=probabilities.astype(np.float32))


CLIP = 4.0
"""Standardised columns are held within this many standard deviations."""


def sentence_functions(reading: Reading, gram_sums: Floats, extras: Floats) -> Floats:
    """Probabilities of the function of each sentence: (S, sentence functions)."""
    length = np.diff(reading.tokens.sentence_first).astype(np.float32)
    logits = gram_sums / np.sqrt(length)[:, None] + reading.extras @ extras
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def gram_logits(reading: Reading, sums: Floats) -> Floats:
    """N-gram part of the heads: opening and rest, each divided by the root of its length."""
    tokens = reading.tokens
    length = np.diff(tokens.sentence_first).astype(np.float32)
    first = tokens.row_sentence[:-1]
    out = np.zeros((reading.flat.rows, sums.shape[1]), np.float32)
    for part in (~reading.later, reading.later):
        size = np.add.reduceat(length * part, first)
        out += np.add.reduceat(sums * part[:, None], first, axis=0) / np.sqrt(np.maximum(size, 1))[:, None]
    return out


# -- the file ------------------------------------------------------------------------------------------------


_FIELDS = tuple(field.name for field in dataclasses.fields(Model))
_LAYOUT = "|".join((*_FIELDS, *DENSE, *SENTENCE_EXTRAS, *SENTENCE_FUNCTIONS, *PHRASE_FUNCTIONS))
"""What the weights were made for; weights of another layout are refused."""


def dump(model: Model) -> bytes:
    """The weights as the bytes of an .npz file, without any pickled object in it."""
    out = io.BytesIO()
    np.savez_compressed(
        out,
        version=np.asarray(model.version),
        layout=np.asarray(_LAYOUT),
        gram_table=model.grams.table,
        gram_scale=model.grams.scale,
        sentence_extras=model.sentence_extras,
        center=model.center,
        scale=model.scale,
        axis_dense=model.axis_dense,
        tree_column=model.trees.column,
        tree_threshold=model.trees.threshold,
        tree_leaf=model.trees.leaf,
        slope=model.slope,
        offset=model.offset,
        part_below=np.asarray(model.part_below),
    )
    return out.getvalue()


def parse(content: bytes) -> Model:
    """Read what `dump` wrote. Raises AlignTaxError when it was made for other columns than this code has."""
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        if str(held["layout"]) != _LAYOUT:
            raise AlignTaxError(
                "the detector's weights were trained for other columns; run python -m aligntax.detect.train"
            )
        return Model(
            version=str(held["version"]),
            grams=kernel.Weights(table=held["gram_table"], scale=held["gram_scale"]),
            sentence_extras=held["sentence_extras"],
            center=held["center"],
            scale=held["scale"],
            axis_dense=held["axis_dense"],
            trees=Trees(column=held["tree_column"], threshold=held["tree_threshold"], leaf=held["tree_leaf"]),
            slope=held["slope"],
            offset=held["offset"],
            part_below=float(held["part_below"]),
        )


@cache
def load_model() -> Model:
    """The shipped weights. Raises AlignTaxError when they are missing: there is no untrained fallback."""
    try:
        content = (resources.files(__package__) / WEIGHTS_FILE).read_bytes()
    except FileNotFoundError as missing:
        raise AlignTaxError(
            "the detector's weights are missing from this installation; install it again"
        ) from missing
    return parse(content)
