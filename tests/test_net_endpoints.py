"""Rings 1 and 6: endpoints as people write them, and what is wrong with those that are none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import endpoints as theirs
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import implementer

from gossiplog import EndpointError, limits
from gossiplog.net import endpoints
from gossiplog.net.endpoints import (
    check_client,
    check_server,
    client,
    describe,
    parts,
    private,
    server,
    unbracketed,
)
from gossiplog.notices import DialFailed, PeerUp
from tests.netcase import World

LONG = "/run/" + "x" * 200
"""A path of a unix socket for which no system has room."""


class TextTests(SynchronousTestCase):
    """Strings, taken apart."""

    def test_parts(self) -> None:
        for text, kind, values, named in [
            ("tcp:example.org:4000", "tcp", ["example.org", "4000"], {}),
            ("TCP:host=example.org:port=4000", "tcp", [], {"host": "example.org", "port": "4000"}),
            (r"tcp:\:\:1:4000:timeout=5", "tcp", ["::1", "4000"], {"timeout": "5"}),
            (r"unix:/run/a\:b\=c:mode=600", "unix", ["/run/a:b=c"], {"mode": "600"}),
            (r"tls:a:1:endpoint=tcp\:b\:2", "tls", ["a", "1"], {"endpoint": "tcp:b:2"}),
            ("tcp:a=b=c", "tcp", [], {"a": "b=c"}),
            ("4000", "4000", [], {}),
            ("", "", [], {}),
        ]:
            with self.subTest(text):
                self.assertEqual(parts(text), (kind, values, named))

    def test_as_twisted_takes_them_apart(self) -> None:
        """Whatever it does not refuse."""
        for text in (
            "tcp:a:1",
            r"tcp:\:\:1:2:x=y\:z",
            r"unix:a\\:mode=6\=6",
            r"haproxy:tcp:1:interface=\:\:",
        ):
            values, named = theirs._parse(text)
            self.assertEqual(parts(text), (values[0], values[1:], named))

    def test_who_came(self) -> None:
        """IPv4 is shown as such, also where it came to a port of both families."""
        for host, shown in (
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8::7", r"2001\:db8\:\:7"),
        ):
            self.assertEqual(describe(IPv6Address("TCP", host, 4000)), f"tcp:{shown}:4000")

    def test_brackets(self) -> None:
        for text, taken in [
            ("tcp:[::1]:4000", r"tcp:\:\:1:4000"),
            ("tcp:host=[2001:db8::7]:port=4000", r"tcp:host=2001\:db8\:\:7:port=4000"),
            ("tcp:[fe80::1%eth0]:4000", r"tcp:fe80\:\:1%eth0:4000"),
            ("tcp:[::ffff:192.0.2.7]:4000", r"tcp:\:\:ffff\:192.0.2.7:4000"),
            ("tcp:0:interface=[::1]", r"tcp:0:interface=\:\:1"),
            ("tcp:[example.org]:4000", "tcp:[example.org]:4000"),
            ("tcp:a[::1]:4000", "tcp:a[::1]:4000"),
            (r"tcp:\:\:1:4000", r"tcp:\:\:1:4000"),
        ]:
            self.assertEqual(unbracketed(text), taken)

    def test_modes(self) -> None:
        for text, taken in [
            ("unix:/run/node", "unix:mode=600:/run/node"),
            ("unix:address=/run/node", "unix:mode=600:address=/run/node"),
            ("unix:/run/node:mode=660", "unix:/run/node:mode=660"),
            ("unix:/run/node:660", "unix:/run/node:660"),
            (r"unix:/run/a\:mode=1", r"unix:mode=600:/run/a\:mode=1"),
            ("tcp:4000", "tcp:4000"),
        ]:
            self.assertEqual(private(text), taken)


class WrongTests(SynchronousTestCase):
    """What is said of those of which nothing comes."""

    def assert_wrong(self, use: Callable[[Any], Any], endpoint: Any, *words: str) -> None:
        error = str(self.assertRaises(EndpointError, use, endpoint))
        for word in words:
            self.assertIn(word, error)
        for word in ("index out of range", "positional argument", "not defined", "invalid literal"):
            self.assertNotIn(word, error)

    def client(self, endpoint: Any) -> Any:
        return client(MemoryReactorClock(), endpoint)

    def server(self, endpoint: Any) -> Any:
        return server(MemoryReactorClock(), endpoint)

    def test_hosts(self) -> None:
        """What can be no host is refused at once, by whatever takes an endpoint; what can be one is not."""
        long = ".".join(["a" * 63] * 4)
        for host in (
            "a..b", ".a", ".", "a\0b", "\0", "\ud800", "\udcff", "a" * 64, "a" * 300, long, "a b", "a\tb", "a\n", " a",
            "a/b", "user@a", "*", "\u202e", "\u2028", "a\x1b[m", "\ufffe", "a?b", "xn--\xff" + "y" * 60, "%", "a%0",
        ):  # fmt: skip
            with self.subTest(repr(host)):
                for text in (f"tcp:{host}:4000", f"tcp:host={host}:port=4000", f"TCP:{host}:4000:timeout=3"):
                    for use in (self.client, check_client):
                        self.assert_wrong(use, text, "no name of a host")
                for use in (self.server, check_server):
                    self.assert_wrong(use, f"tcp:0:interface={host}", "no name of a host")
        self.assert_wrong(self.client, "tcp::4000", "no endpoint to dial")
        self.assert_wrong(self.client, "tcp:\\", "no name of a host")
        for path in ("/run/a\0b", "\0a\0", "/run/\ud800"):
            self.assert_wrong(self.client, f"unix:{path}", "unix")
            self.assert_wrong(self.server, f"unix:{path}", "unix")
        for host in (
            "a", "A-1", "example.org.", "_srv.example.org", "m\xfcnchen.example", "xn--9ca.example", "1e100.net",
            "127.0.0.1", "[::1]", "[fe80::1%eth0]", "a\u3002b", long[:253],
        ):  # fmt: skip
            check_client(f"tcp:{host}:4000")
            check_server(f"tcp:0:interface={host}")

    def test_none_at_all(self) -> None:
        for text in (
            "",
            "4000",
            "tcp",
            "tcp:",
            "tcp:x",
            "tcp:a:b",
            "tcp:::1:4000",
            "tcp:a:1:colour=red",
        ):
            self.assert_wrong(
                self.client, text, repr(text)[1:-1], "to dial, such as tcp:HOST:PORT or tcp:[::1]:4000"
            )
            self.assert_wrong(check_client, text, "to dial")
        for text in (
            "",
            "4000",
            "tcp",
            "tcp:",
            "tcp:http",
            "tcp:[::1]:4000",
            "tcp:127.0.0.1:4000",
            "tcp:0:interface=::1",
        ):
            self.assert_wrong(self.server, text, "to listen on, such as tcp:4000")
            self.assert_wrong(check_server, text, "to listen on")
        self.assert_wrong(self.client, "pigeon:post", "pigeon")

    def test_neither_text_nor_endpoint(self) -> None:
        for value in (4000, None, b"tcp:a:1", ("a", 1), object()):
            self.assert_wrong(self.client, value, type(value).__name__, "IStreamClientEndpoint")
            self.assert_wrong(self.server, value, type(value).__name__, "IStreamServerEndpoint")

    def test_ports(self) -> None:
        for text in ("tcp:a:0", "tcp:a:65536", "tcp:host=a:port=99999", "tcp:[::1]:70000"):
            self.assert_wrong(self.client, text, "a port is from 1 to 65535")
            self.assert_wrong(check_client, text, "a port is from 1 to 65535")
        for text in ("tcp:65536", "tcp:port=99999", "tcp6:65536"):
            self.assert_wrong(self.server, text, "a port is from 0 to 65535")

    def test_long_paths(self) -> None:
        for text in (f"unix:{LONG}", f"unix:path={LONG}", "unix:/" + "ä" * 60):
            self.assert_wrong(self.client, text, "a unix socket has at most")
            self.assert_wrong(check_client, text, "a unix socket has at most")
        for text in (f"unix:{LONG}", f"unix:address={LONG}:mode=660"):
            self.assert_wrong(self.server, text, "a unix socket has at most")
            self.assert_wrong(check_server, text, "a unix socket has at most")

    def test_longest_path(self) -> None:
        """What is taken is taken by the system."""
        import socket

        for more, works in [(0, True), (1, False)]:
            path = self.mktemp().rpartition("/")[2]
            path += "x" * (endpoints._PATH_BYTES - len(path) + more)
            with socket.socket(socket.AF_UNIX) as probe:
                (probe.bind if works else lambda path: self.assertRaises(OSError, probe.bind, path))(path)

    def test_address_of_ours(self) -> None:
        """A name would be looked up while everything waits."""
        self.assert_wrong(self.client, "tcp:a:1:bindAddress=here.example", "bindAddress is an IP address")
        self.client("tcp:a:1:bindAddress=192.0.2.7")

    def test_without_systemd(self) -> None:
        parser = next(
            each
            for each in theirs.getPlugins(theirs.IStreamServerEndpointStringParser)
            if each.prefix == "systemd"
        )
        self.patch(type(parser), "_sddaemon", ListenFDs([]))
        for text in ("systemd:domain=INET:index=0", "systemd:domain=INET:name=relay"):
            self.assert_wrong(self.server, text, "systemd passed no such socket", "not set", ".socket unit")

    def test_without_pyopenssl(self) -> None:
        found = importlib.util.find_spec
        self.patch(endpoints, "find_spec", lambda name: None if name == "OpenSSL" else found(name))
        for text in ("ssl:example.org:443", "tls:example.org:443"):
            self.assert_wrong(self.client, text, "needs pyOpenSSL: pip install 'twisted[tls]'")
        self.assert_wrong(check_client, "ssl:example.org:443", "needs pyOpenSSL")
        self.assert_wrong(self.server, "ssl:443:privateKey=key.pem", "needs pyOpenSSL")
        self.assert_wrong(check_server, "ssl:443:privateKey=key.pem", "needs pyOpenSSL")

    def test_key_files(self) -> None:
        if importlib.util.find_spec("OpenSSL") is None:
            raise SkipTest("pyOpenSSL is not installed")
        empty = Path(self.mktemp())
        empty.touch()
        for use, text in [
            (self.server, "ssl:443:privateKey={}"),
            (check_server, "ssl:443:privateKey={}"),
            (self.client, "ssl:example.org:443:privateKey={0}:certKey={0}"),
            (self.client, "tls:example.org:443:privateKey={0}:certificate={0}"),
        ]:
            self.assert_wrong(use, text.format("nowhere.pem"), "cannot read", "nowhere.pem: No such file")
            self.assert_wrong(use, text.format(empty), "holds no key or no certificate")
        self.assert_wrong(self.client, "tls:example.org:443:trustRoots=nowhere", "nowhere: No such file")


@implementer(IStreamClientEndpoint)
class Failing:
    """I fail as I am told to: at once, later, never."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)

    def connect(self, protocolFactory: Any) -> Any:
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


