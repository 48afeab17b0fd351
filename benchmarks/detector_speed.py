"""Answers a second on one core, all scores and spans, beside its peers and its limits. Always exits with 0.

    python benchmarks/detector_speed.py [--data DIR] [--repeats N]

DIR holds labelled responses (.jsonl); without it texts are assembled from the authored sentences. Every engine gets
the same answers of 800 to 1,700 bytes, one after the other in every repeat, on one thread; CPU time is what counts.
Takes about a minute.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402 - the number of threads is read at import
import multiprocessing as mp  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

import metrics as m  # noqa: E402
import phrases  # noqa: E402
from aligntax.detect import judge, native  # noqa: E402
from stages import by_stage  # noqa: E402
from texts import usual_pairs  # noqa: E402

BAR, SCALING_BAR = 100_000, 1.7
ROWS, SLOW_ROWS = 2048, 64
SECONDS = 4.0  # of each worker in the test of scaling

Engine = tuple[str, int, Callable[[], Any]]  # name, rows it reads, the work


def to_frame(pairs: list[tuple[str, str]]) -> pl.DataFrame:
    """Exchanges as `judge` reads them."""
    prompts, responses = zip(*pairs, strict=True)
    return pl.DataFrame({"prompt": prompts, "response": responses}).with_columns(outcome=pl.lit("answered"))


# -- engines -------------------------------------------------------------------------------------------------


def engines(pairs: list[tuple[str, str]]) -> list[Engine]:
    """Ours first, then the peers that are installed, then the limits."""
    texts = [response for _, response in pairs]
    few = texts[:SLOW_ROWS]
    frame = to_frame(pairs)
    plain = to_frame([pair for pair in pairs if pair[0].isascii() and pair[1].isascii()])
    held = "\n".join(texts).encode()
    target = bytearray(held)
    pattern = phrases.alternation()
    found: list[Engine] = [
        ("aligntax, spans and all scores", len(texts), lambda: judge(frame)),
        ("aligntax, the plain ASCII ones alone", plain.height, lambda: judge(plain)),
        ("re, 300 phrases, ignoring case", len(few), lambda: [list(pattern.finditer(text)) for text in few]),
        *_automaton(texts),
        *_linear_model(texts[: 8 * SLOW_ROWS]),
        ("limit: bytes.lower", len(texts), held.lower),
        ("limit: memcpy", len(texts), lambda: target.__setitem__(slice(None), held)),
    ]
    return found


def _automaton(texts: list[str]) -> list[Engine]:
    try:
        import ahocorasick_rs
    except ImportError:
        return []
    machine = ahocorasick_rs.AhoCorasick(
        phrases.of_the_lexicon(),
        matchkind=ahocorasick_rs.MatchKind.LeftmostLongest,
        implementation=ahocorasick_rs.Implementation.DFA,
    )

    def spans() -> list[Any]:
        return [machine.find_matches_as_indexes(text.lower()) for text in texts]

    return [("ahocorasick_rs, same phrases, spans alone", len(texts), spans)]


def _linear_model(texts: list[str]) -> list[Engine]:
    try:
        from sklearn.feature_extraction.text import HashingVectorizer
        from sklearn.linear_model import SGDClassifier
    except ImportError:
        return []
    columns = HashingVectorizer(ngram_range=(1, 2), n_features=2**18)
    model = SGDClassifier(loss="log_loss", max_iter=5, tol=None, random_state=0)
    model.fit(columns.transform(texts), [at % 2 for at in range(len(texts))])  # its speed, not its verdict
    scores: Callable[[], Any] = lambda: model.predict_proba(columns.transform(texts))  # noqa: E731
    return [("scikit-learn, hashed 1-2-grams, one score", len(texts), scores)]


def race(found: list[Engine], repeats: int) -> dict[str, list[float]]:
    """Answers per CPU second of every engine, interleaved so that a busy machine is busy for all."""
    speeds: dict[str, list[float]] = {name: [] for name, _, _ in found}
    for _, _, work in found:
        work()
    for _ in range(repeats):
        for name, rows, work in found:
            begin = time.process_time()
            work()
            speeds[name].append(rows / max(time.process_time() - begin, 1e-9))
    return speeds


def show_race(speeds: dict[str, list[float]], mean_bytes: float) -> None:
    """The table of engines; ratios are of best times."""
    ours = max(next(iter(speeds.values())))
    lines = []
    for name, values in speeds.items():
        best, median = max(values), float(np.median(values))
        lines.append(
            [name, round(best), round(median), f"{best * mean_bytes / 1e6:,.0f}", f"{ours / best:,.2f}"]
        )
    m.table("One core", ["engine", "answers/s, best", "median", "MB/s, best", "aligntax is faster by"], lines)


# -- processes -----------------------------------------------------------------------------------------------


def _work(folder: Path | None, start: Any, out: Any) -> None:
    """One worker: get ready, wait for the others, judge for a while, say how fast."""
    frame = to_frame(usual_pairs(folder)[:ROWS])
    judge(frame)
    start.wait()
    wall, cpu, rows = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < SECONDS:
        judge(frame)
        rows += frame.height
    out.put((rows, time.perf_counter() - wall, time.process_time() - cpu))


def workers(folder: Path | None, count: int) -> tuple[float, float]:
    """Answers per wall second of `count` spawned processes together, and per CPU second of one."""
    context = mp.get_context("spawn")
    start, out = context.Barrier(count), context.Queue()
    started = [context.Process(target=_work, args=(folder, start, out)) for _ in range(count)]
    for process in started:
        process.start()
    results = [out.get() for _ in started]
    for process in started:
        process.join()
    wall = sum(rows / seconds for rows, seconds, _ in results)
    return wall, sum(rows for rows, _, _ in results) / sum(cpu for _, _, cpu in results)


def show_scaling(folder: Path | None) -> tuple[float, float]:
    """One and two processes, three times in turn; how much more two do, by wall time and by CPU time.

    The second is what two free processors would give: twice the speed of a worker that has a neighbour, in CPU
    time, over that of a worker alone. On a machine with other work only the second says much.
    """
    ones, twos = [], []
    for _ in range(3):
        ones.append(workers(folder, 1))
        twos.append(workers(folder, 2))
    (one_wall, one_cpu), (two_wall, two_cpu) = (map(max, zip(*runs, strict=True)) for runs in (ones, twos))
    m.table(
        "Spawned processes, best of three",
        ["", "answers/s of wall time", "answers/s of CPU time, each"],
        [["1 process", round(one_wall), round(one_cpu)], ["2 processes", round(two_wall), round(two_cpu)]],
    )
    print(m.machine())
    return two_wall / one_wall, 2 * two_cpu / one_cpu


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of labelled responses")
    parser.add_argument("--repeats", type=int, default=9, help="of every engine")
    chosen = parser.parse_args()
    found = usual_pairs(chosen.data)[:ROWS]
    size = float(np.mean([len(response.encode()) for _, response in found]))
    asked = float(np.mean([len(prompt.encode()) for prompt, _ in found]))
    plain = sum(prompt.isascii() and response.isascii() for prompt, response in found) / len(found)
    print(f"detector speed, {m.machine()}")
    print(
        f"{len(found):,} {'published' if chosen.data else 'assembled'} answers of {size:,.0f} bytes in the mean,"
    )
    print(
        f"prompts of {asked:,.0f}; {plain:.0%} are plain ASCII; compiled loops: {native.load() is not None}"
    )
    speeds = race(engines(found), chosen.repeats)
    show_race(speeds, size)
    frame = to_frame(found)
    m.table(
        "Where the time goes",
        ["stage", "us an answer", "share"],
        by_stage(lambda: judge(frame), frame.height),
    )
    ours = max(next(iter(speeds.values())))
    by_wall, by_cpu = show_scaling(chosen.data)
    lines = [
        ["answers/s on one core", f">= {BAR:,}", f"{ours:,.0f}", "met" if ours >= BAR else "MISSED"],
        *(
            [
                f"two processes against one, {clock} time",
                f">= {SCALING_BAR}",
                f"{found:.2f}",
                "met" if found >= SCALING_BAR else "MISSED",
            ]
            for clock, found in (("wall", by_wall), ("CPU", by_cpu))
        ),
    ]
    m.table("Bars of speed", ["what", "bar", "measured", ""], lines)


if __name__ == "__main__":
    main()
