"""Rings 3, 6 and 7: whoever is at the other end of a control socket, and whatever stands in its place."""

from __future__ import annotations

import json
import os
import socket
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import blocking, limits
from gossiplog.control.answers import Desk
from gossiplog.control.connection import Connection
from gossiplog.control.line import Line
from gossiplog.control.logs import NodeLogs
from gossiplog.control.messages import Asked, content, decode, encode, error_of, failure
from gossiplog.control.node_clock import NodeClock
from gossiplog.control.opening import shown
from gossiplog.control.place import ControlSocket, connect
from gossiplog.control.server import Control
from gossiplog.errors import (
    AppendOutcomeUnknown,
    ControlError,
    EntryNotHeldError,
    GossiplogError,
    NodeGoneError,
    StoreCopiedError,
    StoreError,
    StoreUnsafeError,
)
from gossiplog.log.body import encode_body
from gossiplog.notices import DialFailed, Lagged
from gossiplog.store.requests import Append
from gossiplog.troubles import Trouble, Troubles
from tests.netcase import World
from tests.serving import ServedCase

SECONDS = 60.0


class AskedTests(SynchronousTestCase):
    """What a request says."""

    def test_what_is_not_said(self) -> None:
        """It is what is taken otherwise, and not a text about that."""
        self.assertIsNone(Asked({}).text("cursor", None))


class Transport(StringTransport):
    """A client that may not read."""

    def said(self) -> list[Any]:
        """What it was sent, by line."""
        lines, _, rest = self.value().rpartition(b"\n")
        assert not rest
        self.clear()
        return [json.loads(line) for line in lines.split(b"\n") if line]

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.aborting = True

    aborting = False


class ServerCase(SynchronousTestCase):
    """A node in virtual time, and clients of it."""

    def setUp(self) -> None:
        self.world = World()
        self.site = self.world.site("ann")
        self.site.start()
        self.control = Control(self.world.reactor, Desk(self.site.node))

    def tearDown(self) -> None:
        self.assertEqual(self.control.buffered_bytes, 0)
        self.control.stop()
        self.world.close()

    def client(self, user: int | None = None) -> tuple[Connection, Transport]:
        """One more connection."""
        connection, transport = self.control.greet(user), Transport()
        connection.makeConnection(transport)  # type: ignore[arg-type]
        return connection, transport

    def greeted(self) -> tuple[Connection, Transport]:
        """One that was served."""
        connection, transport = self.client()
        [said] = transport.said()
        self.assertEqual(said["gossiplog"]["control"], 1)
        return connection, transport

    def ask(self, connection: Connection, transport: Transport, **said: Any) -> Any:
        """Ask, and return the answer."""
        connection.dataReceived(encode({"id": 1, **said}))
        self.world.run(0.1)
        [answer] = transport.said()
        self.assertEqual(answer["id"], 1)
        return answer

    def leave(self, connection: Connection) -> None:
        """Hang up."""
        connection.connectionLost()


