"""The codebook asks what an annotation holds, every key does one thing, and its page says the same."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from aligntax.errors import AlignTaxError
from aligntax.label import codebook
from aligntax.label.codebook import Codebook, load_codebook
from aligntax.types import HEDGING_GRADE, Annotation, Answered, Kind, ShouldAnswer
from documents import text_of

BOOK = load_codebook()
PAGE = "reference/codebook.md"


def names(axis: str) -> list[str]:
    return [value.name for value in BOOK.axis(axis).values]


def test_every_axis_is_a_field_of_an_annotation_with_all_its_values() -> None:
    assert {axis.name for axis in BOOK.axes} <= {*Annotation.__struct_fields__}
    assert names("answered") == [value for value in Answered if value is not Answered.UNDETERMINED]
    assert {*names("kinds")} == {*Kind} - {Kind.HEDGING}  # which has grades of its own
    assert names("hedging") == ["0", "1", "2", "3"]
    assert str(HEDGING_GRADE) in names("hedging")
    assert names("should_answer") == [*ShouldAnswer]
    assert names("disclaimer") == ["yes", "no"]
    assert [axis.name for axis in BOOK.axes if axis.several] == ["kinds"]


def test_every_key_is_one_character_and_does_one_thing() -> None:
    keys = [value.key for axis in BOOK.axes for value in axis.values] + [reason.key for reason in BOOK.skip]
    assert len(keys) == len({*keys})
    assert all(re.fullmatch("[a-z0-9]", key) for key in keys)


def test_every_value_has_a_title_and_one_line_of_meaning() -> None:
    for axis in BOOK.axes:
        assert axis.question.endswith("?")
        assert len({value.title for value in axis.values}) == len(axis.values)
        assert all(
            value.title and "\n" not in value.means and len(value.means) < 120 for value in axis.values
        )


def test_contested_cases_are_ruled_in_the_words_of_the_axes() -> None:
    assert len(BOOK.contested) >= 20
    for case in BOOK.contested:
        assert case.answered in names("answered")
        assert {*case.kinds} <= {*names("kinds")}
        assert not (case.answered == "full" and case.kinds)
        assert case.kinds or case.answered == "full"
        assert case.asked
        assert case.answer
        assert case.why.endswith(".")


def test_the_contested_cases_of_the_detector_are_ruled_alike() -> None:
    table = text_of("reference/verdicts.md").partition("## Contested cases")[2].partition("\n## ")[0]
    rulings = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 5:
            rulings[cells[0]] = (
                cells[2],
                {kind.replace(" ", "_") for kind in cells[3].split(" or ")} - {"–"},
            )
    for theirs, ours in SAME.items():
        (case,) = [case for case in BOOK.contested if case.case == ours]
        answered, kinds = rulings[theirs]
        assert case.answered == answered, ours
        assert {*case.kinds} <= kinds, ours
    judged = {name for name, (answered, _) in rulings.items() if answered in {*Answered}}
    assert judged - {*SAME} == set()


SAME = {  # a case of docs/reference/verdicts.md -> the same in the codebook
    "refuse, then answer": "Refuses, then answers",
    "refuse, then answer a smaller question": "Refuses, then answers a smaller question",
    "answer with caveats": "A caveat beside the answer",
    "disclaimer round a full answer": "Disclaimer round a full answer",
    "disclaimers that eat the answer": "Disclaimers that eat the answer",
    "redirection to a professional, and nothing else": "Sends the person to a professional, and nothing else",
    "redirection beside an answer": "Sends the person to a professional beside an answer",
    "lack of a tool or of data": "Lacks a tool or the data",
    'honest "not known"': "Nobody knows",
    "out of scope": "Out of scope",
    "safe alternative": "A safer alternative close to what was asked",
    "alternative in place of everything": "An alternative in place of everything",
    "wrong premise refuted": "A wrong premise is put right",
    "premise condemned": "The premise is condemned, and nothing explained",
    '"As an AI I have no opinion", then an answer': '"As an AI I have no opinion", then an answer',
    "the same, and then nothing": '"As an AI I have no opinion", and then nothing',
    "one-sided writing answered with balance": "One-sided writing answered with balance",
    "balance that was asked for": "Balance that was asked for",
    "needless question back": "A needless question back",
    "request that deserves a no": "A request that deserves a no",
}


def test_the_instruction_fits_on_a_page() -> None:
    assert len(BOOK.instruction.split()) < 300


def test_the_page_says_what_the_codebook_says() -> None:
    page = text_of(PAGE)
    assert f"version {BOOK.version}" in page
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")
    ]
    expected = [
        [f"`{value.name}`", f"`{value.key}`", value.title, value.means]
        for axis in BOOK.axes
        for value in axis.values
    ]
    expected += [[f"`{reason.name}`", f"`{reason.key}`", reason.title] for reason in BOOK.skip]
    expected += [
        [case.case, case.asked, case.answer, case.answered, ", ".join(case.kinds) or "–", case.why]
        for case in BOOK.contested
    ]
    assert [row for row in expected if row not in rows] == []
    assert len(rows) == len(expected) + 2 * 7  # a header and a rule for each of seven tables
    assert [axis.question for axis in BOOK.axes if axis.question not in page] == []
    plain = " ".join(page.split())
    assert [part for part in BOOK.instruction.split("\n\n") if " ".join(part.split()) not in plain] == []


def test_a_broken_codebook_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = resources.files(codebook.__package__) / "formats"
    monkeypatch.setattr(codebook.resources, "files", lambda _: broken)
    with pytest.raises(AlignTaxError, match="codebook of this installation"):
        load_codebook.__wrapped__()


def test_an_axis_is_found_by_its_name() -> None:
    assert BOOK.axis("hedging").values[3].title == "Eats the answer"
    with pytest.raises(KeyError):
        BOOK.axis("tone")
    assert isinstance(BOOK, Codebook)
