"""Prompts from a log as a table for a person to read, and back with what the person decided."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InputError
from ..types import Intent, Prompt
from .log_terms import terms_in
from .rows import BadRow, intent_of

COLUMNS = ("id", "use_case", "why", "kind", "intent", "keep", "prompt", "system")
"""`intent` (benign, harmful or borderline) and `keep` (yes or no) are for the person; `prompt` and `system` may be
changed, as where a name was missed."""

_KEEP = {
    **dict.fromkeys(("yes", "y", "1", "true", "keep", "x"), True),
    **dict.fromkeys(("no", "n", "0", "false", "drop"), False),
}
# A spreadsheet runs a cell that begins so as a formula, and these texts come from anybody's chat.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_LONGEST_CELL = 2**31 - 1


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts after the review. Every prompt of before is in exactly one of the counts."""

    prompts: tuple[Prompt, ...]
    decided: int  # kept, with an intent that a person gave
    undecided: int  # kept as they were: neither intent nor keep was filled in
    kept: int  # kept by a yes alone, with the intent of before
    dropped: int  # keep says no
    missing: int  # left out, for their row is gone
    changed: int  # of those that stay, how many have another text now


def review_table(prompts: Sequence[Prompt]) -> bytes:
    """The prompts as CSV in UTF-8, with the mark by which spreadsheets know it; intents of labels filled in."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for prompt in prompts:
        tags = prompt.tags or {}
        intent = prompt.intent.value if tags.get("label") == "expert" else ""
        cells = (
            prompt.id,
            prompt.domain,
            tags.get("why"),
            tags.get("kind"),
            intent,
            "",
            prompt.text,
            prompt.system,
        )
        writer.writerow([_guarded(cell or "") for cell in cells])
    return out.getvalue().encode("utf-8-sig")


def apply_review(path: str | Path, prompts: Sequence[Prompt]) -> Reviewed:
    """The prompts as the person wants them, in their order.

    Raises InputError, with the line and without what stands in it, for a table without the columns id, intent and
    keep, for a cell that means nothing, for an id that occurs twice, and where it is of other prompts.
    """
    rows = _rows(Path(path))
    strange = len(rows.keys() - {prompt.id for prompt in prompts})
    if strange:
        raise InputError(
            f"{strange} of its {len(rows)} rows are of prompts that are not in this suite",
            where=str(path),
            remedy="name the suite that it was written with, or use the settings of then",
        )
    counts: Counter[str] = Counter()
    kept = []
    for prompt in prompts:
        if prompt.id not in rows:
            counts["missing"] += 1
            continue
        line, cells = rows[prompt.id]
        keep, intent = _decision(cells, f"{path}:{line}")
        if keep is False:
            counts["dropped"] += 1
            continue
        counts["decided" if intent else "kept" if keep else "undecided"] += 1
        after = _after(prompt, cells, intent, f"{path}:{line}", seen=bool(keep or intent))
        counts["changed"] += (after.text, after.system) != (prompt.text, prompt.system)
        kept.append(after)
    if not kept:
        raise InputError("it keeps no prompt", where=str(path), remedy="leave some with keep yes")
    names = ("decided", "undecided", "kept", "dropped", "missing", "changed")
    return Reviewed(prompts=tuple(kept), **{name: counts[name] for name in names})


def _after(
    prompt: Prompt, cells: Mapping[str, str], intent: Intent | None, where: str, *, seen: bool
) -> Prompt:
    # A spreadsheet may write other line ends than it was given.
    text, system = cells.get("prompt"), cells.get("system")
    text = prompt.text if text is None or _same(text, prompt.text) else text
    if system is not None and _same(system, prompt.system or ""):
        system = prompt.system
    if not text.strip():
        raise InputError("its prompt is empty", where=where, remedy="to leave it out, write no under keep")
    return msgspec.structs.replace(
        prompt,
        text=text,
        system=prompt.system if system is None else system or None,
        intent=intent or prompt.intent,
        terms=terms_in(text, prompt.terms),
        tags={**(prompt.tags or {}), **({"reviewed": "yes"} if seen else {})} or None,
    )


def _same(cell: str, text: str) -> bool:
    return cell.split() == text.split()


def _decision(cells: Mapping[str, str], where: str) -> tuple[bool | None, Intent | None]:
    said = cells["keep"].strip().lower()
    if said and said not in _KEEP:
        raise InputError("keep is neither yes nor no", where=where, remedy="write yes, no, or nothing")
    word = cells["intent"].strip()
    try:
        return _KEEP.get(said), intent_of(word) if word else None
    except BadRow as bad:
        raise InputError("its intent is none that we know", where=where, remedy=bad.remedy) from bad


def _rows(path: Path) -> dict[str, tuple[int, dict[str, str]]]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError("the file cannot be read", where=str(path), remedy="check its name") from error
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8", where=str(path), remedy="save it as CSV in UTF-8") from error
    first = text.partition("\n")[0]
    former = csv.field_size_limit(_LONGEST_CELL)
    try:
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True
        )
        return _by_id(reader, str(path))
    except csv.Error as error:
        raise InputError("is not CSV", where=str(path), remedy="save it as CSV again") from error
    finally:
        csv.field_size_limit(former)


def _by_id(reader: Any, where: str) -> dict[str, tuple[int, dict[str, str]]]:
    header = [name.strip().lower() for name in next(reader, [])]
    missing = [name for name in ("id", "intent", "keep") if name not in header]
    if missing:
        raise InputError(
            f"has no column {missing[0]}", where=where, remedy="keep the columns that --review has written"
        )
    found: dict[str, tuple[int, dict[str, str]]] = {}
    line = reader.line_num + 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            if len(cells) != len(header):
                raise InputError(
                    "has not as many fields as the header", where=f"{where}:{line}", remedy="mend the row"
                )
            row = dict(zip(header, map(_unguarded, cells), strict=True))
            if row["id"] in found:
                raise InputError(
                    f"has the id of line {found[row['id']][0]}",
                    where=f"{where}:{line}",
                    remedy="keep one of the two",
                )
            found[row["id"]] = (line, row)
        line = reader.line_num + 1
    return found


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
