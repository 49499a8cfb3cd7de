"""Ring 8: the twistd plugin: its options, its service, and real twistd processes."""

from __future__ import annotations

import json
import os
import select
import signal
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.python.usage import UsageError
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from gossiplog.app import tap
from gossiplog.app.tap import CannotStart, NodeService, Options, makeService
from gossiplog.errors import StoreLockedError
from gossiplog.gossip.quotas import Quotas
from gossiplog.log.network import Network
from gossiplog.store.logs import open_logs
from tests.processes import DEADLINE_SECONDS, ProcessTestCase

LOOPBACK = "tcp:0:interface=127.0.0.1"


class OptionsTests(SynchronousTestCase):
    """What can be said on the command line."""

    def test_all(self) -> None:
        """Addresses are repeatable, the store's path is absolute, the network is a key by then."""
        options = Options()
        arguments = ["--store", "here", "--network", "00" * 32, "--listen", "tcp:4000", "--listen", LOOPBACK]
        options.parseOptions([*arguments, "--peer", "tcp:a.example:1", "-p", "tcp:b.example:2"])
        self.assertEqual(options.store, str(Path.cwd() / "here"))
        self.assertEqual(options.network, Network.from_key(bytes(32)))
        self.assertEqual(options.run.listen, ("tcp:4000", LOOPBACK))
        self.assertEqual(options.run.peer, ("tcp:a.example:1", "tcp:b.example:2"))

    def test_a_relay(self) -> None:
        """Its directory is absolute; a password is refused before anything is opened or logged."""
        if find_spec("psycopg") is None:
            raise SkipTest("needs the extra postgres")
        options = Options()
        network = ("--network", "00" * 32, "--state", "here")
        options.parseOptions(["--store", "postgresql:///?service=relays", *network])
        self.assertEqual(options.store, "postgresql:///?service=relays")
        self.assertEqual(options.state, str(Path.cwd() / "here"))
        self.assertEqual(NodeService(None, options)._serving._state, options.state)
        with self.assertRaises(UsageError) as refused:
            Options().parseOptions(["--store", "postgresql://ann:geheim@h/x", *network])
        self.assertIn("PGPASSFILE", str(refused.exception))
        self.assertNotIn("geheim", str(refused.exception))

    def test_a_database_as_the_state_of_a_relay(self) -> None:
        """Is refused before it is the path of anything, and not shown."""
        arguments = ["--store", "memory:", "--network", "00" * 32, "--state", "host=db password=hunter2"]
        error = self.assertRaises(UsageError, Options().parseOptions, arguments)
        self.assertNotIn("hunter2", str(error))

    def test_interest_and_quotas(self) -> None:
        """Nobody but those followed, and bounds on what is taken; without them everything is."""
        options = Options()
        arguments = ["--store", "here", "--network", "00" * 32, "--only-followed", "--max-authors", "5"]
        options.parseOptions(
            [*arguments, "--max-author-bytes", "6", "--max-bytes", "7", "--max-author-rate", "0.5"]
        )
        self.assertTrue(options.run.only_followed)
        self.assertEqual(options.run.quotas, Quotas(5, 6, 7, 0.5))
        options = Options()
        options.parseOptions(["--store", "here", "--network", "00" * 32])
        self.assertIsNone(options.run.only_followed)
        self.assertEqual(options.run.quotas, Quotas())

    def test_modes(self) -> None:
        """One of both, or neither; it is the node's."""
        for words, mode in (([], "both"), (["--pull"], "pull"), (["--push"], "push")):
            options = Options()
            options.parseOptions(["--store", "here", "--network", "00" * 32, *words])
            self.assertEqual(options.run.mode, mode)
            self.assertEqual(NodeService(None, options)._serving._options.mode, mode)

    def test_mistakes(self) -> None:
        """Each is a usage error that names what is wrong."""
        good = ["--store", "x", "--network", "00" * 32]
        cases = [
            (["--network", "n"], "--store is needed"),
            (["--store", "x"], "--network is needed"),
            (["--store", "x", "--network", "author_x"], "--network: "),
            (["--store", "x", "--network", "a\nb"], "control characters"),
            ([*good, "--listen", "4000"], "'4000' is no endpoint to listen on"),
            ([*good, "--listen", "tcp:http"], "'tcp:http' is no endpoint to listen on"),
            ([*good, "--peer", "tcp:example.org"], "'tcp:example.org' is no endpoint to dial"),
            ([*good, "--peer", "pigeon:post"], "'pigeon:post' is no endpoint to dial"),
            ([*good, "--pull", "--push"], "--pull and --push exclude each other"),
            ([*good, "--max-bytes", "many"], "a positive number, not many"),
            ([*good, "surplus"], "arguments"),
        ]
        for arguments, words in cases:
            error = self.assertRaises(UsageError, Options().parseOptions, arguments)
            self.assertIn(words, str(error))


