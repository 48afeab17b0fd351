"""`aligntax suite from-logs`: a suite from one's own log, and the review of it."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InputError
from ..where import store_option

if TYPE_CHECKING:
    from ...suites.from_logs import Picked
    from ...suites.mask import Finder
    from ...suites.review import Reviewed
    from ...types import Annotation, Prompt

_LISTED = 12
_PERSON = "Rules miss names and whatever has no form of its own: a person must read every prompt."
_UNMASKED = "Nothing was masked: the prompts stand as your users wrote them."
_PARQUET = b"PAR1"


@click.command("from-logs", short_help="A suite from your own log.")
@click.argument("verdicts", type=click.Path(dir_okay=False, path_type=Path), metavar="VERDICTS")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="SUITE.jsonl",
    help="Where the suite goes.",
)
@click.option("--use-case", metavar="NAME", help="Only requests of this use case.")
@click.option(
    "--triggers",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.json",
    help="What aligntax triggers --json has printed: its words choose the neighbours.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    metavar="N",
    help="Prompts at most.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of the random choice.")
@click.option("--no-mask", is_flag=True, help="Leave personal data in the prompts.")
@click.option(
    "--masker",
    type=click.Choice(["rules", "presidio"]),
    default="rules",
    show_default=True,
    help="What finds personal data; presidio finds names too, beside the rules.",
)
@click.option(
    "--review",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Write a table too, in which a person says what stays and what it is.",
)
@click.option(
    "--reviewed",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Apply such a table. VERDICTS may be the suite that it was written with.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead, without prompts.")
def command(  # noqa: PLR0913, PLR0917 - each is one option
    verdicts: Path,
    out: Path,
    use_case: str | None,
    triggers: Path | None,
    limit: int,
    seed: int,
    no_mask: bool,
    masker: str,
    review: Path | None,
    reviewed: Path | None,
    force: bool,
    where: str | None,
    as_json: bool,
) -> None:
    """Pick requests from VERDICTS that were refused, hedged, avoided, padded or blocked, and about as many like them
    that were answered in full.

    VERDICTS is a file that `aligntax scan -o` has written. Labels of the store count before the detector: what should
    be answered becomes benign, what should not is left out, and everything else is borderline until a person says.
    Near-duplicates are left out and personal data is masked; rules miss names, so a person must read the suite.
    """
    from ...suites import write
    from ...suites.review import apply_review, review_table

    _refuse_clashes([verdicts, triggers, reviewed], [out, review], force=force)
    if no_mask and masker != "rules":
        raise click.UsageError("--no-mask and --masker exclude each other")
    picked = None
    if reviewed is not None and _is_suite(verdicts):
        from ...suites import load

        prompts: Sequence[Prompt] = load(verdicts)
    else:
        picked = _picked(
            verdicts, where, triggers, _finders(masker, masked=not no_mask), (use_case, limit, seed)
        )
        prompts = picked.prompts
    decided = apply_review(reviewed, prompts) if reviewed is not None else None
    prompts = decided.prompts if decided is not None else prompts
    with _private():
        write(out, prompts)
        if review is not None:
            _write(review, review_table(prompts))
    if as_json:
        click.echo(json.dumps(_document(out, review, prompts, picked, decided), indent=2))
        return
    for line in _told(out, review, prompts, picked, decided):
        click.echo(line)


def _picked(
    verdicts: Path,
    where: str | None,
    triggers: Path | None,
    finders: Sequence[Finder] | None,
    settings: tuple[str | None, int, int],
) -> Picked:
    from ...suites.from_logs import pick
    from ...verdict_file import scan_verdicts

    use_case, limit, seed = settings
    frame = scan_verdicts(verdicts)
    terms = _terms(triggers) if triggers is not None else None
    return pick(
        frame,
        labels=_labels(where),
        terms=terms,
        use_case=use_case,
        limit=limit,
        seed=seed,
        finders=finders,
    )


def _labels(where: str | None) -> dict[str, Annotation]:
    """What people have said of exchanges in any draw: it stays true of an exchange whatever the draw was made from."""
    from ...label.settle import settled
    from ..where import labels_if_any

    with labels_if_any(where) as store:
        notes = [note for draw in store.draws() for note in store.annotations(draw.id)] if store else []
    return {note.exchange: note for note in settled(notes)}


def _terms(path: Path) -> tuple[str, ...]:
    from ...suites.from_logs import terms_of_document

    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError("the file cannot be read", where=str(path), remedy="check its name") from error
    except ValueError as error:
        remedy = "make it: aligntax triggers VERDICTS --json > FILE"
        raise InputError("is not JSON", where=str(path), remedy=remedy) from error
    return terms_of_document(document, str(path))


def _finders(masker: str, *, masked: bool) -> Sequence[Finder] | None:
    from ...suites.mask import by_rules, presidio

    if not masked:
        return None
    return (by_rules, presidio()) if masker == "presidio" else (by_rules,)


def _is_suite(path: Path) -> bool:
    """Whether a file is a suite rather than verdicts; scan_verdicts says what is wrong with anything else."""
    try:
        with path.open("rb") as file:
            return file.read(len(_PARQUET)) != _PARQUET
    except OSError:
        return False


def _refuse_clashes(read: Sequence[Path | None], written: Sequence[Path | None], *, force: bool) -> None:
    inputs = {path.resolve() for path in read if path is not None}
    outputs = [path for path in written if path is not None]
    for place, path in enumerate(outputs):
        if path.resolve() in inputs or path.resolve() in [other.resolve() for other in outputs[:place]]:
            raise InputError(
                "the same file is read or written twice", where=str(path), remedy="name another file"
            )
        if path.exists() and not force:
            raise InputError(
                "there is one already",
                where=str(path),
                remedy="name another file, or replace it with --force",
            )


@contextlib.contextmanager
def _private() -> Iterator[None]:
    """Files made here are for their owner's eyes: they hold what users wrote."""
    former = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(former)


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            "the file cannot be written", where=str(path), remedy="name another place"
        ) from error


