"""How often intervals hold the truth, and how wide they are, where the truth is known.

    python benchmarks/coverage.py [--replications N] [--quick]

Rates, detectors, blind spots and numbers of labels as in `label_draws.py`, which says what is made up. Beside the
profile interval, with plain ends, with careful ones, and as they are printed and decided by: the effective number of
labels, PPI++ (`ppi-python`) and Wilson on as many labels drawn at random. Takes about 17 minutes on one core; --quick a
tenth of it. Always exits with 0, and prints the bars as met or MISSED.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402 - the number of threads is read at import
import itertools  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from functools import partial  # noqa: E402

sys.modules["coverage"] = None  # numba, under ppi-python, looks for a package and would find this file

import numpy as np  # noqa: E402
import ppi_py  # noqa: E402
from scipy.stats import binom  # noqa: E402

from aligntax.estimate.ends import FEW, interval_ends  # noqa: E402
from aligntax.stats.profile import Population, profile_interval  # noqa: E402
from aligntax.stats.rate import effective_n, wilson  # noqa: E402
from label_draws import Array, Draws, Traffic, draw, draw_in_two_phases  # noqa: E402

RATES, ACCURACIES, BLIND, LABELS = (0.005, 0.02, 0.07, 0.38), (0.85, 0.90, 0.95), (0.0, 0.25), (50, 100, 200)
SIZE, SMALL = 100_000, 1_000
WORST_BAR, AVERAGE_BAR = 0.92, 0.94
GATE_BAR = 0.94  # a gate promises 0.95 everywhere; the lowest of many simulated cells is low by chance
DOUBTFUL, MORE = 0.012, 5  # a cell less than this over the bar is measured anew, with so many times the draws
SLOW_SHARE = 0.15  # of the replications, for methods that take one problem at a time
UNLABELLED = 20_000  # for PPI++
SEED = 20240

Ends = tuple[Array, Array]
Cell = tuple[Traffic, int]


class Tally:
    """Coverage and width of one method over cells."""

    def __init__(self, name: str, side: str = "two", bar: float = WORST_BAR) -> None:
        self.name, self.side, self.bar = name, side, bar
        self.cells: list[tuple[float, float, int, Cell]] = []

    def add(self, cell: Cell, measure: Callable[[int], tuple[Array | float, Ends]], replications: int) -> str:
        """Counts a cell and gives "coverage width" to print; `measure` gives truth and ends of so many draws.

        Of many cells the lowest is low by chance: what lies near the bar is measured anew, and the first
        measurement thrown away.
        """
        coverage, width = measured(*measure(replications), self.side)
        if coverage < self.bar + DOUBTFUL:
            replications *= MORE
            coverage, width = measured(*measure(replications), self.side)
        return self.add_measured(cell, coverage, width, replications)

    def add_measured(self, cell: Cell, coverage: float, width: float, replications: int) -> str:
        """As `add`, of a cell that was measured; `replications` is 0 where nothing was simulated."""
        self.cells.append((coverage, width, replications, cell))
        return f"{coverage:.3f} {width:.4f}"

    def verdict(self) -> str:
        """The worst cell, the average, and whether the bars are met."""
        coverage, _, replications, (traffic, labels) = min(self.cells, key=lambda cell: cell[0])
        average = np.mean([cell[0] for cell in self.cells])
        error = f" +- {1.96 * np.sqrt(coverage * (1 - coverage) / replications):.3f}" if replications else ""
        under = sum(cell[0] < self.bar for cell in self.cells)
        met = "met" if not under and average >= AVERAGE_BAR else "MISSED"
        place = f"rate {traffic.rate:.1%}, accuracy {traffic.accuracy:.0%}, blind {traffic.blind:.0%}"
        place += f", domain {traffic.domain:.0%}" if traffic.domain < 1 else ""
        return (
            f"{self.name}: worst {coverage:.3f}{error} ({place}, {labels} labels), average {average:.3f}, "
            f"{under} of {len(self.cells)} cells under {self.bar}; "
            f"bar never below {self.bar}, average >= {AVERAGE_BAR}: {met}"
        )


def measured(truth: Array | float, ends: Ends, side: str = "two") -> tuple[float, float]:
    """Share of intervals that hold the truth, and their mean width: of an open bound, its distance from the truth."""
    low, high = (np.array(end) for end in ends)
    at = np.broadcast_to(truth, low.shape)
    held = (low <= at + 1e-9) & (high >= at - 1e-9)
    if side == "high":
        low = at
    elif side == "low":
        high = at
    return float(held.mean()), float((high - low).mean())


def cells(domains: tuple[float, ...] = (1.0,), labels: tuple[int, ...] = LABELS) -> Iterator[Cell]:
    for domain, rate, accuracy, blind in itertools.product(domains, RATES, ACCURACIES, BLIND):
        traffic = Traffic(rate, accuracy, blind, domain)
        for many in labels:
            yield traffic, many


def named(cell: Cell) -> str:
    traffic, labels = cell
    domain = f"{traffic.domain:5.0%} " if traffic.domain < 1 else ""
    return f"{domain}{traffic.rate:6.1%} {traffic.accuracy:5.0%} {traffic.blind:5.0%} {labels:5d}"


# -- methods -------------------------------------------------------------------------------------------------


def by_profile(drawn: Draws, **options: object) -> Ends:
    found = profile_interval(drawn.counts, drawn.sizes, **options)
    return found.low, found.high


def as_printed(drawn: Draws, population: Population = "future") -> Ends:
    """What `aligntax estimate` prints: careful ends where few were found."""
    labelled = drawn.counts[:, :, :2].sum(axis=1)
    found, _ = interval_ends(drawn.counts, drawn.sizes, labelled, population=population)
    return found.low, found.high


def as_gated(drawn: Draws, side: str) -> Ends:
    """What `aligntax gate` decides by at 95 % confidence: one careful end."""
    return by_profile(drawn, side=side, careful=True)


def by_effective_n(drawn: Draws) -> Ends:
    found = [effective_n(*row.T, sizes=sizes) for row, sizes in zip(drawn.counts, drawn.sizes, strict=True)]
    return np.array([one.low for one in found]), np.array([one.high for one in found])


def by_ppi(traffic: Traffic, labels: int, random: np.random.Generator, replications: int) -> Ends:
    """PPI++ on labels drawn at random, with the calibrated probability as the prediction."""
    low, high = np.empty(replications), np.empty(replications)
    for number in range(replications):
        truth = random.random(labels + UNLABELLED) < traffic.rate
        seen = truth & (random.random(labels + UNLABELLED) >= traffic.blind)
        forecast = traffic.probabilities(random, labels + UNLABELLED, seen.astype(float))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it divides by a variance of 0 where no label is positive
            ends = ppi_py.ppi_mean_ci(
                truth[:labels].astype(float), forecast[:labels], forecast[labels:], alpha=0.05
            )
        low[number], high[number] = (float(np.ravel(end)[0]) for end in ends)
    return low, high


def wilson_of(rate: float, labels: int) -> tuple[float, float]:
    """Coverage and mean width of Wilson's interval: summed over all samples, not simulated."""
    spread = 9 * np.sqrt(labels * rate * (1 - rate)) + 9
    found = np.arange(max(0, int(labels * rate - spread)), min(labels, int(labels * rate + spread)) + 1)
    chance = binom.pmf(found, labels, rate)
    estimates = [wilson(int(positives), labels) for positives in found]
    low, high = (np.array([getattr(one, end) for one in estimates]) for end in ("low", "high"))
    return float(chance[(low <= rate) & (high >= rate)].sum()), float(chance @ (high - low))


