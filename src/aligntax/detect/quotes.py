"""Which tokens stand in code or in quotation marks: content that is shown, not said.

The array form of `aligntax_hide` in native.c.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .text import Array, Flat

CODE = np.uint64(0xC0DEC0DEC0DEC0DE)
QUOTED = np.uint64(0x9007ED9007ED9007)


def hidden_tokens(
    flat: Flat, start: Array, row_first: Array, hashes: Array
) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.uint64]]:
    """Which tokens stand in code or in quotation marks, and the hashes with those tokens made anonymous.

    A refusal that is quoted or printed is content, not the model's own word. An answer that is one single
    quotation is read as it stands.
    """
    code = _fences(flat)
    quotes = _quotations(flat)
    if not len(code) and not len(quotes):
        return None, hashes
    masked = hashes.copy()
    hidden = np.zeros(len(start), np.bool_)
    for intervals, value in ((quotes, QUOTED), (code, CODE)):
        if len(intervals):
            inside = _cover(start, intervals)
            _spare_whole_rows(inside, row_first)
            masked[inside] = value
            hidden |= inside
    return hidden, masked


def _cover(start: Array, intervals: Array) -> npt.NDArray[np.bool_]:
    marks = np.zeros(len(start) + 1, np.int32)
    np.add.at(marks, np.searchsorted(start, intervals[:, 0]), 1)
    np.add.at(marks, np.searchsorted(start, intervals[:, 1]), -1)
    return np.cumsum(marks[:-1]) > 0


def _spare_whole_rows(inside: Array, row_first: Array) -> None:
    """Un-hide rows that lie almost wholly inside."""
    totals = np.concatenate(([0], np.cumsum(inside)))
    count = totals[row_first[1:]] - totals[row_first[:-1]]
    for row in np.flatnonzero(count >= 0.8 * np.maximum(np.diff(row_first) - 1, 1)).tolist():
        inside[row_first[row] : row_first[row + 1]] = False


def _pair(at: Array, group: Array) -> npt.NDArray[np.int64]:
    """Join every first and second mark of a group; a last odd one stays open and is dropped."""
    if not len(at):
        return np.empty((0, 2), np.int64)
    begins = np.concatenate(([True], group[1:] != group[:-1]))
    first = np.flatnonzero(begins)
    order = np.arange(len(at)) - np.repeat(first, np.diff(np.append(first, len(at))))
    opens = np.flatnonzero((order[:-1] % 2 == 0) & ~begins[1:])
    return np.stack([at[opens], at[opens + 1]], axis=1)


def _fences(flat: Flat) -> npt.NDArray[np.int64]:
    """Byte intervals of fenced and of inline code."""
    ticks = np.flatnonzero(flat.buffer == ord("`"))
    if not len(ticks):
        return np.empty((0, 2), np.int64)
    opening = np.concatenate(([True], np.diff(ticks) != 1))
    first = np.flatnonzero(opening)
    width = np.diff(np.append(first, len(ticks)))
    at = ticks[first]
    row = np.searchsorted(flat.row_start, at, "right") - 1
    long = width >= 3
    fenced = _pair(at[long], row[long])
    fenced_rows, fences = np.unique(row[long], return_counts=True)
    open_rows = fenced_rows[fences % 2 == 1]  # a fence that is never closed reaches to the end
    tails = [(at[long & (row == r)][-1], flat.row_start[r + 1] - 1) for r in open_rows.tolist()]
    line = _line_numbers(flat, at)
    inline = _pair(at[~long], line[~long])
    parts = [fenced, inline, *([np.asarray(tails, np.int64)] if tails else [])]
    return np.concatenate(parts)


def _line_numbers(flat: Flat, at: Array) -> npt.NDArray[np.int64]:
    lines = np.flatnonzero(flat.buffer == ord("\n"))
    return np.searchsorted(lines, at)


def _quotations(flat: Flat) -> npt.NDArray[np.int64]:
    """Byte intervals between double quotation marks on one line, and of lines quoted with '>'."""
    buffer = flat.buffer
    straight = np.flatnonzero(buffer == ord('"'))
    parts = [_pair(straight, _line_numbers(flat, straight))] if len(straight) else []
    if not flat.ascii:
        general = np.flatnonzero((buffer[:-2] == 0xE2) & (buffer[1:-1] == 0x80))
        third = buffer[general + 2]
        for opening, closing in ((0x9C, 0x9D), (0x9E, 0x9C)):  # English and German shapes
            at = general[(third == opening) | (third == closing)]
            shape = buffer[at + 2]
            line = _line_numbers(flat, at)
            pairs = np.flatnonzero((shape[:-1] == opening) & (shape[1:] == closing) & (line[1:] == line[:-1]))
            parts.append(np.stack([at[pairs], at[pairs + 1]], axis=1))
    marks = np.flatnonzero(buffer == ord(">"))
    if len(marks):
        lead = buffer[np.maximum(marks - 1, 0)]
        marks = marks[(lead == ord("\n")) | np.isin(marks, flat.row_start)]
        lines = np.flatnonzero(buffer == ord("\n"))
        stops = lines[np.minimum(np.searchsorted(lines, marks), len(lines) - 1)]
        parts.append(np.stack([marks, stops], axis=1))
    return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)
