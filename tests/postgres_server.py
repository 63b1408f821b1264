"""A throw-away PostgreSQL of the system's own binaries, for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from typing import Self
from urllib.parse import quote

_numbers = count(1)


class Unavailable(Exception):
    """No server can be started here."""


class PostgresServer:
    """One server in a temporary folder, run by a user who is not root.

    Attributes:
        port: on 127.0.0.1; it stays the same when the server is stopped and started again.
    """

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        pg_ctl = shutil.which("pg_ctl") or (str(found[-1]) if found else None)
        if pg_ctl is None:
            raise Unavailable("no PostgreSQL server is installed here")
        # runuser lies in /usr/sbin, which a plain PATH leaves out.
        runuser = shutil.which("runuser", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        self._as_user = [str(runuser), "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self._pg_ctl = pg_ctl
        self.folder = Path(tempfile.mkdtemp(prefix="gangline-pg-"))
        try:
            if self._as_user:
                shutil.chown(self.folder, "postgres", "postgres")
            self.port = _free_port()
            self._data = self.folder / "data"
            initdb = [str(Path(pg_ctl).with_name("initdb")), "-D", str(self._data)]
            self._run([*initdb, "-A", "trust", "-U", "admin", "-E", "UTF8", "--no-sync"])
            self.start()
        except BaseException:
            self._remove()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        self._remove()

    def url(self, user: str = "admin", database: str = "postgres") -> str:
        """Give a URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def new_schema(self) -> str:
        """Make an empty schema, and give a URL that sees nothing else."""
        import psycopg

        name = f"test_{next(_numbers)}"
        with psycopg.connect(self.url()) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url()}?options={quote(f'-csearch_path={name}')}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = (
            f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off "
            "-c max_connections=200"
        )
        log = ["-l", str(self.folder / "log")]
        self._run([self._pg_ctl, "-D", str(self._data), *log, "-o", settings, "-w", "start"])

    def stop(self, how: str = "fast") -> None:
        """Stop the server: `fast` ends its connections, `immediate` is a crash."""
        self._run([self._pg_ctl, "-D", str(self._data), "-m", how, "-w", "stop"])

    def _run(self, command: list[str]) -> None:
        made = subprocess.run(
            [*self._as_user, *command], capture_output=True, cwd=self.folder, check=False
        )
        if made.returncode:
            raise Unavailable(f"no PostgreSQL could be started: {made.stderr[-300:]!r}")

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
