"""Ring 1 and 7: many networks in one process: the file that says which, what another one changes, how they fail."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.python.usage import UsageError
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from gossiplog import limits, notices
from gossiplog.app import host_tap
from gossiplog.app.hosting import life as lives
from gossiplog.app.hosting.file import OPTIONS, Hosted, HostFile, read
from gossiplog.app.hosting.host import Host
from gossiplog.app.hosting.lines import lines_of
from gossiplog.app.hosting.plan import CHANGE, RESTART, START, STOP, Step, digests, steps
from gossiplog.app.hosting.ports import overlap, place_of
from gossiplog.app.run_options import RunOptions
from gossiplog.errors import HostFileError, StoreError
from gossiplog.gossip.budget import Budget, MemoryPool
from gossiplog.gossip.quotas import Quotas
from gossiplog.live.machine import RealMachine
from gossiplog.log.network import Network
from gossiplog.store.logs import open_logs
from gossiplog.ticket import Ticket

HERE = "tcp:0:interface=127.0.0.1"


def key(number: int) -> str:
    """The key of a network."""
    return f"{number:064x}"


def network(name: str, number: int, *more: str) -> str:
    """A network in a file."""
    return "\n".join([f"[network.{name}]", f'store = "{name}"', f'network = "{key(number)}"', *more, ""])


class FileCase(SynchronousTestCase):
    """Files in a directory of their own."""

    def setUp(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="gl")).resolve()  # the path of a socket is short
        self.addCleanup(shutil.rmtree, self.place)
        self.path = self.place / "host.toml"

    def write(self, *text: str, mode: int = 0o600) -> str:
        """Write the file; return its path."""
        self.path.write_text("\n".join(text))
        self.path.chmod(mode)
        return str(self.path)

    def read(self, *text: str) -> HostFile:
        """Read this."""
        return read(self.write(*text))

    def problems(self, *text: str) -> list[str]:
        """All that is wrong, without the path."""
        error = self.assertRaises(HostFileError, self.read, *text)
        self.assertEqual(len(str(error).splitlines()), 1)
        return [problem.removeprefix(str(self.path)) for problem in error.problems]


class FileTests(FileCase):
    def test_whole(self) -> None:
        """Everything that the command takes, with paths from the directory of the file on."""
        (self.place / "shed.key").touch(0o600)
        (self.place / "shed.key").write_text(key(2))
        found = self.read(
            "max-memory = 134217728",
            'web = "tcp:8080"\nweb-host = "a.example"',
            network(
                *(
                    "garden",
                    1,
                    'listen = ["tcp:4000", "unix:sock:mode=660"]',
                    'peer = ["tcp:b.example:4000"]',
                ),
                "max-authors = 5\nmax-author-rate = 2\npull = true\nonly-followed = true\nlinks = 3",
            ),
            '[network.shed]\nstore = "/elsewhere/shed"\nnetwork = "@shed.key"\nno-exchange = true',
        )
        garden, shed = found.networks.values()
        self.assertEqual((garden.store, shed.store), (str(self.place / "garden"), "/elsewhere/shed"))
        self.assertEqual(shed.network, Network.from_key(bytes.fromhex(key(2))))
        options = garden.options
        self.assertEqual(options.listen, ("tcp:4000", f"unix:{self.place}/sock:mode=660"))
        self.assertEqual(
            (options.peer, options.mode, options.only_followed), (("tcp:b.example:4000",), "pull", True)
        )
        self.assertEqual(options.quotas, Quotas(authors=5, entries_per_second=2.0))
        assert options.finding is not None and shed.options.finding is not None
        self.assertEqual((options.finding.links, shed.options.finding.no_exchange), (3, True))
        self.assertEqual((found.max_memory, found.watching.web_host), (134217728, ("a.example",)))

    def test_every_option_of_a_run(self) -> None:
        """What ``gossiplog run`` takes is a key here, by the same name, and nothing else is."""
        from gossiplog.app.cli import _parser

        verbs = next(
            action for action in _parser()._actions if action.dest == "==SUPPRESS==" or action.choices
        )
        run: Any = verbs.choices["run"]  # type: ignore[index]
        said = {option.removeprefix("--") for action in run._actions for option in action.option_strings}
        others = {
            "h",
            "-h",
            "help",
            "store",
            "state",
            "network",
            "wait",
            "log-json",
            "log-level",
            "metrics",
            "web",
            "web-host",
        }
        self.assertEqual(said - others, set(OPTIONS))

    def test_the_environment_and_places(self) -> None:
        """A key may be in a variable; a store of another kind is where it is."""
        with patch.dict(os.environ, {"GARDEN": key(7)}):
            found = self.read('[network.garden]\nstore = "memory:a"\nnetwork = "$GARDEN"')
        self.assertEqual(found.networks["garden"].store, "memory:a")
        self.assertEqual(found.networks["garden"].network, Network.from_key(bytes.fromhex(key(7))))

    def test_all_that_is_wrong(self) -> None:
        """At once, each with its line and its key, and what may have been meant."""
        found = self.problems(
            "max_memory = 1",
            network("garden", 1, 'listen = [\n  "tcp:4000",\n]', "max-autors = 3"),
            network("shed", 2, 'listen = ["tcp:4000:interface=127.0.0.1"]', "pull = true\npush = true"),
            network("barn", 3, "max-authors = -4\nlan = 3\npeer = 'tcp:a.example:1'\ndht = 1\nlinks = 3.5"),
            '[network.hut]\nstore = "./garden"\nnetwork = "@nokey"\nlisten = ["tcp:nowhere"]',
            "[network.empty]\n[network.'a b']",
        )
        self.assertEqual(
            [problem.split(": ", 2)[:2] for problem in found],
            [
                [":1", "max_memory"],
                [":8", "network.garden.max-autors"],
                [":10", "network.shed"],
                [":13", "network.shed.listen"],
                [":20", "network.barn.max-authors"],
                [":21", "network.barn.lan"],
                [":22", "network.barn.peer"],
                [":23", "network.barn.dht"],
                [":24", "network.barn.links"],
                [":27", "network.hut.store"],
                [":28", "network.hut.network"],
                [":29", "network.hut.listen"],
                [":30", "network.empty"],
                [":30", "network.empty"],
                [":31", "network.?"],
            ],
        )
        self.assertIn("max-memory?", found[0])
        self.assertIn("max-authors?", found[1])
        self.assertIn("network.garden", found[3])
        self.assertIn("the store of network.garden too", found[9])

    def test_no_networks_and_no_toml(self) -> None:
        self.assertIn("there is none", self.problems("")[0])
        self.assertIn("there is none", self.problems("network = 3")[0])
        self.assertTrue(self.problems("a = 1", "b = ", "c = 1")[0].startswith(":2: no TOML"))
        self.assertIn("is a table", self.problems("[network]", "garden = 3")[0])
        self.assertIn("no such key", self.problems(network("garden", 1, ".".join(["a"] * 3000) + " = 1"))[0])
        self.assertIn("follows $", self.problems('[network.garden]\nstore = "a"\nnetwork = "$"')[0])
        self.assertIn("garden", self.read("\ufeff" + network("garden", 1)).networks)
        self.path.write_bytes(b"\xff")
        self.assertRaises(HostFileError, read, str(self.path))
        self.assertRaises(HostFileError, read, str(self.place))
        os.mkfifo(self.place / "pipe")
        self.assertIn("no file", str(self.assertRaises(HostFileError, read, str(self.place / "pipe"))))
        self.path.write_bytes(b"#" * (limits.MAX_HOST_FILE_BYTES + 1))
        self.assertIn("more than", str(self.assertRaises(HostFileError, read, str(self.path))))

    def test_of_others(self) -> None:
        """Who may change it chooses what runs; who may read it has the keys in it, and no error repeats one."""
        for mode in (0o602, 0o620):
            self.write(network("garden", 1), mode=mode)
            self.assertIn("chmod go-w", str(self.assertRaises(HostFileError, read, str(self.path))))
        self.write(network("garden", 1), mode=0o644)
        error = self.assertRaises(HostFileError, read, str(self.path))
        self.assertIn("chmod 600", str(error))
        self.assertNotIn(key(1), str(error))
        self.write(network("garden", 1), mode=0o640)
        read(str(self.path))
        ticket = Ticket(Network.from_key(bytes(32))).text
        for text in (ticket, ticket.upper(), f" {ticket}"):
            self.write(f'[network.garden]\nstore = "a"\nnetwork = "{text}"', mode=0o644)
            self.assertIn("chmod 600", str(self.assertRaises(HostFileError, read, str(self.path))))
        [found] = self.problems(network("garden", 1, f'peer = ["{ticket}"]'))
        self.assertNotIn(ticket[7:], found)
        self.write('[network.garden]\nstore = "a"\nnetwork = "name:garden"', mode=0o644)
        read(str(self.path))

    def test_memory_for_all(self) -> None:
        """Each has something of it in any case."""
        networks = [network(f"n{number}", number) for number in range(20)]
        least = 20 * limits.MIN_HOSTED_BYTES
        self.assertEqual(self.read(f"max-memory = {least}", *networks).max_memory, least)
        self.assertIn("20 networks", self.problems(f"max-memory = {least - 1}", *networks)[0])

    def test_one_inside_another(self) -> None:
        """No store is in the directory of another one, whether that is there yet or not, whatever links lead there."""
        (self.place / "link").symlink_to(self.place / "garden")
        shed = '[network.shed]\nstore = "{}"\nnetwork = "shed"'
        for inner in ("garden/shed", "garden/seeds", "link/a/b", "./x/../garden/shed"):
            [found] = self.problems(network("garden", 1), shed.format(inner))
            self.assertIn("network.shed.store: it is inside of the store of network.garden", found)
        relay = '[network.hut]\nstore = "memory:a"\nnetwork = "hut"\nstate = "garden/hut"'
        self.assertIn("network.hut.state: it is inside", self.problems(network("garden", 1), relay)[0])
        open_logs(self.place / "barn").close()
        self.assertIn("barn; keep it", self.problems(shed.format("barn/shed"))[0])
        self.read(network("garden", 1), shed.format("garden-shed"))

    def test_secrets_in_the_wrong_place(self) -> None:
        """What is left of an equals sign, or the name of a table, is shown only where it is known to be none."""
        secrets = (
            key(3),
            f"network_{key(3)}",
            "GOSSIP-" + key(4),
            "correct-horse",
            "hunter2",
            "a b",
            key(3)[:40],
        )
        for secret in secrets:
            for text in (
                f'"{secret}" = 1',
                f'[network.garden]\nstore = "g"\nnetwork = "g"\n"{secret}" = 1',
                f'[network.garden]\nstore = "g"\nnetwork = "g"\n"{secret}".x = 1',
                f'["{secret}"]\na = 1',
                f'"{secret}" = 1\n"{secret}" = 2',
                f'a = {{ "{secret}" = 1, "{secret}" = 2 }}',
                f'["{secret}"]\n["{secret}"]',
                f'a = {{ "{secret}".b = 1 }}\n[a."{secret}".c]',
                f'"{secret}"',
                f"= {secret}",
            ):
                self.assertNotIn(secret, "".join(self.problems(text)), text)
        for secret in (key(3), "GOSSIP-" + key(4)[:40], "a b"):
            [found] = self.problems(f'[network."{secret}"]\nstore = "g"\nnetwork = "g"')
            self.assertIn("network.?: a name", found)

    def test_links_to_one_store(self) -> None:
        (self.place / "barn").symlink_to("garden")
        self.assertIn("the store of", self.problems(network("garden", 1), network("barn", 2))[0])

    def test_lines(self) -> None:
        """Of values over several lines, of tables in a row; behind a value of many lines none is known."""
        text = 'x = """\n[not]\ny = 1\n"""\n[a."b c"]\nd.e = [\n 1,\n]\n[[f]]\ng = 1\n'
        found = lines_of(text)
        self.assertEqual(
            found,
            {
                ("x",): 1,
                ("a",): 5,
                ("a", "b c"): 5,
                ("a", "b c", "d"): 6,
                ("a", "b c", "d", "e"): 6,
                ("f",): 9,
                ("f", "g"): 10,
            },
        )
        self.assertEqual(lines_of("a = 1\nb = [\n" + "1,\n" * 1000 + "]\nc = 1\n"), {("a",): 1})


class PortTests(SynchronousTestCase):
    """Which endpoints are one place."""

    def overlaps(self, one: str, other: str) -> bool:
        """Whether they do, either way round."""
        places = place_of(one), place_of(other)
        if None in places:
            return False
        found = {overlap(*pair) for pair in (places, places[::-1])}  # type: ignore[arg-type]
        self.assertEqual(len(found), 1)
        return found.pop()

    def test_table(self) -> None:
        for one, other, same in (
            ("tcp:4000", "tcp:4000", True),
            ("tcp:4000", "tcp:4001", False),
            ("tcp:0", "tcp:0", False),
            ("tcp:4000", "tcp:4000:interface=127.0.0.1", True),
            ("tcp:4000:interface=127.0.0.1", "tcp:4000:interface=127.0.0.2", False),
            ("tcp:4000:interface=127.0.0.1", "tcp:4000:interface=127.0.0.1", True),
            ("tcp:4000", r"tcp:4000:interface=\:\:1", False),
            ("tcp6:4000", "tcp:4000", True),
            ("tcp6:4000", "tcp:4000:interface=127.0.0.1", True),
            ("tcp:port=4000", "tcp:4000", True),
            ("unix:/a/b", "unix:/a/../a/b:mode=660", True),
            ("unix:/a/b", "unix:/a/c", False),
            ("systemd:domain=INET:name=a", "systemd:domain=INET:name=a", True),
            ("systemd:domain=INET:name=a", "systemd:domain=INET:name=b", False),
        ):
            self.assertIs(self.overlaps(one, other), same, (one, other))


class PlanTests(FileCase):
    """What another file changes."""

    def steps(self, before: Iterable[str], after: Iterable[str]) -> list[Step]:
        """From one to the other."""
        return list(steps(digests(self.read(*before)), digests(self.read(*after))))

    def test_steps(self) -> None:
        """What runs goes on where it can; what is not said otherwise is not touched."""
        before = [network("a", 1), network("b", 2), network("c", 3), network("d", 4), network("f", 6)]
        after = [
            network("a", 1),
            network("b", 2, 'peer = ["tcp:a.example:1"]', "max-bytes = 5", "max-memory = 33554432"),
            network("c", 9),
            network("d", 4, 'pull = true\npeer = ["tcp:a.example:1"]'),
            network("e", 5),
        ]
        self.assertEqual(
            self.steps(before, after),
            [
                Step("f", STOP),
                Step("b", CHANGE, ("peer", "quotas", "max_memory")),
                Step("c", RESTART, ("network",)),
                Step("d", RESTART, ("peer", "mode")),
                Step("e", START),
            ],
        )
        self.assertEqual(self.steps(after, after), [])
        self.assertEqual(
            self.steps(before, ["max-memory = 134217728", *before]), [Step("", CHANGE, ("max_memory",))]
        )
        self.assertEqual(str(Step("b", CHANGE, ("max_memory",))), "b: goes on, with another max-memory")

    def test_no_keys(self) -> None:
        """What is told to who asks has none, nor anything from which a passphrase could be guessed; here it counts."""
        (self.place / "words").touch(0o600)
        (self.place / "words").write_text("one of my passphrases")
        hosted = [network("a", 1), network("a", 1, 'passphrase-file = "words"')]
        self.assertEqual(self.steps(hosted[:1], hosted[1:]), [Step("a", RESTART, ("passphrase",))])
        self.assertNotIn("passphrase", digests(self.read(*hosted[1:]), told=True)["a"])
        self.assertNotIn(key(1)[-8:], json.dumps(digests(self.read(network("a", 0xABCDEF0123456789)))))


class PoolTests(SynchronousTestCase):
    """One memory for the peers of several nodes."""

    def test_shared(self) -> None:
        """Each has its part in any case, and what nobody needs; together they never need more for long."""
        pool = MemoryPool(80 << 20)
        budgets = [Budget(100 << 20) for _ in range(4)]
        for budget in budgets:
            budget.share(pool)
            budget.open(1, 0.0)
        budgets[0].charge(1, 70 << 20, now=1.0)
        self.assertIsNone(budgets[0].greediest(2.0))
        for budget in budgets[1:]:
            self.assertGreaterEqual(budget.most_bytes, 20 << 20)
            budget.charge(1, 19 << 20, now=1.0)
            self.assertIsNone(budget.greediest(2.0))
        self.assertEqual((budgets[0].greediest(2.0), budgets[0].most_bytes < 24 << 20), (1, True))
        budgets[0].charge(1, 0, now=3.0)
        self.assertEqual(pool.used_bytes, sum(budget.used_bytes for budget in budgets))
        for budget in budgets:
            budget.close(1)
            budget.share(None)
        self.assertEqual((pool.used_bytes, pool.members, budgets[0].most_bytes), (0, 0, 100 << 20))

    def test_own_bound(self) -> None:
        """A network that has one has no more, whatever is left."""
        pool, budget = MemoryPool(1 << 30), Budget(64 << 20)
        budget.share(pool)
        self.assertEqual(budget.most_bytes, 64 << 20)
        budget.limit(40 << 20)
        self.assertEqual(budget.most_bytes, 40 << 20)


class HostTests(TestCase):
    """A host in this process."""

    timeout = 20

    def setUp(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="gl"))  # the path of a socket is short
        self.addCleanup(shutil.rmtree, self.place)
        self.path = self.place / "host.toml"
        self.patch(lives.limits, "HOST_FIRST_SECONDS", 0.01)
        self.host: Host | None = None
        self.addCleanup(self.stop)

    def write(self, *text: str) -> None:
        self.path.write_text("\n".join(text))
        self.path.chmod(0o600)

    async def start(self, *text: str) -> dict[str, Any]:
        """Host this; return what the ready line says of the networks."""
        self.write(*text)
        self.host = Host(reactor, read(str(self.path)))
        self.ready = json.loads((await self.host.start()).removeprefix("gossiplog ready "))
        return self.ready["networks"]

    async def reload(self, *text: str) -> None:
        """Host that."""
        self.write(*text)
        assert self.host is not None
        await self.host.reload()

    def stop(self) -> Any:
        return succeed(None) if self.host is None else Deferred.fromCoroutine(self.host.stop())

    def node(self, name: str) -> Any:
        """The node of a network, which runs."""
        assert self.host is not None
        return self.host.lives[name].node

    async def until(self, name: str, state: str) -> None:
        """Wait until a network is there; what it waits for comes over the reactor."""
        assert self.host is not None
        while self.host.lives[name].state != state:
            await deferToThread(lambda: None)

    async def until_tried(self, name: str, times: int) -> None:
        """Wait until a network was tried again so often."""
        assert self.host is not None
        while self.host.lives[name].restarts < times:
            await deferToThread(lambda: None)

    async def test_side_by_side(self) -> None:
        """Each has its store and its port; a control socket each; one memory for all."""
        said = await self.start(network("a", 1, f'listen = ["{HERE}"]'), network("b", 2))
        self.assertEqual([len(said[name]["listening"]) for name in "ab"], [1, 0])
        assert self.host is not None
        self.assertEqual(self.host.status(), "2 of 2 networks run, 0 peers")
        self.assertEqual(self.host._pool.members, 2)
        self.assertTrue((self.place / "a" / "control").exists())
        told = self.node("a").store._core.hosting()
        self.assertEqual(told, {"file": str(self.path), "networks": digests(read(str(self.path)), told=True)})
        await self.host.stop()
        for name in "ab":
            open_logs(self.place / name).close()

    async def get(self, where: str, **headers: str) -> str:
        """What a web server of this host says."""

        def asked() -> str:
            try:
                with urllib.request.urlopen(
                    urllib.request.Request(where, headers=headers), timeout=10
                ) as answer:
                    return str(answer.read().decode())
            except urllib.error.HTTPError as error:
                return str(error.code)

        return await deferToThread(asked)

    async def test_page(self) -> None:
        """A list of all, and the page of each below its name, with a token of its own, while it runs."""
        (self.place / "b").write_text("no directory")
        await self.start(f'web = "{HERE}"', network("a", 1), network("b", 2))
        page = self.ready["web"]
        listed = await self.get(page)
        self.assertRegex(listed, r'<a href="a/">a</a></th><td>runs')
        self.assertRegex(listed, r'<th scope="row">b</th><td colspan="3">\w+: .*directory')
        self.assertEqual(await self.get(page, Host="evil.example"), "421")
        self.assertEqual(await self.get(f"{page}a/", Host="evil.example"), "421")
        self.assertIn("page.js", await self.get(f"{page}a/"))
        self.assertIn("function", await self.get(f"{page}a/page.js"))
        self.assertIn("[", await self.get(f"{page}a/logs"))
        for path, status in (
            ("b/", "503"),
            ("c/", "404"),
            ("a", "404"),
            ("a/../b/logs", "404"),
            ("aa/logs", "404"),
        ):
            self.assertEqual(await self.get(page + path), status, path)
        self.assertTrue((self.place / "a" / "web.token").exists())
        await self.reload(f'web = "{HERE}"', network("c", 3))
        self.assertEqual(await self.get(f"{page}a/"), "404")
        self.assertIn("page.js", await self.get(f"{page}c/"))
        await self.reload(network("c", 3))
        with self.assertRaises(urllib.error.URLError):
            await self.get(page)

    async def test_metrics(self) -> None:
        """The figures of each, by the label ``network``, while it runs."""
        try:
            import prometheus_client  # noqa: F401
        except ImportError:
            raise SkipTest("needs the extra metrics") from None
        await self.start(f'metrics = "{HERE}"', network("a", 1), network("b", 2))
        where = f"http://{self.ready['metrics'].removeprefix('tcp:')}/metrics"
        text = await self.get(where)
        for name in "ab":
            self.assertIn(f'gossiplog_peers{{network="{name}"}} 0.0', text)
            self.assertIn(f'gossiplog_disk_bytes{{kind="logs",network="{name}"}}', text)
            self.assertIn(f'gossiplog_events_total{{event="peer_up",network="{name}"}} 0.0', text)
        self.assertEqual(text.count("# HELP gossiplog_peers "), 1)
        await self.reload(f'metrics = "{HERE}"', network("b", 2))
        self.assertNotIn('network="a"', await self.get(where))

    async def test_a_port_that_is_taken(self) -> None:
        """Metrics and page stay where they were, and the networks are changed all the same."""
        await self.start(f'web = "{HERE}"', network("a", 1))
        with socket.create_server(("127.0.0.1", 0)) as taken, patch("gossiplog.app.hosting.host._log") as log:
            port = taken.getsockname()[1]
            await self.reload(f'web = "tcp:{port}:interface=127.0.0.1"', network("b", 2))
        self.assertEqual([call.kwargs["event"] for call in log.error.call_args_list], ["watch_failed"])
        assert self.host is not None
        self.assertIsNotNone(self.host._watched)
        self.assertEqual(list(self.host.lives), ["b"])

    async def test_reload(self) -> None:
        """Who is not concerned knows nothing of it; a session lives while other options change around it."""
        dialled = f'peer = ["unix:{self.place}/sock"]'
        await self.start(
            network("a", 1, f'listen = ["unix:{self.place}/sock"]'),
            network("a2", 1, dialled),
            network("b", 2),
        )
        nodes = {name: self.node(name) for name in ("a", "a2", "b")}
        if not nodes["a"].peers:
            await nodes["a"].when(notices.PeerUp)
        downs: list[Any] = []
        nodes["a"].subscribe(
            lambda notice: downs.append(notice) if type(notice) is notices.PeerDown else None
        )
        await self.reload(
            network("a", 1, f'listen = ["unix:{self.place}/sock", "{HERE}"]', "max-bytes = 12345"),
            network("a2", 1, dialled, "max-authors = 3"),
            network("c", 3),
        )
        assert self.host is not None
        self.assertEqual(set(self.host.lives), {"a", "a2", "c"})
        self.assertIs(self.node("a"), nodes["a"])
        self.assertIs(self.node("a2"), nodes["a2"])
        self.assertEqual((self.node("a").quotas.bytes, self.node("a2").quotas.authors), (12345, 3))
        self.assertEqual(len(self.node("a")._listeners.ports), 2)
        open_logs(self.place / "b").close()
        self.assertEqual(downs, [])
        await self.reload(
            network("a", 1, f'listen = ["{HERE}"]'), network("a2", 1), network("c", 3, "pull = true")
        )
        self.assertEqual(len(self.node("a")._listeners.ports), 1)
        self.assertEqual(
            [down.reason for down in downs] or [(await nodes["a"].when(notices.PeerDown)).reason],
            ["no peer of this node any more"],
        )
        self.assertEqual(self.node("c").mode, "pull")

    async def test_broken_file(self) -> None:
        """It changes nothing, and says so."""
        await self.start(network("a", 1))
        node = self.node("a")
        for text in (
            "[network",
            network("b", 2, "max-autors = 3"),
            "",
            network("a", 1) + network("b", 2).replace('"b"', '"a"'),
        ):
            with patch("gossiplog.app.hosting.host._log") as log:
                await self.reload(text)
            self.assertEqual(
                [call.kwargs["event"] for call in log.error.call_args_list],
                ["host_file_wrong", "reload_refused"],
            )
            assert self.host is not None
            self.assertEqual(list(self.host.lives), ["a"])
            self.assertIs(self.node("a"), node)
        self.path.unlink()
        await self.host.reload()  # type: ignore[union-attr]
        self.assertIs(self.node("a"), node)

    async def test_swapped_ports_and_stores(self) -> None:
        """What one leaves another may take, in one go."""
        one, other = f"unix:{self.place}/1", f"unix:{self.place}/2"
        await self.start(network("a", 1, f'listen = ["{one}"]'), network("b", 2, f'listen = ["{other}"]'))
        await self.reload(network("a", 1, f'listen = ["{other}"]'), network("b", 2, f'listen = ["{one}"]'))
        assert self.host is not None
        self.assertEqual([life.restarts for life in self.host.lives.values()], [0, 0])
        self.assertEqual(self.node("a")._listeners.bound, [other])
        renamed = network("a", 1).replace("network.a]", "network.z]")
        await self.reload(renamed, network("b", 2))
        self.assertEqual(self.node("z").store.path, str(self.place / "a"))

    async def test_one_fails(self) -> None:
        """A store that cannot be, a port that is taken, another network's store, a bug: the others run, and it is tried
        again, which is told once."""
        (self.place / "a").write_text("no directory")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said = await self.start(
                network("a", 1),
                network("b", 2, f'listen = ["tcp:{port}:interface=127.0.0.1"]'),
                network("c", 3),
            )
            self.assertIn("in use", said["b"]["error"])
            self.assertIn("error", said["a"])
            self.assertIn("node", said["c"])
            await self.until_tried("b", 2)
        assert self.host is not None
        (self.place / "a").unlink()
        for name in "ab":
            await self.until(name, lives.RUNS)
        self.assertEqual(self.host.lives["c"].restarts, 0)

    async def test_store_that_fails(self) -> None:
        """What takes no more is begun anew; the others go on."""
        await self.start(network("a", 1), network("b", 2))
        before = self.node("a"), self.node("b")
        with patch.object(lives._log, "error") as error:
            before[0]._tell(notices.StoreFailing(StoreError("the disk is gone"), True))
            await self.until_tried("a", 1)
            await self.until("a", lives.RUNS)
        self.assertEqual([call.kwargs["reason"] for call in error.call_args_list], ["the disk is gone"])
        self.assertIsNot(self.node("a"), before[0])
        self.assertIs(self.node("b"), before[1])

    async def test_thread_that_dies(self) -> None:
        """A fault that ends a store's thread, while nobody writes: the store is opened again, in a new one."""
        await self.start(network("a", 1), network("b", 2))
        node, other = self.node("a"), self.node("b")

        def fault(*_: Any) -> None:
            raise SystemError("a fault")

        with patch.object(lives._log, "error"), patch.object(node.store._core.thread, "_work", fault):
            node.store._core.thread.call(lambda logs: None, lambda value: None)
            await self.until_tried("a", 1)
        await self.until("a", lives.RUNS)
        self.assertIsNot(self.node("a"), node)
        self.assertIs(self.node("b"), other)
        self.assertTrue(self.flushLoggedErrors(StoreError))  # the address book was not written

    async def test_hangup_while_it_starts(self) -> None:
        """The file is read again once all were tried."""
        self.write(network("a", 1))
        self.host = Host(reactor, read(str(self.path)))
        starting = Deferred.fromCoroutine(self.host.start())
        self.write(network("a", 1), network("b", 2))
        await self.host.reload()
        self.assertEqual(list(self.host.lives), ["a"])
        await starting
        while "b" not in self.host.lives:
            await deferToThread(lambda: None)
        await self.until("b", lives.RUNS)

    async def test_disk_that_hangs(self) -> None:
        """Nobody waits for it but its own network; not the start, not the end."""
        self.patch(lives.limits, "HOST_TRY_SECONDS", 1.0)
        release, real = threading.Event(), RealMachine.open_logs
        self.addCleanup(release.set)

        def slow(place: str, *about: Any) -> Any:
            if place.endswith("/a"):
                release.wait(30)
            return real(place, *about)

        hanging = patch.object(RealMachine, "open_logs", staticmethod(slow))
        hanging.start()
        self.addCleanup(hanging.stop)
        said = await self.start(network("a", 1), network("b", 2))
        self.assertEqual(said["a"], {"error": ""})
        self.assertIn("node", said["b"])
        assert self.host is not None
        await self.host.stop()
        self.assertFalse(release.is_set())
        release.set()
        late = [thread for thread in threading.enumerate() if thread.name.endswith(f"{self.place}/a")]
        for thread in late:
            await deferToThread(thread.join)

    async def test_end_that_hangs(self) -> None:
        """Whoever ends, or changes, others does not wait for it for ever."""
        self.patch(lives.limits, "HOST_STOP_SECONDS", 0.05)
        await self.start(network("a", 1), network("b", 2))
        assert self.host is not None
        hangs: Deferred[None] = Deferred()
        life = self.host.lives["a"]
        serving = life._serving
        assert serving is not None
        ends = serving.stop

        async def end() -> None:
            await hangs
            await ends()

        with patch.object(serving, "stop", end):
            await self.reload(network("b", 2), network("c", 3))
            self.assertEqual(list(self.host.lives), ["b", "c"])
        hangs.callback(None)
        while life._task is not None:
            await deferToThread(lambda: None)

    async def test_few_are_opened_at_once(self) -> None:
        """So that each waits for the disk, and not for all others."""
        opening: list[int] = []
        most, real = [0], RealMachine.open_logs

        def slow(place: str, *about: Any) -> Any:
            opening.append(1)
            most[0] = max(most[0], len(opening))
            logs = real(place, *about)
            opening.pop()
            return logs

        with (
            patch.object(RealMachine, "open_logs", staticmethod(slow)),
            patch.object(lives.limits, "HOST_OPENED_AT_ONCE", 2),
        ):
            said = await self.start(*(network(f"n{number}", number) for number in range(5)))
        self.assertEqual((most[0] <= 2, len(said)), (True, 5))

    async def test_said_twice(self) -> None:
        """What comes while it is read again is done afterwards."""
        await self.start(network("a", 1))
        assert self.host is not None
        self.write(network("a", 1), network("b", 2))
        first = Deferred.fromCoroutine(self.host.reload())
        self.write(network("a", 1), network("b", 2), network("c", 3))
        await self.host.reload()
        await first
        self.assertEqual(list(self.host.lives), ["a", "b", "c"])


