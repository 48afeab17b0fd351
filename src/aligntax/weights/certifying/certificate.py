"""What is known of the step from one checkpoint to another: a record of measured values, and what follows from them.

Nothing here loads a model: `certifying.py` measures, this file decides; `words.py` says it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ...errors import InputError
from ...types import Estimate
from ..layout import Role

FORMAT = "aligntax certificate"
VERSION = 1
TARGET = 0.1
"""The leak that a change may have where nobody says otherwise: a tenth of what an isotropic one of its norm has."""

Ruling = Literal["inside", "outside", "undecided", "unchanged", "unmeasured"]
Why = Literal["embedding", "head", "norm", "bias", "layout"]
Kind = Literal["checkpoint", "adapter"]

_LAYER = re.compile(r"^.*?\.\d+\.")


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a change inputs like those of the data can feel: 1 as an isotropic change of its norm, 0 not at all.

    leak = sqrt( mean |dW x|^2 / (|dW|_F^2 * mean |x|^2 / n_in) ), means over tokens; x the inputs in BASE. Or the same of
    x / |x|, with every token alike, where that is larger: see `felt.leaks`.
    `low` and `high` are the ends of the interval of the held-out value.
    """

    calibration: float
    held_out: float
    low: float
    high: float


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """The change of a matrix's output against the output itself, root mean square: sqrt(mean |dW x|^2 / mean |W x|^2)."""

    calibration: float
    held_out: float


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """One linear map inside the transformer layers, and its change dW.

    `norm` is |dW|_F and `relative_norm` that over |W|_F; `share` is |dW|_F^2 over the squared norm of all that changed.
    The ranks are those of dW (see `spectra.Spectrum`). `tokens` are the held-out ones that passed through it. A matrix
    that did not change has zeros and neither leak nor effect; one that no inputs reached has no leak either.
    """

    name: str
    layer: int
    role: Role
    n_out: int
    n_in: int
    norm: float
    relative_norm: float
    share: float
    spectral_norm: float
    stable_rank: float
    effective_rank: float
    tokens: int
    leak: Leak | None
    effect: Effect | None
    ruling: Ruling

    @property
    def kind(self) -> str:
        """Its name without its layer: "self_attn.q_proj"."""
        return _LAYER.sub("", self.name)


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter that changed and to which no statement about inputs applies."""

    name: str
    layer: int | None
    why: Why
    norm: float  # of its change
    relative_norm: float | None  # None where it was zero before
    share: float  # of the squared norm of all that changed, 0 to 1


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """How far TUNED's next-token distribution is from BASE's on held-out rows, at the tokens of the answers.

    `kl` is KL(BASE || TUNED) per token in nats; `agreement` the share of tokens at which both put the same token first.
    Both weigh tokens alike and carry a bootstrap interval over rows. `kl_p95` is the 95th percentile over rows of each
    row's mean. `unanswered` rows had no answer: there every token counts.
    """

    kl: Estimate
    kl_p95: float
    agreement: Estimate
    rows: int
    tokens: int
    unanswered: int


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Which weights. `sha256` is over the names and contents of the config and of the weight files."""

    name: str
    kind: Kind
    sha256: str
    dtypes: tuple[str, ...]  # as stored
    parameters: int


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows. `sha256` is of the file, `tokens` those that are no padding."""

    name: str
    sha256: str
    rows: int
    tokens: int


class Certificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured of the step from BASE to TUNED.

    It speaks of each matrix alone, with the inputs that it had in BASE: to first order. It speaks of inputs like those
    of the data. What several matrices do together is in `drift`, measured on the held-out rows and on no others.
    """

    format: str = FORMAT
    version: int = VERSION
    aligntax: str
    written: str  # UTC, ISO 8601
    packages: dict[str, str]
    dtype: str  # in which it was computed
    held_out_share: (
        float | None
    )  # of the rows of one file; None where the held-out rows have a file of their own
    max_tokens: int  # at which rows were cut
    chat: bool | None  # whether rows were read as talks; None: where BASE has a chat template
    target: float
    level: float
    base: Side
    tuned: Side
    calibration: Data
    held_out: Data
    displacement: float  # norm of all that changed
    matrices: tuple[Matrix, ...]
    outside: tuple[Outside, ...]
    settings: tuple[str, ...]  # entries of the configs that differ and change what the weights compute
    rounded: int  # parameters that differ by the storage type of TUNED alone; not counted as changed
    more_calibration: (
        int  # tokens that are missing for a verdict "inside" to be possible; 0 where there are enough
    )
    more_held_out: int  # the same of held-out ones, and about as many as would decide what is undecided
    drift: Drift
    ruling: Ruling
    notes: tuple[str, ...]