def _counts(prompts: Sequence[Prompt], of: Callable[[Prompt], str]) -> dict[str, int]:
    return dict(Counter(map(of, prompts)).most_common())


def _why(prompt: Prompt) -> str:
    return (prompt.tags or {}).get("why", "not said")


def _document(
    out: Path,
    review: Path | None,
    prompts: Sequence[Prompt],
    picked: Picked | None,
    decided: Reviewed | None,
) -> dict[str, Any]:
    import msgspec

    document: dict[str, Any] = {
        "format": 1,
        "suite": str(out),
        "review": str(review) if review else None,
        "prompts": len(prompts),
        "why": _counts(prompts, _why),
        "intents": _counts(prompts, lambda prompt: prompt.intent.value),
        "use_cases": _counts(prompts, lambda prompt: prompt.domain or "none"),
    }
    if picked is not None:
        document["picked"] = {
            name: value for name, value in msgspec.to_builtins(picked).items() if name != "prompts"
        }
    if decided is not None:
        names = (name for name in decided.__struct_fields__ if name != "prompts")
        document["reviewed"] = {name: getattr(decided, name) for name in names}
    return document


def _told(
    out: Path,
    review: Path | None,
    prompts: Sequence[Prompt],
    picked: Picked | None,
    decided: Reviewed | None,
) -> Iterator[str]:
    from ..summary import plural
    from ..terminal import clean

    why = _counts(prompts, _why)
    neighbours = why.pop("neighbour", 0)
    yield clean(f"{out}: {plural(len(prompts), 'prompt')}")
    failed = len(prompts) - neighbours
    yield _row("failed", f"{failed:,}: {_listed(why)}" if failed else "none")
    with_terms = f"{neighbours:,} answered in full, with the same words in them"
    yield _row(
        "neighbours", with_terms if neighbours else "none: no answered request has words that stand out"
    )
    yield _row("intent", _listed(_counts(prompts, lambda prompt: prompt.intent.value)))
    if picked is not None:
        yield from _told_of_picking(picked)
    if decided is not None:
        yield _row("review", _listed(_review_words(decided)))
    yield ""
    masked = picked.masked is not None if picked is not None else None
    if masked is not None:
        yield _PERSON if masked else _UNMASKED
    if review is not None:
        yield clean(f"Fill in intent and keep in {review}, and give it back: --reviewed {review}")
    elif decided is None:
        yield "For a table to fill in: --review FILE.csv"
    yield clean(f"Next: aligntax run {out} --model M")


def _told_of_picking(picked: Picked) -> Iterator[str]:
    from ..terminal import clean

    if picked.terms:
        more = f" and {len(picked.terms) - _LISTED} more" if len(picked.terms) > _LISTED else ""
        origin = (
            "of the triggers"
            if picked.terms_given
            else "stand out here, or are sensitive words of the packs; aligntax triggers tests words"
        )
        yield _row("words", clean(f"{', '.join(picked.terms[:_LISTED])}{more} ({origin})"))
    yield _row("labels", f"{picked.labelled:,} of them; the others are borderline until a person says")
    if picked.masked is not None:
        yield _row("masked", _listed(picked.masked) or "nothing was found")
    out = {"near-duplicates": picked.repeats} if picked.repeats else {}
    out |= picked.left_out
    taken = f"from {picked.failed:,} that failed and {picked.answered:,} answered with such words"
    yield _row("log", taken)
    if out:
        yield _row("left out", _listed(out))


def _review_words(decided: Reviewed) -> dict[str, int]:
    words = {
        "with an intent": decided.decided,
        "kept as they were": decided.kept,
        "not decided": decided.undecided,
        "dropped": decided.dropped,
        "left out as their row is gone": decided.missing,
        "with changed text": decided.changed,
    }
    return {word: count for word, count in words.items() if count}


def _row(name: str, value: str) -> str:
    return f"  {name:<11}{value}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