class BackOffTests(SynchronousTestCase):
    """When one that fails is tried again."""

    def test_times(self) -> None:
        """After a second, then later and later, up to a minute; what ran for a minute is tried soon."""
        clock = Clock()
        clock.machine = self  # type: ignore[attr-defined]
        tries: list[float] = []
        lasts = [0.0]

        class Failing:
            def __init__(self, *_: Any, **__: Any) -> None:
                tries.append(clock.seconds())

            async def start(self) -> None:
                if lasts[0]:
                    await deferLater(clock, lasts[0])
                raise StoreError("no")

            async def stop(self) -> None:
                pass

        self.patch(lives, "Serving", Failing)
        hosted = Hosted("a", "a", Network.from_key(bytes(32)), RunOptions())
        life = lives.Life(clock, hosted, MemoryPool(1 << 30), lambda: 1, lambda *_: None)
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(life.stop())))
        with patch.object(lives, "_log") as log:
            life.begin()
            clock.pump([0.25] * 1200)
            rests = [later - before for before, later in pairwise(tries)]
            self.assertEqual(rests[:8], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
            lasts[0] = 60.0
            clock.pump([0.25] * 1000)
        self.assertEqual(log.error.call_count, 1)  # it is told once
        self.assertEqual(tries[-1] - tries[-2], 61.0)

    def chance(self) -> float:
        """No jitter."""
        return 1.0


class TapTests(FileCase):
    def test_mistakes_are_of_usage(self) -> None:
        """All of them are said before anything starts."""
        options = host_tap.Options()
        path = self.write(network("a", 1, "max-autors = 3", "dht = 4"))
        error = str(self.assertRaises(UsageError, options.parseOptions, [path]))
        self.assertEqual(
            [line.split(": ")[1] for line in error.splitlines()], ["network.a.max-autors", "network.a.dht"]
        )
        self.assertRaises(UsageError, options.parseOptions, [])

    def test_a_database_as_the_state_of_a_relay(self) -> None:
        """Is refused, and not shown."""
        text = network("a", 1, 'state = "host=db password=hunter2"')
        error = str(self.assertRaises(UsageError, host_tap.Options().parseOptions, [self.write(text)]))
        self.assertIn("network.a.state", error)
        self.assertNotIn("hunter2", error)

    def test_options(self) -> None:
        options = host_tap.Options()
        options.parseOptions(["--log-json", "--log-level", "warn", self.write(network("a", 1))])
        self.assertEqual(options.file.networks["a"].options, RunOptions.of({}))
        self.assertTrue(options.logs.as_json)
