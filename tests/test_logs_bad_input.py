"""What real folders hold: broken, cut, foreign and huge. Every problem names its file, line and remedy."""

import gzip
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest
import zstandard

from aligntax.errors import InputError
from aligntax.logs import read
from aligntax.logs.source import MAX_PROBLEMS, MAX_ROW_BYTES

GOOD = '{"id": "a", "prompt": "Is a in?", "response": "Yes."}\n'
SECRET = "patient Jane Roe"


def problems(log) -> list[tuple[int | None, str]]:
    return [(problem.line, problem.reason) for problem in log.problems]


def in_a_process_of_its_own(path, statement) -> tuple[str, int]:
    """What the statement prints of the log, and the most memory that the process held, in MiB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the memory of a process is read from /proc, which this system lacks")
    script = f"""
import re, sys
from aligntax.logs import read
log = read(sys.argv[1])
{statement}
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""
    out = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True
    )
    said, peak = out.stdout.splitlines()
    return said, int(peak)


def read_bytes(tmp_path, data: bytes, name="log.jsonl", **settings):
    (tmp_path / name).write_bytes(data)
    log = read(tmp_path / name, **settings)
    return log, log.frame()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f'{{"prompt": "{SECRET}", "resp', "broken JSON: Invalid control character at character"),
        (SECRET, "broken JSON: Expecting value"),
        (f'["{SECRET}"]', "the line is JSON but not an object"),
        (f'"{SECRET}"', "the line is JSON but not an object"),
        ("\0\0\0\0", "the line holds only NUL bytes"),
        (f'{{"prompt": "a\0b", "response": "{SECRET}"}}', "the line holds NUL bytes"),
        (f'{{"prompt": "{SECRET}"}}', "no column for response; found: prompt"),
        ("[" * 100_000, "the JSON is nested too deeply"),
    ],
)
def test_a_broken_line_is_skipped_counted_and_listed_without_its_content(tmp_path, line, reason):
    log, frame = read_bytes(tmp_path, (GOOD + line + "\n" + GOOD).encode())
    assert frame.height == 2
    assert (log.rows, log.skipped) == (2, 1)
    ((number, said),) = problems(log)
    assert number == 2
    assert said.startswith(reason)
    assert SECRET not in said
    assert log.problems[0].file == str(tmp_path / "log.jsonl")


def test_strict_stops_at_the_first_broken_row_with_its_place(tmp_path):
    (tmp_path / "log.jsonl").write_text(GOOD + f'{{"prompt": "{SECRET}\n')
    with pytest.raises(InputError, match=r"log\.jsonl:2: broken JSON") as caught:
        read(tmp_path / "log.jsonl", strict=True).frame()
    assert SECRET not in str(caught.value)


def test_strict_stops_at_a_file_that_is_no_log(tmp_path):
    (tmp_path / "a.jsonl").write_text(GOOD)
    (tmp_path / "b.bin").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(InputError, match=r"b\.bin: binary data"):
        read(tmp_path, strict=True).frame()


def test_empty_lines_and_a_missing_last_line_break_are_no_problem(tmp_path):
    log, frame = read_bytes(tmp_path, ("\n" + GOOD + "  \n\r\n" + GOOD.strip()).encode())
    assert (frame.height, log.skipped) == (2, 0)
    assert frame["line"].to_list() == [2, 5]


def test_many_problems_are_counted_in_full_and_kept_in_part(tmp_path):
    log, _ = read_bytes(tmp_path, (GOOD + "{\n" * (MAX_PROBLEMS + 500)).encode())
    assert (log.skipped, len(log.problems)) == (MAX_PROBLEMS + 500, MAX_PROBLEMS)


def test_latin_1_lines_say_how_to_convert_the_file(tmp_path):
    log, frame = read_bytes(
        tmp_path, GOOD.encode() + '{"prompt": "Größe", "response": "x"}\n'.encode("latin-1")
    )
    assert frame.height == 1
    assert "not UTF-8" in log.problems[0].reason
    assert "iconv" in log.problems[0].reason


def test_latin_1_in_a_csv_skips_the_row_and_says_how_to_convert_it(tmp_path):
    log, frame = read_bytes(tmp_path, "prompt,response\na,b\nGröße,c\nd,e\n".encode("latin-1"), "log.csv")
    assert frame["prompt"].to_list() == ["a", "d"]
    assert [(line, "iconv" in reason) for line, reason in problems(log)] == [(3, True)]


def test_half_a_surrogate_pair_and_nan_are_read(tmp_path):
    data = '{"prompt": "a", "response": "cut \\ud83d", "latency_ms": NaN}\n' + GOOD
    log, frame = read_bytes(tmp_path, data.encode())
    assert log.skipped == 0
    assert frame["response"].to_list() == ["cut ?", "Yes."]
    assert frame["latency_ms"].to_list() == [None, None]


