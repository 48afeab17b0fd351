"""How often the interval of a certificate holds the truth: ratios of sums over rows, by percentile bootstrap.

    python benchmarks/coverage_certificate.py [--surveys 2000]

Rows have 2 to 29 tokens and a mean per token drawn from a gamma distribution of mean 1: mildly skewed (skewness 1), or
strongly (skewness 2.8), as KL over rows is. Prints the share of 95 % intervals that hold 1.
"""

from __future__ import annotations

import argparse

import numpy as np

from aligntax.weights.certifying.resampled import ratios

ROWS = (20, 40, 100, 400)
SHAPES = {"skewness 1": 4.0, "skewness 2.8": 0.5}


def held(rows: int, shape: float, surveys: int) -> float:
    chance = np.random.default_rng(5)
    count = 0
    for survey in range(surveys):
        tokens = chance.integers(2, 30, size=rows)
        _, low, high = ratios(
            tokens * chance.gamma(shape, 1 / shape, size=rows), tokens, resamples=1000, seed=survey
        )
        count += int(low[0] <= 1 <= high[0])
    return count / surveys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--surveys", type=int, default=2000)
    surveys = parser.parse_args().surveys
    print(f"{'rows':>6}" + "".join(f"{name:>14}" for name in SHAPES))
    for rows in ROWS:
        print(f"{rows:>6}" + "".join(f"{held(rows, shape, surveys):>14.3f}" for shape in SHAPES.values()))


if __name__ == "__main__":
    main()
