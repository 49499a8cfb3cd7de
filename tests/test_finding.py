"""The options that say in which ways peers are found: argparse, twistd, and what is said of mistakes."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import EndpointError, InvalidValueError, MissingExtraError
from gossiplog.app import finding
from gossiplog.app.finding import Finding, add_options, parse, spelled
from gossiplog.app.tap import NodeService, Options
from gossiplog.discovery import extras
from tests.processes import ProcessTestCase

ROOM = f"tcp:192.0.2.7:443#{'00' * 32}"
GOOD = (
    ([], Finding()),
    (["--lan"], Finding(lan="")),
    (["--lan=alice"], Finding(lan="alice")),
    (["--lan=Alice.local"], Finding(lan="alice")),
    (["--dht"], Finding(dht=True)),
    (
        ["--dht-bootstrap", "192.0.2.1:6881", "--dht-bootstrap=[2001:db8::1]:6881"],
        Finding(dht_bootstrap=("192.0.2.1:6881", "[2001:db8::1]:6881")),
    ),
    (["--map-port"], Finding(map_port=True)),
    (["--no-exchange", "--links", "3"], Finding(no_exchange=True, links=3)),
    (["--links=64", "--lan"], Finding(lan="", links=64)),
    (["--room", ROOM, "--room", "tcp:192.0.2.7:443"], Finding(room=(ROOM, "tcp:192.0.2.7:443"))),
)
BAD = (
    (["--lan=a_b"], "can be no name on the local network"),
    (["--lan=tcp:192.0.2.7:4000"], "can be no name on the local network"),
    (["--dht-bootstrap", "192.0.2.1"], "a bootstrap node is HOST:PORT"),
    (["--dht-bootstrap", "tcp:192.0.2.1:6881"], "a bootstrap node is HOST:PORT"),
    (["--dht-bootstrap", "192.0.2.1:0"], "from 1 to 65535"),
    (["--dht-bootstrap", "1.2.3:6881"], "neither an IP address nor the name of a host"),
    (["--room", "tcp:192.0.2.7"], "is no endpoint to dial"),
    (["--room", "tcp:192.0.2.7:443#room_x"], "characters follow room_"),
    (["--links", "0"], "a number of links from 1 to 64"),
    (["--links", "65"], "a number of links from 1 to 64"),
    (["--links", "many"], "a number of links from 1 to 64"),
    (["--links", "9" * 5000], "a number of links from 1 to 64"),
)


class OptionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(extras, "find_spec", lambda name: object())

    def parse(self, *words: str) -> Finding:
        parser = ArgumentParser()
        add_options(parser)
        parser.add_argument("peer", nargs="?")
        parser.error = Mock(side_effect=ValueError)  # type: ignore[method-assign]
        self.arguments, found = parse(parser, words)
        return found

    def test_argparse(self) -> None:
        for words, found in GOOD:
            self.assertEqual(self.parse(*words), found)
        for words, complaint in BAD:
            error = self.assertRaises(ValueError, self.parse, *words)
            self.assertIn(complaint, str(error.__context__), words)

    def test_a_name_is_behind_its_sign(self) -> None:
        """What follows is not taken for one."""
        self.assertEqual(self.parse("--lan", "tcp:192.0.2.7:4000"), Finding(lan=""))
        self.assertEqual(self.arguments.peer, "tcp:192.0.2.7:4000")
        self.assertEqual(spelled(["--", "--lan"]), ["--", "--lan"])

    def test_twistd(self) -> None:
        """The same, and the service has it."""
        for words, found in GOOD:
            options = Options()
            options.parseOptions(["--store", "here", "--network", "00" * 32, *words])
            self.assertEqual(options.run.finding, found)
            self.assertEqual(NodeService(None, options)._serving._options.finding, found)
        for words, complaint in BAD:
            error = self.assertRaises(
                UsageError, Options().parseOptions, ["--store", "x", "--network", "n", *words]
            )
            self.assertIn(complaint, str(error))

    def test_near(self) -> None:
        """Programs look on the local network by themselves, where that is possible, unless told where to look."""
        parser = ArgumentParser()
        add_options(parser)
        self.assertEqual(parse(parser, ["--links=3"], near=True)[1], Finding(lan="", links=3))
        self.assertEqual(parse(parser, ["--lan=ann"], near=True)[1], Finding(lan="ann"))
        self.patch(extras, "find_spec", lambda name: None)
        self.assertEqual(parse(parser, ["--links=3"], near=True)[1], Finding(links=3))

    def test_fewer_kept_than_wanted(self) -> None:
        """Nothing could be meant by that."""
        with self.assertRaises(InvalidValueError) as caught:
            Finding.of({"links": 9, "max_links": 8})
        self.assertIn("--max-links is at least --links", str(caught.exception))
        self.assertEqual(Finding.of({"max_links": 300}).max_links, 300)

    def test_what_is_not_installed(self) -> None:
        """It is said before anything starts."""
        self.patch(extras, "find_spec", lambda name: None)
        words = "pip install 'gossiplog[lan]'"
        parser = ArgumentParser()
        add_options(parser)
        parser.error = Mock(side_effect=ValueError)  # type: ignore[method-assign]
        self.assertRaises(ValueError, parse, parser, ["--lan"])
        self.assertIn(words, parser.error.call_args[0][0])
        self.assertIn(words, str(self.assertRaises(MissingExtraError, Finding.of, {"lan": ""})))
        good = ["--store", "x", "--network", "00" * 32, "--lan"]
        self.assertIn(words, str(self.assertRaises(UsageError, Options().parseOptions, good)))


class JoinTests(SynchronousTestCase):
    """What a node is told."""

    def setUp(self) -> None:
        self.patch(extras, "find_spec", lambda name: object())
        self.node = Mock()
        self.node.listen.side_effect = lambda endpoint: succeed(f"bound to {endpoint}")

    def join(self, found: Finding, *listening: str, **how: Any) -> Any:
        """What came of joining, and where it listens by then."""
        places = [*listening]
        joined = self.successResultOf(Deferred.fromCoroutine(found.join(self.node, places, **how)))
        return joined, places

    def test_exchange_alone(self) -> None:
        self.assertEqual(self.join(Finding(links=5)), (self.node.join.return_value, []))
        self.node.join.assert_called_once_with(links=5, max_links=64, tell_peers=True)
        self.node.listen.assert_not_called()

    def test_nothing(self) -> None:
        """Nobody but those named."""
        self.assertEqual(self.join(Finding(no_exchange=True)), (None, []))
        self.node.join.assert_not_called()

    def test_lan(self) -> None:
        """Without a port nobody could come."""
        _, [bound] = self.join(Finding(lan="alice", no_exchange=True))
        self.assertIn("tcp:0", bound)
        [way] = self.node.join.call_args[0]
        self.assertEqual((way.name, way.host), ("lan", "alice"))
        self.assertEqual(self.node.join.call_args[1], {"links": 8, "max_links": 64, "tell_peers": False})
        self.assertEqual(self.join(Finding(lan=""), "tcp:4000")[1], ["tcp:4000"])
        self.assertEqual(self.join(Finding(lan=""), listens=False)[1], [])

    def test_dht(self) -> None:
        """The table of everybody, or one's own."""
        for found, count in ((Finding(dht=True), 3), (Finding(dht_bootstrap=("192.0.2.1:6881",)), 1)):
            _, [bound] = self.join(found)
            self.assertIn("tcp:0", bound)
            [way] = self.node.join.call_args[0]
            self.assertEqual((way.name, len(way._bootstrap)), ("dht", count))

    def test_map_port(self) -> None:
        """A port that a router passes on has to be there."""
        _, [bound] = self.join(Finding(map_port=True))
        self.assertIn("tcp:0", bound)
        self.assertEqual([way.name for way in self.node.join.call_args[0]], ["mapping"])

    def test_without_ipv6(self) -> None:
        self.node.listen.side_effect = lambda endpoint: (
            fail(EndpointError("no")) if "::" in endpoint.replace("\\", "") else succeed(endpoint)
        )
        self.assertEqual(
            self.successResultOf(Deferred.fromCoroutine(finding.listen_anywhere(self.node))), "tcp:0"
        )


