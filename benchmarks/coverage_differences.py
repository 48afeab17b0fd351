"""Whether intervals of differences, ratios, sequences and agreement hold as often as they say.

    python benchmarks/coverage_differences.py [--quick] [--only NAME ...]

Each part draws from laws whose truth is known, makes the interval with the code that users run, and counts how often
it holds the truth; beside it stands what people commonly use. Paired methods are summed up exactly, over every table.
Takes about 3 minutes on one core, with --quick less than half of one. Reports, and always exits with 0.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402 - the number of threads is read at import
import itertools  # noqa: E402
import math  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402
from scipy.special import expit, ndtri  # noqa: E402
from scipy.stats import binomtest, chi2, multinomial, t  # noqa: E402

from aligntax.stats.agreement import alpha  # noqa: E402
from aligntax.stats.allocation import allocate, strata_edges  # noqa: E402
from aligntax.stats.difference import (  # noqa: E402
    family_t,
    mcnemar_midp,
    mover,
    newcombe,
    paired_ratio,
    ratio_of_medians,
    tango,
)
from aligntax.stats.profile import profile_interval  # noqa: E402
from aligntax.stats.sequential import evidence_against, planned_looks  # noqa: E402
from aligntax.types import Estimate  # noqa: E402
from metrics import Array, machine, table  # noqa: E402

Z = float(ndtri(0.975))
EXCHANGES = 20_000  # in each log that labels are drawn from
LONGEST = 500  # labels after which nobody looks any more


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether an interval is there and holds the truth."""
    return estimate.low is not None and estimate.low - 1e-12 <= truth <= estimate.high + 1e-12


def share_held(estimates: list[Estimate], truth: float) -> float:
    """How often intervals hold the truth."""
    return float(np.mean([holds(each, truth) for each in estimates]))


def mean_width(estimates: list[Estimate]) -> float:
    """Of the intervals that are there."""
    return float(np.mean([each.high - each.low for each in estimates]))


# -- MOVER ---------------------------------------------------------------------------------------------------


class Traffic:
    """What one log looks like to a detector: weights, mean scores and true rates of its strata.

    Scores are calibrated probabilities from two normal laws that `accuracy` tells apart (Se = Sp = accuracy); a
    share `blind` of the positives has the scores of negatives, of which the detector and the plan know nothing.
    """

    def __init__(self, rate: float, accuracy: float, blind: float, random: np.random.Generator) -> None:
        apart, rows = 2 * ndtri(accuracy), 400_000
        positive = random.random(rows) < rate
        shown = positive & (random.random(rows) >= blind)
        evidence = random.normal(size=rows) + apart * shown
        seen = rate * (1 - blind)
        scores = expit(apart * evidence - apart**2 / 2 + math.log(seen / (1 - seen)))
        number = np.searchsorted(strata_edges(scores), scores, side="right")
        sizes = np.bincount(number)
        self.weights = sizes / rows
        self.expected = np.bincount(number, weights=scores) / sizes
        self.rates = np.bincount(number, weights=positive) / sizes
        self.truth = float(positive.mean())

    def labelled(self, labels: int, times: int, random: np.random.Generator) -> list[Estimate]:
        """Estimates from `labels` labels in each of `times` logs of this traffic."""
        sizes = random.multinomial(EXCHANGES, self.weights, size=times)
        drawn = np.array([allocate(row, self.expected, labels) for row in sizes])
        positives = random.binomial(drawn, self.rates)
        found = profile_interval(np.stack([positives, drawn - positives], axis=2), sizes)
        return [
            Estimate(
                value=value,
                low=low,
                high=high,
                level=0.95,
                n=EXCHANGES,
                n_labels=labels,
                method="profile",
                corrected=True,
            )
            for value, low, high in zip(
                found.value.tolist(), found.low.tolist(), found.high.tolist(), strict=True
            )
        ]


