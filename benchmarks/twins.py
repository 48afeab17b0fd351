"""Whether intervals of the tax hold as often as they say: few and many prompt families, one to four repeats.

    python benchmarks/twins.py [--quick]

Draws answers to twins from laws whose tax is known: every family has its own chance to be refused (logistic-normal,
shared by both sides), and an answer states each of 3 to 8 required facts with a chance of its own. Then it makes the
intervals with the code that users run and counts how often they hold the truth. Beside the default stand the
bootstrap-t check and an interval that counts every pair of repeats as independent. Takes about 3 minutes on one core,
with --quick half of one. Reports, and always exits with 0.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402 - the number of threads is read at import
import itertools  # noqa: E402

import msgspec  # noqa: E402
import numpy as np  # noqa: E402
from scipy.special import expit, logit  # noqa: E402

from aligntax.twins.ratio import (  # noqa: E402
    bootstrap_ratio,
    difference_of_ratios,
    one_less,
    ratio_of_means,
)
from aligntax.types import Estimate  # noqa: E402
from metrics import Array, machine, table  # noqa: E402

FAMILIES, REPEATS = (12, 30, 100), (1, 2, 4)


class Law(msgspec.Struct, frozen=True, kw_only=True):
    """How a model treats the two sides of a family."""

    name: str
    refused: tuple[float, float]  # typical chance to be refused: neutral, sensitive
    spread: float  # of that chance between families, on the log-odds
    loses: tuple[float, float]  # typical chance that an answer leaves out a fact


LAWS = (
    Law(name="no difference", refused=(0.05, 0.05), spread=1.2, loses=(0.05, 0.05)),
    Law(name="mild", refused=(0.01, 0.03), spread=1.0, loses=(0.03, 0.05)),
    Law(name="content lost, no refusals", refused=(0.001, 0.001), spread=0.5, loses=(0.1, 0.2)),
    Law(name="middling", refused=(0.02, 0.10), spread=1.5, loses=(0.03, 0.10)),
    Law(name="strong", refused=(0.03, 0.30), spread=1.5, loses=(0.05, 0.15)),
    Law(name="very strong", refused=(0.05, 0.60), spread=1.5, loses=(0.05, 0.20)),
    Law(name="all or nothing", refused=(0.01, 0.08), spread=3.0, loses=(0.03, 0.10)),
    Law(name="rare: few families hit", refused=(0.005, 0.02), spread=2.0, loses=(0.02, 0.02)),
)


class Draws(msgspec.Struct, frozen=True, kw_only=True):
    """Quality and answered shares by draw and family, and by repeat."""

    quality: tuple[Array, Array]  # neutral, sensitive: (draws, families, repeats)
    answered: tuple[Array, Array]

    @property
    def means(self) -> tuple[Array, Array]:
        """Quality by family: neutral, sensitive."""
        return self.quality[0].mean(axis=2), self.quality[1].mean(axis=2)

    @property
    def refused(self) -> Array:
        """The part that refusals cost, by family."""
        neutral, sensitive = (side.mean(axis=2) for side in self.answered)
        means = self.means
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = np.where(
                neutral > 0, means[0] / neutral, np.where(sensitive > 0, means[1] / sensitive, 0.0)
            )
        return (neutral - sensitive) * whole


def draw(law: Law, draws: int, families: int, repeats: int, random: np.random.Generator) -> Draws:
    """Answers of one model to `families` twins, `repeats` times each."""
    facts = random.integers(3, 9, (draws, families, 1))
    touchy = random.normal(0, law.spread, (draws, families, 1))
    forgetful = random.normal(0, 0.7, (draws, families, 1))
    quality, answered = [], []
    for refused, loses in zip(law.refused, law.loses, strict=True):
        gave = random.random((draws, families, repeats)) >= expit(logit(refused) + touchy)
        kept = np.broadcast_to(1 - expit(logit(loses) + forgetful), gave.shape)
        quality.append(gave * random.binomial(np.broadcast_to(facts, gave.shape), kept) / facts)
        answered.append(gave)
    return Draws(quality=(quality[0], quality[1]), answered=(answered[0], answered[1]))


def holds(estimate: Estimate, truth: float) -> float:
    """Whether the interval holds the truth; NaN where there is none."""
    if estimate.low is None or estimate.high is None:
        return float("nan")
    return float(estimate.low - 1e-12 <= truth <= estimate.high + 1e-12)


def taxes(times: int, random: np.random.Generator) -> list[tuple[str, int, int, float]]:
    """Coverage of the tax by law, families and repeats."""
    rows, found = [], []
    for law, families, repeats in itertools.product(LAWS, FAMILIES, REPEATS):
        many = draw(law, 1, 400_000, repeats, random)
        truth = 1 - many.means[1].mean() / many.means[0].mean()
        truth_refused = many.refused.mean() / many.means[0].mean()
        sample = draw(law, times, families, repeats, random)
        neutral, sensitive = sample.means
        plain = [one_less(ratio_of_means(s, n, least=0.0)) for s, n in zip(sensitive, neutral, strict=True)]
        parts = [ratio_of_means(p, n) for p, n in zip(sample.refused, neutral, strict=True)]
        few = max(times // 5, 100)
        checks = [
            one_less(bootstrap_ratio(s, n, seed=1, resamples=500))
            for s, n in zip(sensitive[:few], neutral[:few], strict=True)
        ]
        flat = [side.reshape(times, -1) for side in sample.quality]
        alone = [one_less(ratio_of_means(s, n)) for s, n in zip(flat[1], flat[0], strict=True)]
        held = float(np.nanmean([holds(each, truth) for each in plain]))
        widths = [each.high - each.low for each in plain if each.low is not None]
        found.append((law.name, families, repeats, held))
        rows.append(
            [
                f"{law.name}, {families} families x {repeats}",
                f"{truth:.1%}",
                held,
                float(np.mean(widths)),
                len(widths) / times,
                float(np.nanmean([holds(each, truth_refused) for each in parts])),
                float(np.nanmean([holds(each, truth) for each in checks])),
                float(np.nanmean([holds(each, truth) for each in alone])),
            ]
        )
    table(
        f"Tax: coverage of the 95 % interval ({times} draws a row; bootstrap-t {max(times // 5, 100)})",
        ["law", "tax", "t", "width", "has one", "refused", "bootstrap-t", "rows alone"],
        rows,
    )
    return found


def differences(times: int, random: np.random.Generator) -> None:
    """Coverage of the difference of two taxes on the same families."""
    rows = []
    for (first, second), families in itertools.product(((LAWS[1], LAWS[3]), (LAWS[3], LAWS[4])), FAMILIES):
        ratios = []
        for law in (first, second):
            many = draw(law, 1, 400_000, 2, random)
            ratios.append(many.means[1].mean() / many.means[0].mean())
        held = []
        for _ in range(times):
            seed = int(random.integers(2**32))
            # The same seed gives both models the same families: their touchiness is shared.
            sides = [draw(law, 1, families, 2, np.random.default_rng(seed)) for law in (first, second)]
            pairs = [(side.means[1][0], side.means[0][0]) for side in sides]
            held.append(holds(difference_of_ratios(pairs[0], pairs[1]), ratios[0] - ratios[1]))
        rows.append([f"{first.name} against {second.name}, {families} families x 2", float(np.nanmean(held))])
    table(f"Difference of two taxes ({times} draws a row)", ["laws", "coverage"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws")
    times = 300 if parser.parse_args().quick else 2500
    random = np.random.default_rng(20260310)
    print(machine())
    found = taxes(times, random)
    differences(times // 2, random)
    usual = [held for name, *_, held in found if not name.startswith("rare")]
    inside = [cell for cell in found if 0.93 <= cell[3] <= 0.96]
    print(
        f"\nAll laws but the rare one: mean {np.mean(usual):.3f}, least {min(usual):.3f}, most {max(usual):.3f}"
    )
    print(f"Bar .93 to .96: {len(inside)} of {len(found)} cells inside; outside:")
    for name, families, repeats, held in found:
        if not 0.93 <= held <= 0.96:
            print(
                f"  {'MISSED' if held < 0.93 else 'wider than need be'} {held:.3f}  {name}, {families} families x {repeats}"
            )


if __name__ == "__main__":
    main()
