"""Personal data in a prompt: what is found goes, what only looks like it stays, and nobody is two people."""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from aligntax.errors import InputError
from aligntax.suites.mask import Place, by_rules, mask, presidio
from aligntax.suites.near import leaders


def masked(text: str) -> str:
    (found,) = mask([text]).texts
    return found


FOUND = {
    "mail to mary.smith+ward@example.org today": "mail to [EMAIL] today",
    "see https://x.org/p?id=1&u=2 now": "see [URL] now",
    "call +44 20 7946 0958 or (415) 555-2671": "call [PHONE] or [PHONE 2]",
    "mobile 07700 900123": "mobile [PHONE]",
    "IBAN DE89 3704 0044 0532 0130 00 please": "IBAN [IBAN] please",
    "card 4111 1111 1111 1111 was declined": "card [CARD] was declined",
    "SSN 123-45-6789": "SSN [SSN]",
    "NHS no. 9434765919, MRN: 00482913": "NHS no. [NHS NUMBER], MRN: [MRN]",
    "943 476 5919 is hers": "[NHS NUMBER] is hers",
    "DNI 12345678Z": "DNI [ID]",
    "NIR 2 55 08 14 168 025 38": "NIR [ID]",
    "CPF 529.982.247-25": "CPF [ID]",
    "personnummer 811228-9874": "personnummer [ID]",
    "NINO AB123456C": "NINO [ID]",
    "passport no: X1234567": "passport no: [ID]",
    "account number 12345678": "account number [ID]",
    "DOB 03/04/1957, seen 04/05/2024": "DOB [DATE OF BIRTH], seen 04/05/2024",
    "born on 3 May 1988": "born on [DATE OF BIRTH]",
    "from 8.8.8.8 and 10.20.4.11": "from [IP] and [IP 2]",
    "from 2001:470::1a2b:3": "from [IP]",
    "at 12 Harley Street, London W1G 9QD": "at [ADDRESS], London [POSTCODE]",
    "wohnt Musterstraße 12 in Berlin": "wohnt [ADDRESS] in Berlin",
    "password: hunter22!": "password: [SECRET]",
    "key AKIAIOSFODNN7EXAMPLE leaked": "key [SECRET] leaked",
    "Dear Sarah Connor,": "Dear [NAME],",
    "Summarise John Smith's notes": "Summarise [NAME]'s notes",
    "the patient Jürgen Überall fell": "the patient [NAME] fell",
    "Dr. van Dyke": "Dr. van Dyke",
    "Mr O'Brien and Mrs McDonald": "Mr [NAME] and Mrs [NAME 2]",
}


@pytest.mark.parametrize("text", FOUND)
def test_personal_data_becomes_its_type(text: str) -> None:
    assert masked(text) == FOUND[text]


STAYS = (
    "card 4111 1111 1111 1112",
    "IBAN DE89 3704 0044 0532 0130 02",
    "000-45-6789 and 666-45-6789",
    "DNI 12345678A",
    "CPF 529.982.247-26",
    "total 1,234,567.89 on 2024-03-01 at 12:30:45",
    "order 10023004, version 1.2.3",
    "listening on 127.0.0.1 and 10.20.0.0/16, 192.0.2.7 in the book",
    "std::vector<int>::iterator",
    "customer since 2019, policy 2023-04",
    "Dear Sir, the Patient Summary Report from Monday",
    "the Scott Schedule is due",
    "insulin 10 units, INR 8.1, BP 120/80, 0.5 mg/kg",
)


@pytest.mark.parametrize("text", STAYS)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert masked(text) == text


def test_one_person_is_one_placeholder_in_prompt_and_system_prompt() -> None:
    found = mask(
        ["Mr John A. Smith fell. Smith's wife Mary Jones called; Jones cried.", "You help John A. Smith."]
    )
    assert found.texts == (
        "Mr [NAME] fell. [NAME]'s wife [NAME 2] called; [NAME 2] cried.",
        "You help [NAME].",
    )
    assert found.counts == {"NAME": 5}


def test_the_same_number_written_in_two_ways_is_the_same() -> None:
    assert masked("card 4111 1111 1111 1111, again 4111-1111-1111-1111") == "card [CARD], again [CARD]"


