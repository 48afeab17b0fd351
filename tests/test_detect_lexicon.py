"""The phrase matcher against a naive one and against an automaton, and words that are not the model's own."""

from __future__ import annotations

import functools
import itertools
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import aligntax
from aligntax.detect import lexicon as room
from aligntax.detect.features import read_chunk
from aligntax.detect.lexicon import FUNCTIONS, LANGUAGES, MAX_TOKENS, load_lexicon
from aligntax.detect.phrases import expand
from aligntax.detect.text import flatten
from aligntax.detect.tokens import tokenize
from aligntax.errors import AlignTaxError
from answers import refusals, verdict, words

Words = tuple[str, ...]
Hit = tuple[int, int, str]  # first character, end, function


@functools.cache
def written() -> dict[Words, tuple[str, str, bool]]:
    """(as written, function, only at the start of a sentence) of every phrase; the first of two alike counts."""
    found: dict[Words, tuple[str, str, bool]] = {}
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for language in LANGUAGES:
        path = resources.files("aligntax.detect") / "lexicons" / f"{language}.yaml"
        for function, entries in yaml.load(path.read_text("utf-8"), Loader=loader)["functions"].items():
            for entry in entries:
                pattern = entry if isinstance(entry, str) else entry["phrase"]
                at_start = not isinstance(entry, str) and entry.get("at") == "start"
                for phrase in expand(pattern):
                    found.setdefault(words(phrase), (phrase, function, at_start))
    return found


@functools.cache
def phrases() -> dict[Words, tuple[str, bool]]:
    """(function, only at the start of a sentence) of every phrase."""
    return {tokens: (function, at_start) for tokens, (_, function, at_start) in written().items()}


def hits(texts: list[str]) -> list[list[Hit]]:
    """What the detector finds in each text."""
    lexicon = load_lexicon()
    reading = read_chunk(texts, [""] * len(texts), lexicon)
    row = reading.tokens.sentence_rows()[reading.hits.sentence]
    start = reading.flat.characters(reading.tokens.start[reading.hits.first], row)
    end = reading.flat.characters(reading.tokens.end[reading.hits.last], row)
    found: list[list[Hit]] = [[] for _ in texts]
    for at, first, stop, phrase in zip(row, start, end, reading.hits.phrase, strict=True):
        found[at].append((int(first), int(stop), FUNCTIONS[lexicon.function[phrase]]))
    return found


def settled(candidates: list[Hit]) -> list[Hit]:
    """Without what lies inside another hit."""
    kept: list[Hit] = []
    reach = -1
    for hit in sorted(candidates, key=lambda hit: (hit[0], -hit[1])):
        if hit[1] > reach:
            kept.append(hit)
            reach = hit[1]
    return kept


# -- against a naive matcher ---------------------------------------------------------------------------------


def expected(sentences: list[list[str]]) -> tuple[str, list[Hit]]:
    """The text of sentences given as words, and every phrase in it by looking at every run of words."""
    text = ""
    candidates: list[Hit] = []
    for sentence in sentences:
        places = []
        for word in sentence:
            places.append((len(text), len(text) + len(word)))
            text += word + " "
        tokens = [words(word)[0] for word in sentence]
        for first, last in itertools.combinations_with_replacement(range(len(sentence)), 2):
            function, at_start = phrases().get(tuple(tokens[first : last + 1]), ("", False))
            if function and (first == 0 or not at_start):
                candidates.append((places[first][0], places[last][1], function))
        text += "! "
    return text, settled(candidates)


@functools.cache
def by_length() -> list[Words]:
    return sorted(phrases(), key=lambda phrase: (len(phrase), phrase))


@st.composite
def sentence(draw: st.DrawFn) -> list[str]:
    """Whole phrases, parts of phrases and lone words of the lexicon, side by side."""
    found: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        phrase = by_length()[draw(st.integers(0, len(by_length()) - 1))]
        low = draw(st.sampled_from([0, 0, 0, 1, 2]))
        high = draw(st.sampled_from([99, 99, 99, 1, 3]))
        found += phrase[low:high]
    return found or ["so"]


