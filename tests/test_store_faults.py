"""What goes wrong with a database is said in one line: no traceback, no password, no text of logs."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from aligntax.errors import InputError, MissingExtra
from aligntax.store import Store
from stores import draw, items, says

DRAW = draw()
SECRET = "hunter2"


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of somebody whom the system refuses things, also where the tests run as root."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o700)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


# ---- files


def test_by_default_it_lies_in_a_folder_that_only_its_owner_reads_and_git_ignores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.open() as store:
        store.add_draw(DRAW, items())
        folder = tmp_path / ".aligntax"
        assert repr(store) == "Store('.aligntax/aligntax.db')"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name for path in folder.iterdir()} >= {".gitignore", "aligntax.db", "aligntax.db-wal"}
        for path in folder.glob("aligntax.db*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert (folder / ".gitignore").read_text() == "*\n"
    with Store.open() as store:
        assert store.draws() == [DRAW]


def test_labels_are_written_through_to_the_disk(store: Store) -> None:
    def settings(connection: sa.Connection) -> list[object]:
        if connection.dialect.name == "postgresql":
            return [connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()]
        names = ("synchronous", "journal_mode", "foreign_keys", "secure_delete")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    assert store._database.write(settings) in (["on"], [2, "wal", 1, 1])


def test_text_of_the_reserve_is_gone_from_the_file_once_it_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Store.open(path) as store:
        store.add_draw(
            DRAW, [msgspec.structs.replace(item, prompt=f"patient {item.exchange}!") for item in items()]
        )
        store.extend_draw(msgspec.structs.replace(DRAW, phase="whole"))
    (kept,) = tmp_path.iterdir()
    text = kept.read_bytes()
    assert b"patient s0p2!" in text
    assert b"patient s0p3!" not in text


def test_a_url_of_a_file_is_a_file_too(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/labels.db") as store:
        assert store.place == str(tmp_path / "labels.db")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.parquet"
    path.write_bytes(b"PAR1" * 1000)
    with pytest.raises(InputError, match=r"verdicts\.parquet: is not a database"):
        Store.open(path)
    assert path.read_bytes() == b"PAR1" * 1000


def test_a_database_of_another_program_is_left_alone(where: str) -> None:
    with Store.open(where) as store:  # a way to reach it
        for table in ("labels", "estimates"):
            store._database.write(lambda c, table=table: c.exec_driver_sql(f"DROP TABLE {table}"))
        store._database.write(lambda c: c.exec_driver_sql("DROP TABLE schema_version"))
    with pytest.raises(InputError, match="holds tables of another program"):
        Store.open(where)


def test_a_damaged_database_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Store.open(path) as store:
        store.add_draw(DRAW, items())
    whole = bytearray(path.read_bytes())
    whole[4096:] = b"\xaa" * (len(whole) - 4096)
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"labels\.db: is damaged \(restore a copy"):
        Store.open(path).draws()


@pytest.mark.parametrize(
    ("name", "says"), [("", "is a folder"), ("absent/labels.db", "the folder does not exist")]
)
def test_a_place_that_is_none_is_said_so(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Store.open(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_said_so(unprivileged: Path) -> None:
    unprivileged.chmod(0o500)
    with pytest.raises(InputError, match=r"labels\.db: cannot be written \(Permission denied\)"):
        Store.open(unprivileged / "labels.db")


def test_a_store_that_may_only_be_read_is_said_so(unprivileged: Path) -> None:
    path = unprivileged / "labels.db"
    Store.open(path).close()
    path.chmod(0o400)
    with pytest.raises(InputError, match=r"labels\.db: cannot be written \(Permission denied\)"):
        Store.open(path)


def test_a_full_disk_is_said_so_and_what_was_kept_stays(tmp_path: Path) -> None:
    with Store.open(tmp_path / "labels.db") as store:
        store.add_draw(DRAW, items())

        def fill(connection: sa.Connection) -> None:  # SQLite then fails as on a full disk, code for code
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        store._database.write(fill)
        text = "patient " * 100_000
        with pytest.raises(InputError, match=r"labels\.db: the disk is full \(free some space") as caught:
            store.add_draw(draw(id="large"), [msgspec.structs.replace(items()[0], prompt=text)])
        assert "patient" not in "".join(map(str, [caught.value, caught.value.__cause__]))
        assert [kept.id for kept in store.draws()] == [DRAW.id]
        store.add_annotator(DRAW.id, "ada")  # what needs no new page still works


def test_a_lock_that_lasts_longer_than_the_timeout_is_said_so(where: str) -> None:
    with Store.open(where) as holder, Store.open(where, timeout_s=0.2) as waiter:
        holder.add_draw(DRAW, items())

        def hold(connection: sa.Connection) -> None:
            connection.exec_driver_sql("UPDATE draws SET phase = phase")
            with pytest.raises(InputError, match=r"is locked by another process \(try again when"):
                waiter.next_item(DRAW.id, "ben")

        holder._database.write(hold)
        assert waiter.next_item(DRAW.id, "ben") is not None


# ---- servers


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_that_cannot_be_reached_is_said_so_without_the_password(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(InputError) as caught:
        Store.open(
            f"{scheme}://ada:{SECRET}@127.0.0.1:9/labels?sslmode=disable&password={SECRET}", timeout_s=2
        )
    assert str(caught.value).startswith("postgresql://ada@127.0.0.1:9/labels: the server cannot be reached")
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__}{caplog.text}"
    assert caught.value.__suppress_context__  # nor does a traceback show what the driver said


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ada:{SECRET}@x@host/labels",
        f"postgresql://ada:p@{SECRET}/x@host/labels",
        f"postgresql://ada:{SECRET}@host:port/labels",
        f"mysql://ada:{SECRET}@host/labels",
    ],
)
def test_a_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(InputError, match="postgresql://") as caught:
        Store.open(url)
    assert SECRET not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'aligntax\[postgres\]'"):
        Store.open("postgresql://localhost/labels")


def test_a_server_that_is_careless_is_asked_to_be_careful(where: str) -> None:
    if "://" not in where:
        pytest.skip("about a server's settings")
    with Store.open(f"{where}&options=-csynchronous_commit%3Doff") as store:
        shown = store._database.write(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar_one())
    assert shown == "on"


def test_what_the_database_says_is_not_shown_for_it_quotes_rows(store: Store) -> None:
    store.add_draw(DRAW, items())
    store.label(DRAW.id, says("s0p0", note="patient 17"))
    with pytest.raises(InputError, match="the database said no") as caught:
        store._database.write(lambda c: c.exec_driver_sql("INSERT INTO labels SELECT * FROM labels"))
    assert "s0p0" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_conflicts_of_a_moment_are_tried_again_and_not_for_ever(store: Store) -> None:
    class Conflict(Exception):
        sqlstate = "40001"  # serialization failure

    tries = []

    def conflict(times: float) -> int:
        def work(connection: sa.Connection) -> int:
            tries.append(connection.execute(sa.select(sa.literal(1))).scalar_one())
            if len(tries) <= times:
                raise sa.exc.OperationalError("INSERT", {}, Conflict())
            return len(tries)

        tries.clear()
        return store._database.write(work)

    assert conflict(3) == 4
    with pytest.raises(InputError, match="too busy"):
        conflict(float("inf"))
    assert len(tries) < 20


def test_a_deadlock_between_two_writers_ends_with_both_having_written(where: str) -> None:
    if "://" not in where:
        pytest.skip("SQLite has one writer at a time")
    import threading

    with Store.open(where) as store:
        for name in ("one", "two"):
            store.add_draw(draw(id=name), [])
        meet, tries = threading.Barrier(2), []

        def write(first: str, second: str) -> None:
            def work(connection: sa.Connection) -> None:
                change = "UPDATE draws SET fingerprint = fingerprint || '.' WHERE id = "
                connection.exec_driver_sql(f"{change}'{first}'")
                tries.append(first)
                if len(tries) <= 2:
                    meet.wait(10)
                connection.exec_driver_sql(f"{change}'{second}'")

            store._database.write(work)

        threads = [threading.Thread(target=write, args=pair) for pair in (("one", "two"), ("two", "one"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tries) == 3  # the one whom the server sent back has tried again
        count = "SELECT min(length(fingerprint)) FROM draws"
        assert store._database.read(lambda c: c.exec_driver_sql(count).scalar_one()) == len("f1..")


def test_importing_the_store_costs_aligntax_nothing() -> None:
    code = "import sys, aligntax; raise SystemExit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_file_is_plain_sqlite_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Store.open(path) as store:
        store.add_draw(DRAW, items())
        store.label(DRAW.id, says("s0p0"))
        connection = sqlite3.connect(path)  # while it is open
        assert connection.execute("SELECT annotator, answered FROM labels").fetchall() == [("ada", "full")]
        connection.close()