def labels_for(rate: float, width: float) -> int:
    """Labels drawn at random whose Wilson interval has that mean width."""
    few, many = 1, 200_000
    while many > few * 1.01 and many - few > 1:
        middle = int(np.sqrt(few * many)) if many > 2 * few else (few + many) // 2
        few, many = (middle, many) if wilson_of(rate, middle)[1] > width else (few, middle)
    return many


# -- tables --------------------------------------------------------------------------------------------------


def main_table(replications: int) -> list[str]:
    """The default beside others: 100,000 exchanges, two-sided 95 %, traffic like them."""
    random, few = np.random.default_rng(SEED), max(int(replications * SLOW_SHARE), 20)
    printed = Tally(f"as printed (careful where fewer than {FEW} were found)")
    plain, careful = Tally("profile, plain"), Tally("profile, careful")
    others = [Tally("effective n"), Tally("PPI++, random labels"), Tally("Wilson, random labels")]
    print(
        f"Coverage and mean width of 95 % intervals, {SIZE:,} exchanges, 4 score strata (8 from 200 labels), {replications} draws"
    )
    print(
        f"(effective n and PPI++ {few} draws; Wilson exact; x: random labels of the same Wilson width / labels)"
    )
    print(
        "  rate   acc blind labels | as printed   | plain        | careful      | effective n  | PPI++        | Wilson       |    x"
    )
    for cell in cells():
        traffic, labels = cell

        def drawn(
            many: int, method: Callable[[Draws], Ends], traffic: Traffic = traffic, labels: int = labels
        ) -> tuple[float, Ends]:
            return traffic.rate, method(draw(traffic, SIZE, labels, random, many))

        columns = [
            printed.add(cell, partial(drawn, method=as_printed), replications),
            plain.add(cell, partial(drawn, method=by_profile), replications),
            careful.add(cell, partial(drawn, method=partial(by_profile, careful=True)), few),
            # These miss by far: no second measurement is needed to see it.
            others[0].add_measured(cell, *measured(*drawn(few, by_effective_n)), few),
            others[1].add_measured(cell, *measured(traffic.rate, by_ppi(traffic, labels, random, few)), few),
            others[2].add_measured(cell, *wilson_of(traffic.rate, labels), 0),
        ]
        equal = labels_for(traffic.rate, printed.cells[-1][1]) / labels
        print(f"{named(cell)} | {' | '.join(columns)} | {equal:4.1f}", flush=True)
    return [tally.verdict() for tally in (printed, plain, careful, *others)]