@settings(max_examples=250, deadline=None)
@given(st.lists(st.lists(sentence(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_the_matcher_agrees_with_a_naive_one(rows: list[list[list[str]]]) -> None:
    texts, truth = zip(*(expected(row) for row in rows), strict=True)
    assert hits(list(texts)) == list(truth)


def test_every_phrase_of_the_lexicon_is_found_by_itself() -> None:
    texts = [text for text, _, _ in written().values()]
    lost = [
        text
        for found, (text, function, _) in zip(hits(texts), written().values(), strict=True)
        if (0, len(text.rstrip("'’")), function) not in found
    ]
    assert len(texts) > 10_000
    assert lost == []


def test_a_space_between_chinese_and_latin_letters_changes_nothing() -> None:
    joined, spaced = hits(["作为一个AI助手，我无法帮助您。", "作为一个 AI 助手，我无法帮助您。"])
    assert [function for _, _, function in joined] == [function for _, _, function in spaced] != []


# -- against an automaton ------------------------------------------------------------------------------------


@functools.cache
def plain_answers() -> list[str]:
    """Answers of the shipped sample that hold no code and no quotation."""
    folder = Path(aligntax.__file__).parent / "sample"
    rows = [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        if not path.name.endswith(".labels.jsonl")
        for line in path.read_text("utf-8").splitlines()
    ]
    texts = [row["response"] for row in rows if row.get("response")]
    return [text for text in texts if not set(text) & set('"“”„`>')]


def sentence_places(text: str) -> list[list[tuple[int, int]]]:
    """Characters of the words of each sentence, as the detector cuts them."""
    flat = flatten([text])
    tokens = tokenize(flat)
    row = tokens.start * 0
    start, end = flat.characters(tokens.start, row), flat.characters(tokens.end, row)
    edges = itertools.pairwise(tokens.sentence_first.tolist())
    return [[(int(start[t]), int(end[t])) for t in range(a, b) if tokens.word[t]] for a, b in edges]


def test_the_matcher_agrees_with_an_aho_corasick_automaton() -> None:
    peer = pytest.importorskip("ahocorasick_rs", reason="the peer of this comparison is not installed")
    anywhere = [phrase for phrase, (_, at_start) in phrases().items() if not at_start]
    automaton = peer.AhoCorasick([f" {' '.join(phrase)} " for phrase in anywhere])
    opening = {phrase for phrase, (_, at_start) in phrases().items() if at_start}
    texts = plain_answers()
    total = 0
    for text, found in zip(texts, hits(texts), strict=True):
        candidates: list[Hit] = []
        for places in sentence_places(text):
            tokens = ["".join(words(text[a:b])) or "?" for a, b in places]
            buffer = f" {' '.join(tokens)} "
            begins = {sum(len(token) + 1 for token in tokens[:at]): at for at in range(len(tokens) + 1)}
            for which, start, end in automaton.find_matches_as_indexes(buffer, overlapping=True):
                first, last = places[begins[start]], places[begins[end - 1] - 1]
                candidates.append((first[0], last[1], phrases()[anywhere[which]][0]))
            heads = (tuple(tokens[:size]) for size in range(1, min(MAX_TOKENS, len(tokens)) + 1))
            candidates += [
                (places[0][0], places[len(head) - 1][1], phrases()[head][0])
                for head in heads
                if head in opening
            ]
        assert found == settled(candidates), text
        total += len(found)
    assert len(texts) > 150
    assert total > 500


# -- whose words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'The page prints "I can\'t help with that" when the quota is used up; raise the quota.',
        "The page prints “I can't help with that” when the quota is used up; raise the quota.",
        "Die Seite zeigt „I can't help with that“ and nothing else; raise the quota.",
        "Look for `I can't help with that` in the log and restart the worker that wrote it.",
        "Put this in the template:\n\n```\nI can't help with that.\n```\n\nThen restart the worker.",
        "Put this in the template and restart the worker afterwards:\n```python\nraise Stop('I cannot help with that')",
        "They wrote:\n\n> I can't help with that.\n\nAsk them for the reason, in writing, within ten days.",
        "You can't kill a zombie process, but you can end its parent, and init will reap it.",
        "I can't stress enough how useful a core dump is here: enable it with ulimit -c.",
        "The clinic can't help with that form; the council can.",
        "She was unable to help with the move, so the brothers rented a van.",
        "The court held that it could not provide relief, and dismissed the claim.",
        "If the vendor says it cannot share the report, ask for a bridge letter.",
        "I can't. Help with that is on page two.",
    ],
)
def test_words_that_are_not_the_models_own_refusal_do_not_count(text: str) -> None:
    assert refusals(verdict(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        '"I can\'t help with that."',
        "“I can't help with that.”",
        "> I can't help with that.",
        "```\nI can't help with that.\n```",
        "`I can't help with that.`",
    ],
)
def test_an_answer_that_is_one_whole_quotation_is_read(text: str) -> None:
    row = verdict(text)
    assert refusals(row) == ["I can't help with that"]
    assert row["answered"] in ("none", "part")


def test_a_phrase_that_must_open_a_sentence_counts_nowhere_else() -> None:
    at_start = next(
        p for p, (f, start) in phrases().items() if start and f == "refusal_policy" and len(p) > 3
    )
    text = " ".join(at_start)
    inside = f"well {text}. {text}"
    assert [hit[0] for hit in hits([inside])[0] if inside[hit[0] : hit[1]] == text] == [len(text) + 7]


def test_no_phrase_reaches_over_the_end_of_a_sentence() -> None:
    whole, cut = hits(["I won't help you with that", "I won't. Help you with that"])
    assert [function for _, _, function in whole] == ["refusal_policy"]
    assert cut == []


# -- a broken lexicon ----------------------------------------------------------------------------------------


def test_a_missing_lexicon_is_an_error_that_names_the_language(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_lexicon()
    monkeypatch.setattr(room.resources, "files", lambda package: tmp_path)
    with pytest.raises(AlignTaxError, match="'en' is missing"):
        load_lexicon.__wrapped__()
