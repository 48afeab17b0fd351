"""`aligntax label` plan, status, export and import through the real commands: round trips, refusals, and what is said."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.store import Store
from verdicts import verdict_frame

HOSTILE = "\x1b[2J\x1b[31mred\nlabel plan done\u202e" + "very long name " * 12


def run(*arguments: str | Path, width: int = 80, **environment: str) -> Result:
    quiet = {"ALIGNTAX_STORE": "", "ALIGNTAX_CONFIG": ""}
    runner = CliRunner(env={"COLUMNS": str(width), **quiet, **environment})
    result = runner.invoke(
        commands, [*map(str, arguments)], auto_envvar_prefix="ALIGNTAX", prog_name="aligntax"
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(*arguments: str | Path, **settings: Any) -> str:
    """What a command prints that ends well."""
    result = run(*arguments, **settings)
    assert result.exit_code == 0, result.stderr
    return " ".join(result.stdout.split())


def refused(*arguments: str | Path, **settings: Any) -> str:
    """The one line of a command that could not run."""
    result = run(*arguments, **settings)
    assert result.exit_code == 2
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "v.parquet"
    assert run("scan", "--sample", "-o", out).exit_code == 0
    return out


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Path) -> Path:
    """A folder with the verdicts of the sample, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.parquet").write_bytes(sample.read_bytes())
    return tmp_path


def plan(*arguments: str | Path, verdicts: str = "v.parquet", **settings: Any) -> dict[str, Any]:
    result = run("label", "plan", verdicts, "--seed", "7", "--json", *arguments, **settings)
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout, parse_constant=pytest.fail)
    assert result.stdout.isascii()
    return document


def status(*arguments: str | Path, **settings: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("label", "status", "--json", *arguments, **settings).stdout)
    return document


# ---- plan


def test_the_plan_says_how_many_where_they_lie_and_what_to_do_next(here: Path) -> None:
    text = said("label", "plan", "v.parquet", "--by", "model", "--budget", "100", "--seed", "7")
    assert "100 of 361 exchanges to label, kept in .aligntax/aligntax.db" in text
    assert "northwind-2 181 50" in text
    assert "Nobody can label: 2 empty answers, 3 tool calls, 5 answers cut at a length limit." in text
    for command in ("label serve --annotator NAME", "label export tasks.csv", "label import tasks.csv"):
        assert f"aligntax {command}" in text


def test_the_document_of_a_plan_holds_every_inclusion_probability(here: Path) -> None:
    document = plan("--by", "use_case,model", "--budget", "160")
    strata = document["draw"]["strata"]
    assert sum(stratum["size"] for stratum in strata) == document["draw"]["population"] == 361
    for stratum in strata:
        assert stratum["inclusion_probability"] == pytest.approx(stratum["labels"] / stratum["size"])
        assert 0 < stratum["inclusion_probability"] <= 1
    assert [row["slice"] for row in document["expected"]][-1] is None
    assert document["expected"][-1]["labels"] == 160
    assert document["draw"]["seed"] == 7


def test_the_same_seed_draws_the_same_and_is_not_kept_twice(here: Path) -> None:
    first = plan("--store", "a.db")
    again = plan("--store", "b.db")
    assert first["draw"]["strata"] == again["draw"]["strata"]
    assert first["draw"]["id"] == again["draw"]["id"]
    assert "there already" in refused("label", "plan", "v.parquet", "--seed", "7", "--store", "a.db")


def test_without_a_seed_every_plan_is_another_draw(here: Path) -> None:
    seeds = {json.loads(run("label", "plan", "v.parquet", "--json").stdout)["draw"]["seed"] for _ in range(2)}
    assert len(seeds) == 2
    with Store.open() as store:
        assert {draw.seed for draw in store.draws()} == seeds


def test_a_budget_too_small_for_the_slices_names_one_that_is_enough(here: Path) -> None:
    line = refused("label", "plan", "v.parquet", "--by", "use_case,model", "--budget", "20")
    assert "the budget is too small" in line
    enough = line.rpartition("raise the budget to ")[2].partition(",")[0]
    assert plan("--by", "use_case,model", "--budget", enough)["draw"]["budget"] == int(enough)


def test_more_slices_than_anybody_labels_are_refused(here: Path) -> None:
    frame = verdict_frame(600, seed=2).with_columns(
        use_case=pl.format("case {}", pl.int_range(pl.len()) % 60)
    )
    frame.write_parquet("sixty.parquet")
    assert "60 slices" in refused("label", "plan", "sixty.parquet", "--by", "use_case")


