"""How well the detector judges sources and models that it never saw. Reports, and always exits with 0.

    python benchmarks/detector_accuracy.py --data DIR [--quick] [--show-examples]

DIR holds labelled responses, one .jsonl a source (docs/howto/retrain.md says what a line looks like). Takes about 4
minutes on one core; --quick leaves out one source at a time only, in half of that.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402 - the number of threads is read at import
import dataclasses  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

import metrics as m  # noqa: E402
import phrases  # noqa: E402
from aligntax.detect.axes import SURE  # noqa: E402
from holdout import MISSING, NONE, Answers, Unseen, by_model, by_source, load, model_folds, source_logits  # noqa: E402
from metrics import Array  # noqa: E402
from propositions import Proposition, measure_propositions  # noqa: E402

CLASSIC = ("xstest", "chatgpt_refusals")
EVASIVE = "speechmap_criticism"
LEAST = 10  # rows of a class below which nothing is said of it


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one way of leaving out says of the labelled answers."""

    name: str
    answers: Answers
    unseen: Unseen
    matched: Array  # the peer: a phrase is found

    def rows(self, source: str) -> Array:
        """Rows of a source that were judged."""
        judged = self.answers.known & ~np.isnan(self.unseen.probability[:, MISSING])
        return np.flatnonzero(judged & (self.answers.source == source))

    def sources(self, *, trained: bool) -> list[str]:
        """Sources with any row that was judged."""
        return [name for name in self.answers.sources(trained=trained) if len(self.rows(name))]

    def is_label(self, name: str, rows: Array) -> Array:
        """Whether rows carry a label."""
        return np.asarray(self.answers.label[rows] == name)

    def missing(self, rows: Array) -> Array:
        """P(something of what was asked is missing)."""
        return np.asarray(self.unseen.probability[rows, MISSING])

    def refused(self, rows: Array) -> Array:
        """P(nothing is given)."""
        return self.missing(rows) * self.none(rows)

    def none(self, rows: Array) -> Array:
        """P(nothing is given, if something is missing)."""
        return np.asarray(self.unseen.probability[rows, NONE])

    def says_refused(self, rows: Array) -> Array:
        """The decision, without an abstain band."""
        return (self.missing(rows) >= 0.5) & self.unseen.leans_to_none[rows]

    def partial(self, rows: Array) -> Array:
        """P(a part is given)."""
        return self.missing(rows) - self.refused(rows)


# -- tables --------------------------------------------------------------------------------------------------


def show_missing(view: View, sources: list[str]) -> None:
    """Refused or partial against complete."""
    lines = []
    for source in sources:
        rows = view.rows(source)
        truth, score = ~view.is_label("complete", rows), view.missing(rows)
        enough = min(truth.sum(), (~truth).sum()) >= LEAST
        order = m.auc(truth, score) if enough else float("nan")
        decided = m.f1_precision_recall(truth, score >= 0.5) if enough else (float("nan"),) * 3
        peer = m.f1_precision_recall(truth, view.matched[rows]) if enough else (float("nan"),) * 3
        error = m.calibration_error(truth, score)
        lines.append([source, len(rows), float(truth.mean()), order, *decided, error, *map(float, peer)])
    heads = ["source", "n", "share", "AUC", "F1", "precision", "recall", "ECE"]
    m.table(
        f"{view.name}: refused or partial, against complete (decision at 0.5; re = the phrase regex)",
        [*heads, "re F1", "re prec.", "re recall"],
        lines,
    )


def show_refused(view: View, sources: list[str]) -> None:
    """Refused against partial and complete, and the partial class."""
    lines = []
    for source in sources:
        rows = view.rows(source)
        refused, partial = view.is_label("refused", rows), view.is_label("partial", rows)
        if refused.sum() < LEAST:
            continue
        line = [source, int(refused.sum()), m.auc(refused, view.refused(rows))]
        decisions = (view.says_refused(rows), view.matched[rows])
        line += [m.f1_precision_recall(refused, found)[0] for found in decisions]
        lines.append([*line, *_partial_measures(view, rows, refused, partial)])
    heads = ["source", "refused", "AUC", "F1", "re F1", "partial", "AUC v refused", "AP v refused", "(share)"]
    m.table(
        f"{view.name}: refused, against partial and complete; then partial, against refused and against all",
        [*heads, "AP v all", "(share)"],
        lines,
    )


def _partial_measures(view: View, rows: Array, refused: Array, partial: Array) -> list[float | int]:
    if partial.sum() < LEAST:
        return [int(partial.sum()), *[float("nan")] * 5]
    either = refused | partial
    truth, score = partial[either], 1 - view.none(rows[either])
    against_refused = [m.auc(truth, score), m.average_precision(truth, score), float(truth.mean())]
    against_all = [m.average_precision(partial, view.partial(rows)), float(partial.mean())]
    return [int(partial.sum()), *against_refused, *against_all]


def safe_rows(view: View) -> Array:
    """XSTest rows whose prompt is safe."""
    rows = view.rows("xstest")
    return np.asarray(rows[view.answers.axis("prompt_safe", rows)])


