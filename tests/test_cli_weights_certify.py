"""`aligntax weights certify`: one sentence, the figures under it, and an exit code that a pipeline can act on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from click.testing import CliRunner, Result

from aligntax.cli import commands
from aligntax.cli.weights.certify_words import page
from aligntax.weights.certifying.certificate import Certificate, Outside, from_json
from aligntax.weights.certifying.examples import encode, read_split
from certificates import certificate, norm_of
from steps import general, stepped, unfelt
from tiny_models import moved, saved, tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base, inside (a step that inputs cannot feel), and noise on everything; general.jsonl, and few rows of it."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("certify")
    data = general(root / "general.jsonl")
    general(root / "few.jsonl", rows=10)
    base = tiny_model("llama")
    known, _, _ = read_split(data, 0.3)
    ids = [example.ids for example in encode(tiny_tokenizer(), known, max_tokens=64)]
    saved(base, root / "base")
    saved(stepped(base, 0.1, unfelt(base, ids)), root / "inside")
    saved(moved(base), root / "noise")
    return root


def certify(
    folders: Path, tuned: str, *options: str, data: str = "general.jsonl", width: int = 100
) -> Result:
    words = ["weights", "certify", str(folders / "base"), str(folders / tuned), "--data", str(folders / data)]
    return CliRunner().invoke(commands, [*words, *options], env={"COLUMNS": str(width), "NO_COLOR": "1"})


def test_a_change_inside_passes_its_gate(folders: Path):
    done = certify(folders, "inside", "--leak-target", "0.5")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(
        "INSIDE  All 14 changed matrices stay within a leak of 0.5 on held-out data"
    )
    assert "KL(BASE || TUNED)" in done.stdout
    assert done.stderr == ""


def test_a_change_outside_is_told_always_and_fails_only_a_gate_that_was_asked_for(folders: Path):
    told, gated = certify(folders, "noise"), certify(folders, "noise", "--leak-target", "0.1")
    assert (told.exit_code, gated.exit_code) == (0, 1)
    assert told.stdout == gated.stdout
    assert told.stdout.startswith("OUTSIDE  14 of 14 changed matrices lie above a leak of 0.1")
    assert (
        "7 parameters outside the guarantee were changed: the embedding, 5 norms and the head."
        in " ".join(told.stdout.split())
    )
    assert "lm_head.weight" in told.stdout


def test_too_little_data_has_its_exit_code_and_says_how_much_is_missing(folders: Path):
    done = certify(folders, "inside", "--leak-target", "0.9", data="few.jsonl")
    assert done.exit_code == 3, done.output
    assert done.stdout.startswith("TOO LITTLE DATA")
    assert "more held-out tokens are needed" in done.stdout


def test_the_same_weights_are_unchanged(folders: Path):
    done = certify(folders, "base", "--leak-target", "0.1")
    assert done.exit_code == 0
    assert done.stdout.startswith("UNCHANGED  Nothing was changed")


def test_json_is_the_certificate_and_the_report_is_the_page(folders: Path, tmp_path: Path):
    report = tmp_path / "certificate.html"
    done = certify(folders, "noise", "--json", "--report", str(report))
    assert json.loads(done.stdout)["ruling"] == "outside"
    file = tmp_path / "certificate.json"
    file.write_text(done.stdout, encoding="utf-8")
    kept = from_json(file)
    assert len(kept.matrices) == 14
    assert kept.matrices[0].name in done.stdout
    assert "14 of 14 changed matrices" in report.read_text(encoding="utf-8")


def test_rows_held_out_may_have_a_file_of_their_own(folders: Path, tmp_path: Path):
    other = general(tmp_path / "other.jsonl", rows=60, seed=8)
    done = certify(folders, "inside", "--held-out", str(other), "--leak-target", "0.5", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["held_out"]["name"] == "other.jsonl"
    assert (document["held_out"]["rows"], document["calibration"]["rows"]) == (60, 150)
    assert document["held_out_share"] is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--held-out", "1.5"), "1.5 is no share"),
        (("--held-out", "absent.jsonl"), "cannot be read"),
        (("--report", "absent/page.html"), "the folder does not exist"),
    ],
)
def test_what_cannot_run_says_so_in_one_line(folders: Path, options: tuple[str, ...], said: str):
    done = certify(folders, "noise", *options)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_no_model_is_one_line_too(folders: Path, tmp_path: Path):
    done = CliRunner().invoke(
        commands,
        [
            "weights",
            "certify",
            str(folders / "base"),
            str(tmp_path),
            "--data",
            str(folders / "general.jsonl"),
        ],
    )
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "config.json" in done.stderr


# -- the words alone

LARGE = certificate(80, high=0.05, outside=tuple(norm_of(layer) for layer in range(20)))


def words(shown: Certificate, monkeypatch: pytest.MonkeyPatch, *, width: int, show_all: bool = False) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    return page(shown, show_all=show_all, report=None)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("layers", [2, 80])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(width: int, layers: int, monkeypatch: Any):
    shown = LARGE if layers == 80 else certificate(2, high=0.3)
    text = words(shown, monkeypatch, width=width)
    assert max(map(len, text.splitlines())) <= width
    table = text[text.index("held out") :].partition("\n\n")[0]
    assert "…" not in table


def test_many_layers_show_the_gravest_of_each_kind_and_all_shows_every_one(monkeypatch: pytest.MonkeyPatch):
    few = words(LARGE, monkeypatch, width=120)
    assert sum(line.startswith("  q_proj ") for line in few.splitlines()) == 1
    assert "of 560 changed matrices; --all shows every one" in few
    assert "and 12 more with" in few
    every = words(LARGE, monkeypatch, width=120, show_all=True)
    assert sum(" q_proj " in line for line in every.splitlines()) == 80
    assert every.count("input_layernorm.weight") == 20


def test_the_gravest_is_one_outside_where_there_is_one(monkeypatch: pytest.MonkeyPatch):
    for line in words(LARGE, monkeypatch, width=120).splitlines():
        kind = line.split()[0] if line.strip() else ""
        found = (
            {m.ruling for m in LARGE.matrices if m.kind.endswith(f".{kind}")}
            if kind.endswith("_proj")
            else {""}
        )
        if "outside" in found:
            assert line.endswith("outside"), line


def test_names_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch):
    attack = "\x1b[2J\nPASS\u202e"
    shown = certificate(2, name=attack, outside=(Outside(
        name=attack, layer=None, why="head", norm=1.0, relative_norm=1.0, share=0.1),))  # fmt: skip
    text = words(msgspec.structs.replace(shown, settings=(attack,), notes=(attack,)), monkeypatch, width=80)
    assert not set(text) & {"\x1b", "\u202e"}
    assert "\nPASS" not in text