def test_verdicts_without_text_are_labelled_from_the_logs(here: Path) -> None:
    assert run("scan", "--sample", "--no-text", "-o", "bare.parquet").exit_code == 0
    assert "--logs" in refused("label", "plan", "bare.parquet")
    logs = Path(__file__).parent.parent / "src" / "aligntax" / "sample"
    files = [path for path in sorted(logs.glob("*.jsonl")) if not path.name.endswith(".labels.jsonl")]
    some = refused("label", "plan", "bare.parquet", "--logs", files[0])
    assert "drawn exchanges are not in these logs" in some
    with_logs = [word for path in files for word in ("--logs", path)]
    assert run("label", "plan", "bare.parquet", "--seed", "7", *with_logs).exit_code == 0
    with Store.open() as store:
        (draw,) = store.draws()
        assert all(item.prompt for item in store.items(draw.id))
        plan("--store", "text.db")
    with Store.open("text.db") as store:
        assert [other.id for other in store.draws()] == [draw.id]


def test_what_is_no_verdict_file_leaves_no_store_behind(here: Path) -> None:
    assert "absent.parquet" in refused("label", "plan", "absent.parquet")
    assert not Path(".aligntax").exists()


def test_the_next_plan_says_that_it_learned_from_the_last_one(here: Path) -> None:
    first = plan("--by", "use_case")["draw"]["id"]
    assert "recalibrated" not in said("label", "plan", "v.parquet", "--by", "use_case", "--seed", "8")
    with Store.open() as store:
        store.save_estimates(first, [], {"recalibration": json.dumps({'["legal_research"]': [1.5, -0.2]})})
    text = said("label", "plan", "v.parquet", "--by", "use_case", "--seed", "9")
    assert "The detector's scores are recalibrated by the labels of an earlier draw." in text
    assert "recalibrated" not in said("label", "plan", "v.parquet", "--by", "model", "--seed", "9")


# ---- where the store lies


def test_a_store_is_where_the_option_the_variable_or_the_file_says(here: Path) -> None:
    plan("--store", "by-option.db", ALIGNTAX_STORE="by-variable.db")
    plan(ALIGNTAX_STORE="by-variable.db")
    Path("aligntax.yaml").write_text("version: 1\nstore: by-file.db\nuse_cases: {}\n")
    plan()
    assert sorted(path.name for path in here.glob("*.db")) == ["by-file.db", "by-option.db", "by-variable.db"]
    assert not Path(".aligntax").exists()
    for where in ({"ALIGNTAX_STORE": "by-variable.db"}, {}):
        assert status(**where)["to_label_in_all"] == 200
    assert status("--store", "by-option.db")["phase"] == "pilot"


@pytest.mark.parametrize(
    "command",
    [["status"], ["export", "tasks.csv"], ["import", "--sample"], ["serve", "--port", "0"]],
    ids=lambda words: words[0],
)
def test_without_a_draw_it_is_said_how_to_make_one_and_nothing_is_made(
    here: Path, command: list[str]
) -> None:
    before = sorted(here.iterdir())
    assert "aligntax label plan VERDICTS" in refused("label", *command)
    assert "typo.db: there is no draw yet" in refused("label", *command, "--store", "typo.db")
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("command", [["status", "ffff"], ["export", "t.csv", "--draw", "ffff"]])
def test_an_unknown_draw_is_said_so(here: Path, command: list[str]) -> None:
    plan()
    assert "draw ffff: there is no such draw" in refused("label", *command)


def test_of_several_draws_the_newest_is_meant_and_others_can_be_named(here: Path) -> None:
    first = plan()["draw"]["id"]
    run("label", "plan", "v.parquet", "--seed", "8", "--budget", "60")
    assert status()["draw"] != first
    assert status(first[:6])["draw"] == first
    assert "240" not in said("label", "import", "--sample", "--draw", first[:6])
    assert status(first)["labelled"] == 200
    assert status()["labelled"] == 0


# ---- round trips


def fill(path: Path, kind: str) -> None:
    """Label every task of a file, as somebody would in that tool: every third one not answered."""
    if kind == "csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        for number, row in enumerate(rows):
            row |= {"answered": "none" if number % 3 == 0 else "full", "should_answer": "yes"}
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for number, row in enumerate(rows):
            row |= {"answered": "none" if number % 3 == 0 else "full", "should_answer": "yes"}
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    else:
        tasks = json.loads(path.read_text("utf-8"))
        for number, task in enumerate(tasks):
            label_task(task, kind, "none" if number % 3 == 0 else "full")
        path.write_text(json.dumps(tasks), "utf-8")


