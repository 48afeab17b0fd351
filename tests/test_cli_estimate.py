"""`aligntax estimate` on the sample log with its labels: what it prints, what it keeps, and when it gives no rate."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from aligntax import campaign
from aligntax.cli import commands
from aligntax.store import Store
from aligntax.types import Answered, Draw
from aligntax.verdict_file import scan_verdicts
from labels import note
from verdicts import verdict_frame

HOSTILE = "\x1b[2J\x1b[31mred\n27% of nothing\u202e" + "very long name " * 12


def run(*arguments: str | Path, width: int = 80, **environment: str) -> Result:
    quiet = {"ALIGNTAX_STORE": "", "ALIGNTAX_CONFIG": ""}
    runner = CliRunner(env={"COLUMNS": str(width), **quiet, **environment})
    result = runner.invoke(
        commands, [*map(str, arguments)], auto_envvar_prefix="ALIGNTAX", prog_name="aligntax"
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def estimate(*arguments: str | Path, **settings: Any) -> Result:
    result = run("estimate", *arguments, **settings)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result


def said(*arguments: str | Path, **settings: Any) -> str:
    return " ".join(estimate(*arguments, **settings).stdout.split())


def document(*arguments: str | Path, **settings: Any) -> dict[str, Any]:
    text = estimate(*arguments, "--json", **settings).stdout
    assert text.isascii()
    found: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    return found


def rate(
    found: dict[str, Any], target: str = "not_complete", domain: str = "should_answer"
) -> dict[str, Any]:
    (row,) = [row for row in found["total"] if (row["target"], row["domain"]) == (target, domain)]
    return row


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, scanned, 240 exchanges of it drawn and labelled by its author."""
    folder = tmp_path_factory.mktemp("labelled")
    assert run("scan", "--sample", "-o", folder / "v.parquet").exit_code == 0
    store = ("--store", folder / "labels.db")
    arguments = ("--by", "use_case,model", "--budget", "240", "--seed", "7")
    assert run("label", "plan", folder / "v.parquet", *arguments, *store).exit_code == 0
    assert run("label", "import", "--sample", *store).exit_code == 0
    return folder


@cache
def _once(folder: Path, arguments: tuple[str, ...], width: int) -> str:
    where = ("--store", folder / "labels.db")
    return estimate(folder / "v.parquet", *where, *arguments, width=width).stdout


