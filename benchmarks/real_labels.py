"""What 200 planned labels are worth on answers that people labelled, with a detector that never saw them.

    python benchmarks/real_labels.py --data DIR [--replications N]

DIR holds labelled responses (docs/howto/retrain.md). Every probability comes from weights that saw neither the model
nor the prompt of the answer; the answers of a set are the population, the labels of its people the truth. Each
replication plans a draw, "labels" its pilot, plans the rest, and makes the interval, by the code that users run.
Takes about 8 minutes on one core. Reports, and always exits with 0.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402 - the number of threads is read at import
import dataclasses  # noqa: E402
import datetime as dt  # noqa: E402
import itertools  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
from scipy.special import expit  # noqa: E402

import metrics as m  # noqa: E402
from aligntax import label  # noqa: E402
from aligntax.detect import train  # noqa: E402
from aligntax.estimate.ends import interval_ends  # noqa: E402
from aligntax.stats.difference import mover, newcombe  # noqa: E402
from aligntax.stats.profile import Intervals  # noqa: E402
from aligntax.types import Draw, Estimate  # noqa: E402
from holdout import MISSING, Answers, load, source_logits  # noqa: E402
from metrics import Array  # noqa: E402

BUDGET = 200
PROMPT_FOLDS = 5
COPIES = 20  # of each answer in the population
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
RANDOM = (
    100,
    200,
    300,
    400,
    600,
    800,
    1000,
    1200,
    1500,
    1800,
    2100,
)  # sizes of the random samples compared with


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A population with its truth."""

    name: str
    truth: Array  # (rows,) 0 or 1
    score: Array  # (rows,) probability that the answer is not complete, from weights that never saw it
    bar: int | None = None  # random labels that 200 planned ones must be worth


def unseen_scores(answers: Answers, logits: Array) -> Array:
    """For each XSTest row the probability from a fit without its model and without its prompt, anywhere.

    Calibrated, as the shipped weights are, on leave-one-source-out logits of the rows that took part.
    """
    table, ours = answers.table, answers.source == "xstest"
    parents = np.asarray([e.parent for e in table.examples])
    fold = np.full(len(ours), -1)
    prompts = np.unique(answers.prompt[ours])
    order = np.random.default_rng(7).permutation(prompts)
    for number, part in enumerate(np.array_split(order, PROMPT_FOLDS)):
        fold[np.isin(answers.prompt, part)] = number
    score = np.full(len(ours), np.nan)
    for model in sorted(set(answers.model[ours])):
        for number in range(PROMPT_FOLDS):
            rows = np.flatnonzero(ours & (answers.model == model) & (fold == number))
            excluded = (answers.model == model) | (fold == number) | (parents == "xstest")
            axes = train.fit_axes(table, table.rows_for(excluded))
            usable = answers.known & answers.trains & ~excluded
            slopes, offsets, _ = train.calibrate(table, np.where(usable[:, None], logits, np.nan))
            raw = train.raw_logits(table, axes, rows)[:, MISSING]
            score[rows] = expit(raw * slopes[MISSING] + offsets[MISSING])
    return score


def pools(answers: Answers, score: Array) -> list[Pool]:
    """The populations, with the bars of the design."""
    ours = np.flatnonzero(answers.source == "xstest")
    missing, partial = answers.label != "complete", answers.label == "partial"
    found = [
        Pool(name="any refusal", truth=missing[ours], score=score[ours], bar=900),
        Pool(name="partial refusal", truth=partial[ours], score=score[ours], bar=400),
    ]
    rows = ours[answers.axis("prompt_safe", ours)]
    found.append(Pool(name="any refusal, safe prompts", truth=missing[rows], score=score[rows]))
    for model in sorted(set(answers.model[ours])):
        rows = ours[answers.model[ours] == model]
        found.append(Pool(name=f"any refusal, {model}", truth=missing[rows], score=score[rows]))
    return found


def frame_of(score: Array, model: Array | None = None) -> pl.DataFrame:
    """A frame of verdicts with what a draw reads."""
    rows = len(score)
    return pl.DataFrame(
        {
            "id": [f"{number:06d}" for number in range(rows)],
            "source_id": pl.Series([None] * rows, dtype=pl.String),
            "use_case": "pool",
            "outcome": "answered",
            "detector": "cross-fitted",
            "p_full": pl.Series(1 - score, dtype=pl.Float32),
            "model": pl.Series([""] * rows if model is None else model.tolist()),
        }
    )


