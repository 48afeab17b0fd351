"""Alternation in lexicon phrases: `i (can't|cannot) help( you|)` to the literal phrases it stands for."""

from __future__ import annotations


def expand(pattern: str) -> list[str]:
    """All literal phrases of a pattern, in reading order, each once, with single spaces.

    Parentheses group, a bar separates alternatives, both nest; an alternative may be empty.
    Raises ValueError where parentheses do not balance or where one of the phrases would be empty.
    """
    texts, end = _alternatives(pattern, 0)
    if end < len(pattern):
        raise ValueError(f"unbalanced ')' at {end} in {pattern!r}")
    phrases = list(dict.fromkeys(" ".join(text.split()) for text in texts))
    if "" in phrases:
        raise ValueError(f"an empty phrase in {pattern!r}")
    return phrases


def _alternatives(pattern: str, at: int) -> tuple[list[str], int]:
    """Texts of the alternatives that start at `at`, and where they end: a `)` or the end of the pattern."""
    done: list[str] = []
    current = [""]
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "(":
            inner, close = _alternatives(pattern, at + 1)
            if close == len(pattern):
                raise ValueError(f"unbalanced '(' at {at} in {pattern!r}")
            current = [head + tail for head in current for tail in inner]
        elif pattern[at] == "|":
            done, current = done + current, [""]
            close = at
        else:
            current = [head + pattern[at] for head in current]
            close = at
        at = close + 1
    return done + current, at
