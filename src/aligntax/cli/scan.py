"""`aligntax scan`: logs in; verdicts, rates and examples out."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .by import by_option

if TYPE_CHECKING:
    from ..logs import Log
    from ..verdict_file import VerdictFile
    from .progress import ScanProgress
    from .result import Reading, ScanResult

FORMATS = (
    "jsonl",
    "csv",
    "parquet",
    "openai_chat",
    "openai_responses",
    "anthropic",
    "otlp",
    "langfuse",
    "inspect",
    "promptfoo",
)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("scan", short_help="How often answers were refused, hedged, avoided or padded.")
@click.argument("logs", nargs=-1, metavar="LOGS...")
@click.option(
    "-o",
    "--out",
    type=_FILE,
    metavar="FILE",
    help="Keep the verdicts in this Parquet file. A file that exists is added to, and a scan that was stopped "
    "goes on where it was.",
)
@by_option
@click.option("--report", type=_FILE, metavar="FILE", help="Write an HTML page: one file, no network.")
@click.option(
    "--format",
    "log_format",
    default="auto",
    metavar="NAME",
    help=f"The format of LOGS, when it is not recognised: {', '.join(FORMATS)}.",
)
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="COLUMN=FIELD",
    help="Which field of the log holds a column, such as prompt=question. May be repeated.",
)
@click.option("--use-case", metavar="NAME", help="The use case of rows that name none.")
@click.option(
    "--strict", is_flag=True, help="Stop at the first row that cannot be read, instead of skipping it."
)
@click.option(
    "--no-text", is_flag=True, help="Write no prompts, answers or tags to disk, and show no examples."
)
@click.option("--rescan", is_flag=True, help="Replace the file of -o instead of adding to it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the summary.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes that judge.  [default: one a core, at most 4]",
)
@click.option("--sample", is_flag=True, help="Scan the sample log that comes with aligntax.")
def command(  # noqa: PLR0913, PLR0917 - each is one option
    logs: tuple[str, ...],
    out: Path | None,
    by: tuple[str, ...] | None,
    report: Path | None,
    log_format: str,
    mapping: tuple[str, ...],
    use_case: str | None,
    strict: bool,
    no_text: bool,
    rescan: bool,
    as_json: bool,
    jobs: int | None,
    sample: bool,
) -> None:
    """Scan LOGS (files, folders, patterns, or - for standard input): how often answers were refused, hedged,
    avoided or padded, per slice, with the words that show it.

    Formats are recognised by content, also inside .gz and .zst. Rates are the detector's own, uncorrected.
    """
    if sample == bool(logs):
        raise click.UsageError("say which logs to scan, or try: aligntax scan --sample")
    if rescan and out is None:
        raise click.UsageError("--rescan replaces the file of -o: say which file")
    columns = _columns(mapping)
    _check_plan(by, report, no_text=no_text)
    _keep_to_one_thread()
    from .. import logs as readers

    log = readers.read(
        _sample_logs() if sample else list(logs),
        format=log_format,
        columns=columns,
        use_case=use_case,
        strict=strict,
    )
    with contextlib.ExitStack() as stack:
        path = (
            out
            or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aligntax-"))) / "verdicts.parquet"
        )
        try:
            reading = _judge(log, path, keep_text=not no_text, rescan=rescan, jobs=jobs or _default_jobs())
            result = _result(path, by, reading)
            if report:
                _write_report(path, result, report, source=_source(logs))
        except KeyboardInterrupt as stop:
            raise type(stop)(_how_to_go_on(out)) from None
        if as_json:
            _print_json(result, out, report)
        else:
            _print_summary(result, out, report)


def _judge(log: Log, path: Path, *, keep_text: bool, rescan: bool, jobs: int) -> Reading:
    """Judge every row of `log` that is new into the verdict file at `path`."""
    from .. import detect
    from ..verdict_file import VerdictFile
    from .detector import detector_name
    from .progress import ScanProgress

    with (
        VerdictFile(path, detector=detector_name(), keep_text=keep_text, rescan=rescan) as file,
        ScanProgress() as progress,
    ):
        new = _fill(file, log, progress, jobs)
        progress.say("merging")
        file.finish(lambda verdicts: detect.relative(verdicts, detect.baseline(verdicts)))
        return _reading(log, file, new)


def _fill(file: VerdictFile, log: Log, progress: ScanProgress, jobs: int) -> int:
    from .. import detect
    from .jobs import judged

    new = 0
    batches = (file.new_rows(frame) for frame in progress.watch(log))
    # Closed at once when anything fails, so that no worker outlives the scan.
    with contextlib.closing(judged(batches, detect.judge, jobs)) as verdicts:
        for frame in verdicts:
            file.write(frame)
            new += frame.height
    return new


def _reading(log: Log, file: VerdictFile, new: int) -> Reading:
    from .result import Reading

    return Reading(
        detector=file.detector,
        new=new,
        former=file.former,
        resumed=file.resumed,
        repeated=file.repeated,
        skipped=log.skipped,
        not_calls=log.not_calls,
        problems=log.problems,
        notes=log.notes,
        formats=Counter(log.formats.values()),
    )


def _result(path: Path, by: tuple[str, ...] | None, reading: Reading) -> ScanResult:
    from ..verdict_file import scan_verdicts
    from .result import default_slices, to_result

    verdicts = scan_verdicts(path)
    return to_result(verdicts, default_slices(verdicts) if by is None else by, reading)


def _write_report(path: Path, result: ScanResult, report: Path, *, source: str) -> None:
    from ..report import write_report

    reading = result.reading
    write_report(
        path,
        report,
        by=result.by,
        problems=reading.problems,
        skipped=reading.skipped,
        not_calls=reading.not_calls,
        source=source,
    )


def _print_json(result: ScanResult, out: Path | None, report: Path | None) -> None:
    from .document import to_json

    click.echo(to_json(result, out=out, report=report))


def _print_summary(result: ScanResult, out: Path | None, report: Path | None) -> None:
    from .summary import print_summary
    from .terminal import console

    screen = console()
    with screen.capture() as printed:
        print_summary(result, screen, out=out, report=report)
    # The console has decided on colours already; the spaces with which it fills lines are no use to anyone.
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()), color=True)


def _keep_to_one_thread() -> None:
    """Before numpy loads, here and in the workers: its threads only wait for one another over matrices this small.

    They took half of the processor time of a scan. What the user set stays.
    """
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def _columns(mapping: Sequence[str]) -> dict[str, str] | None:
    pairs = [entry.partition("=") for entry in mapping]
    for column, _, field in pairs:
        if not column or not field:
            raise click.BadParameter("write COLUMN=FIELD, such as prompt=question", param_hint="--map")
    return {column: field for column, _, field in pairs} or None


def _check_plan(by: tuple[str, ...] | None, report: Path | None, *, no_text: bool) -> None:
    """Refuse before the scan what could not be shown or written after it."""
    import polars as pl

    from ..estimate import slice_columns
    from ..types import CONTENT_COLUMNS, exchange_schema, verdict_schema

    schema = {**exchange_schema(), **verdict_schema()}
    hidden = CONTENT_COLUMNS if no_text else ()
    slice_columns(by or (), pl.Schema({name: dtype for name, dtype in schema.items() if name not in hidden}))
    if report is not None and not report.absolute().parent.is_dir():
        raise InputError("the folder does not exist", where=str(report.parent), remedy="create it first")


def _sample_logs() -> list[str]:
    from .. import __file__ as package

    folder = Path(package).parent / "sample"
    return sorted(str(path) for path in folder.glob("*.jsonl") if not path.name.endswith(".labels.jsonl"))


def _default_jobs() -> int:
    """One a core, but no more than one process that reads and writes can keep busy."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4)


def _source(logs: Sequence[str]) -> str:
    """What was scanned, for a title: a shell may have made thousands of names out of one pattern."""
    if not logs:
        return "the sample log"
    return ", ".join(logs[:3]) + (f" and {len(logs) - 3} more" if len(logs) > 3 else "")


def _how_to_go_on(out: Path | None) -> str:
    if out is None:
        return "nothing is kept without -o FILE"
    if not out.with_name(f"{out.name}.parts").exists():
        return f"run the same command again to see the rates; the verdicts are in {out}"
    return f"run the same command again to go on; what is judged is kept in {out.name}.parts"