class ServerTests(ServerCase):
    """What clients do, and what it costs."""

    def test_requests(self) -> None:
        """One at a time, in their order, whole or byte by byte."""
        connection, transport = self.greeted()
        author = self.site.author().hex()
        body = content(encode_body(1, b"x"))
        line = encode({"id": 7, "do": "write", "requests": [{"append": author, "bodies": [body]}]})
        for byte in line * 2:
            connection.dataReceived(bytes([byte]))
        self.world.run(0.1)
        answers = transport.said()
        self.assertEqual(
            [each["is"]["results"] for each in answers], [[{"first": n, "last": n}] for n in (1, 2)]
        )
        self.leave(connection)

    def test_garbage(self) -> None:
        """An error each, and the connection goes on."""
        connection, transport = self.greeted()
        for line in (
            b"\xff\xfe",
            b"",
            b"[]",
            b"1",
            b"{" * 9999,
            b'{"do": 5}',
            b'{"id": 1}',
            b'{"do": "nothing"}',
            b'{"do": "rows"}',
            b'{"do": "rows", "author": "zz", "first": 1, "bytes": 1}',
            b'{"do": "rows", "author": "' + b"00" * 32 + b'", "first": true, "bytes": 1}',
            b'{"do": "rows", "author": "' + b"00" * 32 + b'", "first": -1, "bytes": 1}',
            b'{"do": "clock", "from": "xyz"}',
            b'{"do": "cursor", "name": "a", "is": 7}' * 2,
            b'{"do": "write"}',
            b'{"do": "write", "requests": [7]}',
            b'{"do": "interest", "change": "only_followed", "authors": []}',
            b'{"do": "interest", "change": "__class__", "authors": []}',
            b'{"do": "meta", "key": "network"}',
            b'{"do": "fork", "author": null}',
            b'{"do": "connect", "endpoint": "x"}',
            b'{"do": "ban", "node": "' + b"ff" * 32 + b'"}',
            b'{"do": "authors", "after": 1}',
            b'{"do": "ban", "node": "' + b"01" * 32 + b'", "seconds": -1}',
            b'{"do": "ban", "node": "' + b"01" * 32 + b'", "seconds": 1e999}',
            b'{"do": "ban", "node": "' + b"01" * 32 + b'", "reason": 1}',
            b'{"do": "sync", "endpoint": "x"}',
            b'{"do": "sync", "endpoint": "tcp:127.0.0.1:1", "timeout": true}',
            b'{"do": "recover", "endpoints": []}',
            b'{"do": "recover", "endpoints": [1]}',
            b'{"do": "recover", "endpoints": "tcp:127.0.0.1:1"}',
            b'{"do": "search", "text": 1, "limit": 1}',
            b'{"do": "search", "text": "x", "limit": 0}',
            b'{"do": "search", "text": "x", "limit": 1, "order": "random"}',
            b"9" * 9999,
        ):
            connection.dataReceived(line + b"\n")
            self.world.run(0.1)
            [answer] = transport.said()
            self.assertIn("error", answer, line)
            self.assertIsInstance(error_of(answer["error"]), GossiplogError)
            self.assertNotIn("the node failed", answer["error"]["message"], line)
        self.assertIn("is", self.ask(connection, transport, do="writers"))
        self.leave(connection)

    def test_a_body_that_is_none(self) -> None:
        """Nothing is signed that nobody could read."""
        connection, transport = self.greeted()
        author = self.site.author()
        for body in (b"", b"\xc0", encode_body(1, b"x") + b"x"):
            said = {"append": author.hex(), "bodies": [content(body)]}
            answer = self.ask(connection, transport, do="write", requests=[said])
            self.assertIn("error", answer["is"]["results"][0])
        said = {"append": bytes(32).hex(), "bodies": [content(encode_body(1, b"x"))]}
        answer = self.ask(connection, transport, do="write", requests=[said])
        self.assertEqual(answer["is"]["results"][0]["error"], "UnknownWriterError")
        self.assertEqual(self.site.store.clock.seq(author), 0)
        self.leave(connection)

    def test_no_secret_is_told(self) -> None:
        """Whatever is asked: no seed, no node key, no network key."""
        connection, transport = self.client()
        self.site.append(b"x")
        secrets = [self.site.backend.secrets.node_key(), self.site.backend.secrets.seed("default")]
        secrets.append(self.site.network.key)
        told = transport.value()
        transport.clear()
        for do in ("store", "clock", "writers", "status", "holes", "verify", "meta"):
            connection.dataReceived(encode({"id": 1, "do": do, "key": "node", "authors": True}))
            self.world.run(0.1)
            told += transport.value()
            transport.clear()
        for secret in secrets:
            assert secret is not None
            self.assertNotIn(secret.hex().encode(), told)
            self.assertNotIn(content(secret).encode(), told)
        self.leave(connection)

    def test_who_asks_to_sync_and_leaves(self) -> None:
        """Nothing is dialled any more; and so where the node stops: that is said."""
        connection, transport = self.greeted()
        line = encode({"id": 1, "do": "sync", "endpoint": "tcp:127.0.0.1:1", "timeout": 1000})
        connection.dataReceived(line)
        self.world.run(1)
        self.assertEqual(len(self.site.node.status().dialled), 1)
        self.leave(connection)
        self.world.run(1)
        self.assertEqual(self.site.node.status().dialled, ())
        connection, transport = self.greeted()
        connection.dataReceived(line)
        self.world.run(1)
        transport.clear()
        self.control.stop()
        self.world.run(1)
        [said] = transport.said()
        self.assertEqual(said["error"]["error"], "NodeStoppedError")
        self.leave(connection)

    def test_several_sync(self) -> None:
        """With the same: one after the other, and each has its answer."""
        bob = self.world.site("bob")
        said = {"do": "sync", "endpoint": bob.listen(), "timeout": 20}
        clients = [self.greeted() for _ in range(3)]
        for connection, _ in clients:
            connection.dataReceived(encode({"id": 1, **said}))
        self.world.run(5)
        for connection, transport in clients:
            self.assertIn("is", transport.said()[-1])
            self.leave(connection)
        self.assertEqual((bob.node.peers, self.site.node.status().dialled), ([], ()))

    def test_somebody_syncs_for_long(self) -> None:
        """Who wants to sync with the same waits as long as it said."""
        clients = [self.greeted() for _ in range(2)]
        for seconds, (connection, _) in zip((1000, 2), clients, strict=True):
            said = {"id": 1, "do": "sync", "endpoint": "tcp:127.0.0.1:1", "timeout": seconds}
            connection.dataReceived(encode(said))
        self.world.run(3)
        said = clients[1][1].said()[-1]
        self.assertEqual(said["error"]["error"], "NodeError")
        self.assertIn("somebody else", said["error"]["message"])
        for connection, _ in clients:
            self.leave(connection)
        self.world.run(1)

    def test_many_search(self) -> None:
        """One index, closed behind the last of them; it stays where the node keeps it."""
        self.site.append(b"a heron", b"another heron")
        clients = [self.greeted() for _ in range(5)]
        for connection, _ in clients:
            connection.dataReceived(encode({"id": 1, "do": "search", "text": "heron", "limit": 9}))
        views = self.site.store._core.views
        self.world.run(5)
        for connection, transport in clients:
            [answer] = transport.said()
            self.assertEqual([hit[1] for hit in answer["is"]], [1, 2])
            self.leave(connection)
        self.assertFalse(views.is_open("of-command"))

    def test_another_user(self) -> None:
        """Is told so, and nothing else."""
        connection, transport = self.client(os.geteuid() + 1)
        [said] = transport.said()
        self.assertEqual(said["error"]["error"], "StoreUnsafeError")
        self.assertTrue(transport.disconnecting)
        connection.dataReceived(encode({"id": 1, "do": "writers"}))
        self.world.run(0.1)
        self.assertEqual(transport.said(), [])
        self.leave(connection)

    def test_many_clients(self) -> None:
        """Who is one too many may come again."""
        self.patch(limits, "MAX_CONTROL_CLIENTS", 3)
        served = [self.greeted() for _ in range(3)]
        connection, transport = self.client()
        [said] = transport.said()
        self.assertEqual(said["error"]["about"], {"reason": "busy"})
        self.leave(connection)
        self.leave(served.pop()[0])
        served.append(self.greeted())
        for each, _ in served:
            self.leave(each)

    def test_many_that_say_nothing(self) -> None:
        """Keep out nobody for long: who never asked gives way first, who watches last, and each is told."""
        self.patch(limits, "MAX_CONTROL_CLIENTS", 4)
        watching, asked, later, first = clients = [self.greeted() for _ in range(4)]
        self.ask(*watching, do="watch")
        self.ask(*asked, do="writers")
        self.world.run(1)
        self.ask(*later, do="writers")
        self.world.run(limits.CONTROL_SILENT_SECONDS - 1.5)
        refused, transport = self.client()
        self.assertEqual(transport.said()[0]["error"]["about"], {"reason": "busy"})
        self.leave(refused)
        self.world.run(2)
        for gone, kept in ((first, asked), (asked, later), (later, watching)):
            clients.append(self.greeted())
            [said] = gone[1].said()
            self.assertEqual((said["id"], gone[1].disconnecting), (None, True))
            self.assertIn("connect again", said["error"]["message"])
            self.assertFalse(kept[1].disconnecting)
        clients.append(self.greeted())
        self.assertTrue(watching[1].disconnecting)
        late, transport = self.client()  # all that are there came just now
        self.assertEqual(transport.said()[0]["error"]["about"], {"reason": "busy"})
        for connection in (late, *[each for each, _ in clients]):
            self.leave(connection)

    def test_who_is_served_stays(self) -> None:
        """However long that takes."""
        self.patch(limits, "MAX_CONTROL_CLIENTS", 1)
        connection, transport = self.greeted()
        self.site.disk.stall()
        connection.dataReceived(encode({"id": 1, "do": "writers"}))
        self.world.run(limits.CONTROL_SILENT_SECONDS + 1)
        late, refused = self.client()
        self.assertEqual(refused.said()[0]["error"]["about"], {"reason": "busy"})
        self.site.disk.resume()
        self.world.run(1)
        self.assertEqual(transport.said()[0]["id"], 1)
        for each in (late, connection):
            self.leave(each)

    def test_a_line_that_never_ends(self) -> None:
        """Ends the connection; one that is as long as may be does not."""
        self.patch(limits, "MAX_CONTROL_LINE_BYTES", 1000)
        connection, transport = self.greeted()
        connection.dataReceived(b" " * 1000 + b"\n")
        connection.dataReceived(b" " * 1000)
        self.assertFalse(transport.disconnecting)
        connection.dataReceived(b" ")
        self.assertTrue(transport.disconnecting)
        self.leave(connection)

    def test_half_a_line(self) -> None:
        """Whoever begins a line ends it soon; who says nothing may stay."""
        connection, transport = self.greeted()
        self.world.run(limits.CONTROL_SILENT_SECONDS + 1)
        self.assertFalse(transport.aborting)
        connection.dataReceived(b"{")
        for _ in range(9):
            self.world.run(limits.CONTROL_SILENT_SECONDS / 10)
            connection.dataReceived(b" ")
        self.assertFalse(transport.aborting)
        self.world.run(2)
        self.assertTrue(transport.aborting)
        self.leave(connection)

    def test_many_values(self) -> None:
        """A message of which more would be made than it is long is refused before it is parsed."""
        self.patch(limits, "MAX_CONTROL_ITEMS", 10)
        self.assertEqual(decode(b'{"a":[1,2,3,4,5,6,7,8,9]}'), {"a": [*range(1, 10)]})
        self.assertRaises(ControlError, decode, b'{"a":[1,2,3,4,5,6,7,8,9,10]}')

    def test_much_at_once(self) -> None:
        """What is done at once for all clients is bounded; the others wait for their turn, but not for small things."""
        (one, heard), (other, other_heard), (small, small_heard) = [self.greeted() for _ in range(3)]
        line = encode({"id": 1, "do": "rows", "author": "00" * 32, "first": 1, "bytes": 1, "x": [1] * 2000})
        weight = len(line) - 1 + limits.CONTROL_ITEM_BYTES * (line.count(b",") + 2) + 2
        for bound, waits in ((2 * weight, False), (2 * weight - 1, True)):
            self.patch(limits, "CONTROL_BUFFER_BYTES", bound)
            self.site.disk.stalled = True
            one.dataReceived(line)
            other.dataReceived(line)
            self.assertEqual(other._begun is not None, waits)
            self.assertIn("is", self.ask(small, small_heard, do="clock"))
            self.assertEqual(heard.said() + other_heard.said(), [])
            self.site.disk.resume()
            self.world.run(0.1)
            self.assertEqual([len(each.said()) for each in (heard, other_heard)], [1, 1])
        for each in (one, other, small):
            self.leave(each)

    def test_who_makes_us_keep_most(self) -> None:
        """Is let go when that is too much; nobody else is."""
        self.patch(limits, "CONTROL_BUFFER_BYTES", 500_000)
        (greedy, transport), (modest, other) = self.greeted(), self.greeted()
        greedy.dataReceived(b"x" * 400_000)
        self.assertIn("is", self.ask(modest, other, do="writers"))
        modest.dataReceived(b"y" * 150_000)
        self.world.run(0.1)
        self.assertEqual((transport.aborting, other.aborting), (True, False))
        self.leave(greedy)
        modest.dataReceived(b"\n")
        self.assertIn("error", other.said()[0])
        self.leave(modest)

    def test_who_never_reads(self) -> None:
        """Gets no further answer, keeps what is new by author, and is let go after a while."""
        connection, transport = self.greeted()
        self.assertIn("is", self.ask(connection, transport, do="watch"))
        connection.pauseProducing()
        for number in range(100):
            self.site.append(b"%d" % number)
        connection.dataReceived(encode({"id": 1, "do": "writers"}))
        self.world.run(1)
        self.assertEqual(transport.said(), [])
        self.assertEqual(len(connection._news), 1)
        connection.resumeProducing()
        self.world.run(0.1)
        news, answer = transport.said()
        self.assertEqual(news["news"]["heads"][0][1], 100)
        self.assertIn("is", answer)
        connection.pauseProducing()
        self.world.run(limits.CONTROL_UNREAD_SECONDS - 1)
        self.assertFalse(transport.aborting)
        self.world.run(2)
        self.assertTrue(transport.aborting)
        self.leave(connection)

    def test_a_large_clock(self) -> None:
        """Comes in parts."""
        self.patch(limits, "CONTROL_PAGE", 2)
        for name in "abcde":
            self.site.append(b"x", name=name)
        connection, transport = self.greeted()
        asked = SimpleNamespace(ask=lambda do, **said: self.ask(connection, transport, do=do, **said)["is"])
        clock, held = NodeClock(cast(Line, asked)), self.site.store.clock
        self.assertEqual([*clock.range()], [*held.items()])
        [*_, third, fourth, _] = held
        self.assertEqual([each for each, _ in clock.range(third, fourth)], [third])
        self.assertEqual((clock.head(third), clock.seq(bytes(32))), (held.head(third), 0))
        self.assertEqual((len(clock), clock.total(), bytes(32) in clock), (5, 5, False))
        [first, second] = self.ask(connection, transport, do="authors")["is"]
        [third, _] = self.ask(connection, transport, do="authors", after=second[0])["is"]
        found = [(each.author.hex(), *each[1:]) for each in self.site.node.status().authors[:3]]
        self.assertEqual([tuple(each) for each in (first, second, third)], found)
        self.leave(connection)

    def test_the_end(self) -> None:
        """What was begun is answered before the connection is closed; nothing more is taken."""
        connection, transport = self.greeted()
        author = self.site.author().hex()
        said = {"append": author, "payloads": [content(b"x")]}
        connection.dataReceived(encode({"id": 1, "do": "write", "requests": [said]}) * 2)
        over: list[Any] = []
        self.control.stop().addCallback(over.append)
        self.assertEqual((over, transport.disconnecting), ([], False))
        self.world.run(0.1)
        [answer] = transport.said()
        self.assertEqual(answer["is"]["results"], [{"first": 1, "last": 1}])
        self.assertTrue(over and transport.disconnecting)
        self.leave(connection)