class Signed:
    """Estimates of the labelled sample, which no test changes: each is run once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lines(self, *arguments: str, width: int = 80) -> list[str]:
        return _once(self.folder, arguments, width).splitlines()

    def said(self, *arguments: str) -> str:
        return " ".join(_once(self.folder, arguments, 80).split())

    def document(self, *arguments: str) -> dict[str, Any]:
        text = _once(self.folder, (*arguments, "--json"), 80)
        assert text.isascii()
        found: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
        return found


@pytest.fixture
def signed(folder: Path) -> Signed:
    return Signed(folder)


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that, in which the command runs."""
    for name in ("v.parquet", "labels.db"):
        shutil.copy(folder / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def labelled(log: pl.DataFrame, name: str, **settings: Any) -> Draw:
    """The draw from a log that is written to a file, with every label that it asks for."""
    log.write_parquet(name)
    with Store.open() as store:
        draw = campaign.start(store, log.lazy(), **{"budget": 120, "seed": 1, "source": name} | settings)
        label_all(store, draw, log)
        return store.draw(draw.id)


def label_all(store: Store, draw: Draw, log: pl.DataFrame, who: str = "ann", turned: int = 0) -> None:
    """What the detector says, as labels; `turned`: every so many of them say the contrary."""
    says = dict(log.select("id", "label").iter_rows())
    rows = []
    for at, exchange in enumerate(sorted(says)):
        full = (says[exchange] == "complete") != (turned > 0 and at % turned == 0)
        rows.append(note(exchange, "full" if full else "none", annotator=who))
    campaign.take_over(store, draw.id, rows)


# ---- labelled


def test_the_first_line_is_the_number_to_sign(signed: Signed) -> None:
    text = signed.said()
    row = rate(signed.document())
    assert row["n_labels"] == 240
    assert row["low"] < row["value"] < row["high"]
    assert text.startswith(
        f"{row['value']:.0%} of the requests that should have been answered were not answered in full "
        f"(95 % interval {100 * row['low']:.0f} to {100 * row['high']:.0f}; 240 labels)."
    )


def test_the_corrected_rate_is_near_what_the_author_says_of_all(signed: Signed) -> None:
    """The sample is labelled throughout, so the truth of the log is known."""
    import aligntax

    truth = [
        json.loads(line)
        for path in (Path(aligntax.__file__).parent / "sample").glob("*.labels.jsonl")
        for line in path.read_text("utf-8").splitlines()
    ]
    outcomes = dict(
        scan_verdicts(signed.folder / "v.parquet").select("source_id", "outcome").collect().iter_rows()
    )
    eligible = [
        row for row in truth if outcomes[row["id"]] not in ("truncated", "empty", "tool_call", "error")
    ]
    wanted = [row for row in eligible if row["should_have_been_answered"] == "yes"]
    true_rate = sum(row["answered"] != Answered.FULL for row in wanted) / len(wanted)
    row = rate(signed.document("--population", "log"))
    assert row["low"] <= true_rate <= row["high"]
    assert row["value"] == pytest.approx(true_rate, abs=0.03)


def test_slices_are_those_of_the_draw_unless_others_are_asked_for(signed: Signed) -> None:
    assert signed.document()["by"] == ["use_case", "model"]
    found = signed.document("--by", "model")
    assert found["by"] == ["model"]
    assert {row["model"] for row in found["slices"]} == {"northwind-2", "northwind-3"}
    assert signed.document("--by", "")["slices"] == []


def test_a_slice_lists_what_is_within_it(signed: Signed) -> None:
    lines = signed.lines(width=120)
    start = next(at for at, line in enumerate(lines) if line.startswith("use_case / model"))
    names = [line.split("  ")[0] or line.split()[0] for line in lines[start + 1 : start + 14]]
    assert names[:3] == ["clinical_documentation", "northwind-2", "northwind-3"]
    assert lines[start + 13].startswith("all ")
    labels = {line.split()[0]: line.split()[2] for line in lines[start + 1 : start + 14]}
    assert labels["all"] == "240"


def test_of_these_exchanges_alone_more_is_known(signed: Signed) -> None:
    future = rate(signed.document())
    log = rate(signed.document("--population", "log"))
    assert log["value"] == pytest.approx(future["value"], abs=0.005)
    assert log["high"] - log["low"] < 0.7 * (future["high"] - future["low"])
    text = signed.said("--population", "log")
    assert "of these 361 exchanges alone." in text


def test_a_higher_level_is_wider_and_is_said(signed: Signed) -> None:
    usual = rate(signed.document())
    sure = rate(signed.document("--level", "0.99"))
    assert sure["low"] < usual["low"] < usual["high"] < sure["high"]
    assert "(99 % interval" in signed.said("--level", "0.99")


def test_what_is_counted_beside_is_not_inside(signed: Signed) -> None:
    text = signed.said()
    found = signed.document()
    deserved = rate(found, "deserved_refusal", "all")
    assert f"{deserved['value']:.1%}" in text
    assert "should not have been: deserved" in text
    assert "in no rate: 2 empty answers, 3 tool calls, 5 answers cut at a length limit" in text
    over = rate(found)["value"] * (1 - deserved["value"] - rate(found, "harmful_compliance", "should_not_answer")["value"])  # fmt: skip
    assert over + deserved["value"] == pytest.approx(rate(found, domain="all")["value"], abs=0.02)


def test_the_audit_says_what_could_hide_in_each_slice(signed: Signed) -> None:
    lines = signed.lines(width=120)
    start = next(at for at, line in enumerate(lines) if line.startswith("Audit"))
    rows = signed.document()["audit"]
    assert len(rows) == 8
    for line, row in zip(lines[start + 1 : start + 9], rows, strict=True):
        assert f"{row['use_case']} · {row['model']}" in line
        assert f"{row['found']} of {row['labelled']} found" in line
        assert f"the lowest {row['share']:.0%}" in line
        assert (f"up to {row['upper']:.0%}" in line) is (row["labelled"] < row["size"])


def test_one_slice_is_audited_in_a_sentence(here: Path) -> None:
    labelled(verdict_frame(400, seed=4), "one.parquet")
    (row,) = document("one.parquet")["audit"]
    assert f"Audit {row['sentence']}" in said("one.parquet")


def test_what_an_estimate_rests_on_is_kept(here: Path) -> None:
    estimate("v.parquet", "--store", "labels.db")
    with Store.open("labels.db") as store:
        saved = store.estimates()[0]
        (draw,) = store.draws()
    assert saved.draw == draw.id
    assert saved.inputs["verdicts"] == "v.parquet"
    assert len(saved.inputs["verdicts_sha256"]) == 64
    assert saved.inputs["fingerprint"] == draw.fingerprint
    assert {row["target"] for row in saved.rows} >= {"not_complete", "refused", "hedging"}
    assert isinstance(json.loads(saved.inputs[campaign.LEARNED]), dict)


def test_the_document_is_complete(signed: Signed) -> None:
    found = signed.document()
    assert found["format"] == 1
    assert found["headline"].endswith("240 labels).")
    assert found["verdicts"] == "v.parquet"
    assert found["versions"]["detector"] == found["draw"]["detector"]
    assert found["annotators"] == ["author"]
    assert found["labelled"] == 240
    assert len(found["slices"]) == 8 * len(found["total"])
    assert {row["axis"] for row in found["agreement"]} >= {"answered", "should_answer"}
    for row in (*found["total"], *found["slices"]):
        assert row["method"]
        assert row["corrected"] is (row["low"] is not None)
    assert found["other_state"] is None


def test_a_draw_among_others_is_found_by_what_it_was_made_from(here: Path) -> None:
    frame = verdict_frame(300, seed=9)
    labelled(frame, "other.parquet", by=("use_case",))
    assert document("other.parquet")["by"] == ["use_case"]
    run("label", "plan", "v.parquet", "--seed", "1", "--store", "labels.db")
    run("label", "plan", "v.parquet", "--seed", "2", "--store", "labels.db")
    assert rate(document("v.parquet", "--store", "labels.db"))["n_labels"] == 240


def test_a_random_sample_says_that_it_is_taken_for_one(signed: Signed) -> None:
    text = signed.said("--random-sample")
    assert "taken for a random sample of all exchanges, as --random-sample says" in text
    assert "Audit" not in text
    assert "post-strata" in rate(signed.document("--random-sample"))["method"]


def test_a_draw_that_is_half_labelled_gives_a_wider_interval_and_says_how_far_it_is(here: Path) -> None:
    frame = verdict_frame(400, seed=4)
    frame.write_parquet("half.parquet")
    with Store.open() as store:
        draw = campaign.start(store, frame.lazy(), budget=120, seed=1, source="half.parquet")
        pilot = [item for item in store.items(draw.id) if item.phase == "pilot" and item.known is None]
        for item in pilot[:20]:
            campaign.record(store, draw.id, note(item.exchange))
        text = said("half.parquet")
        assert f"20 of {len(pilot)} exchanges of the pilot labelled, by ann" in text
        early = rate(document("half.parquet"))
        label_all(store, draw, frame)
    assert early["high"] - early["low"] > rate(document("half.parquet"))["high"] - rate(document("half.parquet"))["low"]  # fmt: skip


# ---- withheld


def test_where_people_disagree_there_is_no_rate_and_it_says_why(here: Path) -> None:
    frame = verdict_frame(400, seed=4)
    draw = labelled(frame, "v2.parquet")
    with Store.open() as store:
        label_all(store, draw, frame, who="ben", turned=2)
    text = said("v2.parquet")
    assert text.startswith("No rate: annotators disagree on answered (alpha ")
    assert "withheld" in text
    assert "agreement on answered: alpha" in text
    assert "too low" in text
    assert "disagreements not settled: aligntax label serve --adjudicator NAME" in text
    row = rate(document("v2.parquet"))
    assert (row["value"], row["low"], row["high"], row["corrected"]) == (None, None, None, False)


def test_two_people_who_agree_bear_the_rate(here: Path) -> None:
    frame = verdict_frame(400, seed=4)
    draw = labelled(frame, "v2.parquet")
    with Store.open() as store:
        label_all(store, draw, frame, who="ben", turned=40)
    text = said("v2.parquet")
    assert "were not answered in full" in text
    assert "not complete with each one's labels alone: ann " in text
    assert document("v2.parquet")["annotators"] == ["ann", "ben"]


def test_without_a_word_on_what_should_be_answered_there_is_a_rate_of_all(here: Path) -> None:
    frame = verdict_frame(300, seed=4)
    frame.write_parquet("v2.parquet")
    with Store.open() as store:
        draw = campaign.start(store, frame.lazy(), budget=100, seed=1)
        campaign.take_over(store, draw.id, [note(exchange, should=None) for exchange in frame["id"]])
    text = said("v2.parquet")
    assert "of the requests were not answered in full" in text
    assert "Nobody said which should have been." in text


def test_planted_items_are_in_no_rate_and_check_the_people(here: Path) -> None:
    frame = verdict_frame(400, seed=4)
    draw = labelled(frame, "v2.parquet", known_share=0.1)
    before = rate(document("v2.parquet"))
    with Store.open() as store:
        right = campaign.known_labels(store, draw)
        campaign.take_over(store, draw.id, [note(label.exchange, "none") for label in right])
    assert rate(document("v2.parquet")) == before
    assert "ann got " in said("v2.parquet")
    assert document("v2.parquet")["known"]


# ---- uncorrected


def test_without_a_store_rates_are_uncorrected_and_nothing_is_made(here: Path) -> None:
    before = sorted(path.name for path in here.iterdir())
    text = said("v.parquet")
    assert text.startswith("UNCORRECTED: there are no labels of these verdicts")
    assert "choose what to label: aligntax label plan v.parquet --by use_case,model" in text
    row = rate(document("v.parquet"), domain="all")
    assert row["value"] == row["raw"]
    assert (row["low"], row["high"], row["corrected"]) == (None, None, False)
    assert sorted(path.name for path in here.iterdir()) == before


@pytest.mark.parametrize("width", [80, 120])
def test_uncorrected_rates_of_slices_are_shown_with_their_stamp(here: Path, width: int) -> None:
    lines = estimate("v.parquet", width=width).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("all ") and "UNCORRECTED" in line]
    assert line.split()[-2 if width == 120 else -1] == "30%"