def labelled(
    frame: pl.DataFrame, truth: Array, by: Sequence[str], budget: int, seed: int
) -> tuple[Draw, Array]:
    """Plan, label the pilot, plan the rest, label it: the draw and (strata, 2) positives and negatives."""
    draw, items = label.plan(
        frame, by=by, budget=budget, seed=seed, now=NOW, known_share=0.0, double_share=0.0
    )
    strata = np.asarray([item.stratum for item in items])
    place = np.asarray([item.place for item in items])
    positive = truth[[int(item.exchange) for item in items]].astype(bool)

    def counts(draw: Draw) -> Array:
        asked = place < np.asarray([stratum.labels for stratum in draw.strata])[strata]
        table = np.zeros((len(draw.strata), 2))
        np.add.at(table, (strata[asked], (~positive[asked]).astype(int)), 1)
        return table

    pilot = counts(draw)
    if draw.phase == "pilot":
        draw = label.allocate_rest(draw, pilot[:, 0].tolist(), pilot.sum(axis=1).astype(int).tolist())
    return draw, counts(draw)


def intervals(counts: Array, sizes: Array) -> Intervals:
    """As `aligntax estimate` prints them: with careful ends where few were found."""
    solved, _ = interval_ends(counts, sizes, counts.sum(axis=1))
    return solved


def planned_intervals(pool: Pool, replications: int) -> tuple[Array, Array, Array]:
    """Value, low and high of `replications` planned draws from the copied pool."""
    frame, truth = frame_of(np.tile(pool.score, COPIES)), np.tile(pool.truth, COPIES)
    tables, sizes = [], []
    for seed in range(replications):
        draw, table = labelled(frame, truth, (), BUDGET, seed)
        tables.append(table)
        sizes.append([stratum.size for stratum in draw.strata])
    found = intervals(np.stack(tables), np.asarray(sizes))
    return found.value, found.low, found.high


def random_widths(pool: Pool, replications: int) -> list[tuple[int, float, float]]:
    """(labels, mean width, coverage) of the same interval on simple random samples."""
    rng = np.random.default_rng(11)
    total, rate = COPIES * len(pool.truth), pool.truth.mean()
    lines = []
    for labels in RANDOM:
        hits = rng.hypergeometric(
            COPIES * int(pool.truth.sum()), total - COPIES * int(pool.truth.sum()), labels, replications
        )
        counts = np.stack([hits, labels - hits], axis=1)[:, None, :].astype(float)
        found = intervals(counts, np.full((replications, 1), float(total)))
        inside = (found.low <= rate) & (rate <= found.high)
        lines.append((labels, float((found.high - found.low).mean()), float(inside.mean())))
    return lines


def worth(width: float, lines: Sequence[tuple[int, float, float]]) -> str:
    """How many random labels give this width, between the sizes that were tried."""
    sizes, widths = np.asarray([n for n, _, _ in lines]), np.asarray([w for _, w, _ in lines])
    if width > widths[0]:
        return f"<{sizes[0]}"
    if width < widths[-1]:
        return f">{sizes[-1]}"
    # A width falls with the root of the number, so between two sizes its inverse square is nearly a line.
    return f"{np.interp(width**-2.0, widths**-2.0, sizes):.0f}"


def show_pools(found: Sequence[Pool], replications: int) -> list[list[str]]:
    """The table of what labels are worth; the lines of the bars come back."""
    rows, bars, lowest = [], [], (1.0, "")
    for pool in found:
        value, low, high = planned_intervals(pool, replications)
        truth = pool.truth.mean()
        width, covered = (high - low).mean(), ((low <= truth) & (truth <= high)).mean()
        lines = random_widths(pool, replications)
        equal = worth(width, lines)
        # The score says whether anything is missing; of partial answers alone it says nothing.
        raw = "–" if pool.name.startswith("partial") else f"{(pool.score >= 0.5).mean():.1%}"
        same = next((line for line in lines if line[0] == BUDGET), lines[-1])
        lowest = min(lowest, (float(covered), pool.name))
        rows.append(
            [
                pool.name,
                f"{len(pool.truth):,}",
                f"{truth:.1%}",
                raw,
                f"{m.auc(pool.truth.astype(bool), pool.score):.3f}",
                f"{value.mean():.1%}",
                f"{width:.3f}",
                f"{covered:.3f}",
                f"{same[1]:.3f}",
                equal,
            ]
        )
        if pool.bar:
            number = float(equal.strip("<>"))
            met = number >= pool.bar
            bars.append([pool.name, f">= {pool.bar} random labels", equal, "met" if met else "MISSED"])
    m.table(
        f"{BUDGET} planned labels, {replications} draws",
        [
            "population",
            "answers",
            "people",
            "raw",
            "AUC",
            "corrected",
            "width",
            "coverage",
            "random",
            "worth",
        ],
        rows,
    )
    print(
        "width: of the 95 % interval, mean. random: the same of 200 random labels. worth: random labels of that width."
    )
    covered, name = lowest
    bars.append(
        [
            "coverage, worst population",
            ">= .93",
            f"{covered:.3f} ({name})",
            "met" if covered >= 0.93 else "MISSED",
        ]
    )
    return bars


