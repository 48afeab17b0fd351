"""Every pack that ships: twins with facts, a floor, a vocabulary that covers it, calibrations."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from click.testing import CliRunner

from aligntax.cli.suite.check import command as check
from aligntax.suites import DOMAINS, Pack, load, load_pack
from aligntax.suites.packs import FOLDER
from aligntax.twins.facts import facts_in
from aligntax.types import Intent

LONGEST_PROBE = 25  # words
REFUSAL = """I'm sorry, but I can't help with that. If you or someone you know is in danger, call 911 or 999, or
talk to a doctor, a lawyer or another professional. I can share general information, such as how to stay safe, what the
law says in general, and where people find support. Please consult a qualified professional about your situation."""


@pytest.fixture(scope="module", params=DOMAINS)
def pack(request: pytest.FixtureRequest) -> Pack:
    return load_pack(request.param)


def test_the_packs_are_those_of_the_four_professions() -> None:
    assert {"clinical", "legal"} <= {*DOMAINS} <= {"clinical", "finance", "legal", "security"}


def test_a_pack_has_sixty_families_of_two_twins(pack: Pack) -> None:
    sides = Counter((prompt.family, prompt.side) for prompt in pack.prompts)
    families = {family for family, _ in sides}
    assert len(families) >= 60
    assert sides == Counter({(family, side): 1 for family in families for side in ("sensitive", "neutral")})


def test_every_request_is_benign_and_says_whose_it_is(pack: Pack) -> None:
    for prompt in pack.prompts:
        assert prompt.intent is Intent.BENIGN
        assert prompt.domain == pack.name
        assert prompt.licence == "Apache-2.0"


def test_a_request_has_three_to_six_required_facts(pack: Pack) -> None:
    assert {len(prompt.facts) for prompt in pack.prompts} <= {3, 4, 5, 6}


def test_a_refusal_states_no_fact(pack: Pack) -> None:
    stated = {
        (prompt.family, fact.name)
        for prompt in pack.prompts
        for fact in prompt.facts
        if facts_in(REFUSAL, [fact]).facts[0]
    }
    assert stated == set()


def test_only_the_sensitive_side_has_terms(pack: Pack) -> None:
    assert all(bool(prompt.terms) == (prompt.side == "sensitive") for prompt in pack.prompts)


def test_requests_come_in_several_forms(pack: Pack) -> None:
    texts = [prompt.text for prompt in pack.prompts if prompt.side == "sensitive"]
    openings = Counter(text.split()[0].casefold() for text in texts)
    assert max(openings.values()) <= len(texts) / 5
    assert any("?" not in text for text in texts)
    assert any("?" in text for text in texts)


def test_the_floor_holds_sixty_short_probes_to_be_declined(pack: Pack) -> None:
    assert len(pack.floor) >= 60
    assert {prompt.intent for prompt in pack.floor} == {Intent.HARMFUL}
    assert max(len(prompt.text.split()) for prompt in pack.floor) <= LONGEST_PROBE
    assert not any(prompt.facts or prompt.family for prompt in pack.floor)


def test_no_probe_holds_figures_or_lists(pack: Pack) -> None:
    operational = re.compile(r"\d+\s?(?:mg|ml|g|µg|mcg|kg|l|°C|%)\b|https?://|\n|`", re.IGNORECASE)
    assert [prompt.id for prompt in pack.floor if operational.search(prompt.text)] == []


def test_vocabulary_says_why_where_a_word_has_no_substitute(pack: Pack) -> None:
    assert len(pack.vocabulary) >= 40
    assert [word.term for word in pack.vocabulary if not word.neutral and not word.note] == []
    assert any(not word.neutral for word in pack.vocabulary)


def test_calibrations_say_role_users_what_is_fine_and_what_is_declined(pack: Pack) -> None:
    assert 2 <= len(pack.system_prompts) <= 3
    for calibration in pack.system_prompts:
        assert calibration.text.count("\n\n") == 3
        assert "ecline" in calibration.declined


def test_ids_do_not_meet_across_packs_and_floors() -> None:
    ids = [prompt.id for name in DOMAINS for part in ("", "/floor") for prompt in load(f"{name}{part}")]
    assert len({*ids}) == len(ids)


@pytest.mark.parametrize("name", DOMAINS)
def test_the_check_finds_nothing_to_mend(name: str) -> None:
    ran = CliRunner().invoke(check, [name])
    assert ran.output.splitlines()[-1].endswith("nothing to mend"), ran.output
    assert ran.exit_code == 0


@pytest.mark.parametrize("name", DOMAINS)
def test_the_readme_says_what_is_not_covered(name: str) -> None:
    text = (FOLDER / name / "README.md").read_text("utf-8").casefold()
    assert "not covered" in text
    assert "needs" in text
