"""A PostgreSQL server in processes of its own, as the database of a tracking server; can be stopped."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.endurance.server import free_port

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # of Debian, the newest first
NOBODY = pwd.getpwnam("nobody")
USER = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}  # PostgreSQL refuses root
WAIT_S = 60


def needed() -> Path:
    """Return the folder of PostgreSQL's programs; skip the test where they or their driver are missing."""
    if find_spec("psycopg2") is None:
        pytest.skip("no psycopg2: nothing here is tested on PostgreSQL; pip install psycopg2-binary")
    program = shutil.which("initdb", path=os.pathsep.join(map(str, [*FOLDERS, os.environ.get("PATH", "")])))
    if program is None:
        pytest.skip("no initdb: nothing here is tested on PostgreSQL; apt-get install postgresql")
    return Path(program).resolve().parent


class Postgres:
    """A database cluster in a folder of its own, reached at loopback alone, always at the same port."""

    def __init__(self, programs: Path) -> None:
        self.port = free_port()
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="hwr-postgres-"))  # pytest's folders are root's alone
        self._as = USER if os.getuid() == 0 else {}
        if self._as:
            os.chown(self._folder, NOBODY.pw_uid, NOBODY.pw_gid)
        self._run("initdb", "--auth=trust", "--username=hwr", "--encoding=UTF8", "--no-locale", "--no-sync")

    @property
    def uri(self) -> str:
        return f"postgresql://hwr@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
        options += "-c max_connections=300"
        self._run("pg_ctl", "start", "-w", "-t", str(WAIT_S), "-l", str(self._folder / "log"), "-o", options)

    def stop(self) -> None:
        """Stop it in the middle of what it does, as a crash would: all connections end."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate")

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return the bytes of each table with its indexes, and how many rows it has."""
        tables = [
            name for (name,) in self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        asked = "SELECT pg_total_relation_size('{0}'), (SELECT count(*) FROM {0})"
        return {table: self.rows(asked.format(table))[0] for table in tables}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        import psycopg2

        with contextlib.closing(psycopg2.connect(self.uri)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def remove(self) -> None:
        """Stop it, and delete its folder."""
        if (self._folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *words]
        places = {"cwd": self._folder, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        subprocess.run(command, check=True, timeout=2 * WAIT_S, **places, **self._as)