def test_a_store_that_is_named_and_not_there_is_an_error(here: Path) -> None:
    for settings in ({"ALIGNTAX_STORE": "typo.db"}, {}):
        named = () if settings else ("--store", "typo.db")
        result = run("estimate", "v.parquet", *named, **settings)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: typo.db: there is no store")
    assert not Path("typo.db").exists()


def test_a_store_that_the_configuration_names_may_come_later(here: Path) -> None:
    Path("aligntax.yaml").write_text("version: 1\nstore: later.db\nuse_cases: {}\n")
    assert said("v.parquet").startswith("UNCORRECTED")
    assert not Path("later.db").exists()
    shutil.copy("labels.db", "later.db")
    assert rate(document("v.parquet"))["corrected"] is True


def test_a_draw_without_labels_says_how_to_label(here: Path) -> None:
    run("label", "plan", "v.parquet", "--seed", "1")
    text = said("v.parquet")
    assert text.startswith("UNCORRECTED: draw ")
    assert "has no labels yet" in text
    assert "aligntax label serve --annotator NAME" in text


def test_an_absent_file_is_said_in_one_line_and_makes_no_store(here: Path) -> None:
    result = run("estimate", "absent.parquet")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "absent.parquet" in result.stderr
    assert not Path(".aligntax").exists()