def side_table(
    tally: Tally,
    grid: list[Cell],
    sample: Callable[[Traffic, int, int], Draws],
    replications: int,
    method: Callable[[Draws], Ends] = as_printed,
    *,
    of_log: bool = False,
) -> str:
    """One variant of the profile interval over a grid; `of_log` holds it against the rate of these exchanges."""
    print(f"\n{tally.name}: coverage and mean width")

    def measure(many: int, cell: Cell) -> tuple[Array | float, Ends]:
        drawn = sample(*cell, many)
        return drawn.truth if of_log else cell[0].rate, method(drawn)

    for traffic, same in itertools.groupby(grid, key=lambda cell: cell[0]):
        columns = [
            f"{cell[1]}: {tally.add(cell, partial(measure, cell=cell), replications)}" for cell in same
        ]
        print(f"{named((traffic, 0))[:-6]} | {' | '.join(columns)}", flush=True)
    return tally.verdict()


def variants(replications: int) -> list[str]:
    """Small populations, ratios, two phases."""
    sample = Samples(SEED + 1)
    table = partial(side_table, replications=replications)
    whole, ratio = list(cells()), list(cells(domains=(0.6, 0.9)))
    return [
        table(Tally("as printed, ratio: 60 % or 90 % should be answered"), ratio, sample.at_once),
        table(Tally("plain, ratio"), ratio, sample.at_once, method=by_profile),
        table(
            Tally("as printed, pilot of 50, then shared out again"),
            list(cells(labels=(100, 200))),
            sample.in_phases,
        ),
        table(Tally(f"as printed, {SMALL:,} exchanges, of traffic like them (future)"), whole, sample.of_few),
        table(
            Tally(f"as printed, {SMALL:,} exchanges, of these (log)"),
            whole,
            sample.of_few,
            method=partial(as_printed, population="log"),
            of_log=True,
        ),
    ]


def gates(replications: int) -> list[str]:
    """Bounds on one side, by which a gate decides."""
    sample, lines = Samples(SEED + 2), []
    for side, bound in (("low", "lower bound"), ("high", "upper bound")):
        gate = f"as the gate decides, {bound} at 95 %"
        table = partial(side_table, replications=replications, method=partial(as_gated, side=side))
        whole, ratio = list(cells()), list(cells(domains=(0.6, 0.9)))
        lines += [
            table(Tally(gate, side, GATE_BAR), whole, sample.at_once),
            table(Tally(f"{gate}, ratio", side, GATE_BAR), ratio, sample.at_once),
            table(
                Tally(f"{gate}, two phases", side, GATE_BAR), list(cells(labels=(100, 200))), sample.in_phases
            ),
            table(
                Tally(f"plain, {bound} at 95 %", side),
                whole,
                sample.at_once,
                method=partial(by_profile, side=side),
            ),
        ]
    return lines


class Samples:
    """Ways to draw, that share one generator of random numbers."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def at_once(self, traffic: Traffic, labels: int, many: int) -> Draws:
        """All labels at once, from a large log."""
        return draw(traffic, SIZE, labels, self.random, many)

    def of_few(self, traffic: Traffic, labels: int, many: int) -> Draws:
        """All labels at once, from a small log."""
        return draw(traffic, SMALL, labels, self.random, many)

    def in_phases(self, traffic: Traffic, labels: int, many: int) -> Draws:
        """A pilot, then the rest by what it has shown, from a large log."""
        return draw_in_two_phases(traffic, SIZE, labels, self.random, many)


def one_stratum() -> list[str]:
    """The hardest case for a likelihood: one stratum, every rate from .2 % to 50 %; summed, not simulated."""
    lines = []
    rates = np.linspace(0.002, 0.5, 997)
    ways = {
        "plain": by_profile,
        "as printed": as_printed,
        "plain, upper bound": partial(by_profile, side="high"),
        "as the gate decides, upper bound": partial(as_gated, side="high"),
        "plain, lower bound": partial(by_profile, side="low"),
        "as the gate decides, lower bound": partial(as_gated, side="low"),
    }
    for labels, (name, method) in itertools.product((50, 100, 200), ways.items()):
        found = np.arange(labels + 1.0)
        counts = np.stack([found, labels - found, np.zeros(labels + 1)], axis=1)[:, None, :]
        low, high = method(Draws(counts=counts, sizes=np.full((labels + 1, 1), 1e12), truth=found))
        held = (low[:, None] <= rates) & (high[:, None] >= rates)
        coverage = (binom.pmf(found[:, None], labels, rates) * held).sum(axis=0)
        worst = int(coverage.argmin())
        lines.append(
            f"one stratum, {labels} labels, {name}: worst {coverage[worst]:.3f} (rate {rates[worst]:.2%}), "
            f"average {coverage.mean():.3f}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replications", type=int, default=2000, help="draws of each cell (2000)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws")
    arguments = parser.parse_args()
    replications = max(arguments.replications // (10 if arguments.quick else 1), 20)
    start = time.perf_counter()
    print(f"load {os.getloadavg()[0]:.1f}, seed {SEED}, every draw is made anew from the seed")
    few = max(replications // 4, 20)
    lines = main_table(replications) + variants(few) + gates(few) + one_stratum()
    print("\n" + "\n".join(lines))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
