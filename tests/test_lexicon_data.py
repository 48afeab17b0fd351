"""The lexicon is data that people edit by hand: every file keeps the shape that the matcher relies on."""

from __future__ import annotations

import functools
import unicodedata
from importlib import resources

import pytest
import yaml

from aligntax.detect.lexicon import FUNCTIONS, LANGUAGES, MAX_TOKENS
from aligntax.detect.phrases import expand

CORE = {
    "refusal_capability",
    "refusal_policy",
    "apology",
    "ai_identity",
    "disclaimer",
    "redirect",
    "closing_offer",
}
MAX_PHRASES = 400

FOLDER = resources.files("aligntax.detect") / "lexicons"
FILES = {
    path.name.removesuffix(".yaml"): yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in FOLDER.iterdir()
    if path.name.endswith(".yaml")
}


def tokens(phrase: str) -> tuple[str, ...]:
    """Words by letters, digits and marks; every Han, kana or Hangul character stands alone."""
    words: list[str] = []
    inside = False
    for char in phrase.lower():
        alone = unicodedata.name(char, "").startswith(("CJK UNIFIED", "HIRAGANA", "KATAKANA", "HANGUL"))
        if unicodedata.category(char)[0] not in "LNM":
            inside = False
        elif inside and not alone:
            words[-1] += char
        else:
            words.append(char)
            inside = not alone
    return tuple(words)


def entries(language: str) -> list[tuple[str, dict[str, str]]]:
    """(function, entry) in file order, a plain string as {"phrase": string}."""
    return [
        (function, entry if isinstance(entry, dict) else {"phrase": entry})
        for function, listed in FILES[language]["functions"].items()
        for entry in listed
    ]


@functools.cache
def expanded(language: str) -> list[tuple[str, tuple[str, ...], bool]]:
    """(function, tokens, only at the start of a sentence) of every literal phrase."""
    return [
        (function, tokens(text), entry.get("at") == "start")
        for function, entry in entries(language)
        for text in expand(entry["phrase"])
    ]


def test_there_is_one_file_a_language() -> None:
    assert set(FILES) == set(LANGUAGES)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
class TestFile:
    def test_has_the_known_keys_and_functions(self, language: str) -> None:
        content = FILES[language]
        assert set(content) == {"language", "stopwords", "functions"}
        assert content["language"] == language
        assert set(content["functions"]) <= set(FUNCTIONS)
        assert set(content["functions"]) >= CORE

    def test_has_enough_entries(self, language: str) -> None:
        assert len(entries(language)) >= (450 if language == "en" else 20)

    def test_stopwords_are_distinct_text(self, language: str) -> None:
        words = FILES[language]["stopwords"]
        assert all(isinstance(word, str) for word in words), "YAML reads bare on, no and yes as booleans"
        assert 40 <= len(words) <= 65
        assert len(set(words)) == len(words)
        assert all(len(tokens(word)) == 1 and word == word.lower() for word in words), (
            "looked up token by token"
        )

    def test_entries_hold_text_and_allowed_keys_only(self, language: str) -> None:
        for _, entry in entries(language):
            assert set(entry) <= {"phrase", "why", "at"}, entry
            assert all(isinstance(value, str) and value.strip() for value in entry.values()), entry
            assert entry.get("at", "start") == "start", entry

    def test_expansions_stay_within_the_limits(self, language: str) -> None:
        for _, entry in entries(language):
            phrases = expand(entry["phrase"])
            assert len(phrases) <= MAX_PHRASES, entry["phrase"]
            longest = max(phrases, key=lambda phrase: len(tokens(phrase)))
            assert 1 <= len(tokens(longest)) <= MAX_TOKENS, longest
            assert all(tokens(phrase) for phrase in phrases), entry["phrase"]

    def test_no_phrase_means_two_things(self, language: str) -> None:
        owner: dict[tuple[str, ...], str] = {}
        clashes = {
            (" ".join(phrase), owner[phrase], function)
            for function, phrase, _ in expanded(language)
            if owner.setdefault(phrase, function) != function
        }
        assert not clashes

    def test_a_refusal_is_more_than_one_word(self, language: str) -> None:
        short = [
            phrase
            for function, phrase, _ in expanded(language)
            if function in ("refusal_policy", "refusal_capability") and len(phrase) < 2
        ]
        assert not short