def test_an_unknown_column_to_slice_by_is_said(here: Path) -> None:
    result = run("estimate", "v.parquet", "--by", "colour")
    assert result.exit_code == 2
    assert "colour" in result.stderr


# ---- a file that has changed since


@pytest.fixture
def grown(here: Path) -> Path:
    """The verdicts of the sample, and 40 exchanges more."""
    both = [pl.read_parquet("v.parquet"), verdict_frame(40, seed=1)]
    pl.concat(both, how="diagonal_relaxed").write_parquet(here / "v.parquet")
    return here


def test_a_file_that_has_grown_is_told_of_its_former_labels(grown: Path) -> None:
    text = said("v.parquet", "--store", "labels.db", width=120)
    with Store.open("labels.db") as store:
        (draw,) = store.draws()
    assert text.startswith(
        f"UNCORRECTED: the 240 labelled exchanges of draw {draw.id[:8]} belong to another state of these verdicts"
    )
    now = rate(document("v.parquet", "--store", "labels.db"), domain="all")["n"]
    assert f"when it held 361 exchanges that can be labelled; v.parquet now holds {now}" in text
    assert "240 of the 240 exchanges drawn are in it" in text
    assert "aligntax label plan v.parquet --by use_case,model" in text
    assert f"aligntax label export former.csv --labels --draw {draw.id[:8]}" in text


