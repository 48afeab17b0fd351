"""A verdict file through interruptions, second writers and full disks: nothing lost, nothing twice."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import fake_detector
from aligntax.errors import InputError
from aligntax.types import CONTENT_COLUMNS, exchange_schema
from aligntax.verdict_file import VerdictFile, scan_verdicts, writer
from aligntax.verdict_file.known_ids import KnownIds


def exchanges(first: int, last: int, *, words: int = 3) -> pl.DataFrame:
    rows = [
        {
            "id": f"{number:024x}",
            "prompt": f"question {number}",
            "response": "word " * words,
            "outcome": "answered",
        }
        for number in range(first, last)
    ]
    return pl.DataFrame(rows, schema=exchange_schema())


def add(path: Path, *frames: pl.DataFrame, **settings) -> VerdictFile:
    with VerdictFile(path, **({"detector": fake_detector.NAME} | settings)) as file:
        judge_into(file, *frames)
        file.finish(relative)
    return file


def interrupt(path: Path, *frames: pl.DataFrame, **settings) -> None:
    """What Ctrl-C does once these frames were judged."""

    def run() -> None:
        with VerdictFile(path, **({"detector": fake_detector.NAME} | settings)) as file:
            judge_into(file, *frames)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()


def judge_into(file: VerdictFile, *frames: pl.DataFrame) -> None:
    for frame in frames:
        file.write(fake_detector.judge(file.new_rows(frame)))


@contextlib.contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """A disk that takes no more than `size` bytes a file."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def relative(verdicts: pl.LazyFrame) -> pl.LazyFrame:
    return fake_detector.relative(verdicts, fake_detector.baseline(verdicts))


