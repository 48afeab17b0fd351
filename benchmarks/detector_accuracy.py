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
from accuracy_tables import report, show_missing, show_propositions, show_refused, show_rows  # noqa: E402
from holdout import by_model, by_source, load, source_logits  # noqa: E402
from metrics import Array  # noqa: E402
from propositions import Proposition, measure_propositions  # noqa: E402
from views import LEAST, View, evasive, safe_rows  # noqa: E402

CLASSIC = ("xstest", "chatgpt_refusals")


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
    show_rows(answers)
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
    m.table("Bars of accuracy", ["left out", "what", "bar", "measured", "95 % interval", ""], lines)
    met = sum(line[-1] == "met" for line in lines)
    print(f"\n{met} of {len(lines)} met; {time.process_time() - begin:.0f} s of CPU, {m.machine()}")


if __name__ == "__main__":
    main()