def test_the_document_names_the_other_draw(grown: Path) -> None:
    with Store.open("labels.db") as store:
        (draw,) = store.draws()
    found = document("v.parquet", "--store", "labels.db")
    assert found["other_state"] == {"draw": draw.id, "labelled": 240, "present": 240}
    assert found["draw"] is None
    assert rate(found, domain="all")["corrected"] is False


def test_the_way_that_is_shown_takes_the_former_labels_over(grown: Path) -> None:
    with Store.open("labels.db") as store:
        (former,) = store.draws()
    plan = ("--by", "model", "--budget", "200", "--seed", "3", "--store", "labels.db")
    assert run("label", "plan", "v.parquet", *plan).exit_code == 0
    text = said("v.parquet", "--store", "labels.db")
    assert "take over those of the former labels that this draw asks for" in text
    out = run("label", "export", "former.csv", "--labels", "--draw", former.id[:8], "--store", "labels.db")
    assert out.exit_code == 0
    assert run("label", "import", "former.csv", "--store", "labels.db").exit_code == 0
    with Store.open("labels.db") as store:
        former_labels = [label.exchange for label in store.annotations(former.id)]
        asked = [item.exchange for item in store.items(store.draws()[0].id) if item.phase != "reserve"]
    found = document("v.parquet", "--store", "labels.db")
    assert found["other_state"] is None
    assert found["draw"]["by"] == ["model"]
    assert found["labelled"] == len(set(former_labels) & set(asked))


def test_a_file_that_another_detector_has_judged_says_so(here: Path) -> None:
    verdicts = pl.read_parquet("v.parquet").with_columns(
        detector=pl.lit("newer 2"), p_full=pl.col("p_full") * 0.99
    )
    verdicts.write_parquet("v.parquet")
    text = said("v.parquet", "--store", "labels.db", width=120)
    assert "had judged it; it has been judged by newer 2 since" in text