def show_safe(view: View) -> None:
    """Refusals of safe prompts: what over-refusal is made of."""
    rows = safe_rows(view)
    lines = []
    for model in ["all", *sorted(set(view.answers.model[rows]))]:
        mine = rows if model == "all" else rows[view.answers.model[rows] == model]
        truth, score, peer = ~view.is_label("complete", mine), view.missing(mine), view.matched[mine]
        if min(truth.sum(), (~truth).sum()) < LEAST:
            continue
        shipped = [float((score[truth] >= SURE).mean()), float((score[~truth] < SURE).mean())]
        regex = [float(peer[truth].mean()), float((~peer[~truth]).mean())]
        lines.append(
            [model, len(mine), int(truth.sum()), m.sensitivity_at(0.98)(truth, score), *shipped, *regex]
        )
    heads = ["xstest, safe prompts", "n", "not complete", "sens. at spec. .98"]
    m.table(
        f"{view.name}: XSTest safe prompts; the shipped threshold is {SURE}",
        [*heads, "shipped sens.", "shipped spec.", "re sens.", "re spec."],
        lines,
    )


def evasive(view: View) -> tuple[Array, Array]:
    """Rows of recent models that are evasive or complete, and which are evasive."""
    rows = view.rows(EVASIVE)
    rows = rows[~view.is_label("refused", rows)]
    return rows, view.is_label("partial", rows)


def show_evasive(view: View) -> None:
    """Evasive answers of 2024-26 models against complete ones, and denials beside them."""
    rows, truth = evasive(view)
    everything = view.rows(EVASIVE)
    denial = everything[~view.is_label("partial", everything)]
    folds = model_folds(view.answers)[rows]
    by_fold = [m.auc(truth[folds == f], view.missing(rows[folds == f])) for f in sorted(set(folds))]
    models = view.answers.model[rows]
    by_name = {name: models == name for name in sorted(set(models))}
    enough = [mask for mask in by_name.values() if min(truth[mask].sum(), (~truth[mask]).sum()) >= 5]
    per_model = [m.auc(truth[mask], view.missing(rows[mask])) for mask in enough]
    lines = [
        ["evasive against complete, pooled", len(rows), m.auc(truth, view.missing(rows))],
        ["mean over folds of models with both", int(np.isfinite(by_fold).sum()), float(np.nanmean(by_fold))],
        ["mean over models with 5 of each", len(enough), float(np.mean(per_model))],
        ["lowest and highest of those", len(enough), f"{min(per_model):.3f} {max(per_model):.3f}"],
        [
            "denial against complete, pooled",
            len(denial),
            m.auc(view.is_label("refused", denial), view.missing(denial)),
        ],
        ["the phrase regex, evasive against complete", len(rows), m.auc(truth, view.matched[rows])],
    ]
    m.table(f"{view.name}: SpeechMap, models of 2024 to 2026", ["", "n", "AUC"], lines)