class MessageTests(SynchronousTestCase):
    """Errors that travel."""

    def test_errors(self) -> None:
        """Come out as they went in; what is none of ours is a ControlError."""
        for error in (
            EntryNotHeldError(bytes(32), "ann", 5, 3),
            StoreCopiedError("/x", "it moved"),
            NodeGoneError("gone"),
            ControlError("\x1b[2J"),
        ):
            there = error_of(json.loads(json.dumps(failure(error))))
            self.assertEqual((type(there), str(there), vars(there)), (type(error), str(error), vars(error)))
        for said in (
            None,
            7,
            {},
            {"error": "KeyboardInterrupt", "message": "x"},
            {"error": "os", "message": "x"},
        ):
            self.assertIs(type(error_of(said)), ControlError)
        self.assertIs(type(error_of(failure(KeyError("x")))), ControlError)


class PlaceTests(SynchronousTestCase):
    """What stands where the socket is to be."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        with blocking.Store(self.path) as store:
            store.writer()
        self.name = os.path.join(self.path, "control")

    def test_mode(self) -> None:
        """Nobody else may connect, whatever the umask."""
        before = os.umask(0)
        try:
            place = ControlSocket(self.path)
        finally:
            os.umask(before)
        self.assertEqual(os.stat(self.name).st_mode & 0o777, 0o600)
        place.close()
        self.assertFalse(os.path.lexists(self.name))

    def test_left_by_a_crash(self) -> None:
        """Is replaced; until then it is as if there were none."""
        folder = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, folder)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(f"/proc/self/fd/{folder}/control")  # the path may be too long
        self.assertIsNone(connect(self.path, 1))
        self.assertIsNone(shown(self.path, 0))
        place = ControlSocket(self.path)
        self.addCleanup(place.close)
        self.assertIsNone(shown(self.path, 0))  # it is our own

    def test_what_is_no_socket(self) -> None:
        """Is neither followed nor removed, by nobody; the node runs without others, and verbs read the files."""
        target = self.mktemp()
        elsewhere = ControlSocket(self._another())
        self.addCleanup(elsewhere.close)
        for make in (
            lambda: os.symlink(target, self.name),
            lambda: os.symlink(elsewhere.path, self.name),
            lambda: os.mkdir(self.name),
            lambda: os.mkfifo(self.name),
            lambda: open(self.name, "w").close(),
        ):
            make()
            self.assertRaises(StoreUnsafeError, ControlSocket, self.path)
            self.assertRaises(StoreUnsafeError, connect, self.path, 1)
            self.assertIsNone(shown(self.path, 0))
            with blocking.Store(self.path) as store, blocking.Node(store, network="x") as node:
                self.assertIn("remove it", node._it._control.why)
            self.assertTrue(os.path.lexists(self.name))
            (os.rmdir if os.path.isdir(self.name) and not os.path.islink(self.name) else os.unlink)(self.name)
        self.assertFalse(os.path.lexists(target))

    def _another(self) -> str:
        path = self.mktemp()
        with blocking.Store(path):
            pass
        return path

    def test_another_that_took_its_place(self) -> None:
        """A node takes away only its own name."""
        place = ControlSocket(self.path)
        os.unlink(self.name)
        other = ControlSocket(self.path)
        place.close()
        self.assertTrue(os.path.lexists(self.name))
        other.close()
        self.assertFalse(os.path.lexists(self.name))

    def test_a_directory_that_others_may_write_to(self) -> None:
        """Nobody is served there, and nobody is asked."""
        place = ControlSocket(self.path)
        self.addCleanup(place.close)
        os.chmod(self.path, 0o777)
        self.assertRaises(StoreUnsafeError, ControlSocket, self.path)
        self.assertRaises(StoreUnsafeError, connect, self.path, 1)

    def test_who_listens_is_another_user(self) -> None:
        """Nothing is said to them."""
        place = ControlSocket(self.path)
        self.addCleanup(place.close)
        with patch("gossiplog.control.place.peer_of", lambda _: (1, os.geteuid() + 1)):
            self.assertRaises(StoreUnsafeError, connect, self.path, 1)

    def test_a_file_system_without_sockets(self) -> None:
        """The node runs, and says once why others cannot use its store."""
        with patch.object(socket.socket, "bind", side_effect=OSError(95, "Operation not supported")):
            self.assertRaises(StoreError, ControlSocket, self.path)
            with blocking.Store(self.path) as store, blocking.Node(store, network="x") as node:
                self.assertIn("not supported", node._it._control.why)
        self.assertFalse(os.path.lexists(self.name))


class NodeTests(ServedCase):
    """A real node that stops, or says what makes no sense."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())

    def test_a_long_path(self) -> None:
        """Longer than a socket's may be."""
        self.path = os.path.join(self.path, *["long" * 20] * 3)
        self.assertGreater(len(self.path), 200)
        self.serve(self.path)
        with blocking.attach(self.path, timeout=SECONDS) as store:
            self.assertEqual(store.writer().append(b"x"), 1)

    def test_a_node_that_is_killed(self) -> None:
        """Who waits is told, by kind, and nothing that was acknowledged is lost."""
        process = self.serve_alone(self.path)
        with blocking.attach(self.path, timeout=SECONDS) as store:
            writer = store.writer()
            live = store.read(tail=True)
            self.assertEqual(writer.append(b"acknowledged"), 1)
            self.assertEqual(next(live).payload, b"acknowledged")
            process.kill()
            self.assertRaises(NodeGoneError, next, live)
            self.assertRaises(NodeGoneError, writer.append, b"x")
            self.assertRaises(NodeGoneError, store.read)
        with blocking.Store(self.path, timeout=SECONDS) as store:
            self.assertEqual([entry.payload for entry in store.read()], [b"acknowledged"])

    def test_a_node_with_a_child_by_fork(self) -> None:
        """The child keeps no connection, and nobody waits for it: when the node is gone, it is gone."""
        process = self.serve_alone(self.path)
        with blocking.attach(self.path, timeout=SECONDS) as store:
            writer = store.writer()
            process.send("fork")
            process.wait_for("forked")
            self.assertEqual(writer.append(b"x"), 1)
            live = store.read(tail=True)
            process.popen.kill()
            self.assertRaises(NodeGoneError, next, live)
        self.assertIsNone(shown(self.path, 0))

    def test_stopped_in_order(self) -> None:
        """As that."""
        process = self.serve_alone(self.path)
        with blocking.attach(self.path, timeout=SECONDS) as store:
            live = store.read(tail=True)
            process.end_input()
            self.assertRaises(NodeGoneError, next, live)
        self.assertEqual(process.finish(), 0)
        self.assertFalse(os.path.lexists(os.path.join(self.path, "control")))


