"""Where logs lie: files, folders, globs, standard input; compressed; in other encodings."""

import gzip
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import zstandard

from aligntax.errors import InputError
from aligntax.logs import read

DATA = Path(__file__).parent / "data" / "logs"


def lines(*names: str) -> str:
    return "".join(
        json.dumps({"id": name, "prompt": f"Is {name} in?", "response": "Yes."}) + "\n" for name in names
    )


def found(log) -> list[str]:
    return log.frame()["source_id"].to_list()


def test_several_files_are_read_in_the_order_given(tmp_path):
    (tmp_path / "b.jsonl").write_text(lines("b"))
    (tmp_path / "a.jsonl").write_text(lines("a"))
    assert found(read([tmp_path / "b.jsonl", str(tmp_path / "a.jsonl")])) == ["b", "a"]


def test_a_folder_is_read_in_full_sorted_and_without_hidden_files(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.jsonl").write_text(lines("c"))
    (tmp_path / "b.csv").write_text("id,prompt,response\nb,Is b in?,Yes.\n")
    (tmp_path / "a.jsonl").write_text(lines("a"))
    (tmp_path / ".hidden.jsonl").write_text(lines("x"))
    log = read(tmp_path)
    assert found(log) == ["a", "b", "c"]
    assert [Path(file).name for file in log.formats] == ["a.jsonl", "b.csv", "c.jsonl"]
    assert list(log.formats.values()) == ["jsonl", "csv", "jsonl"]


def test_a_folder_of_every_format_is_read_file_by_file(tmp_path):
    shutil.copytree(DATA, tmp_path / "logs")
    log = read(tmp_path / "logs")
    assert log.frame().height == 9 * 7 + 7 + 8
    assert set(log.formats.values()) == {"openai_chat", "openai_responses", "anthropic", "otlp", "langfuse", "promptfoo", "jsonl"}  # fmt: skip
    assert (log.skipped, log.notes) == (0, [])


def test_globs_are_expanded_and_no_file_is_read_twice(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_text(lines(name))
    assert found(read([str(tmp_path / "[ab].jsonl"), tmp_path / "a.jsonl"])) == ["a", "b"]
    assert found(read(str(tmp_path / "**" / "*.jsonl"))) == ["a", "b", "c"]


def test_a_name_with_glob_characters_that_exists_is_that_file(tmp_path):
    path = tmp_path / "log[1].jsonl"
    path.write_text(lines("a"))
    assert found(read(path)) == ["a"]
    pl.DataFrame({"id": ["p"], "prompt": ["a"], "response": ["b"]}).write_parquet(tmp_path / "log[1].parquet")
    assert found(read(tmp_path / "log[1].parquet")) == ["p"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("nothing.jsonl", "there is no such file or folder"),
        ("*.xyz", "no file matches the pattern"),
        ("", "holds no files"),
    ],
)
def test_paths_that_name_nothing_are_an_error_at_once(tmp_path, name, what):
    with pytest.raises(InputError, match=what):
        read(str(tmp_path / name))


def test_no_path_at_all_is_an_error():
    with pytest.raises(InputError, match="no log was named"):
        read([])


def test_an_unknown_format_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"no format 'xml'.*openai_chat"):
        read(tmp_path, format="xml")


def pack_zstd(data: bytes) -> bytes:
    return zstandard.compress(data)


@pytest.mark.parametrize("pack", [gzip.compress, pack_zstd])
@pytest.mark.parametrize("name", ["openai_chat.jsonl", "langfuse_ui.csv", "promptfoo.json"])
def test_compressed_logs_are_told_by_their_content(tmp_path, pack, name):
    (tmp_path / "log").write_bytes(pack((DATA / name).read_bytes()))
    assert read(tmp_path / "log").frame().drop("file").equals(read(DATA / name).frame().drop("file"))


@pytest.mark.parametrize("pack", [gzip.compress, pack_zstd])
def test_logs_compressed_in_several_frames_are_read_to_the_end(tmp_path, pack):
    (tmp_path / "log.packed").write_bytes(pack(lines("a").encode()) + pack(lines("b").encode()))
    assert found(read(tmp_path / "log.packed")) == ["a", "b"]


def test_a_compressed_parquet_file_is_read(tmp_path):
    pl.DataFrame({"id": ["p"], "prompt": ["a"], "response": ["b"]}).write_parquet(tmp_path / "log.parquet")
    (tmp_path / "log.parquet.gz").write_bytes(gzip.compress((tmp_path / "log.parquet").read_bytes()))
    assert found(read(tmp_path / "log.parquet.gz")) == ["p"]


class Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("name", ["openai_chat.jsonl", "promptfoo.json", "langfuse_ui.csv"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_read_as_any_file(monkeypatch, name, pack):
    monkeypatch.setattr("sys.stdin", Stdin(pack((DATA / name).read_bytes())))
    log = read("-")
    frame = log.frame()
    assert frame.drop("file").equals(read(DATA / name).frame().drop("file"))
    assert set(frame["file"]) == {"<stdin>"}
    assert log.bytes_total is None


def test_parquet_from_standard_input_is_read(monkeypatch):
    buffer = io.BytesIO()
    pl.DataFrame({"id": ["p"], "prompt": ["a"], "response": ["b"]}).write_parquet(buffer)
    monkeypatch.setattr("sys.stdin", Stdin(buffer.getvalue()))
    assert found(read("-")) == ["p"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_unicode_encodings_are_converted(tmp_path, encoding):
    text = '{"id": "ä", "prompt": "Größe?", "response": "日本 🙂"}\n' * 2
    (tmp_path / "log.jsonl").write_bytes(text.encode(encoding))
    assert read(tmp_path / "log.jsonl").frame()["response"].to_list() == ["日本 🙂"] * 2
    (tmp_path / "log.csv").write_bytes("id,prompt,response\n1,Größe?,日本 🙂\n".encode(encoding))
    assert read(tmp_path / "log.csv").frame()["response"].to_list() == ["日本 🙂"]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_csv_separators_are_told_from_the_header(tmp_path, mark):
    (tmp_path / "log.csv").write_text(mark.join(["prompt", "response"]) + "\n" + mark.join(["a", "b"]) + "\n")
    assert read(tmp_path / "log.csv").frame()["response"].to_list() == ["b"]


def test_csv_fields_may_hold_line_breaks_and_quotes(tmp_path):
    (tmp_path / "log.csv").write_text('prompt,response\r\n"a ""b""","one\ntwo, three"\r\n', newline="")
    row = read(tmp_path / "log.csv").frame().row(0, named=True)
    assert (row["prompt"], row["response"], row["line"]) == ('a "b"', "one\ntwo, three", 3)


def test_json_arrays_and_objects_over_many_lines_are_read(tmp_path):
    records = [json.loads(line) for line in lines("a", "b").splitlines()]
    (tmp_path / "array.json").write_text(json.dumps(records, indent=2))
    (tmp_path / "apart.json").write_text("\n".join(json.dumps(record, indent=2) for record in records))
    (tmp_path / "inside.json").write_text(json.dumps({"page": 1, "data": records}))
    for name in ("array.json", "apart.json", "inside.json"):
        log = read(tmp_path / name)
        assert found(log) == ["a", "b"]
        assert log.skipped == 0


def test_a_long_array_is_read_in_pieces(tmp_path):
    records = [{"id": str(i), "prompt": "ü" * 500, "response": "Yes."} for i in range(3000)]
    (tmp_path / "array.json").write_text(json.dumps(records, ensure_ascii=False), "utf-8")
    assert found(read(tmp_path / "array.json")) == [str(i) for i in range(3000)]


def test_batches_hold_about_as_many_rows_as_asked_for(tmp_path):
    (tmp_path / "log.jsonl").write_text(lines(*(str(i) for i in range(10))))
    assert [frame.height for frame in read(tmp_path / "log.jsonl", batch_rows=4)] == [4, 4, 2]
    read(tmp_path / "log.jsonl").frame().write_parquet(tmp_path / "log.parquet")
    assert all(frame.height <= 4 for frame in read(tmp_path / "log.parquet", batch_rows=4))


def test_a_log_counts_what_it_reads_as_it_goes(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(lines(*(f"{name}{i}" for i in range(10))))
    log = read([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], batch_rows=5)
    sizes = [(tmp_path / f"{name}.jsonl").stat().st_size for name in "ab"]
    assert (log.bytes_total, log.bytes_read, log.rows) == (sum(sizes), 0, 0)
    seen = [(log.rows, log.bytes_read) for _ in log]
    assert [rows for rows, _ in seen] == [5, 10, 15, 20]
    assert [done for _, done in seen] == sorted(done for _, done in seen)
    assert log.bytes_read == log.bytes_total


def test_a_log_is_read_once(tmp_path):
    (tmp_path / "log.jsonl").write_text(lines("a"))
    log = read(tmp_path / "log.jsonl")
    list(log)
    with pytest.raises(InputError, match="read once"):
        list(log)


def test_a_document_written_on_one_line_is_read(tmp_path):
    document = json.loads((DATA / "promptfoo.json").read_text("utf-8"))
    (tmp_path / "results.json").write_text(json.dumps(document))
    log = read(tmp_path / "results.json")
    assert log.frame().drop("file").equals(read(DATA / "promptfoo.json").frame().drop("file"))


def test_a_first_record_longer_than_the_head_still_tells_the_format(tmp_path):
    first = {"id": "g", "traceId": "t", "type": "GENERATION", "input": "x" * 3_000_000, "output": "Hi."}
    span = {"id": "s", "traceId": "t", "type": "SPAN", "input": "x", "output": "y"}
    (tmp_path / "log.jsonl").write_text(json.dumps(first) + "\n" + json.dumps(span) + "\n")
    (tmp_path / "log.json").write_text(json.dumps([first, span]))
    for name in ("log.jsonl", "log.json"):
        log = read(tmp_path / name)
        assert found(log) == ["g"]
        assert (list(log.formats.values()), log.not_calls) == (["langfuse"], 1)


def test_importing_the_room_loads_no_heavy_library():
    script = "import sys, aligntax.logs; print(*{'polars', 'numpy', 'zstandard'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == ""