@implementer(IStreamServerEndpoint)
class Raising:
    """I do not listen."""

    def listen(self, protocolFactory: Any) -> Any:
        raise OSError("no room at the inn")


class ObjectTests(SynchronousTestCase):
    """Endpoints that are objects already."""

    def setUp(self) -> None:
        self.world = World()
        self.site = self.world.site("a")

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def test_both_ways(self) -> None:
        other = self.world.site("b")
        self.world.result(self.site.node.listen(TCP4ServerEndpoint(self.world.reactor, 4000)))
        other.node.connect(TCP4ClientEndpoint(self.world.reactor, "127.0.0.1", 4000))
        self.world.run(2)
        [up] = other.of(PeerUp)
        self.assertIn("TCP4ClientEndpoint", up.peer.address)

    def test_each_way_to_fail(self) -> None:
        """DIAL_SECONDS, and trying again, hold for whatever it is."""
        endpoint = Failing(
            OSError("AF_UNIX path too long"),
            Deferred(),
            OverflowError("port"),
            *(Deferred() for _ in range(9)),
        )
        self.site.node.connect(endpoint)
        self.world.run(2 + limits.DIAL_SECONDS)
        reasons = [failed.reason for failed in self.site.of(DialFailed)]
        self.assertEqual(reasons, ["AF_UNIX path too long", "no connection within 120 s", "port"])
        self.world.run(2 + limits.DIAL_SECONDS)
        self.assertEqual(len(endpoint.results), 7)

    def test_that_connects_after_all(self) -> None:
        """An attempt that was given up leads to no connection, whatever the endpoint does."""
        attempts: list[Any] = []

        @implementer(IStreamClientEndpoint)
        class Late:
            def connect(self, protocolFactory: Any) -> Any:
                attempts.append(protocolFactory)
                return Deferred()

        dialer = self.site.node.connect(Late())
        self.world.run(2 + limits.DIAL_SECONDS)
        dialer.stop()
        self.assertEqual(len(attempts), 2)
        for late in attempts:
            transport = StringTransportWithDisconnection()
            transport.protocol = protocol = late.buildProtocol(None)
            protocol.makeConnection(transport)
            self.assertTrue(transport.disconnected)

    def test_that_does_not_stop(self) -> None:
        """CLOSE_SECONDS hold for ports too."""
        ports: list[Any] = [Deferred(), OSError("gone")]

        @implementer(IStreamServerEndpoint)
        class Stuck:
            def listen(self, protocolFactory: Any) -> Any:
                return succeed(self)

            def getHost(self) -> Any:
                return "stuck"

            def stopListening(self) -> Any:
                result = ports.pop()
                if isinstance(result, Exception):
                    raise result
                return result

        for _ in range(2):
            self.successResultOf(self.site.node.listen(Stuck()))
        stopped = self.site.node.stop()
        self.world.run(limits.CLOSE_SECONDS)
        self.assertIsNone(self.successResultOf(stopped))

    def test_that_does_not_listen(self) -> None:
        failure = self.failureResultOf(self.site.node.listen(Raising()), EndpointError)
        self.assertIn("no room at the inn", str(failure.value))
