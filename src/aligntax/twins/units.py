"""Units of measure: which spellings mean the same, and how many of one make another."""

from __future__ import annotations

import re
from functools import lru_cache

from .folding import folded, forms_of

_SPELLINGS: dict[str, dict[float, str]] = {  # dimension -> size in its smallest unit -> spellings
    "mass": {
        1e-3: "ng nanogram nanogramme",
        1.0: "μg ug mcg microgram microgramme",
        1e3: "mg milligram milligramme",
        1e6: "g gram gramme gm",
        1e9: "kg kilogram kilogramme kilo",
    },
    "volume": {1.0: "ml millilitre milliliter cc", 100.0: "dl decilitre deciliter", 1e3: "l litre liter"},
    "time": {
        1.0: "s sec second",
        60.0: "min minute",
        3600.0: "h hr hour",
        86400.0: "d day",
        604800.0: "w wk week",
    },
    "long time": {1.0: "month mo mth", 12.0: "year yr y"},
    "length": {
        1.0: "mm millimetre millimeter",
        10.0: "cm centimetre centimeter",
        1e3: "m metre meter",
        1e6: "km kilometre kilometer",
    },
    "share": {1.0: "% percent", 1e-2: "basispoint bp bps"},
    "dollar": {1.0: "$ usd us$ dollar"},
    "pound sterling": {1.0: "£ gbp pound"},
    "euro": {1.0: "€ eur euro"},
    "yen": {1.0: "¥ jpy yen"},
    "data": {
        1.0: "byte b",
        1024.0: "kb kib kilobyte",
        1048576.0: "mb mib megabyte",
        1073741824.0: "gb gib gigabyte",
    },
    "bit": {1.0: "bit"},
    "celsius": {1.0: "°c celsius"},
    "fahrenheit": {1.0: "°f fahrenheit"},
}
_UNITS = {
    spelling: (dimension, size)
    for dimension, sizes in _SPELLINGS.items()
    for size, spellings in sizes.items()
    for spelling in spellings.split()
}
_SHORT = 3  # letters; longer spellings have plurals
_PER = r"\s?(?:/|per|a|each|every)\s?"
_ANOTHER_MEASURE = r"(?!\s?(?:/|per)\s?(?:kg|kilo|m\^?2|m2|ml|l|dl|litre|liter)(?!\w))"


def unit_factor(text: str, unit_at: int, prefix_end: int, unit: str) -> float | None:
    """What a number in `folded` text must be multiplied with to be in `unit`; None where that unit is not there."""
    for pattern, factor, before in _patterns(unit):
        if before:
            if pattern.search(text, max(0, prefix_end - 8), prefix_end):
                return factor
        elif pattern.match(text, unit_at):
            return factor
    return None


@lru_cache(512)
def _patterns(unit: str) -> tuple[tuple[re.Pattern[str], float, bool], ...]:
    """Patterns with the factor that each stands for, and whether it is looked for before the number."""
    name = folded(unit).strip()
    pieces = [piece.strip() for piece in re.split(r"/| per ", name) if piece.strip()]
    if len(pieces) > 1:
        body = _PER.join(f"(?:{_spelled(piece)})" for piece in pieces)
        return ((re.compile(rf"[)\s-]{{0,2}}(?:{body})(?!\w)"), 1.0, False),)
    found = _UNITS.get(_singular(name))
    if found is None:
        words = r"[\s-]".join(f"(?:{_any(forms_of(word))})" for word in name.split())
        end = r"(?!\w)" if name[-1:].isalnum() else ""
        return ((re.compile(rf"[)\s-]{{0,2}}(?:{words}){end}"), 1.0, False),)
    dimension, size = found
    patterns = []
    for other, spellings in _SPELLINGS[dimension].items():
        spelled = "|".join(_any(_spellings(each)) for each in spellings.split())
        end = r"(?!\w)" if dimension != "share" else ""
        after = re.compile(rf"[)\s-]{{0,2}}(?:{spelled}){end}{_ANOTHER_MEASURE}")
        patterns.append((after, other / size, False))
        if dimension in {"dollar", "pound sterling", "euro", "yen"}:
            patterns.append((re.compile(rf"(?:{spelled})\s?\Z"), other / size, True))
    return tuple(patterns)


def _spelled(piece: str) -> str:
    """All spellings of the same size as this one; a piece of another kind in its inflections."""
    found = _UNITS.get(_singular(piece))
    if found is None:
        return _any(forms_of(piece))
    dimension, size = found
    return "|".join(_any(_spellings(each)) for each in _SPELLINGS[dimension][size].split())


def _spellings(unit: str) -> set[str]:
    if unit == "percent":
        return {"percent", "per cent", "pct"}
    if unit == "basispoint":
        return {"basis point", "basis points"}
    return {unit, f"{unit}s", *(forms_of(unit) if len(unit) > _SHORT else ())}


def _singular(name: str) -> str:
    name = {
        "per cent": "percent",
        "pct": "percent",
        "basis points": "basispoint",
        "basis point": "basispoint",
    }.get(name, name)
    return name if name in _UNITS else name.removesuffix("s")


def _any(spellings: set[str] | frozenset[str]) -> str:
    return "|".join(map(re.escape, sorted(spellings, key=len, reverse=True)))