class ServiceTests(TestCase):
    """The service in this process, on this reactor."""

    timeout = 60

    def setUp(self) -> None:
        self.store = Path(self.mktemp()).resolve()

    def service(self, *more: str) -> NodeService:
        """Return the service of a command line."""
        options = Options()
        options.parseOptions(["--store", str(self.store), "--network", "00" * 32, *more])
        service = makeService(options)
        self.assertTrue(IService.providedBy(service))
        return service

    async def test_in_order(self) -> None:
        """The store is opened by startService, and closed when stopService's Deferred fires, not before."""
        service = self.service("--listen", LOOPBACK)
        self.assertFalse(self.store.exists())
        for _ in range(2):  # it can be started again
            service.startService()
            self.assertRaises(StoreLockedError, open_logs, self.store)
            stopped = service.stopService()
            self.assertIsInstance(stopped, Deferred)
            await stopped
            open_logs(self.store).close()
        self.assertFalse(service.running)

    async def test_never_started(self) -> None:
        """Stopping is allowed then."""
        await self.service().stopService()

    def test_locked(self) -> None:
        """It fails at once, and is done with: nothing is logged but one line."""
        said: list[Any] = []
        self.patch(tap, "complain", lambda words, stream: said.append(words))
        with closing(open_logs(self.store)):
            error = self.assertRaises(CannotStart, self.service("--wait", "0").startService)
        self.assertEqual(error.code, 1)
        self.assertEqual(said, [str(error)])
        self.assertIn("is open in this process already", str(error))

    async def test_port_in_use(self) -> None:
        """The store is closed again."""
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.patch(tap, "complain", lambda words, stream: None)
        service = self.service("--listen", f"tcp:{port.getHost().port}:interface=127.0.0.1")
        error = self.assertRaises(CannotStart, service.startService)
        self.assertIn("in use", str(error))
        await service.stopService()
        open_logs(self.store).close()