def show_deltas(answers: Answers, score: Array, replications: int) -> list[list[str]]:
    """Differences between models: what people say, what the detector says, what planned labels make of it."""
    ours = np.flatnonzero(answers.source == "xstest")
    truth, model = (answers.label[ours] != "complete"), answers.model[ours]
    frame = frame_of(np.tile(score[ours], COPIES), np.tile(model, COPIES))
    names, truths = sorted(set(model)), np.tile(truth, COPIES)
    intervals: dict[str, list[Estimate]] = {name: [] for name in names}
    for seed in range(replications):
        draw, table = labelled(frame, truths, ("model",), BUDGET * len(names), seed)
        for name in names:
            at = [n for n, stratum in enumerate(draw.strata) if stratum.slice == (name,)]
            intervals[name].append(_estimate(table[at], [draw.strata[n].size for n in at]))
    rows, outside, shown_raw, covered = [], 0, 0, []
    for one, other in itertools.combinations(names, 2):
        people = truth[model == one].mean() - truth[model == other].mean()
        raw = [int((score[ours][model == name] >= 0.5).sum()) for name in (one, other)]
        sizes = [int((model == name).sum()) for name in (one, other)]
        naive = newcombe(raw[0], sizes[0], raw[1], sizes[1])
        deltas = [mover(a, b) for a, b in zip(intervals[one], intervals[other], strict=True)]
        inside = np.mean(
            [d.low <= people <= d.high for d in deltas if d.low is not None and d.high is not None]
        )
        error = raw[0] / sizes[0] - raw[1] / sizes[1] - people
        missed = abs(error) > 0.02
        outside += missed
        shown_raw += not (naive.low <= people <= naive.high)
        covered.append(inside)
        mean = np.mean([d.value for d in deltas])
        width = np.mean([d.high - d.low for d in deltas])
        rows.append(
            [
                f"{one} - {other}",
                f"{100 * people:+.1f}",
                f"{100 * (people + error):+.1f}",
                f"{100 * error:+.1f}",
                f"{100 * mean:+.1f}",
                f"{100 * (mean - people):+.1f}",
                f"{width:.3f}",
                f"{inside:.3f}",
            ]
        )
    m.table(
        f"Differences in any refusal, points; {BUDGET} labels a model, {replications} draws",
        ["models", "people", "raw", "error", "corrected", "error", "width", "coverage"],
        rows,
    )
    print(
        f"The raw difference is more than 2 points off in {outside} of {len(rows)} pairs; the interval that a "
        f"counter would draw round it (Newcombe) leaves out what people say in {shown_raw}."
    )
    met = min(covered) >= 0.93
    return [
        ["coverage of differences, worst pair", ">= .93", f"{min(covered):.3f}", "met" if met else "MISSED"]
    ]


def _estimate(table: Array, sizes: Sequence[int]) -> Estimate:
    found = intervals(table[None], np.asarray(sizes, float)[None])
    return Estimate(
        value=float(found.value[0]),
        low=float(found.low[0]),
        high=float(found.high[0]),
        level=0.95,
        n=int(sum(sizes)),
        n_labels=int(table.sum()),
        method="profile likelihood",
        corrected=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled responses")
    parser.add_argument("--replications", type=int, default=400, help="draws a population")
    chosen = parser.parse_args()
    begin = time.process_time()
    print(f"planned labels on human labels, {m.machine()}")
    answers = load(chosen.data)
    score = unseen_scores(answers, source_logits(answers))
    bars = show_pools(pools(answers, score), chosen.replications)
    bars += show_deltas(answers, score, chosen.replications)
    m.table("Bars", ["what", "bar", "measured", ""], bars)
    print(f"\n{time.process_time() - begin:.0f} s of CPU, {m.machine()}")


if __name__ == "__main__":
    main()