def leak_ruling(leak: Leak, target: float, *, enough: bool) -> Ruling:
    """What an interval of the held-out leak says of a target: decided only where all of it lies on one side.

    `enough`: whether there were as many tokens as a matrix of that width needs; without them it may be found
    outside, and never inside.
    """
    if leak.low > target:
        return "outside"
    return "inside" if enough and leak.high <= target else "undecided"


def overall(rulings: Iterable[Ruling], *, otherwise_changed: bool) -> Ruling:
    """The whole is outside where any part is, then undecided where any part is; `otherwise_changed`: outside the matrices."""
    found = set(rulings)
    if otherwise_changed or found & {"outside", "unmeasured"}:
        return "outside"
    if "undecided" in found:
        return "undecided"
    return "inside" if "inside" in found else "unchanged"


def changed(matrices: Iterable[Matrix]) -> list[Matrix]:
    """Those of the matrices that the step has changed."""
    return [matrix for matrix in matrices if matrix.ruling != "unchanged"]


def worst(matrices: Iterable[Matrix]) -> Matrix | None:
    """The one with the largest held-out leak; None where none was measured."""
    return max(
        (m for m in matrices if m.leak), key=lambda m: m.leak.held_out if m.leak else 0.0, default=None
    )


def gravest(matrices: Sequence[Matrix]) -> Matrix:
    """The one that weighs most in the verdict: outside first, and of those alike the one with the largest leak."""
    order = ("unchanged", "inside", "undecided", "unmeasured", "outside")
    return max(matrices, key=lambda m: (order.index(m.ruling), m.leak.held_out if m.leak else 0.0))


def by_kind(matrices: Sequence[Matrix]) -> dict[str, list[Matrix]]:
    """The matrices under their kind, kinds in the order of their first and layers from the input on."""
    kinds: dict[str, list[Matrix]] = {}
    for matrix in matrices:
        kinds.setdefault(matrix.kind, []).append(matrix)
    return {kind: sorted(found, key=lambda matrix: matrix.layer) for kind, found in kinds.items()}


def to_json(certificate: Certificate) -> str:
    """The certificate as a JSON document, indented."""
    return msgspec.json.format(msgspec.json.encode(certificate), indent=2).decode()


def from_json(path: str | Path) -> Certificate:
    """The certificate of a file that `aligntax weights certify --json` has printed.

    Raises InputError where it cannot be read, is none, or is of another version.
    """
    try:
        raw = Path(path).read_bytes()
        said = msgspec.json.decode(raw)
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise InputError("this is no certificate", where=str(path), remedy=_REMEDY)
        if said.get("version") != VERSION:
            raise InputError(
                f"a certificate of version {said.get('version')!r}, and this reads {VERSION}",
                where=str(path),
                remedy="certify again with this aligntax",
            )
        return msgspec.json.decode(raw, type=Certificate)
    except OSError as fault:
        raise InputError(f"cannot be read: {fault.strerror}", where=str(path), remedy=_REMEDY) from fault
    except msgspec.MsgspecError as fault:
        raise InputError("this is no whole certificate", where=str(path), remedy=_REMEDY) from fault


_REMEDY = "give a file that `aligntax weights certify --json` has printed"