def test_findings_that_overlap_go_whole() -> None:
    def whole_name(text: str) -> list[Place]:
        return [Place(text.index("Anna"), text.index("Lee") + 3, "NAME")]

    assert mask(["Mrs Anna van Lee"], finders=[by_rules, whole_name]).texts == ("Mrs [NAME]",)


def test_a_masked_text_stays_as_it_is() -> None:
    once = masked("Mr Smith, 8.8.8.8, mary@example.org, DOB 03/04/1957, MRN 00482913, 12 Harley Street")
    assert masked(once) == once


HOSTILE = (
    "A",
    "John ",
    "1 ",
    "1-",
    "a.b@",
    "12 Aa ",
    "0:",
    "AB12 ",
    "https://",
    "patient ",
    "password ",
    "é ",
)


@pytest.mark.parametrize("part", HOSTILE)
def test_no_text_takes_long(part: str) -> None:
    began = time.process_time()
    mask([part * (20_000 // len(part))])
    assert time.process_time() - began < 1


def test_presidio_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(InputError, match="pip install presidio-analyzer"):
        presidio()


def analyser(monkeypatch: pytest.MonkeyPatch, *, model: bool) -> None:
    """Stand-ins with the interface of presidio-analyzer 2.2 and spaCy; the real ones need a model of 400 MB."""

    class Engine:
        def __init__(self, **_: Any) -> None: ...

        def analyze(self, text: str, language: str) -> list[SimpleNamespace]:
            assert language == "en"
            at = text.index("Zaphod")
            found = {"start": at, "end": at + 6, "score": 0.85}
            return [
                SimpleNamespace(entity_type="PERSON", **found),
                SimpleNamespace(entity_type="DATE_TIME", start=0, end=5, score=0.9),
                SimpleNamespace(entity_type="PERSON", start=0, end=5, score=0.2),
            ]

    class Provider:
        def __init__(self, nlp_configuration: dict[str, Any]) -> None:
            assert nlp_configuration["models"][0]["model_name"] == "en_core_web_lg"

        def create_engine(self) -> None: ...

    modules = {
        "spacy": {},
        "spacy.util": {"is_package": lambda name: model and name.endswith("lg")},
        "presidio_analyzer": {"AnalyzerEngine": Engine},
        "presidio_analyzer.nlp_engine": {"NlpEngineProvider": Provider},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["spacy"].util = sys.modules["spacy.util"]  # type: ignore[attr-defined]


def test_presidio_finds_names_beside_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    analyser(monkeypatch, model=True)
    found = mask(["today Zaphod wrote from 8.8.8.8"], finders=[by_rules, presidio()])
    assert found.texts == ("today [NAME] wrote from [IP]",)


def test_presidio_fetches_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    analyser(monkeypatch, model=False)
    with pytest.raises(InputError, match="nothing is fetched here"):
        presidio()


def test_a_near_copy_follows_the_first_of_its_kind() -> None:
    note = "please summarise this discharge note of the patient on ward {} for the family doctor"
    texts = [
        note.format("two"),
        "what is the dose",
        note.format("nine"),
        note.format("two").upper() + "!",
        "?",
        "",
        "?",
    ]
    assert leaders(texts).tolist() == [0, 1, 0, 0, 4, 5, 4]


def test_near_copies_are_found_as_exact_comparison_finds_them() -> None:
    words = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300)]
    texts = [" ".join(words[at : at + 20]) for at in range(0, 260, 20)]
    one_word = [text.replace(text.split()[9], "other") for text in texts]  # 15 of 21 runs in common: 0.71
    three_words = [" ".join(w if n % 6 else "x" for n, w in enumerate(text.split())) for text in texts]
    found = leaders([*texts, *one_word, *three_words]).tolist()
    assert found[13:26] == [*range(13)]
    assert found[26:] == [*range(26, 39)]


def test_copies_are_near_to_the_one_that_stays_and_not_to_one_another_alone() -> None:
    words = [f"w{chr(97 + n)}" for n in range(26)]
    chain = [" ".join([*["new"] * step, *words[step:24]]) for step in (0, 4, 8)]
    assert leaders(chain).tolist() == [0, 0, 2]
