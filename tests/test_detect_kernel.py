"""N-grams of an answer: where they fall, and what their weights add up to."""

from __future__ import annotations

import numpy as np
import pytest

from aligntax.detect import kernel
from aligntax.detect.kernel import BUCKETS, OPENING_WORDS, ORDERS, quantise
from aligntax.detect.text import Array, flatten
from aligntax.detect.tokens import Tokens, mix, tokenize

SHORT = "Stop the worker first. Then read its log; it says why."
LONG = " ".join(f"Step {number} moves the queue to node{number}." for number in range(40))
ODD = "Älä tee näin! 进程已停止。 `kill -9` ends it 🙂"


def grams(*texts: str) -> tuple[Tokens, Array, list[Array]]:
    """Tokens, whether sentences come after the opening, and for each text the buckets (tokens, orders)."""
    tokens = tokenize(flatten(list(texts)))
    later = kernel.later_sentences(tokens)
    buckets = kernel.grams(tokens, mix(tokens.hash), later).reshape(-1, ORDERS)
    return tokens, later, np.split(buckets, tokens.row_first[1:-1])


def test_the_buckets_of_a_text_do_not_depend_on_its_chunk() -> None:
    together = grams(SHORT, LONG, ODD, SHORT)[2]
    for text, buckets in zip((SHORT, LONG, ODD, SHORT), together, strict=True):
        np.testing.assert_array_equal(buckets, grams(text)[2][0])


def test_a_word_keeps_its_bucket_and_a_pair_depends_on_the_word_before() -> None:
    one, two = grams("red green blue", "blue green blue")[2]
    assert one[2, 0] == two[0, 0] == two[2, 0]
    assert one[2, 1] == two[2, 1]
    assert one[2, 2] != two[2, 2]
    assert one[1, 1] != two[1, 1]


def test_order_matters() -> None:
    one, two = grams("green red", "red green")[2]
    assert set(one[:2, 0]) == set(two[:2, 0])
    assert one[1, 1] != two[1, 1]


def test_the_first_word_of_an_answer_is_told_from_the_same_word_later() -> None:
    (buckets,) = grams("sorry to hear it, sorry")[2]
    assert buckets[0, 0] == buckets[4, 0]
    assert buckets[0, 1] != buckets[4, 1]


def test_case_and_apostrophes_share_a_bucket() -> None:
    plain, shouted = grams("can't do it", "CAN’T DO IT")[2]
    np.testing.assert_array_equal(plain, shouted)


def test_sentences_that_begin_after_the_opening_use_the_second_table() -> None:
    tokens, later, (buckets,) = grams(LONG)
    begins = tokens.sentence_first[:-1]
    np.testing.assert_array_equal(later, begins >= OPENING_WORDS)
    assert later.any()
    assert not later.all()
    sentence = np.repeat(later, np.diff(tokens.sentence_first))
    np.testing.assert_array_equal(buckets >= BUCKETS, np.repeat(sentence[:, None], ORDERS, axis=1))
    assert buckets.max() < 2 * BUCKETS


def test_the_opening_is_counted_in_each_row_anew() -> None:
    tokens, later, _ = grams(LONG, SHORT)
    assert not later[tokens.row_sentence[1] :].any()


def test_words_spread_over_the_buckets() -> None:
    (buckets,) = grams(
        " ".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}" for n in range(2000))
    )[2]
    for order in range(ORDERS):
        # a perfect hash of 2,000 words into 16,384 buckets leaves 1,882 distinct ones on average
        assert len(np.unique(buckets[:2000, order] % BUCKETS)) > 1800


@pytest.mark.parametrize("texts", [[SHORT], [SHORT, LONG, ODD], ["a", "", "b.", "\n"]])
def test_sums_are_those_of_a_plain_loop(texts: list[str]) -> None:
    tokens, later, parts = grams(*texts)
    weights = quantise(np.random.default_rng(7).normal(size=(2 * BUCKETS, 13)))
    exact = weights.table[:, :13] * weights.scale
    sums = kernel.sentence_sums(tokens, mix(tokens.hash), later, weights)
    buckets = np.concatenate(parts)
    assert sums.shape == (len(tokens.sentence_first) - 1, 13)
    for sentence, total in enumerate(sums):
        slow = np.zeros(13)
        for token in range(tokens.sentence_first[sentence], tokens.sentence_first[sentence + 1]):
            for bucket in buckets[token]:
                slow += exact[bucket]
        np.testing.assert_allclose(total, slow, atol=1e-3)


def test_a_sentence_of_many_thousand_words_does_not_overflow() -> None:
    weights = quantise(np.ones((2 * BUCKETS, 2)))
    tokens, later, _ = grams("word " * 20_000)
    sums = kernel.sentence_sums(tokens, mix(tokens.hash), later, weights)
    np.testing.assert_allclose(sums, 20_001 * ORDERS, rtol=1e-5)


def test_eight_bits_lose_at_most_half_a_step() -> None:
    weights = np.random.default_rng(8).normal(size=(2 * BUCKETS, 5))
    weights[:, 3] = 0
    weights[7, 4] = 50.0
    kept = quantise(weights)
    step = np.maximum(np.abs(weights).max(axis=0), 1e-9) / 127
    assert (np.abs(kept.table[:, :5] * kept.scale - weights) <= step * 0.501).all()
    assert not kept.table[:, 3].any()


def test_counts_by_row_hold_every_gram_once() -> None:
    tokens, _, parts = grams(SHORT, LONG)
    counts = kernel.matrix(tokens.row_first, np.concatenate(parts).ravel())
    assert counts.shape == (2, 2 * BUCKETS)
    np.testing.assert_array_equal(counts.sum(axis=1), [part.size for part in parts])
