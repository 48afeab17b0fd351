"""The tables of the accuracy benchmark, printed."""

from __future__ import annotations

import numpy as np

import metrics as m
from aligntax.detect.axes import SURE
from aligntax.detect.examples import authored_sentences
from holdout import MISSING, Answers, model_folds
from metrics import Array
from propositions import Proposition
from views import EVASIVE, LEAST, View, evasive, safe_rows


def show_rows(answers: Answers) -> None:
    """What is learned from and what is only tested on."""
    share = answers.table.mass * answers.trains * ~np.isnan(answers.table.targets[:, MISSING])
    lines: list[list[object]] = []
    for source in sorted(set(answers.source)):
        mine = answers.source == source
        counts = [int((mine & (answers.label == name)).sum()) for name in ("complete", "partial", "refused")]
        weight = float(share[mine].sum() / share.sum())
        trains = "yes" if answers.trains[mine].any() else "no"
        models = len(set(answers.model[mine]))
        lines.append([source, int(mine.sum()), *counts, models, trains, f"{weight:.0%}"])
    heads = ["source", "rows", "complete", "partial", "refused", "models", "trains", "weight"]
    m.table("Rows with a label and a text of the model's own; weight in the training", heads, lines)
    print(f"and {len(authored_sentences()):,} authored sentences for the sentence functions")


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
    """How many answers are missed or accused, whether a phrase of refusal is in them, and the ids of the surest."""
    lines = []
    for source in view.sources(trained=True):
        rows = view.rows(source)
        truth, found, phrase = ~view.is_label("complete", rows), view.missing(rows) >= 0.5, view.matched[rows]
        groups = (truth & ~found, truth & ~found & ~phrase, found & ~truth, found & ~truth & phrase)
        lines.append([source, *[int(group.sum()) for group in groups]])
    m.table(
        f"{view.name}: mistakes, and the phrases of the regex",
        ["source", "missed", "of these without a phrase", "accused", "of these with a phrase"],
        lines,
    )
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


def report(view: View, show_texts: bool) -> None:
    """Every table of one way of leaving out."""
    show_missing(view, view.sources(trained=True))
    show_refused(view, view.sources(trained=True))
    show_safe(view)
    show_evasive(view)
    show_calibration(view)
    show_mistakes(view, show_texts)
