"""Ring 8: relays as processes over a private PostgreSQL, and peers with stores of their own."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SkipTest

from tests import postgres
from tests.processes import Process, ProcessTestCase, environment

STORE = "postgresql:///?service=relays"
ALL = os.environ.get("GOSSIPLOG_RELAYS") == "1"


class FleetTests(ProcessTestCase):
    """Two relays, a peer at each."""

    def setUp(self) -> None:
        super().setUp()
        self.cluster = postgres.shared()
        self.database = self.cluster.database()
        service = self.place / "services"
        name = self.database.rpartition("/")[2]
        service.write_text(
            f"[relays]\nhost=127.0.0.1\nport={self.cluster.port}\nuser=postgres\ndbname={name}\n"
        )
        self.env = environment(PGSERVICEFILE=str(service), GOSSIPLOG_NETWORK="garden")
        self.assertEqual(self.run_to_end("fleet", "init", "--store", STORE)[0], 0)
        listen = [f"tcp:{postgres.free_port()}:interface=127.0.0.1" for _ in range(2)]
        self.relays = [self.relay(*how) for how in zip(("one", "two"), listen, strict=True)]
        self.addresses = [relay.ready()["listening"][0] for relay in self.relays]

    def run_to_end(self, *words: str) -> tuple[int, str]:
        """Status and output of a command."""
        process = self.gossiplog(*words, env=self.env)
        return process.finish(), process.out

    def relay(self, state: str, listen: str) -> Process:
        """Start one."""
        return self.gossiplog("run", "--store", STORE, "--state", state, "--listen", listen, env=self.env)

    def peer(self, name: str, *addresses: str) -> Process:
        """Start a node with a store of its own."""
        self.assertEqual(self.run_to_end("init", "--store", name)[0], 0)
        peers = [word for address in addresses for word in ("--peer", address)]
        peer = self.gossiplog("run", "--store", name, *peers, env=self.env)
        peer.ready()
        return peer

    def following(self, store: str) -> Process:
        """Show what comes."""
        return self.gossiplog("log", "--follow", "--store", store, env=self.env)

    def append(self, store: str, text: str) -> None:
        """Append an entry."""
        self.assertEqual(self.run_to_end("append", "--store", store, text)[0], 0)

    def test_one_is_killed(self) -> None:
        """What a relay showed as held is there when it is killed, for who connects to another one."""
        ann = self.peer("ann", self.addresses[0])
        shown, seen = self.following("one"), self.following("two")
        self.append("ann", "first")
        seen.wait_for(r"first$")
        self.append("ann", "last")
        shown.wait_for(r"last$")
        self.relays[0].kill()
        ann.kill()
        self.peer("bob", self.addresses[1])
        self.following("bob").wait_for(r"last$")
        status, said = self.run_to_end("fleet", "status", "--store", STORE)
        self.assertEqual((status, said.count("\nrelay ")), (0, 2))
        self.assertEqual(self.relays[1].terminate(), 0)

    def test_the_server_restarts(self) -> None:
        """Relays wait for it, say so once, and go on; what was taken meanwhile arrives."""
        self.need_all()
        self.peer("ann", self.addresses[0])
        self.peer("bob", self.addresses[1])
        seen = self.following("bob")
        self.append("ann", "before")
        seen.wait_for(r"before$")
        self.cluster.kill()
        for relay in self.relays:
            relay.wait_for_error(r"writing is tried again$")
        self.append("ann", "meanwhile")
        self.cluster.start()
        for relay in self.relays:
            relay.wait_for_error(r"answers again")
        seen.wait_for(r"meanwhile$")
        for relay in self.relays:
            self.assertEqual(relay.terminate(), 0)
            self.assertEqual(relay.err.count("cannot be reached"), 1, relay.err)

    def test_the_database_goes_back(self) -> None:
        """Relays begin anew and say so; what was lost comes back from a peer."""
        self.need_all()
        self.peer("ann", *self.addresses)
        self.append("ann", "kept")
        shown = [self.following("one"), self.following("two")]
        for each in shown:
            each.wait_for(r"kept$")
        before = self.dump()
        self.append("ann", "lost")
        for each in shown:
            each.wait_for(r"lost$")
        self.restore(before)
        for relay in self.relays:
            relay.wait_for_error(r"was put back, and is open again")
        for each in (self.following("one"), self.following("two")):
            each.wait_for(r"lost$")

    def need_all(self) -> None:
        if not ALL:
            raise SkipTest("takes some seconds; GOSSIPLOG_RELAYS=1")

    TABLES = ("meta", "heads", "segments", "forks", "cursors", "lanes", "feed")

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        import psycopg

        with psycopg.connect(self.database, autocommit=True) as connection:
            return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in self.TABLES}

    def restore(self, content: dict[str, list[tuple[Any, ...]]]) -> None:
        import psycopg

        with psycopg.connect(self.database, autocommit=True) as connection, connection.transaction():
            for table, rows in content.items():
                connection.execute(f"DELETE FROM {table}")
                for row in rows:
                    marks = ", ".join(["%s"] * len(row))
                    connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
