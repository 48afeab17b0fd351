"""Words that stand out in requests that were not answered: simple odds ratios, to find neighbours with.

`aligntax triggers` is the test that can be shown around: topics, false discoveries, stability. This is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from .near import words_of
from .packs import DOMAINS, load_vocabulary

MOST_TERMS = 20
_FEWEST = 3  # failed requests with the word
_COMMON = 0.2  # share of all requests from which on a word belongs to the language rather than to a topic
_LOOKED_AT = 5_000
_STANDS_OUT = 2.0  # Mantel-Haenszel z, within use cases
_NO_TOPIC = frozenset(
    [
        "about",
        "after",
        "again",
        "all",
        "also",
        "and",
        "any",
        "are",
        "because",
        "been",
        "before",
        "being",
        "between",
        "but",
        "can",
        "could",
        "did",
        "does",
        "doing",
        "don't",
        "down",
        "each",
        "few",
        "for",
        "from",
        "get",
        "give",
        "had",
        "has",
        "have",
        "having",
        "help",
        "her",
        "here",
        "hers",
        "him",
        "his",
        "how",
        "into",
        "its",
        "it's",
        "just",
        "let",
        "like",
        "make",
        "may",
        "might",
        "more",
        "most",
        "must",
        "need",
        "not",
        "now",
        "off",
        "once",
        "only",
        "other",
        "our",
        "out",
        "over",
        "own",
        "past",
        "per",
        "please",
        "pls",
        "same",
        "shall",
        "she",
        "should",
        "show",
        "some",
        "such",
        "tell",
        "than",
        "thanks",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "too",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "under",
        "until",
        "use",
        "used",
        "very",
        "was",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "within",
        "would",
        "write",
        "you",
        "your",
    ]
)  # of English; those of other languages are known by how common they are
_BETWEEN = r"[\W_]{1,3}"
_CJK = r"\u2e80-\u9fff\uf900-\ufaff"


def terms_of(failed: pl.DataFrame, answered: pl.DataFrame, *, most: int = MOST_TERMS) -> tuple[str, ...]:
    """Words that failed requests have more often than answered ones of the same use case, then sensitive words.

    Both frames have `prompt` and `use_case`, near-duplicates taken out. A word counts from 3 failed requests and
    z = 2 on (Mantel-Haenszel over use cases), the surest `most` of them; numbers, words of one or two letters and
    words of no topic are left out. After them come words of the packs' vocabularies that a failed request has.
    """
    both = pl.concat(
        [
            failed.select("prompt", "use_case", failed=pl.lit(1, pl.Int64)),
            answered.select("prompt", "use_case", failed=pl.lit(0, pl.Int64)),
        ]
    )
    sizes = both.group_by("use_case").agg(
        pl.len().cast(pl.Int64).alias("n"), pl.col("failed").sum().alias("f")
    )
    words = both.select("use_case", "failed", word=words_of("prompt").list.unique()).explode("word")
    words = words.filter(
        (pl.col("word").str.len_chars() > 2)
        & ~pl.col("word").str.contains("'", literal=True)
        & ~pl.col("word").is_in([*_NO_TOPIC])
    )
    counts = words.group_by("use_case", "word").agg(
        pl.len().cast(pl.Int64).alias("with"), pl.col("failed").sum().alias("a")
    )
    n, f, k = pl.col("n"), pl.col("f"), pl.col("with")
    table = (
        counts.join(sizes, on="use_case", nulls_equal=True)
        .filter(n > 1)
        .group_by("word")
        .agg(
            pl.col("a", "with").sum(),
            (pl.col("a") - k * f / n).sum().alias("excess"),
            (k * (n - k) * (f / n) * ((n - f) / n) / (n - 1)).sum().alias("variance"),
        )
        .filter(
            (pl.col("a") >= _FEWEST) & (pl.col("with") <= _COMMON * both.height) & (pl.col("variance") > 0)
        )
        .with_columns(z=pl.col("excess") / pl.col("variance").sqrt())
        .filter(pl.col("z") >= _STANDS_OUT)
        .sort("z", "word", descending=[True, False])
    )
    return tuple(dict.fromkeys((*table["word"].head(most), *_of_packs(failed["prompt"].head(_LOOKED_AT)))))


def has_terms(column: str, terms: Sequence[str]) -> pl.Expr:
    """Whether a text has any of the terms as whole words; signs, case and the numbers in it make no difference."""
    return _spaced(column).str.contains_any(_folded(terms))


def _of_packs(prompts: pl.Series) -> list[str]:
    """Sensitive words of the packs that any of the prompts has."""
    words = [*dict.fromkeys(word.term.lower() for domain in DOMAINS for word in load_vocabulary(domain))]
    texts = prompts.to_frame("text").select(text=_spaced("text"))["text"]
    counts = [texts.str.contains(folded, literal=True).sum() for folded in _folded(words)]
    return [word for word, count in zip(words, counts, strict=True) if count]


def _spaced(column: str) -> pl.Expr:
    """The words of a text with a blank on either side of each."""
    return pl.format(" {} ", words_of(column).list.join(" "))


def _folded(terms: Sequence[str]) -> list[str]:
    return pl.DataFrame({"term": [*terms]}).select(_spaced("term")).to_series().to_list()


def terms_in(text: str, terms: Sequence[str]) -> tuple[str, ...]:
    """The terms that a text has, as they are spelled in it, in lower case, each once and in their order there."""
    found: dict[str, int] = {}
    plain = text.lower()
    for term in terms:
        first = term.split()[0]
        if first != "0" and first[:3] not in plain:
            continue
        match = re.search(_pattern(term), text, re.IGNORECASE)
        if match:
            found.setdefault(match[0].lower(), match.start())
    return tuple(sorted(found, key=lambda term: found[term]))


def _pattern(term: str) -> str:
    """Between the words of a phrase may stand signs and blanks; 0 is any number, as `words_of` has it."""
    words = [r"\d+" if word == "0" else re.escape(word).replace("'", "['’]") for word in term.split()]
    if re.search(rf"[{_CJK}]", term):
        return r"[\W_]{0,3}".join(words)
    return rf"(?<![^\W_{_CJK}]){_BETWEEN.join(words)}(?![^\W_{_CJK}])"