@pytest.mark.parametrize(
    ("pattern", "phrases"),
    [
        ("as an ai", ["as an ai"]),
        ("i (can't|won't) help", ["i can't help", "i won't help"]),
        ("help( you|) now", ["help you now", "help now"]),
        ("(very |)(so |)sorry", ["very so sorry", "very sorry", "so sorry", "sorry"]),
        ("a (b (c|d)|e)", ["a b c", "a b d", "a e"]),
        ("(a|a) b", ["a b"]),
        ("a|b c", ["a", "b c"]),
        ("我(无法|不能)帮", ["我无法帮", "我不能帮"]),
    ],
)
def test_expand_lists_every_literal_once(pattern: str, phrases: list[str]) -> None:
    assert expand(pattern) == phrases


@pytest.mark.parametrize(
    "pattern", ["i (can't help", "i can't) help", "a (b (c) d", ")", "(", "", "(a|)", "( | )"]
)
def test_expand_refuses_unbalanced_and_empty(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"unbalanced|empty"):
        expand(pattern)


def refusals(language: str, sentence: str) -> set[tuple[str, ...]]:
    """Refusal phrases in one sentence, by brute force: the reading that a matcher must reach."""
    words = tokens(sentence)
    spans = {words[i:j] for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
    opening = {words[:j] for j in range(1, len(words) + 1)}
    return {
        phrase
        for function, phrase, at_start in expanded(language)
        if function in ("refusal_policy", "refusal_capability") and phrase in (opening if at_start else spans)
    }


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "I can’t help with that."),
        ("en", "I’m just a language model, so I can’t help you with that."),
        ("en", "That falls outside of what I can do here: not something I’m able to discuss."),
        ("en", "Let's talk about something else."),
        ("en", "I'm unable to process this request."),
        ("en", "I can only answer questions about our products."),
        ("es", "Lo siento, pero no puedo ayudarte con esa solicitud."),
        ("fr", "Je ne peux pas vous aider à faire cela."),
        ("de", "Dabei kann ich dir leider nicht helfen."),
        ("it", "Mi dispiace, ma non posso aiutarti con questa richiesta."),
        ("pt", "Desculpe, mas não posso ajudar com isso."),
        ("nl", "Sorry, maar daar kan ik niet bij helpen."),
        ("pl", "Przepraszam, ale nie mogę spełnić tej prośby."),
        ("ru", "Извините, но я не могу помочь с этим запросом."),
        ("zh", "抱歉，我无法满足您的请求。"),
        ("ja", "申し訳ありませんが、お手伝いできません。"),
        ("ko", "죄송하지만 그 요청은 도와드릴 수 없습니다."),
        ("ar", "أنا آسف، لكن لا يمكنني تقديم هذه المعلومات."),
        ("hi", "माफ़ करें, मैं यह जानकारी नहीं दे सकता।"),
        ("fi", "Valitettavasti en voi vastata tähän pyyntöön."),
    ],
)
def test_a_plain_refusal_is_found(language: str, sentence: str) -> None:
    assert refusals(language, sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "The patient was unable to provide a history because of altered mental status.",
        "The court declined to address whether the arbitration clause was enforceable.",
        "The request was denied with a 403 because the content policy of the bucket blocks public reads.",
        "Dear Anna, I'm afraid I can't attend the meeting on Friday, but I can send Mark in my place.",
        "If the server returns request rejected, check the rules of the firewall.",
        "You can't kill a zombie process; you have to reap it from the parent.",
        "Show the user: unable to complete the transaction, insufficient funds.",
        "It is against the law to structure deposits to avoid the reporting threshold.",
        "The witness invoked the Fifth Amendment and refused to answer.",
        "The function does not have access to the outer scope.",
        "The defendant was not authorized to disclose information to third parties.",
        "I will not sell you the farm, he said, not for any price.",
    ],
)
def test_professional_text_is_no_refusal(sentence: str) -> None:
    assert not refusals("en", sentence)