def test_a_file_of_the_same_size_with_other_scores_says_so(here: Path) -> None:
    pl.read_parquet("v.parquet").with_columns(pl.col("p_full") * 0.99).write_parquet("v.parquet")
    assert "has other exchanges or scores now" in said("v.parquet", "--store", "labels.db", width=120)


def test_another_file_altogether_is_told_of_no_draw(here: Path) -> None:
    verdict_frame(100, seed=2).write_parquet("other.parquet")
    text = said("other.parquet", "--store", "labels.db")
    assert text.startswith("UNCORRECTED: there are no labels of these verdicts")
    assert "another state" not in text


# ---- names from logs, and narrow terminals


@pytest.mark.parametrize(("slices", "width"), [(1, 70), (8, 80), (30, 120)])
def test_no_line_is_wider_than_the_terminal_whatever_the_names(here: Path, width: int, slices: int) -> None:
    log = verdict_frame(500, seed=3).with_columns(
        use_case=pl.format("{} {}", pl.lit(HOSTILE), pl.int_range(pl.len()) % slices)
    )
    draw = labelled(log, "hostile.parquet", by=("use_case",), budget=480)
    with Store.open() as store:
        label_all(store, draw, log, who="somebody with a name that is rather long", turned=20)
    for more in ([], ["--by", "use_case,model"]) if slices == 8 else ([],):
        printed = estimate("hostile.parquet", *more, width=width).stdout
        for line in printed.splitlines():
            assert len(line) <= width, line
            assert line == line.rstrip()
        assert all(sign.isprintable() or sign == "\n" for sign in printed)


def test_sixty_slices_are_shown_as_far_as_there_is_room_and_counted(here: Path) -> None:
    log = verdict_frame(1500, seed=3).with_columns(
        use_case=pl.format("the long name of use case {} of sixty", pl.int_range(pl.len()) % 60)
    )
    log.write_parquet("sixty.parquet")
    for by, most in (("use_case", 40), ("use_case,model", 13)):
        lines = estimate("sixty.parquet", "--by", by).stdout.splitlines()
        assert f"These are the {most} largest of 60 slices; --json has them all." in lines
        start = next(at for at, line in enumerate(lines) if line.startswith("use_case"))
        end = next(at for at, line in enumerate(lines) if line.startswith("all "))
        names = [line.split("  ")[0] for line in lines[start + 1 : end] if not line.startswith("  ")]
        assert len(names) == len(set(names)) == most
        assert len(lines) < 80
    assert len({row["use_case"] for row in document("sixty.parquet", "--by", "use_case")["slices"]}) == 60


def test_the_audit_of_many_slices_shows_where_most_could_hide(here: Path) -> None:
    log = verdict_frame(2400, seed=3).with_columns(use_case=pl.format("case {}", pl.int_range(pl.len()) % 30))
    labelled(log, "thirty.parquet", by=("use_case",), budget=900)
    text = said("thirty.parquet")
    assert "18 more slices, where less could hide; --json has them all" in text


def test_hostile_names_come_back_whole_in_the_document(here: Path) -> None:
    log = verdict_frame(200, seed=3).with_columns(use_case=pl.lit(HOSTILE))
    labelled(log, "hostile.parquet", by=("use_case",))
    assert {row["use_case"] for row in document("hostile.parquet")["slices"]} == {HOSTILE}


def test_what_the_next_draw_may_learn_is_what_the_labels_say_of_the_score(here: Path) -> None:
    from aligntax.estimate import recalibrate

    estimate("v.parquet", "--store", "labels.db")
    verdicts = scan_verdicts(Path("v.parquet"))
    with Store.open("labels.db") as store:
        draw, labels = campaign.load(store, verdicts)
        assert draw is not None
        assert campaign.learned(store, verdicts, draw.by) == recalibrate(verdicts, draw, labels)