def label_task(task: dict[str, Any], kind: str, answered: str) -> None:
    if kind == "label_studio":
        chosen = {"answered": answered, "should_answer": "yes"}
        result = [
            {"from_name": name, "to_name": "response", "type": "choices", "value": {"choices": [value]}}
            for name, value in chosen.items()
        ]
        task["annotations"] = [{"completed_by": {"email": "anna@example.org"}, "result": result}]
    else:
        values = {"answered": [{"value": answered}], "should_answer": [{"value": "yes"}]}
        task["status"] = "completed"
        task["responses"] = {
            name: [{"value": rows[0]["value"], "user_id": "anna"}] for name, rows in values.items()
        }


@pytest.mark.parametrize(
    ("kind", "name"),
    [("csv", "t.csv"), ("jsonl", "t.jsonl"), ("label_studio", "t.json"), ("argilla", "argilla.json")],
)
def test_tasks_go_out_and_labels_come_back_in_both_phases(here: Path, kind: str, name: str) -> None:
    plan("--budget", "80")
    form = ["--format", kind] if kind == "argilla" else []
    text = said("label", "export", name, *form)
    planted = status()["planted"]
    pilot = status()["to_label"]
    assert f"{name}: {pilot + planted} exchanges to label, the pilot; export again" in text
    fill(here / name, kind)
    assert f"{pilot + planted} labels taken over" in said("label", "import", name, "--annotator", "anna")
    assert status()["phase"] == "whole"
    text = said("label", "export", name, *form)
    assert text == f"{name}: {80 - pilot} exchanges to label"
    fill(here / name, kind)
    assert "80 of 80 exchanges to label are done" in said("label", "import", name, "--annotator", "anna")
    found = status()
    assert (found["labelled"], found["to_label"], found["planted_left"]) == (80, 80, 0)
    assert "nothing is left to label" in refused("label", "export", name, *form)
    with Store.open() as store:
        labels = store.annotations(found["draw"])
    assert {label.answered for label in labels} == {"full", "none"}
    assert len({label.annotator for label in labels}) == 1


def test_a_second_person_gets_what_wants_a_second_label(here: Path) -> None:
    plan("--budget", "80")
    said("label", "export", "t.csv")
    fill(here / "t.csv", "csv")
    said("label", "import", "t.csv", "--annotator", "anna")
    said("label", "export", "ben.csv", "--annotator", "ben")
    with (here / "ben.csv").open(encoding="utf-8-sig", newline="") as file:
        tasks = {row["id"] for row in csv.DictReader(file)}
    with Store.open() as store:
        draw = store.draws()[0]
        done = {note.exchange for note in store.annotations(draw.id)}
        twice = {item.exchange for item in store.items(draw.id) if item.wanted == 2}
        new = {item.exchange for item in store.items(draw.id)} - done
    assert tasks == new | (done & twice)
    assert len(done & twice) > 5
    said("label", "export", "anna.csv", "--annotator", "anna")
    with (here / "anna.csv").open(encoding="utf-8-sig", newline="") as file:
        mine = {row["id"] for row in csv.DictReader(file)}
    with Store.open() as store:
        assert mine.isdisjoint(note.exchange for note in store.annotations(status()["draw"]))


def test_tasks_tell_neither_model_nor_score(here: Path) -> None:
    plan("--by", "model")
    for name, form in (("t.csv", "csv"), ("t.json", "argilla")):
        said("label", "export", name, "--format", form)
        text = (here / name).read_text("utf-8")
        assert "northwind" not in text
    with (here / "t.csv").open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file))
    shown = ["id", "use_case", "outcome", "system", "history", "prompt", "response"]
    asked = ["answered", "kinds", "disclaimer", "hedging", "should_answer", "skipped", "note"]
    assert header == shown + asked
    tasks = json.loads((here / "t.json").read_text("utf-8"))
    assert {name for task in tasks for name in task["fields"]} == set(shown) - {"id"}