def mover_coverage(times: int, random: np.random.Generator) -> None:
    rows = []
    for base, gap, accuracy, blind in itertools.product(
        (0.02, 0.07, 0.20, 0.40), (0.0, 0.03, 0.10), (0.85, 0.95), (0.0, 0.25)
    ):
        sides = [Traffic(rate, accuracy, blind, random) for rate in (base + gap, base)]
        truth = sides[0].truth - sides[1].truth
        row: list[float | str] = [
            f"{base:.0%} + {100 * gap:.0f} points, accuracy {accuracy:.0%}, blind {blind:.0%}"
        ]
        for labels in (100, 200):
            pairs = zip(*(side.labelled(labels, times, random) for side in sides), strict=True)
            planned = [mover(a, b) for a, b in pairs]
            hits = [random.binomial(labels, side.truth, size=times).tolist() for side in sides]
            by_chance = [newcombe(a, labels, b, labels) for a, b in zip(*hits, strict=True)]
            row += [
                share_held(planned, truth),
                mean_width(planned),
                share_held(by_chance, truth),
                mean_width(by_chance),
            ]
        rows.append(row)
    table(
        f"MOVER of two profile intervals over score strata (nominal .95, {times} draws a row), and Newcombe on random labels",
        [
            "rate, gap, detector",
            *(head for n in (100, 200) for head in (f"{n} a side", "width", "Newcombe", "width")),
        ],
        rows,
    )
    cells = np.array([row[1:] for row in rows], dtype=float).reshape(len(rows), 2, 4)
    for at, labels in enumerate((100, 200)):
        held, width, by_chance, chance_width = cells[:, at].T
        print(
            f"{labels} labels a side: mean {held.mean():.3f}, least {held.min():.3f}, width {width.mean():.3f}; "
            f"Newcombe mean {by_chance.mean():.3f}, least {by_chance.min():.3f}, width {chance_width.mean():.3f}"
        )


# -- pairs ---------------------------------------------------------------------------------------------------


def paired_coverage(times: int, random: np.random.Generator) -> None:
    """No draws: every table of n pairs, with its exact chance."""
    size_rows, holds_rows = [], []
    for n in (20, 50) if times < 1000 else (20, 50, 100):
        tables = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
        b, c = np.array(tables).T
        ends = np.array([(each.low, each.high) for each in (tango(*pair, n) for pair in tables)])
        difference = (b - c) / n
        half = Z * np.sqrt(np.maximum(b + c - (b - c) ** 2 / n, 0)) / n
        midp = {pair: mcnemar_midp(*pair) for pair in tables if pair[0] <= pair[1]}
        mid = np.array([midp[min(pair), max(pair)] for pair in tables])
        exact = {pair: binomtest(pair[0], sum(pair)).pvalue if sum(pair) else 1.0 for pair in midp}
        conditional = np.array([exact[min(pair), max(pair)] for pair in tables])
        squared = np.divide((b - c) ** 2, b + c, out=np.zeros(len(b)), where=b + c > 0)
        sizes = []
        for differing in np.arange(0.02, 1.0, 0.02):
            chance = multinomial.pmf(
                np.stack([b, c, n - b - c], 1), n, [differing / 2, differing / 2, 1 - differing]
            )
            sizes.append([float(chance @ (p <= 0.05)) for p in (mid, conditional, chi2.sf(squared, 1))])
        largest, mean = np.max(sizes, axis=0), np.mean(sizes, axis=0)
        size_rows.append(
            [f"{n} pairs", *(float(v) for pair in zip(mean, largest, strict=True) for v in pair)]
        )
        for gap in (0.0, 0.05, 0.20):
            for less in (0.02, 0.10, 0.25):
                chance = multinomial.pmf(
                    np.stack([b, c, n - b - c], 1), n, [less + gap, less, 1 - 2 * less - gap]
                )
                score = float(chance @ ((ends[:, 0] <= gap + 1e-12) & (gap - 1e-12 <= ends[:, 1])))
                wald = float(chance @ (np.abs(difference - gap) <= half + 1e-12))
                holds_rows.append([f"{n} pairs, gap {gap:.0%}", f"{2 * less + gap:.0%}", score, wald])
    table(
        "Size of paired tests at .05 over 2 % to 98 % of pairs that differ (exact)",
        ["", "mid-p mean", "most", "exact mean", "most", "chi-squared mean", "most"],
        size_rows,
    )
    table(
        "Paired difference: how often 95 % intervals hold (exact)",
        ["", "pairs differ", "Tango", "Wald"],
        holds_rows,
    )


# -- families ------------------------------------------------------------------------------------------------


