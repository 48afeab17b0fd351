"""A real PostgreSQL server for tests: the system's binaries, a folder of its own, gone when the tests end."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

# Quick rather than durable: these databases live for one run of the tests. No port: a socket in a private folder.
SETTINGS = (
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_connections=60",
)
_SEARCHED = "/usr/lib/postgresql/*/bin, /usr/pgsql-*/bin and the path"


def binaries() -> Path | None:
    """The folder of the newest server that is installed."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).parent)
    there = [folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()]
    return max(there, key=lambda folder: [int(part) for part in folder.parts if part.isdigit()], default=None)


def server() -> str:
    """URL of the server without a database, such as `postgresql://aligntax@/{}?host=...`; skips where none can run."""
    if binaries() is None:
        pytest.skip(f"no PostgreSQL server here (looked in {_SEARCHED})")
    return _started()


@functools.cache
def _started() -> str:
    commands = binaries()
    assert commands is not None
    folder = Path(tempfile.mkdtemp(prefix="aligntax-pg-"))
    identity: dict[str, object] = {"cwd": folder, "stdin": subprocess.DEVNULL}
    if os.name == "posix" and os.getuid() == 0:  # the server does not run as root
        user = "postgres" if _is_user("postgres") else "nobody"
        shutil.chown(folder, user)
        identity |= {"user": user, "extra_groups": []}
    data = folder / "data"
    made = [
        commands / "initdb",
        "-D",
        data,
        "-U",
        "aligntax",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
        "--no-locale",
    ]
    subprocess.run(made, check=True, capture_output=True, **identity)
    settings = [
        word for setting in (*SETTINGS, f"unix_socket_directories={folder}") for word in ("-c", setting)
    ]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(
            [commands / "postgres", "-D", data, *settings], stdout=log, stderr=log, **identity
        )
    atexit.register(_stop, running, folder, os.getpid())
    url = f"postgresql://aligntax@/{{}}?host={folder}"
    _wait_for(url.format("postgres"), running, folder / "log")
    return url


def _is_user(name: str) -> bool:
    import pwd

    return any(entry.pw_name == name for entry in pwd.getpwall())


def _wait_for(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    end = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if running.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.02)
        else:
            return


def _stop(running: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    if os.getpid() != owner:  # a fork of the test run
        return
    running.send_signal(signal.SIGINT)  # the server's "fast": it closes connections and ends
    try:
        running.wait(10)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGQUIT)
        running.wait(10)
    shutil.rmtree(folder, ignore_errors=True)


def fresh_database() -> str:
    """URL of the one database of the tests, emptied: quicker than a new one for each."""
    import psycopg

    url = server().format("postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        # What the test before has left behind, a killed process's connection too, must not hold us up.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url