def test_finished_labels_move_to_another_store_as_they_are(here: Path) -> None:
    plan()
    said("label", "import", "--sample")
    for name in ("l.csv", "l.jsonl"):
        assert "200 labels" in said("label", "export", name, "--labels")
        plan("--store", f"{name}.db")
        said("label", "import", name, "--store", f"{name}.db")
        with Store.open() as one, Store.open(f"{name}.db") as other:
            ids = [store.draws()[0].id for store in (one, other)]
            there = {note.exchange: note for note in one.annotations(ids[0])}
            assert {note.exchange: note for note in other.annotations(ids[1])} == there
    with Store.open() as store:
        texts = [item.prompt for item in store.items(ids[0])]
    assert not any(text in (here / "l.csv").read_text("utf-8") for text in texts if text)


def test_labels_of_everybody_are_not_mixed_up_with_tasks_for_one(here: Path) -> None:
    plan()
    result = run("label", "export", "l.csv", "--labels", "--annotator", "ben")
    assert result.exit_code == 2
    assert not (here / "l.csv").exists()


# ---- import


def test_the_labels_of_the_sample_are_its_authors_unless_somebody_says_otherwise(here: Path) -> None:
    plan("--budget", "240")
    lines = run("label", "import", "--sample").stdout.splitlines()
    assert lines == [
        "240 labels taken over",
        "240 of 240 exchanges to label are done",
        "131 labels left out: of exchanges that this draw did not ask for",
    ]
    assert [person["name"] for person in status()["people"]] == ["author"]
    wanting = status()["double_left"]
    text = said("label", "import", "--sample", "--annotator", "ben")
    assert f"{wanting} labels taken over" in text
    assert f"{240 - wanting} labels left out: others have labelled these already" in text
    found = status()
    assert [(person["name"], person["labels"]) for person in found["people"]] == [
        ("author", 240),
        ("ben", wanting),
    ]
    assert {row["axis"]: row["alpha"] for row in found["agreement"]}["answered"] == 1
    assert (found["double_left"], found["disagreements"]) == (0, 0)


def test_the_same_file_twice_changes_nothing_and_says_so(here: Path) -> None:
    plan()
    said("label", "import", "--sample")
    assert "200 labels taken over (200 of them were there already)" in said("label", "import", "--sample")


def test_bad_rows_are_listed_by_line_and_nothing_is_taken_over(here: Path) -> None:
    plan()
    good = [json.loads(line) for path in sample_labels() for line in path.read_text("utf-8").splitlines()]
    rows = [*good[:5], {**good[5], "answered": "somewhat"}, {**good[6], "id": ""}, *good[7:]]
    Path("l.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    result = run("label", "import", "l.jsonl", "--annotator", "anna")
    assert result.exit_code == 2
    first, second, last = result.stderr.splitlines()
    assert first.startswith("l.jsonl:6: has a value for answered that is not in the codebook")
    assert second.startswith("l.jsonl:7: does not say which exchange")
    assert last.startswith("error: 2 rows cannot be taken over, so nothing was")
    assert "somewhat" not in result.output
    assert status()["labelled"] == 0
    text = said("label", "import", "l.jsonl", "--annotator", "anna", "--skip-bad")
    assert "2 rows left out: listed above" in text
    assert status()["labelled"] > 150


def test_of_many_bad_rows_the_first_ten_are_listed_and_the_others_counted(here: Path) -> None:
    plan()
    Path("l.csv").write_text("id,annotator,answered\n" + "x,anna,perhaps\n" * 25)
    lines = run("label", "import", "l.csv").stderr.splitlines()
    assert len(lines) == 12
    assert lines[-2] == "and 15 more"
    assert "25 rows" in lines[-1]


def test_one_bad_file_keeps_the_good_one_out(here: Path) -> None:
    plan()
    good, *_ = sample_labels()
    Path("bad.csv").write_text("id,annotator,answered\nx,anna,perhaps\n")
    assert run("label", "import", good, "bad.csv", "--annotator", "anna").exit_code == 2
    assert status()["labelled"] == 0


def test_two_files_in_which_one_person_says_two_things_are_refused(here: Path) -> None:
    plan()
    good, *_ = sample_labels()
    line = refused("label", "import", good, good, "--annotator", "anna")
    assert "more than once by the same person" in line
    assert status()["labelled"] == 0


def test_a_file_that_nobody_has_filled_in_takes_nothing_over(here: Path) -> None:
    plan()
    said("label", "export", "t.csv")
    text = said("label", "import", "t.csv", "--annotator", "anna")
    assert text.startswith("0 labels taken over")
    assert "rows left out: nobody has labelled them yet" in text


def test_labels_of_another_log_altogether_are_an_error(here: Path) -> None:
    plan()
    Path("l.csv").write_text("id,annotator,answered\nelsewhere-1,anna,full\nelsewhere-2,anna,none\n")
    assert "asked for none of the 2 labels" in refused("label", "import", "l.csv")


def test_a_label_without_a_person_asks_for_one(here: Path) -> None:
    plan()
    result = run("label", "import", sample_labels()[0])
    assert result.exit_code == 2
    assert "name the annotator" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["l.csv", "--sample"]])