def twin_differences(
    base: float, families: int, times: int, random: np.random.Generator
) -> tuple[Array, float]:
    """Refused (sensitive) - refused (neutral): (times, families, 5 variants, 4 repeats), and its true mean.

    Families and variants move both sides on the log-odds, families move the gap too.
    """

    def draw(shape: tuple[int, ...]) -> tuple[Array, Array]:
        level = (
            np.log(base / (1 - base))
            + random.normal(0, 1.0, (*shape, 1, 1))
            + random.normal(0, 0.6, (*shape, 5, 1))
        )
        gap = 1.0 + random.normal(0, 0.8, (*shape, 1, 1)) + random.normal(0, 0.4, (*shape, 5, 1))
        return expit(level + gap), expit(level)

    sensitive, neutral = draw((400_000,))
    truth = float((sensitive - neutral).mean())
    sensitive, neutral = draw((times, families))
    shape = (times, families, 5, 4)
    return (random.random(shape) < sensitive) * 1.0 - (random.random(shape) < neutral), truth


def family_coverage(times: int, random: np.random.Generator) -> None:
    rows = []
    for base, families in itertools.product((0.02, 0.10, 0.30), (12, 30, 100)):
        differences, truth = twin_differences(base, families, times, random)
        names = np.repeat(np.arange(families), 20).tolist()
        held = {"t": [], "z": [], "pairs": [], "bootstrap": []}
        missing = 0
        for each in differences:
            estimate = family_t(each.ravel(), names)
            missing += estimate.low is None
            held["t"].append(holds(estimate, truth))
            flat, prompts, means = each.ravel(), each.mean(axis=2).ravel(), each.mean(axis=(1, 2))
            held["z"].append(abs(flat.mean() - truth) <= Z * flat.std(ddof=1) / math.sqrt(len(flat)) + 1e-12)
            half = t.ppf(0.975, len(prompts) - 1) * prompts.std(ddof=1) / math.sqrt(len(prompts))
            held["pairs"].append(abs(prompts.mean() - truth) <= half + 1e-12)
            again = random.choice(means, (400, families)).mean(axis=1)
            low, high = np.quantile(again, [0.025, 0.975])
            held["bootstrap"].append(low <= truth <= high)
        rows.append(
            [
                f"{families} families, neutral {base:.0%}",
                truth,
                *(float(np.mean(values)) for values in held.values()),
                missing / times,
            ]
        )
    heads = [
        "5 variants x 4 repeats",
        "true gap",
        "family t",
        "z on rows",
        "t on prompts",
        "family bootstrap",
    ]
    table(
        f"Mean twin difference: how often 95 % intervals hold ({times} draws a row; no interval counts as a miss)",
        [*heads, "no interval"],
        rows,
    )


def ratio_coverage(times: int, random: np.random.Generator) -> None:
    rows = []
    for n in (12, 40, 200, 2000):
        held: list[list[bool]] = [[], [], []]
        for seed in range(times):
            a, b = np.exp(random.normal(0.2, 0.7, n)), np.exp(random.normal(0.0, 0.7, n))
            held[0].append(holds(ratio_of_medians(a, b, seed=seed, resamples=1000), math.exp(0.2)))
            geometric, median = paired_ratio(random.exponential(size=n))  # skewed: mean 1, median log 2
            held[1].append(holds(geometric, math.e))
            held[2].append(holds(median, 2.0))
        rows.append([f"{n} a side, or pairs", *(float(np.mean(values)) for values in held)])
    heads = ["", "ratio of medians", "geometric mean of pairs", "median of pairs"]
    table(f"Ratios of lengths: how often 95 % intervals hold ({times} draws a row)", heads, rows)


# -- looks ---------------------------------------------------------------------------------------------------


def wilson_ends(hits: Array, n: Array, z: Array | float) -> tuple[Array, Array]:
    centre, half = hits + np.square(z) / 2, z * np.sqrt(hits * (n - hits) / n + np.square(z) / 4)
    return (centre - half) / (n + np.square(z)), (centre + half) / (n + np.square(z))