class CommandTests(ProcessTestCase):
    """The verbs that take them."""

    def test_help(self) -> None:
        for verb in ("run", "chat", "sync", "join", "log"):
            process = self.gossiplog(verb, "--help")
            self.assertEqual((process.finish(), process.err), (0, ""))
            for option in finding.OPTIONS:
                self.assertIn(option.name, process.out)

    def test_mistakes(self) -> None:
        """One line, before anything starts."""
        process = self.gossiplog("run", "--store", "x", "--network", "n", "--lan=a_b")
        self.assertEqual(process.finish(), 2)
        self.assertIn("can be no name on the local network", process.err)
        self.assertEqual(process.err.count("\n"), 1)
        self.assertFalse((self.place / "x").exists())

    def test_find(self) -> None:
        """Who is there, as they come and go; nothing is written, and nobody is given anything."""
        self.run_gossiplog("init", "--store", "ann")
        self.run_gossiplog("append", "--store", "ann", "secret")
        known = "--network", "00" * 32
        ann = self.gossiplog("run", "--store", "ann", *known, "--listen", "tcp:0:interface=127.0.0.1")
        about = ann.ready()
        [address] = about["listening"]
        once = self.gossiplog("find", *known, "--peer", address, "--once", "--json")
        self.assertEqual((once.finish(), once.err), (0, ""))
        up, looked = map(json.loads, once.out.splitlines())
        self.assertEqual((up["event"], up["endpoint"], up["node"]), ("up", address, about["node"]))
        self.assertEqual(looked, {"event": "looked", "found": 0, "connected": 1})
        live = self.gossiplog("find", *known, "--peer", address)
        live.wait_for(rf"^\+ {about['node']} answers at {address} \(gossiplog\)$")
        live.wait_for("^= looked around: 0 found, 1 connected$")
        ann.terminate()
        live.wait_for(rf"^- {about['node']} is down: ")
        self.assertEqual(live.interrupt(), 0)
        self.assertEqual([path.name for path in self.place.iterdir()], ["ann"])
        nobody = self.gossiplog("find", *known, "--peer", address, "--once")
        self.assertEqual(nobody.finish(), 1)
        self.assertRegex(nobody.out, rf"(?m)^! {address} does not answer: .*refused")