def test_files_or_the_sample_and_not_both(here: Path, arguments: list[str]) -> None:
    plan()
    result = run("label", "import", *arguments)
    assert result.exit_code == 2
    assert "aligntax label import --sample" in result.stderr


def test_an_absent_file_is_said_in_one_line(here: Path) -> None:
    plan()
    assert "absent.csv" in refused("label", "import", "absent.csv")


def sample_labels() -> list[Path]:
    import aligntax

    return sorted((Path(aligntax.__file__).parent / "sample").glob("*.labels.jsonl"))


# ---- status


def test_status_goes_from_the_pilot_to_the_estimate(here: Path) -> None:
    plan("--budget", "80")
    pilot = status()["to_label"]
    text = said("label", "status")
    assert f"0 of {pilot} exchanges of the pilot labelled" in text
    assert f"Once the pilot is complete, {80 - pilot} more are drawn" in text
    assert "planted items to check the annotators, on top" in text
    assert "Next aligntax label serve --annotator NAME" in text
    said("label", "import", "--sample")
    text = said("label", "status")
    assert "80 of 80 exchanges labelled" in text
    assert "author: 80 labels" in text
    assert "Next aligntax estimate v.parquet" in text


def test_status_says_how_far_people_agree_and_what_is_to_settle(here: Path) -> None:
    plan("--budget", "80")
    said("label", "import", "--sample")
    said("label", "export", "l.csv", "--labels")
    with Path("l.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row |= {"annotator": "ben", "should_answer": "no" if number % 8 == 0 else row["should_answer"]}
    with Path("ben.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    said("label", "import", "ben.csv")
    text = said("label", "status")
    assert "agreement on answered: alpha 1.00" in text
    assert "agreement on should answer: alpha " in text
    assert "disagreements to settle." in text
    assert "aligntax label serve --adjudicator NAME" in text
    assert status()["disagreements"] >= 8


# ---- names from logs, and narrow terminals


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("slices", [1, 8, 40])
def test_no_line_is_wider_than_the_terminal_whatever_the_names(here: Path, width: int, slices: int) -> None:
    frame = verdict_frame(800, seed=3).with_columns(
        use_case=pl.format("{} {}", pl.lit(HOSTILE), pl.int_range(pl.len()) % slices)
    )
    frame.write_parquet("hostile.parquet")
    arguments = ("--by", "use_case", "--budget", "700", "--seed", "1")
    for words in (["plan", "hostile.parquet", *arguments], ["status"]):
        result = run("label", *words, width=width)
        assert result.exit_code == 0
        for line in result.stdout.splitlines():
            assert len(line) <= width, line
            assert line == line.rstrip()
        assert all(sign.isprintable() or sign == "\n" for sign in result.stdout)


def test_slices_that_differ_in_their_middle_are_told_apart(here: Path) -> None:
    middle = pl.format(
        "the use case with number {} of the product of this company", pl.int_range(pl.len()) % 40
    )
    verdict_frame(900, seed=3).with_columns(use_case=middle).write_parquet("many.parquet")
    lines = run("label", "plan", "many.parquet", "--by", "use_case", "--budget", "700").stdout.splitlines()
    rows = [
        line for line in lines if "%" in line and "to" in line and "(" in line and not line.startswith("all ")
    ]
    names = [line.split("  ")[0] for line in rows]
    assert len(names) == 20
    assert len(set(names)) == 20
    assert "These are the 20 largest of 40 slices; --json has them all." in "\n".join(lines)


def test_the_document_holds_hostile_names_as_they_are(here: Path) -> None:
    verdict_frame(100, seed=3).with_columns(use_case=pl.lit(HOSTILE)).write_parquet("hostile.parquet")
    document = plan("--by", "use_case", verdicts="hostile.parquet")
    assert {tuple(stratum["slice"]) for stratum in document["draw"]["strata"]} == {(HOSTILE,)}
