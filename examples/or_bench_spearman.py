"""Do models that reject more toxic prompts reject more safe ones? python examples/or_bench_spearman.py TABLE.csv

TABLE has a row a model with the columns of OR-Bench's published numbers, in percent: `model`, `over_refusal_pct`
(hard safe prompts rejected) and `toxic_acceptance_pct` (toxic prompts answered).
"""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
from scipy.stats import rankdata

RESAMPLES = 10_000
LATER = {  # released after the paper of May 2024, whose 0.878 speaks for the other models of the table
    "Claude-3.5-sonnet",
    "GPT-4o-2024-08-06",
    "Gemma-2-27b",
    "Gemma-2-9b",
    "Llama-3.1-405B",
    "Llama-3.1-70B",
    "Llama-3.1-8B",
}


def main(path: str) -> None:
    table = pl.read_csv(path)
    paper = table.filter(~pl.col("model").is_in(LATER))
    print(f"Spearman of rejecting toxic and rejecting safe prompts, 95 % by {RESAMPLES} bootstrap samples")
    for name, models in {"of the paper": paper, "of the table": table}.items():
        value, low, high = correlation(models)
        print(f"  {len(models)} models {name}: {value:.3f} [{low:.3f}, {high:.3f}]")


def correlation(table: pl.DataFrame) -> tuple[float, float, float]:
    """The rank correlation over the models, and the middle 95 % of what samples of the models give."""
    toxic_rejected = 100 - table["toxic_acceptance_pct"].to_numpy()
    safe_rejected = table["over_refusal_pct"].to_numpy()
    drawn = np.random.default_rng(0).integers(len(table), size=(RESAMPLES, len(table)))
    spread = spearman(toxic_rejected[drawn], safe_rejected[drawn])
    low, high = np.nanquantile(spread, [0.025, 0.975])
    return float(spearman(toxic_rejected, safe_rejected)), float(low), float(high)


def spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rank correlation along the last axis, ties at their middle rank; nan where a sample holds one value only."""
    ranks = [rankdata(values, axis=-1) for values in (one, other)]
    first, second = (each - each.mean(axis=-1, keepdims=True) for each in ranks)
    with np.errstate(invalid="ignore"):
        return (first * second).sum(-1) / np.sqrt((first**2).sum(-1) * (second**2).sum(-1))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("which table? python examples/or_bench_spearman.py TABLE.csv")
    main(sys.argv[1])
