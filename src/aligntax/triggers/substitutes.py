"""Neutral words in place of sensitive ones: which, and put into a prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .collinear import nested
from .reading import NUMBER

_GAP = r"[\W_]+"
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def read_substitutes(path: str | Path) -> dict[str, str]:
    """Word -> substitute, from a YAML file of `word: substitute` lines.

    A list of substitutes stands for its first; `{neutral: ..., note: ...}`, the long form of a domain's vocabulary.yaml, is
    read too, and words without a substitute are left out. A folder stands for the vocabulary.yaml in it. Raises
    InputError for a file that is missing or built otherwise.
    """
    import yaml

    path = Path(path)
    path = path / "vocabulary.yaml" if path.is_dir() else path
    try:
        data: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            "the vocabulary cannot be read", where=str(path), remedy="name a file of 'word: substitute' lines"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError("the file is not YAML", where=where, remedy="mend it at this place") from error
    if not isinstance(data, dict):
        raise InputError("is no vocabulary", where=str(path), remedy="write 'word: substitute', a line each")
    found = {}
    for word, entry in data.items():
        neutral = entry.get("neutral") if isinstance(entry, dict) else entry
        first = neutral[0] if isinstance(neutral, list) and neutral else neutral
        if isinstance(first, str) and first.strip() and isinstance(word, str):
            found[word] = first.strip()
    return found


def substitute_for(words: tuple[str, ...], substitutes: Mapping[str, str]) -> tuple[str, str] | None:
    """The word to swap and its substitute: for the first of `words` that has one, or holds a word that has one.

    None where the vocabulary knows none of them.
    """
    known = {tuple(key.casefold().split()): key for key in substitutes}
    for word in words:
        parts = tuple(word.split())
        exact = known.get(tuple(word.casefold().split()))
        inside = [key for key in known if key and len(key) <= len(parts) and nested(key, parts)]
        key = exact or (known[max(inside, key=len)] if inside else None)
        if key is not None:
            return key, substitutes[key]
    return None


def swapped(prompt: str, word: str, substitute: str) -> str | None:
    """The prompt with every `word` replaced, in the case that it had; None where the word does not stand in it."""
    text, count = pattern(word).subn(lambda found: _like(found.group(), substitute), prompt)
    return text if count else None


def pattern(word: str) -> re.Pattern[str]:
    """Finds a word or phrase in a prompt, whatever its case and what stands between its words."""
    parts = [
        r"\d+" if part == NUMBER else re.escape(part).replace("'", "['’ʼ＇]")
        for part in re.findall(r"[^\W_]+(?:'[^\W_]+)*", word.replace("’", "'"))
    ]
    # Nothing stands between the words of languages that do not space them.
    gap = r"[\W_]*" if _CJK.search(word) else _GAP
    body = gap.join(parts) or re.escape(word)
    if _CJK.search(word):
        return re.compile(body, re.IGNORECASE)
    return re.compile(rf"(?<![^\W\d_]){body}(?![^\W\d_])", re.IGNORECASE)


def _like(found: str, substitute: str) -> str:
    if len(found) > 1 and found.isupper():
        return substitute.upper()
    if found[:1].isupper():
        return substitute[:1].upper() + substitute[1:]
    return substitute
