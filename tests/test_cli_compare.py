"""`aligntax compare` on real files: what it prints, with and without labels, paired and not."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

import aligntax
from aligntax import campaign
from aligntax.cli import commands
from aligntax.store import Store
from aligntax.types import Annotation, Answered, Kind, ShouldAnswer
from aligntax.verdict_file import scan_verdicts

SIDES = ("--base", "model=northwind-2", "--aligned", "model=northwind-3")
REFUSAL = "I'm sorry, but I can't help with that request."
ANSWER = "Start with 5 mg once a day, and raise it after two weeks if the pressure stays above the target."


def run(*arguments: str | Path, width: int = 80, charset: str = "utf-8") -> Result:
    runner = CliRunner(env={"COLUMNS": str(width)}, charset=charset)
    result = runner.invoke(
        commands, [*map(str, arguments)], auto_envvar_prefix="ALIGNTAX", prog_name="aligntax"
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def compare(*arguments: str | Path, **settings) -> str:
    result = run("compare", *arguments, **settings)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def words(text: str) -> str:
    return " ".join(text.split())


def author() -> list[Annotation]:
    """What the author of the sample log says of every answer that there is."""
    folder = Path(aligntax.__file__).parent / "sample"
    rows = [
        json.loads(line)
        for path in sorted(folder.glob("*.labels.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [
        Annotation(
            exchange=row["id"],
            annotator="author",
            answered=Answered(row["answered"]) if row["answered"] else None,
            kinds=tuple(Kind(kind) for kind in row["kinds"]) if row["answered"] else None,
            should_answer=ShouldAnswer(row["should_have_been_answered"]),
        )
        for row in rows
    ]


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    """The sample log, scanned, and its labels in a store beside it."""
    folder = tmp_path_factory.mktemp("sample")
    run("scan", "--sample", "-o", folder / "v.parquet")
    with Store.open(folder / "labels.db") as store:
        draw = campaign.start(
            store, scan_verdicts(folder / "v.parquet"), by=["model"], budget=200, seed=1, known_share=0
        )
        campaign.take_over(store, draw.id, author())
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def two_runs(here) -> tuple[Path, Path]:
    """The same 24 prompts asked of two versions, of which the second refuses 8 more."""
    files = []
    for name, refused in (("before", 2), ("after", 10)):
        rows = [
            {"prompt": f"What is the dose for patient {at}?", "response": REFUSAL if at < refused else ANSWER}
            for at in range(24)
        ]
        log = here / f"{name}.jsonl"
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        run("scan", log, "-o", here / f"{name}.parquet")
        files.append(here / f"{name}.parquet")
    return files[0], files[1]


def test_with_labels_the_headline_is_the_corrected_difference_and_it_covers_the_truth(sample, here):
    text = compare(sample / "v.parquet", *SIDES, "--store", sample / "labels.db")
    first = words(text.split("\n\n")[0])
    assert first.startswith("northwind-3 refuses or hedges more than northwind-2: +")
    assert "points not complete (95 % interval" in first
    assert "labels." in first
    assert "Among requests that should have been answered: +" in first
    assert "UNCORRECTED" not in text
    found = document(sample / "v.parquet", *SIDES, "--store", sample / "labels.db")
    row = measure(found, "not_complete")
    truth = true_rates(sample / "v.parquet")
    assert row["low"] < truth["northwind-3"] - truth["northwind-2"] < row["high"]
    assert row["low"] > 0


def true_rates(path: Path) -> dict[str, float]:
    """Share of answered and blocked exchanges that were not complete, by what their author says of all of them."""
    whole = {note.exchange: note.answered in ("part", "none") for note in author() if note.answered}
    blocked = ["provider_refused", "input_blocked", "output_blocked"]
    rows = (
        pl.read_parquet(path)
        .filter(pl.col("outcome").is_in(["answered", *blocked]))
        .with_columns(model=pl.coalesce("model_served", "model_requested"))
        .with_columns(
            wrong=pl.col("outcome").is_in(blocked) | pl.col("source_id").replace_strict(whole, default=False)
        )
    )
    return dict(rows.group_by("model").agg(pl.col("wrong").mean()).iter_rows())


def document(*arguments: str | Path) -> dict:
    text = compare(*arguments, "--json")
    assert text.isascii()
    return json.loads(text)


def measure(found: dict, name: str, **where) -> dict:
    rows = found["slices"] if where else found["total"]
    (row,) = [row for row in rows if row["measure"] == name and where.items() <= row.items()]
    return row


def test_without_labels_it_says_uncorrected_gives_no_interval_and_shows_how_to_label(sample, here):
    text = compare(sample / "v.parquet", *SIDES)
    assert text.startswith("UNCORRECTED: the detector calls ")
    table = text.split("\n\n")[1].splitlines()
    rates = [line for line in table if "%" in line and "words" not in line and "interval" not in line]
    assert len(rates) == 8
    assert all("UNCORRECTED" in line and " to " not in line for line in rates)
    assert "aligntax label plan" in text
    assert "--by model --budget 200" in words(text)
    # Comparing is reading: it leaves nothing behind.
    assert list(here.iterdir()) == []


def test_measures_of_the_text_have_intervals_without_labels(sample, here):
    found = document(sample / "v.parquet", *SIDES)
    hedges, length = measure(found, "hedge_density"), measure(found, "length")
    assert hedges["low"] < hedges["delta"] < hedges["high"]
    assert length["low"] < length["delta"] < length["high"]
    assert (hedges["corrected"], hedges["pairs"]) == (None, 0)
    text = words(compare(sample / "v.parquet", *SIDES))
    assert "No prompt came up on both sides, so nothing is paired." in text


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(sample, here, width, labelled):
    store = ("--store", sample / "labels.db") if labelled else ()
    text = compare(sample / "v.parquet", *SIDES, "--by", "use_case", *store, width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    names = text.split("Not complete: change in points")[0]
    for name in ("clinical_documentation", "legal_research", "verbosity inflation"):
        assert name in names
    assert "northwind-2" in text.splitlines()[4] + text.splitlines()[3]


def test_slices_have_blocks_and_plots_of_their_own_and_it_says_how_many_intervals(sample, here):
    text = compare(sample / "v.parquet", *SIDES, "--by", "use_case", "--store", sample / "labels.db")
    assert text.count("over-refusal") == 5
    for title in (
        "Not complete: change in points",
        "Over-refusal: change in points",
        "Words of complete answers: change in percent",
    ):
        plot = text.split(title)[1].split("\n\n")[0]
        assert len([line for line in plot.splitlines() if "●" in line]) == 5
    assert "55 intervals, each at 95 % by itself: of so many, about 3 may miss by chance." in words(text)


def test_a_plain_terminal_gets_its_plot_in_ascii(sample, here):
    text = compare(sample / "v.parquet", *SIDES, "--store", sample / "labels.db", charset="ascii")
    plot = text.split("Change in points\n")[1].split("\n\n")[0]
    assert plot.isascii()
    assert "*" in plot.splitlines()[0]


def test_two_use_cases_two_weeks_and_another_level_compare_the_same_way(sample, here):
    store = ("--store", sample / "labels.db")
    weeks = document(
        sample / "v.parquet",
        "--base",
        "week=2026-W10",
        "--aligned",
        "week=2026-W13",
        "--level",
        "0.8",
        *store,
    )
    assert (weeks["base"]["name"], weeks["aligned"]["where"]) == ("2026-W10", {"week": "2026-W13"})
    assert weeks["level"] == measure(weeks, "refused")["level"] == 0.8
    cases = compare(
        sample / "v.parquet",
        "--base",
        "use_case=legal_research",
        "--aligned",
        "use_case=security_engineering",
        *store,
    )
    assert cases.startswith("No difference shown between legal_research and security_engineering: ")


def test_the_same_prompts_in_two_files_are_paired(two_runs):
    text = compare(*two_runs)
    assert "24 prompts came up on both sides." in words(text)
    assert "UNCORRECTED: the detector calls 33.3 points more of after not complete than of before." in words(
        text
    )
    assert "own calls of not complete change by +33.3 (" in words(text)
    assert "McNemar mid-p 0.004); UNCORRECTED: its errors are not in this interval." in words(text)
    assert "14 pairs" in text
    assert "label plan" in text
    found = document(*two_runs)
    row = measure(found, "refused")
    assert row["calls_low"] < 1 / 3 < row["calls_high"]
    assert (row["low"], row["delta"]) == (None, pytest.approx(1 / 3))
    assert measure(found, "length")["delta"] == pytest.approx(1)


def test_two_files_are_named_by_their_models_where_those_differ(sample, here):
    verdicts = pl.read_parquet(sample / "v.parquet")
    model = pl.coalesce("model_served", "model_requested")
    for name, text in (("a", "northwind-2"), ("b", "northwind-3")):
        verdicts.filter(model == text).drop("prompt", "response", "system", "history", "tags").write_parquet(
            here / f"{name}.parquet"
        )
    text = words(compare("a.parquet", "b.parquet"))
    assert "of northwind-3 not complete than of northwind-2" in text
    assert "The verdicts hold no prompts, so nothing is paired." in text
    assert "aligntax label plan a.parquet --budget 100 and aligntax label plan b.parquet" in text


@pytest.mark.parametrize("twice", [False, True])
def test_one_file_without_sides_is_an_error_that_shows_how_to_choose_them(sample, here, twice):
    path = sample / "v.parquet"
    result = run("compare", path, *([path] if twice else []))
    assert result.exit_code == 2
    assert "--base model=northwind-2 --aligned model=northwind-3" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--base", "model=x", "--aligned", "model=northwind-2"), "no exchange has model=x"),
        (("--base", "model", "--aligned", "model=x"), "write NAME=VALUE"),
        (("--base", "mood=1", "--aligned", "mood=2"), "cannot slice by 'mood'"),
        ((*SIDES, "--by", "mood"), "cannot slice by 'mood'"),
        (
            ("--base", "model=northwind-2", "--aligned", "use_case=legal_research"),
            "exchanges are on both sides",
        ),
    ],
)
def test_sides_that_cannot_be_are_one_clear_line(sample, here, arguments, message):
    result = run("compare", sample / "v.parquet", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_labels_of_another_state_of_the_file_are_named(sample, here):
    pl.read_parquet(sample / "v.parquet").head(300).write_parquet("fewer.parquet")
    sides = ("fewer.parquet", "--base", "model=northwind-2", "--aligned", "model=northwind-3")
    said = words(compare(*sides, "--store", sample / "labels.db"))
    assert "200 exchanges labelled) was made from verdicts when it held 361 exchanges" in said
    (line,) = document(*sides, "--store", sample / "labels.db")["other_states"]
    assert line.endswith("Its labels speak of that state alone.")
    assert "of that state" not in words(
        compare(sample / "v.parquet", *sides[1:], "--store", sample / "labels.db")
    )


def test_names_from_the_log_cannot_steer_the_terminal(here):
    rows = [
        {"prompt": f"q{at}", "response": ANSWER, "model": f"m\x1b[2J{at % 2}", "use_case": "law\x1b]0;x\x07"}
        for at in range(8)
    ]
    (here / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("scan", "log.jsonl", "-o", "v.parquet")
    text = compare(
        "v.parquet", "--base", "model=m\x1b[2J0", "--aligned", "model=m\x1b[2J1", "--by", "use_case"
    )
    assert "\x1b" not in text
    assert "\x07" not in text