def show_calibration(view: View) -> None:
    """Reliability of P(missing), and what the abstain band costs and saves; every trained source weighs the same."""
    sources = [name for name in view.sources(trained=True) if name != "authored"]
    weight, truth, score = [], [], []
    for source in sources:
        rows = view.rows(source)
        truth.append(~view.is_label("complete", rows))
        score.append(view.missing(rows))
        weight.append(np.full(len(rows), 1 / len(rows) / len(sources)))
    mass, said, happened = np.concatenate(weight), np.concatenate(score), np.concatenate(truth)
    place = np.clip((said * m.BINS).astype(int), 0, m.BINS - 1)
    bins = [(f"{at / m.BINS:.1f} to {(at + 1) / m.BINS:.1f}", place == at) for at in range(m.BINS)]
    lines = [
        [name, int(b.sum()), float(np.average(said[b], weights=mass[b])), _mean(happened[b], mass[b])]
        for name, b in bins
        if b.any()
    ]
    m.table(f"{view.name}: calibration, sources at equal weight", ["bin", "n", "forecast", "observed"], lines)
    curve = []
    for sure in (0.5, 0.55, 0.6, SURE, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        decided = np.maximum(said, 1 - said) >= sure
        wrong = (said >= 0.5) != happened
        row = [f"{sure:.2f}", _mean(~decided, mass), _mean(wrong[decided], mass[decided])]
        curve.append([*row, "shipped" if sure == SURE else ""])
    m.table(f"{view.name}: abstain band", ["sure from", "undetermined", "error outside", ""], curve)


def _mean(values: Array, mass: Array) -> float:
    return float(np.average(values, weights=mass))


def show_propositions(found: list[Proposition]) -> None:
    """Sentence functions against the propositions of the rule-based rewards gold data."""
    m.table(
        "Propositions of openai_rbr_gold: highest probability of the function over the sentences (never trained on "
        "the set),\nand a ridge logistic model over all dense columns, five folds (TRAINED ON THE SET)",
        ["proposition", "function", "true", "AUC, unseen", "AUC, trained on it", "re AUC"],
        [[p.name, p.function, p.true, p.unseen, p.trained, p.peer] for p in found],
    )


def show_mistakes(view: View, texts: bool) -> None:
    """Ids of the surest mistakes of each source."""
    print(f"\n{view.name}: the surest mistakes of each source")
    for source in view.sources(trained=True):
        rows = view.rows(source)
        truth, score = ~view.is_label("complete", rows), view.missing(rows)
        wrong = np.flatnonzero((score >= 0.5) != truth)
        for at in wrong[np.argsort(-np.abs(score[wrong] - 0.5))][:3]:
            row = view.answers.table.examples[rows[at]].row
            name = row.get("id", f"{source}, row {at + 1}")
            print(f"  {name}  {row['label']}, P(missing) {score[at]:.3f}")
            if texts:
                print(f"    > {row['prompt'][:200]!r}\n    < {row['response'][:400]!r}")


# -- bars ----------------------------------------------------------------------------------------------------


def bars(view: View) -> list[list[str]]:
    """Lines of the last table: what was asked for, what was measured, and whether it is enough."""
    answers, lines = view.answers, []

    def add(text: str, least: float, measure: m.Measure, rows: Array, truth: Array, score: Array) -> None:
        found = measure(truth, score)
        low, high = m.interval(measure, truth, score, answers.prompt[rows])
        met = found <= least if measure is m.calibration_error else found >= least
        sign = "<=" if measure is m.calibration_error else ">="
        measured = [f"{found:.3f}", f"{low:.3f} to {high:.3f}", "met" if met else "MISSED"]
        lines.append([view.name, text, f"{sign} {least:.2f}", *measured])

    for source in CLASSIC:
        rows = view.rows(source)
        refused, missing = view.is_label("refused", rows), ~view.is_label("complete", rows)
        add(f"refused v rest, F1, {source}", 0.93, m.f1_at_half, rows, refused, view.says_refused(rows))
        add(f"any refusal, F1, {source}", 0.93, m.f1_at_half, rows, missing, view.missing(rows))
    rows = safe_rows(view)
    missing = ~view.is_label("complete", rows)
    add("safe prompts, sens. at spec. .98", 0.85, m.sensitivity_at(0.98), rows, missing, view.missing(rows))
    sources = [name for name in view.sources(trained=True) if name != "authored"]
    for name in [*sources, "all, pooled"]:
        rows = np.concatenate([view.rows(s) for s in (sources if name == "all, pooled" else [name])])
        missing = ~view.is_label("complete", rows)
        add(f"ECE, {name}", 0.04, m.calibration_error, rows, missing, view.missing(rows))
    rows, truth = evasive(view)
    add("evasive v complete, AUC", 0.85, m.auc, rows, truth, view.missing(rows))
    for name in sources:
        rows = view.rows(name)
        partial = view.is_label("partial", rows)
        if partial.sum() >= LEAST:
            add(f"partial v all, AP, {name}", 0.55, m.average_precision, rows, partial, view.partial(rows))
    return lines


def proposition_bars(found: list[Proposition]) -> list[list[str]]:
    """The same for the propositions."""
    return [
        [
            "sentences",
            f"{p.name}, AUC",
            ">= 0.93",
            f"{p.unseen:.3f}",
            f"{p.low:.3f} to {p.high:.3f}",
            "met" if p.unseen >= 0.93 else "MISSED",
        ]
        for p in found
    ]


def report(view: View, show_texts: bool) -> None:
    """Every table of one way of leaving out."""
    show_missing(view, view.sources(trained=True))
    show_refused(view, view.sources(trained=True))
    show_safe(view)
    show_evasive(view)
    show_calibration(view)
    show_mistakes(view, show_texts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled responses")
    parser.add_argument("--quick", action="store_true", help="leave out sources only, not models")
    parser.add_argument("--show-examples", action="store_true", help="print the texts of the surest mistakes")
    chosen = parser.parse_args()
    begin = time.process_time()
    print(f"detector accuracy, {m.machine()}")
    answers = load(chosen.data)
    pattern = phrases.classic()
    matched = np.asarray([pattern.search(e.response) is not None for e in answers.table.examples])
    logits = source_logits(answers)
    views = [("one source left out", by_source(answers, logits))]
    if not chosen.quick:
        views.append(("one model left out", by_model(answers, logits)))
    lines: list[list[str]] = []
    for name, unseen in views:
        view = View(name=name, answers=answers, unseen=unseen, matched=matched)
        report(view, chosen.show_examples)
        if name == "one source left out":
            unused = dataclasses.replace(view, name="sets that never train")
            show_missing(unused, view.sources(trained=False))
            show_refused(unused, view.sources(trained=False))
        lines += bars(view)
    found = measure_propositions(answers, matched)
    show_propositions(found)
    lines += proposition_bars(found)
    m.table("Bars", ["left out", "what", "bar", "measured", "95 % interval", ""], lines)
    met = sum(line[-1] == "met" for line in lines)
    print(f"\n{met} of {len(lines)} met; {time.process_time() - begin:.0f} s of CPU, {m.machine()}")


if __name__ == "__main__":
    main()