def numbers(path: Path) -> list[int]:
    return [int(name, 16) for name in scan_verdicts(path).select("id").collect()["id"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "verdicts.parquet"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PART_ROWS", 100)


def test_rows_come_out_in_the_order_they_went_in_and_no_part_stays(path, small_parts):
    add(path, *(exchanges(start, start + 70) for start in range(0, 700, 70)))
    assert numbers(path) == list(range(700))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_same_rows_again_add_nothing_and_leave_the_file_as_it_was(path):
    add(path, exchanges(0, 300))
    before = path.read_bytes()
    again = add(path, exchanges(0, 300))
    assert (again.former, again.repeated) == (300, 300)
    assert path.read_bytes() == before


def test_a_row_that_comes_twice_in_one_run_is_kept_once(path):
    twice = pl.concat([exchanges(0, 10), exchanges(5, 15)])
    file = add(path, twice, exchanges(14, 20))
    assert numbers(path) == list(range(20))
    assert file.repeated == 6


def test_a_second_log_is_added_behind_the_first(path):
    add(path, exchanges(0, 50))
    file = add(path, exchanges(40, 90))
    assert numbers(path) == list(range(90))
    assert (file.former, file.repeated) == (50, 10)


def test_relative_kinds_are_judged_over_the_whole_file_and_not_over_the_last_log(path):
    add(path, exchanges(0, 30, words=30))
    inflated = scan_verdicts(path).select(pl.col("verbosity_inflation").sum()).collect().item()
    assert inflated == 0
    add(path, exchanges(30, 130, words=3))  # now thirty words are ten times what is usual
    inflated = scan_verdicts(path).filter(pl.col("verbosity_inflation") == 1).select("words").collect()
    assert inflated["words"].to_list() == [30] * 30


def test_ctrl_c_keeps_what_was_judged_and_the_next_run_goes_on_there(path):
    interrupt(path, exchanges(0, 10))
    assert not path.exists()
    resumed = add(path, exchanges(0, 30))
    assert (resumed.resumed, resumed.repeated) == (10, 10)
    assert numbers(path) == list(range(30))


def test_a_failed_scan_that_judged_nothing_leaves_nothing_behind(path):
    with pytest.raises(InputError, match="no exchange"), VerdictFile(path, detector=fake_detector.NAME):
        raise InputError("no exchange found")
    assert list(path.parent.iterdir()) == []


def test_a_run_killed_between_merge_and_clean_up_is_not_counted_twice(path, small_parts):
    interrupt(path, exchanges(0, 250))
    parts = {part.name: part.read_bytes() for part in path.with_name("verdicts.parquet.parts").glob("part-*")}
    add(path, exchanges(0, 250))
    folder = path.with_name("verdicts.parquet.parts")
    folder.mkdir()
    for name, content in parts.items():  # as if the parts had not been removed in time
        (folder / name).write_bytes(content)
    file = add(path, exchanges(200, 300))
    assert file.resumed == 0
    assert numbers(path) == list(range(300))


WRITER = """
import sys, time
sys.path[:0] = sys.argv[2:]
import fake_detector
from pathlib import Path
from aligntax.verdict_file import writer
from test_verdict_file import exchanges, relative
writer._PART_ROWS = 50
with writer.VerdictFile(Path(sys.argv[1]), detector=fake_detector.NAME) as file:
    for start in range(0, 4000, 10):
        file.write(fake_detector.judge(file.new_rows(exchanges(start, start + 10))))
    print("judged", flush=True)
    file.finish(relative)
"""


def start_writer(path: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_parts(path: Path, count: int) -> None:
    folder = path.with_name(f"{path.name}.parts")
    deadline = time.monotonic() + 30
    while len(list(folder.glob("part-*.parquet"))) < count:
        assert time.monotonic() < deadline, "the writer made no parts"
        time.sleep(0.002)


@pytest.mark.parametrize("parts", [1, 3, 20])
def test_kill_9_in_the_middle_loses_nothing_and_doubles_nothing(path, parts):
    with start_writer(path) as writer:
        wait_for_parts(path, parts)
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    assert not path.exists()
    file = add(path, exchanges(0, 4000))
    assert file.resumed >= 50 * parts
    assert numbers(path) == list(range(4000))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("delay_s", [0, 0.005, 0.02, 0.05])
def test_kill_9_around_the_merge_loses_nothing_and_doubles_nothing(path, delay_s):
    add(path, exchanges(3000, 5000))
    with start_writer(path) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "judged\n"
        time.sleep(delay_s)
        writer.kill()
    assert len(numbers(path)) in {2000, 5000}  # the file is whole before and after, and never in between
    add(path, exchanges(0, 4000))
    assert sorted(numbers(path)) == list(range(5000))


def test_a_second_writer_is_told_who_holds_the_file_and_what_to_do(path):
    with VerdictFile(path, detector=fake_detector.NAME):
        code = "import sys; from aligntax.verdict_file import VerdictFile; VerdictFile(sys.argv[1], detector='d').__enter__()"
        second = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
        )
    assert second.returncode != 0
    assert "is being written by process" in second.stderr
    assert "name another file with -o" in second.stderr


def test_the_lock_of_a_dead_process_is_taken_over(path):
    with start_writer(path) as writer:
        wait_for_parts(path, 1)
        writer.kill()
    assert (path.with_name("verdicts.parquet.parts") / "lock").read_text() == f"process {writer.pid}"
    add(path, exchanges(0, 10))
    assert not path.with_name("verdicts.parquet.parts").exists()


def test_verdicts_of_another_detector_are_not_mixed_in_and_rescan_replaces_them(path):
    add(path, exchanges(0, 100))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"holds verdicts of fake 1, and this is fake 2.*--rescan"):
        add(path, exchanges(100, 110), detector="fake 2")
    assert path.read_bytes() == before
    file = add(path, exchanges(0, 60), rescan=True)
    assert numbers(path) == list(range(60))
    assert file.repeated == 0


def test_rescan_keeps_the_former_file_until_the_new_one_is_complete(path):
    add(path, exchanges(0, 100))
    interrupt(path, exchanges(0, 10), rescan=True)
    assert numbers(path) == list(range(100))


@pytest.mark.parametrize("rescan", [False, True])
def test_a_file_that_is_something_else_is_never_overwritten(path, rescan):
    pl.DataFrame({"prompt": ["mine"]}).write_parquet(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="not a verdict file"):
        add(path, exchanges(0, 10), rescan=rescan)
    path.write_text("a letter")
    with pytest.raises(InputError, match="not a Parquet file"):
        add(path, exchanges(0, 10), rescan=rescan)
    assert path.read_text() == "a letter"
    assert before


def test_a_file_of_a_later_format_asks_for_an_update(path):
    add(path, exchanges(0, 3))
    pl.read_parquet(path).write_parquet(path, metadata={"aligntax.verdict_file": "2"})
    with pytest.raises(InputError, match=r"has format 2, .* \(update aligntax\)"):
        scan_verdicts(path)


def test_huge_rows_are_written_in_small_groups_so_that_memory_stays_flat(path):
    assert writer._group_rows(1500 * 65_536, 65_536) == 16_384
    assert writer._group_rows(10_000_000 * 12, 12) == 3
    assert writer._group_rows(10**9, 1) == 1


def test_a_file_written_without_text_is_not_mixed_with_one_that_has_it(path):
    add(path, exchanges(0, 10), keep_text=False)
    with pytest.raises(InputError, match="without text, by --no-text"):
        add(path, exchanges(10, 20))
    add(path, exchanges(0, 10), rescan=True)
    with pytest.raises(InputError, match="was written with text"):
        add(path, exchanges(10, 20), keep_text=False)


def test_without_text_no_byte_of_it_reaches_the_disk(path, small_parts):
    secret = exchanges(0, 300).with_columns(
        prompt=pl.lit("SECRET-P"), response=pl.lit("SECRET-R"), system=pl.lit("SECRET-S"),
        history=pl.lit("SECRET-H"), tags=pl.lit("SECRET-T"),
    )  # fmt: skip
    interrupt(path, secret, keep_text=False)
    found = [entry for entry in path.parent.rglob("*") if entry.is_file()]
    assert any(entry.name.startswith("part-") for entry in found)
    for entry in found:
        assert b"SECRET" not in entry.read_bytes()
        if entry.suffix == ".parquet":  # compression could hide the bytes, so the columns count as well
            assert not set(CONTENT_COLUMNS) & set(pl.read_parquet_schema(entry))
    add(path, secret, keep_text=False)
    assert not set(CONTENT_COLUMNS) & set(scan_verdicts(path).collect_schema())
    assert b"SECRET" not in path.read_bytes()


def test_a_disk_without_room_says_how_to_go_on_and_keeps_what_is_done(path, small_parts):
    with VerdictFile(path, detector=fake_detector.NAME) as file:
        judge_into(file, exchanges(0, 100))
        with (
            files_end_at(1000),
            pytest.raises(InputError, match=r"verdicts\.parquet\.parts and is not done twice") as caught,
        ):
            judge_into(file, exchanges(100, 400))
    assert str(path) in str(caught.value)
    assert add(path, exchanges(0, 400)).resumed == 100
    assert numbers(path) == list(range(400))


def test_a_folder_that_is_absent_is_named(tmp_path):
    with pytest.raises(InputError, match="the folder does not exist"):
        add(tmp_path / "no" / "v.parquet", exchanges(0, 1))


def test_a_damaged_part_is_named_and_nothing_is_lost(path, small_parts):
    folder = path.with_name("verdicts.parquet.parts")
    folder.mkdir()
    (folder / "part-000000.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(InputError, match=r"part-000000\.parquet: is damaged"):
        add(path, exchanges(0, 10))
    assert (folder / "part-000000.parquet").exists()


def test_who_may_read_the_file_stays_as_its_owner_set_it(path):
    add(path, exchanges(0, 10))
    path.chmod(0o600)
    add(path, exchanges(10, 20))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_keeps_pointing_to_the_file_that_is_written(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.parquet"
    link.symlink_to(tmp_path / "real" / "v.parquet")
    add(link, exchanges(0, 5))
    assert link.is_symlink()
    assert numbers(tmp_path / "real" / "v.parquet") == list(range(5))


def test_a_million_ids_are_known_in_less_than_a_hundred_megabytes(path):
    ids = KnownIds()
    for start in range(0, 1_000_000, 50_000):
        batch = pl.Series("id", range(start, start + 50_000), pl.Int64).cast(pl.String)
        assert ids.take(batch).all()
    assert sum(run.nbytes for run in ids._runs) == 8_000_000
    assert not ids.take(pl.Series("id", ["0", "999999", "500000"])).any()
    assert ids.take(pl.Series("id", ["1000000", "1000000"])).to_list() == [True, False]