def test_values_of_the_wrong_type_become_nulls_or_text(tmp_path):
    record = {
        "prompt": 5,
        "response": True,
        "model": ["x"],
        "time": {"a": 1},
        "latency_ms": "fast",
        "prompt_tokens": 10**30,
    }
    _, frame = read_bytes(tmp_path, json.dumps(record).encode())
    row = frame.row(0, named=True)
    assert (row["prompt"], row["response"], row["outcome"]) == ("5", "True", "answered")
    assert [row[name] for name in ("model_requested", "time", "latency_ms", "prompt_tokens")] == [None] * 4


@pytest.mark.parametrize(
    "record",
    [
        {"request": {"messages": 5}, "response": {"choices": [7]}},
        {"request": {"messages": [{"role": "user", "content": "a"}]}, "response": {"choices": [{"message": []}]}},
        {"request": {"messages": [None, 3]}, "response": {"choices": [{"message": {"content": {"a": 1}}}], "usage": 4}},
        {"custom_id": "a", "result": {"type": "succeeded", "message": 5}},
        {"resourceSpans": [{"scopeSpans": 5}]},
        {"resourceSpans": [5]},
        {"type": "GENERATION", "traceId": "t", "input": {"x": [1]}, "output": [[1]], "usageDetails": 3, "latency": "x"},
        {"provider": 5, "prompt": {"raw": 5}, "vars": [], "response": {"tokenUsage": 4}},
        {"request": {"input": 5}, "response": {"object": "response", "output": [5], "usage": 4}},
    ],
)  # fmt: skip
def test_records_with_the_right_keys_and_a_wrong_shape_do_not_stop_the_pass(tmp_path, record):
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    (tmp_path / "b.jsonl").write_text(GOOD)
    log = read(tmp_path)
    assert log.frame()["source_id"].to_list()[-1] == "a"
    assert log.rows + log.skipped >= 1


def test_a_long_row_is_read(tmp_path):
    row = {"prompt": "a", "response": "word " * 2_000_000}
    log, frame = read_bytes(tmp_path, (json.dumps(row) + "\n" + GOOD).encode())
    assert frame["response"].str.len_bytes().to_list() == [10_000_000, 4]
    assert log.skipped == 0
    pl.DataFrame([row]).write_csv(tmp_path / "log.csv")
    assert read(tmp_path / "log.csv").frame()["response"].str.len_bytes().to_list() == [10_000_000]


def test_a_line_over_the_limit_is_skipped_without_holding_it(tmp_path):
    path = tmp_path / "log.jsonl"
    with path.open("wb") as file:
        file.write(GOOD.encode() + b'{"prompt": "')
        for _ in range(200):
            file.write(b"x" * 2**20)
        file.write(b'", "response": "y"}\n' + GOOD.encode())
    said, peak = in_a_process_of_its_own(
        path, "print(log.frame().height, [(p.line, p.reason) for p in log.problems])"
    )
    assert said == f"2 [(2, 'the line is longer than {MAX_ROW_BYTES // 2**20} MiB')]"
    assert peak < 330


def test_a_truncated_gzip_file_gives_what_came_before(tmp_path):
    data = "".join(
        json.dumps({"id": str(i), "prompt": os.urandom(40).hex(), "response": "Yes."}) + "\n"
        for i in range(500)
    )
    log, frame = read_bytes(tmp_path, gzip.compress(data.encode())[:-9000], "log.gz")
    assert 0 < frame.height < 500
    assert frame["source_id"].to_list() == [str(i) for i in range(frame.height)]
    assert [reason for _, reason in problems(log)] == [
        "the compressed data is cut off; what came before was read"
    ]


def test_a_truncated_zstd_file_gives_what_came_before(tmp_path):
    frames = [zstandard.compress((GOOD * 20).encode()) for _ in range(2)]
    log, frame = read_bytes(tmp_path, frames[0] + frames[1][:-4], "log.zst")
    assert frame.height >= 20
    assert "the compressed data is cut off" in log.problems[-1].reason


def test_damaged_gzip_and_zstd_data_is_told(tmp_path):
    good = gzip.compress((GOOD * 2000).encode())
    (tmp_path / "a.gz").write_bytes(good[:200] + b"\xff" * 40 + good[240:])
    (tmp_path / "b.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"\xff" * 60)
    (tmp_path / "c.jsonl").write_text(GOOD)
    log = read(tmp_path)
    log.frame()
    assert [reason.split(";")[0] for _, reason in problems(log)][-1] == "the compressed data is damaged"
    assert len(log.problems) == 2


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\0\0\0\0", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_told(tmp_path, data):
    (tmp_path / "log.jsonl").write_bytes(data)
    with pytest.raises(InputError, match=r"no exchange found; seen: 1 file.*the file is empty"):
        read(tmp_path / "log.jsonl").frame()


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, b"\x7fELF" + b"\0\1\2" * 900])
def test_a_binary_file_is_told(tmp_path, data):
    (tmp_path / "picture").write_bytes(data)
    with pytest.raises(InputError, match="binary data, not a log"):
        read(tmp_path / "picture").frame()


def test_prose_is_told(tmp_path):
    (tmp_path / "README.md").write_text("# Logs\n\nThese are our logs.\n")
    with pytest.raises(InputError, match="neither JSON, CSV, Parquet nor"):
        read(tmp_path / "README.md").frame()


