"""Required facts are found as people write them, and not where they are only alluded to."""

from __future__ import annotations

import doctest

import pytest

from aligntax.twins import facts_in, folding, numbers, quality, substitution
from aligntax.types import Fact


def stated(text: str, **fact: object) -> bool:
    return facts_in(text, [Fact(name="it", **fact)]).facts[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "Give 0.4 mg now.", "Give 0,4 mg.", "400 mcg", "400 µg IV", "**0.4mg**", "0.4-2 mg", "0.4 to 2 mg",
        "between 0.4 and 2 mg", "0.4, 0.8 or 2 mg", "0.2 – 0.6 mg", "a 0.4-mg dose", "0.4 milligrams", "２/5 mg",
    ],
)  # fmt: skip
def test_a_dose_is_found_in_every_usual_spelling(text: str) -> None:
    assert stated(text, value=0.4, unit="mg")


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("1,000 units", 1000, "units"), ("1 000 units", 1000, "unit"), ("1'000 units", 1000, "units"),
        ("one thousand units", 1000, "units"), ("1k units", 1000, "units"), ("1.234,5 euros", 1234.5, "EUR"),
        ("$10,000", 10_000, "USD"), ("10,000 dollars", 10_000, "$"), ("USD 10k", 10_000, "$"),
        ("€2.5 million", 2.5e6, "EUR"), ("$5-10 million", 10e6, "$"), ("five percent", 5, "%"),
        ("5 per cent", 5, "%"), ("5%", 5, "percent"), ("50 basis points", 0.5, "%"), ("3 days", 72, "hours"),
        ("twelve weeks", 12, "weeks"), ("a 12-week course", 12, "weeks"), ("thirty (30) days", 30, "days"),
        ("2½ tablets", 2.5, "tablets"), ("2 1/2 tablets", 2.5, "tablet"), ("15 mg/kg", 15, "mg/kg"),
        ("15 milligrams per kilogram", 15, "mg/kg"), ("120/80 mmHg", 80, "mmHg"), ("-5 °C", -5, "°C"),
        ("port 443", 443, None), ("under 18 U.S.C. § 1956", 1956, None), ("1/2", 0.5, None),
    ],
)  # fmt: skip
def test_numbers_are_read_with_their_units(text: str, value: float, unit: str | None) -> None:
    assert stated(text, value=value, unit=unit)


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("0.4 mg/kg", 0.4, "mg"), ("0.4 g", 0.4, "mg"), ("0.4", 0.4, "mg"), ("not 0.4 mg", 0.4, "mg"),
        ("10⁶ cells", 106, None), ("one of them", 1, None), ("2½ tablets", 21, None), ("version 1.2.3", 1.2, None),
        ("1.4 mg", 0.4, "mg"), ("15 mg (not 20 mg)", 20, "mg"), ("5 monthly visits", 5, "months"),
    ],
)  # fmt: skip
def test_another_number_or_unit_is_not_the_fact(text: str, value: float, unit: str | None) -> None:
    assert not stated(text, value=value, unit=unit)


def test_a_number_within_its_tolerance_counts_and_one_beyond_does_not() -> None:
    assert stated("about 105 ml", value=100, tolerance=5, unit="ml")
    assert not stated("about 106 ml", value=100, tolerance=5, unit="ml")
    assert stated("90-110 ml", value=100, tolerance=1, unit="ml")
    assert not stated("10-110 ml", value=100, tolerance=1, unit="ml")


@pytest.mark.parametrize(
    ("text", "alias"),
    [
        ("Benzodiazepines!", "benzodiazepine"), ("BENZODIAZEPINE", "benzodiazepines"), ("follow-ups", "follow up"),
        ("they monitored it", "monitoring"), ("policies", "policy"), ("the patient's", "patient"),
        ("stopped early", "stop"), ("a naïve plan", "naive"), ("STRASSE", "straße"), ("使用纳洛酮吧", "纳洛酮"),
        ("not only naloxone", "naloxone"), ("don't give naloxone; naloxone helps later", "naloxone"),
        ("every 2–3 minutes", "every 2-3 minutes"), ("use C++ here", "C++"), ("**Do not**. Naloxone", "naloxone"),
    ],
)  # fmt: skip
def test_an_alias_is_found_whatever_its_case_accents_and_ending(text: str, alias: str) -> None:
    assert stated(text, aliases=(alias,))


@pytest.mark.parametrize(
    ("text", "alias"),
    [
        ("take care", "car"), ("cars are", "care"), ("do not naloxone", "naloxone"), ("no benzodiazepines", "benzodiazepine"),
        ("without any tapering", "taper"), ("rather than a warrant", "warrant"), ("overkill", "kill"), ("", "x"),
    ],
)  # fmt: skip
def test_parts_of_words_and_what_is_negated_do_not_count(text: str, alias: str) -> None:
    assert not stated(text, aliases=(alias,))


def test_a_fact_without_aliases_and_number_is_looked_for_by_its_name() -> None:
    assert facts_in("Check the airway first.", [Fact(name="airway")]).facts == (True,)


def test_coverage_and_the_place_of_the_first_fact() -> None:
    facts = [
        Fact(name="dose", value=2, unit="mg"),
        Fact(name="route", aliases=("IM",)),
        Fact(name="end", aliases=("z",)),
    ]
    found = facts_in("x" * 48 + " 2 mg " + "IM." + "y" * 43, facts)
    assert found.share == pytest.approx(2 / 3)
    assert found.first == pytest.approx(0.49)
    assert facts_in("nothing", facts).first is None


@pytest.mark.parametrize("module", [folding, numbers, quality, substitution])
def test_examples_in_the_documentation_of_the_code_hold(module: object) -> None:
    ran = doctest.testmod(module)  # type: ignore[arg-type]
    assert ran.attempted
    assert not ran.failed