class TwistdTests(ProcessTestCase):
    """Real twistd processes."""

    def test_from_another_directory(self) -> None:
        """A relative store is here even when twistd runs elsewhere; nodes meet; SIGTERM stops in order."""
        other = self.place / "elsewhere"
        other.mkdir()
        first = self.twistd(
            f"--rundir={other}", "--nodaemon", "--pidfile=", "gossiplog", "--store", "ann", "--network", "n",
            "--listen", LOOPBACK, "--listen", LOOPBACK,
        )  # fmt: skip
        about = first.ready()
        self.assertEqual(about["store"], str(self.place / "ann"))
        self.assertEqual(len(about["listening"]), 2)
        second = self.twistd(
            "--nodaemon", "--pidfile=", "gossiplog", "--store", "../bob", "--network", "n", "--peer",
            about["listening"][1], "--peer", about["listening"][0], cwd=other,
        )  # fmt: skip
        self.assertEqual(second.ready()["store"], str(self.place / "bob"))
        second.wait_for(r"\[gossiplog.net#info\] peer \w{8} is up at tcp:127")
        self.run_gossiplog("init", "--store", "cleo")
        self.run_gossiplog("append", "--store", "cleo", "hello")
        self.run_gossiplog("sync", about["listening"][0], "--store", "cleo", "--network", "n")
        third = self.gossiplog(
            "log", "--follow", "--store", self.dora(), "--network", "n", "--peer", about["listening"][0]
        )
        third.wait_for(" 1 hello$")
        self.assertEqual(third.interrupt(), 0)
        for process in (second, first):
            self.assertEqual(process.terminate(), -signal.SIGTERM)  # twistd's way to say that it was told to
            self.assertEqual(process.err, "")
            self.assertNotIn("Traceback", process.out)
        self.assertEqual(list(self.logged("ann").values()), ["hello"])
        for store in ("ann", "bob"):
            self.assertIn("all is well", self.run_gossiplog("verify", "--store", store))
        self.assertEqual(list(other.iterdir()), [])

    def dora(self) -> str:
        """Make an empty store."""
        self.run_gossiplog("init", "--store", "dora")
        return "dora"

    def test_locked_store(self) -> None:
        """One line on standard error and in the log, status 1, no traceback, no pid file."""
        with closing(open_logs(self.place / "ann")):
            process = self.twistd(
                "--nodaemon", "gossiplog", "--store", "ann", "--network", "n", "--wait", "0"
            )
            self.assertEqual(process.finish(), 1)
        self.assertRegex(process.err, r"\Agossiplog: store .*/ann is in use by process \d+;[^\n]*\n\Z")
        self.assertEqual(process.out.count("is in use by process"), 1)
        self.assertNotIn("Traceback", process.out)
        self.assertEqual([path.name for path in self.place.iterdir()], ["ann"])

    def test_usage(self) -> None:
        """A usage error is twistd's: its help, the reason, its status."""
        process = self.twistd("--nodaemon", "gossiplog", "--store", "ann")
        self.assertIn(process.finish(), (0, 1))  # Twisted 24.7 still said 0
        self.assertTrue(process.out.endswith("--network is needed\n"), process.out)
        self.assertIn("--peer=", process.out)
        self.assertNotIn("Traceback", process.out + process.err)

    def test_help(self) -> None:
        """twistd knows the plugin, and the plugin its options, with an example."""
        process = self.twistd("--help")
        self.assertEqual(process.finish(), 0)
        self.assertRegex(process.out, r"(?m)^ +gossiplog +Keep and replicate append-only logs\.$")
        process = self.twistd("gossiplog", "--help")
        self.assertEqual(process.finish(), 0)
        self.assertIn("may be repeated", process.out)
        self.assertIn("twistd --nodaemon gossiplog --store", " ".join(process.out.split()))

    def test_daemon(self) -> None:
        """In the background, with its log and pid file elsewhere; a start that fails is told to who started it."""
        if not hasattr(os, "pidfd_open"):
            raise SkipTest("needs a way to wait for the end of a process that is no child")
        pidfile, logfile = self.place / "pid", self.place / "log"
        command = (
            f"--pidfile={pidfile}",
            f"--logfile={logfile}",
            "--rundir=/",
            "gossiplog",
            "--store",
            "ann",
        )
        process = self.twistd(*command, "--network", "n", "--listen", LOOPBACK)
        status = process.finish()
        self.addCleanup(self.end_daemon, pidfile)
        self.assertEqual((status, process.out, process.err), (0, "", ""))
        self.assertIn(f'"store": "{self.place / "ann"}"', logfile.read_text())
        second = self.twistd(
            "--pidfile=pid2", "--logfile=log2", *command[3:], "--network", "n", "--wait", "0"
        )
        self.assertEqual(second.finish(), 1)
        self.assertIn("CannotStart: store ", second.err)  # twistd passes on a hundred characters
        said = (self.place / "log2").read_text()
        self.assertIn("is in use by process", said)
        self.assertNotIn("Traceback", said)
        self.assertFalse((self.place / "pid2").exists())
        address = json.loads(logfile.read_text().partition("gossiplog ready ")[2].splitlines()[0])[
            "listening"
        ][0]
        taken = f"tcp:{address.rpartition(':')[2]}:interface=127.0.0.1"
        third = self.twistd(
            "--pidfile=pid3",
            "--logfile=log3",
            "gossiplog",
            "--store",
            "bob",
            "--network",
            "n",
            "--listen",
            taken,
        )
        self.assertEqual(third.finish(), 1)
        said = (self.place / "log3").read_text()
        self.assertRegex(said, r"(?m)gossiplog.app#error\] cannot listen on '[^']+': .* in use")
        self.assertEqual((said.count("cannot listen"), "Traceback" in said), (1, False))
        self.end_daemon(pidfile)
        self.assertIn("Server Shut Down", logfile.read_text())
        open_logs(self.place / "ann").close()

    def end_daemon(self, pidfile: Path) -> None:
        """Stop a daemon, if it is there, and wait for its end."""
        if not pidfile.exists():
            return
        handle = os.pidfd_open(int(pidfile.read_text()))
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            ended, _, _ = select.select([handle], [], [], DEADLINE_SECONDS)
        finally:
            os.close(handle)
        self.assertTrue(ended)