def test_other_files_beside_the_logs_are_listed_and_do_not_stop_the_pass(tmp_path):
    (tmp_path / "README.md").write_text("# Logs\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "labels.jsonl").write_text('{"id": "a", "label": "complete"}\n')
    (tmp_path / "log.jsonl").write_text(GOOD)
    log = read(tmp_path)
    assert log.frame().height == 1
    assert log.skipped == 3
    assert "no column for prompt and response; found: id, label" in log.problems[2].reason


def test_a_file_that_may_not_be_opened_is_told(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text(GOOD)
    (tmp_path / "b.jsonl").write_text(GOOD)
    opened = open

    def refuse(name, *rest, **named):
        if str(name).endswith("a.jsonl"):
            raise PermissionError(13, "Permission denied", str(name))
        return opened(name, *rest, **named)

    monkeypatch.setattr("aligntax.logs.streams.open", refuse, raising=False)
    log = read(tmp_path)
    assert log.frame().height == 1
    assert problems(log) == [(None, "cannot be read: Permission denied; what came before was read")]


@pytest.mark.parametrize("cut", [3, 200])
def test_damaged_parquet_is_told(tmp_path, cut):
    pl.DataFrame({"prompt": ["a"] * 50, "response": ["b"] * 50}).write_parquet(tmp_path / "log.parquet")
    data = (tmp_path / "log.parquet").read_bytes()
    (tmp_path / "log.parquet").write_bytes(data[:-cut])
    with pytest.raises(InputError, match="broken Parquet: the file is damaged or was cut off"):
        read(tmp_path / "log.parquet").frame()


def test_a_cut_off_archive_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("samples/a.json", "{}")
    data = (tmp_path / "log.eval").read_bytes()
    (tmp_path / "log.eval").write_bytes(data[:-30])
    with pytest.raises(InputError, match="the archive is damaged or was cut off"):
        read(tmp_path / "log.eval").frame()


def test_a_json_array_that_breaks_off_gives_the_elements_before(tmp_path):
    array = "[" + GOOD.strip() + "," + GOOD.strip() + "," + f'{{"prompt": "{SECRET}'
    log, frame = read_bytes(tmp_path, array.encode(), "log.json")
    assert frame.height == 2
    ((line, reason),) = problems(log)
    assert line == 3
    assert reason.startswith("broken JSON")
    assert reason.endswith("the rest of the file was not read")
    assert SECRET not in reason


def test_csv_rows_of_the_wrong_width_are_skipped(tmp_path):
    log, frame = read_bytes(tmp_path, b"prompt,response\na,b\nc\nd,e,f\ng,h\n", "log.csv")
    assert frame["prompt"].to_list() == ["a", "g"]
    assert problems(log) == [(3, "1 fields where the header has 2"), (4, "3 fields where the header has 2")]


def test_an_unclosed_csv_quote_is_told(tmp_path):
    log, frame = read_bytes(tmp_path, b'prompt,response\na,b\n"c,d\ne,f\n', "log.csv")
    assert frame["prompt"].to_list() == ["a"]
    assert log.skipped == 1


LANGFUSE = {"id": "g", "traceId": "t", "type": "GENERATION", "input": "Hello", "output": "Hi."}
CHAT = {
    "request": {"messages": [{"role": "user", "content": "Hello"}]},
    "response": {"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]},
}
ANTHROPIC = {
    "request": {"messages": [{"role": "user", "content": "Hello"}]},
    "response": {"type": "message", "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn"},
}


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (CHAT, LANGFUSE, "looks like langfuse in a file of openai_chat: split the file, one format each"),
        (LANGFUSE, CHAT, "looks like openai_chat in a file of langfuse: split the file, one format each"),
        (CHAT, ANTHROPIC, "looks like anthropic in a file of openai_chat: split the file, one format each"),
        ({"prompt": "a", "response": "b"}, LANGFUSE, "looks like langfuse in a file of plain records: split"),
        (CHAT, {"prompt": "a", "response": "b"}, "a request without a response"),
        (LANGFUSE, {"prompt": "a", "response": "b"}, "no observation: its type and trace id are missing"),
    ],
)
def test_a_file_of_two_formats_says_so_for_each_foreign_row(tmp_path, first, second, reason):
    rows = [first] * 60 + [second] * 2  # more than are looked at to tell the format
    log, frame = read_bytes(tmp_path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    assert frame.height == 60
    assert [line for line, _ in problems(log)] == [61, 62]
    assert log.problems[0].reason.startswith(reason)


def test_a_pass_over_many_rows_holds_few_of_them(tmp_path):
    path = tmp_path / "log.parquet"
    rows = 120_000
    numbers = pl.int_range(rows, eager=True)
    frame = pl.DataFrame({"id": numbers, "prompt": numbers.cast(pl.String)})
    frame = frame.with_columns(response=pl.col("prompt").str.zfill(1300))
    frame.write_parquet(path, row_group_size=rows)
    said, peak = in_a_process_of_its_own(path, "print(sum(frame.height for frame in log))")
    assert said == str(rows)
    assert peak < 300