class ClientTests(SynchronousTestCase):
    """Whoever listens in the place of a node."""

    def line(self, *said: bytes) -> tuple[Line, socket.socket]:
        """A connection to who said this, and goes on."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        for each in said:
            theirs.sendall(each)
        line = Line(ours, "here")
        self.addCleanup(line.close)
        return line, theirs

    def test_another_version(self) -> None:
        """Is named, with what to do."""
        error = self.assertRaises(ControlError, self.line, b'{"gossiplog": {"control": 2}}\n')
        self.assertIn("version 2", str(error))

    def test_garbage(self) -> None:
        """Is no answer."""
        for said in (b"hello\n", b"[]\n", b"{}\n", b'{"gossiplog": 1}\n', b"\x00\n"):
            self.assertRaises(ControlError, self.line, said)

    def test_it_goes_in_the_middle(self) -> None:
        """Of an append nobody knows; of what did not get there it is known."""
        greeting = encode({"gossiplog": {"control": limits.CONTROL_VERSION}})
        line, theirs = self.line(greeting)
        append = Append(bytes(32), [encode_body(1, b"x")])
        theirs.shutdown(socket.SHUT_WR)
        self.assertRaises(AppendOutcomeUnknown, NodeLogs(line).process, [append])
        line, theirs = self.line(greeting)
        theirs.close()
        error = self.assertRaises(NodeGoneError, NodeLogs(line).process, [append])
        self.assertTrue(error.nothing_done)
        self.assertRaises(NodeGoneError, line.ask, "clock")

    def test_an_answer_that_never_ends(self) -> None:
        """Takes no more memory than a line may."""
        self.patch(limits, "MAX_CONTROL_LINE_BYTES", 1000)
        line, theirs = self.line(encode({"gossiplog": {"control": limits.CONTROL_VERSION}}))
        theirs.sendall(b" " * 2000)
        self.assertRaises(NodeGoneError, line.ask, "clock")


class TroubleTests(SynchronousTestCase):
    """What a node remembers of what went wrong."""

    def test_bounded(self) -> None:
        """The last ones, each once, in words that steer no terminal."""
        troubles = Troubles()
        for number in range(limits.MAX_TROUBLES + 5):
            troubles.note(DialFailed(f"tcp:{number}", "\x1b[2J"), number)
        for number in range(3):
            troubles.note(DialFailed("tcp:7", "\x1b[2J"), 100 + number)
        troubles.note(Lagged(1), 200)
        found = troubles.all()
        self.assertEqual(len(found), limits.MAX_TROUBLES)
        self.assertEqual(found[-1], Trouble("DialFailed", "tcp:7: \\x1b[2J", 102, 4))
        self.assertEqual(found[0].words, "tcp:5: \\x1b[2J")