def sequence_coverage(times: int, random: np.random.Generator) -> None:
    rows = []
    n = np.arange(1, LONGEST + 1)
    grid = np.linspace(0.0005, 0.9995, 2000)
    for rate in (0.005, 0.02, 0.07, 0.20, 0.38):
        hits = np.cumsum(random.random((times, LONGEST)) < rate, axis=1)
        low, high = wilson_ends(hits, n, Z)
        row: list[float | str] = [f"{rate:.1%}", float(((rate < low) | (rate > high)).any(axis=1).mean())]
        for prior in (rate, min(3 * rate, 0.9), 0.5):
            against = evidence_against(rate, hits, n, prior)
            row += [float((against >= math.log(20)).any(axis=1).mean())]
        for spending in ("even", "late"):
            looks = np.array([125, 250, 375, 500])
            z = ndtri(1 - (1 - planned_looks(0.05, 4, spending=spending)) / 2)
            low, high = wilson_ends(hits[:, looks - 1], looks, z)
            row.append(float(((rate < low) | (rate > high)).any(axis=1).mean()))
        few = hits[:200, 199, None]
        inside = evidence_against(grid, few, np.array([[200.0]]), rate) < math.log(20)
        low, high = wilson_ends(hits[:, 199], np.array(200), Z)
        row += [float(inside.mean(axis=1).mean()), float((high - low).mean())]
        rows.append(row)
    heads = ["true rate", "Wilson, every label", "sequence", "prior x 3", "prior .5"]
    table(
        f"Looks up to {LONGEST} random labels: how often the truth is lost at least once ({times} runs, nominal .05)",
        [*heads, "4 even looks", "4 late looks", "width at 200", "Wilson's"],
        rows,
    )


# -- agreement -----------------------------------------------------------------------------------------------


def two_raters(items: int, prevalence: float, error: float, random: np.random.Generator) -> Array:
    truth = random.random(items) < prevalence
    return (truth ^ (random.random((2, items)) < error)).astype(float)


def graded(items: int, error: float, random: np.random.Generator) -> Array:
    """Grades 0 to 3 by three raters, each a step off with chance `error`, one label in five missing."""
    truth = random.choice(4, size=items, p=[0.6, 0.2, 0.15, 0.05])
    steps = random.choice([-1, 0, 1], size=(3, items), p=[error / 2, 1 - error, error / 2])
    grades = np.clip(truth + steps, 0, 3).astype(float)
    grades[random.random(grades.shape) < 0.2] = np.nan
    return grades


def alpha_coverage(times: int, random: np.random.Generator) -> None:
    cells: list[tuple[str, str, Callable[[int], Array]]] = [
        (
            f"{prevalence:.0%} positive, raters err {error:.0%}",
            "nominal",
            lambda items, p=prevalence, e=error: two_raters(items, p, e, random),
        )
        for prevalence, error in itertools.product((0.05, 0.30), (0.01, 0.05, 0.15))
    ]
    cells.append(
        ("grades 0 to 3, three raters err 20 %", "ordinal", lambda items: graded(items, 0.2, random))
    )
    rows = []
    for name, scale, draw in cells:
        truth = alpha(draw(400_000), scale, resamples=2).value
        for items in (30, 100, 300):
            found = [alpha(draw(items), scale, seed=seed, resamples=600) for seed in range(times)]
            defined = [each for each in found if each.value is not None]
            rows.append(
                [
                    name,
                    items,
                    float(truth),
                    share_held(defined, truth),
                    float(np.mean([each.low > truth for each in defined])),
                    float(np.mean([each.high < truth for each in defined])),
                    mean_width(defined),
                    1 - len(defined) / times,
                ]
            )
    heads = ["", "items", "true alpha", "holds", "too high", "too low", "width", "not defined"]
    table(
        f"Krippendorff's alpha: how often its 95 % bootstrap interval holds ({times} draws a row)",
        heads,
        rows,
    )


PARTS: dict[str, tuple[Callable[[int, np.random.Generator], None], int, int]] = {
    "mover": (mover_coverage, 1500, 150),
    "paired": (paired_coverage, 1000, 100),
    "families": (family_coverage, 1000, 150),
    "ratios": (ratio_coverage, 2000, 200),
    "sequence": (sequence_coverage, 4000, 500),
    "alpha": (alpha_coverage, 1000, 100),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer draws: shows that it runs, not what holds"
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME", help=", ".join(PARTS)
    )
    asked = parser.parse_args()
    print(f"seed 20260501, {machine()}")
    for name in asked.only:
        part, times, few = PARTS[name]
        start = time.process_time()
        part(few if asked.quick else times, np.random.default_rng(20260501))
        print(f"({name}: {time.process_time() - start:.0f} s of processor time)", flush=True)


if __name__ == "__main__":
    main()
