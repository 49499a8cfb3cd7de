"""Ring 6: a node's web page, in virtual time: who may ask and act, what is bounded, what is shown."""

from __future__ import annotations

import json
import os
from math import inf
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.app.http import BoundedSite
from gossiplog.app.web import hub as hub_module
from gossiplog.app.web.acts import acts
from gossiplog.app.web.begin import token_of, url
from gossiplog.app.web.feed import Feed
from gossiplog.app.web.growth import Growth
from gossiplog.app.web.guard import Guard
from gossiplog.app.web.hub import Hub
from gossiplog.app.web.picture import logs_page, shown_entry
from gossiplog.app.web.site import Pages
from gossiplog.errors import InvalidValueError, KeyFileError
from gossiplog.log.entry import Entry
from gossiplog.log.keys import KeyKind, format_author, format_key, short_key
from gossiplog.status import AuthorStatus
from tests.netcase import Author, Site, World

TOKEN = "token-of-a-test"
HERE = "127.0.0.1:8080"
GONE = Failure(ConnectionDone())


class Answer:
    """What came back."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1]) if first else 0
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if self.headers.get("transfer-encoding") == "chunked":
            self.body = b"".join(self.body.split(b"\r\n")[1::2])

    @property
    def said(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)


class WebCase(SynchronousTestCase):
    """A node with a page."""

    hosts: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.world = World()
        self.site: Site = self.world.site("ann")
        self.node = self.site.node
        self.hub = Hub(self.world.reactor, self.node)
        self.hub.start()
        pages = Pages(Guard(TOKEN, self.hosts), {"/logs": self.hub.logs}, acts(self.node), self.hub.feed.add)
        self.server = BoundedSite(pages, self.world.reactor)
        self.addCleanup(self.end)

    def end(self) -> None:
        """Nothing is left."""
        self.hub.stop()
        for channel in tuple(self.server._open):
            channel.connectionLost(GONE)
        self.world.close()

    def open(self) -> tuple[Any, StringTransport]:
        """A connection."""
        channel = self.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = StringTransport()
        if channel is not None:
            channel.makeConnection(transport)
        return channel, transport

    def raw(self, request: bytes, seconds: float = 0.5) -> Answer:
        """Send these bytes; return the answer."""
        channel, transport = self.open()
        channel.dataReceived(request)
        self.world.run(seconds)
        channel.connectionLost(GONE)
        return Answer(transport.value())

    def get(self, path: str, *headers: str, host: str = HERE) -> Answer:
        """GET."""
        lines = [f"GET {path} HTTP/1.1", *([f"Host: {host}"] if host else []), "Connection: close", *headers]
        return self.raw("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def post(self, path: str, what: Any, **changes: str | None) -> Answer:
        """POST, as the page does but for ``changes`` of headers."""
        body = what if isinstance(what, bytes) else json.dumps(what).encode()
        headers = {
            "Host": HERE,
            "Origin": f"http://{HERE}",
            "Content-Type": "application/json",
            "X-Gossiplog-Token": TOKEN,
            "Content-Length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return self.raw("\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body)

    def events(self, data: bytes) -> list[tuple[str, Any]]:
        """The events of a feed."""
        answer = Answer(data)
        found = []
        for block in answer.body.decode().split("\n\n")[:-1]:
            name, said = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(said.removeprefix("data: "))))
        return found

    def watch(self) -> tuple[Any, StringTransport]:
        """One more watches."""
        channel, transport = self.open()
        channel.dataReceived(f"GET /feed HTTP/1.1\r\nHost: {HERE}\r\n\r\n".encode())
        return channel, transport


class GuardTests(WebCase):
    """Who may ask, and who may act."""

    hosts = ("relay.example",)

    def test_hosts(self) -> None:
        """A name of somebody else that leads here is turned away: its page would read what is ours."""
        for host in (HERE, "localhost", "LOCALHOST:8080", "[::1]:8080", "192.0.2.7", "relay.example:80"):
            self.assertEqual(self.get("/", host=host).status, 200, host)
        for host in (
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "relay.example.evil",
            "evil@127.0.0.1",
            "127.0.0.1:80:80",
            "127.0.0.1:evil",
            "[::1",
            "[evil.example]",
            "0x7f.1",
            "2130706433",
            "::1",
            "\u0131ocalhost",
            ".",
        ):
            for path in ("/", "/logs", "/feed", "/act/append"):
                self.assertEqual(self.get(path, host=host).status, 421, host)
        self.assertIn(self.get("/", host="").status, (400, 421))
        self.assertIn(self.get("/", "Host: evil.example").status, (400, 421))
        self.assertEqual(
            self.post("/act/append", {"text": "x"}, Host="evil.example", Origin=None).status, 421
        )

    def test_headers(self) -> None:
        """Of every answer, also of a refusal."""
        for answer in (
            self.get("/"),
            self.get("/page.js"),
            self.get("/logs"),
            self.get("/none"),
            self.get("/", host="evil.example"),
            self.post("/act/append", {}, X_Gossiplog_Token="no"),
        ):
            policy = answer.headers["content-security-policy"]
            self.assertTrue(policy.startswith("default-src 'self';"))
            self.assertNotIn("unsafe", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["cross-origin-resource-policy"], "same-origin")
            self.assertEqual(answer.headers["cache-control"], "no-store")
            self.assertNotIn("access-control-allow-origin", answer.headers)

    def test_who_may_act(self) -> None:
        """Whoever has the token, from this page: no form, no script of another page, no guess."""
        self.assertEqual(self.post("/act/append", {"text": "mine"}).status, 200)
        for changes in (
            {"X_Gossiplog_Token": None},
            {"X_Gossiplog_Token": ""},
            {"X_Gossiplog_Token": TOKEN + "x"},
            {"X_Gossiplog_Token": "\u00e9"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:9999"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
            {"Content_Type": "text/plain"},
            {"Content_Type": "application/x-www-form-urlencoded"},
            {"Content_Type": "multipart/form-data; boundary=x"},
            {"Content_Type": None},
        ):
            answer = self.post("/act/append", {"text": "not mine"}, **changes)
            self.assertIn(answer.status, (400, 403), changes)
        self.assertEqual(self.site.payloads(self.site.author()), [b"mine"])
        self.assertEqual(self.post("/act/append", {"text": "a tool's"}, Origin=None).status, 200)

    def test_nothing_is_done_by_looking(self) -> None:
        """GET, HEAD and whatever else change nothing."""
        for request in (
            "GET /act/append?text=x",
            "PUT /act/append",
            "DELETE /logs",
            "OPTIONS /act/append",
            "HEAD /",
        ):
            raw = f"{request} HTTP/1.1\r\nHost: {HERE}\r\nX-Gossiplog-Token: {TOKEN}\r\n\r\n"
            self.assertIn(self.raw(raw.encode()).status, (404, 405), request)
        self.assertEqual(self.post("/logs", {}).status, 405)
        self.assertEqual(len(self.node.store.clock), 0)

    def test_token(self) -> None:
        """It is made once, is long, and in a file that nobody else may read; one that others may read is refused."""
        path = os.path.join(self.mktemp(), "web.token")
        os.mkdir(os.path.dirname(path))
        token = token_of(path)
        self.assertEqual((token_of(path), len(token)), (token, 43))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        os.chmod(path, 0o644)
        self.assertRaises(KeyFileError, token_of, path)

    def test_paths(self) -> None:
        """There are those that there are: no file is found by another name."""
        for path in (
            "/../begin.py",
            "/static/page.js",
            "/%2e%2e/begin.py",
            "//",
            "/page.js/",
            "/begin.py",
            "/.",
            "/x" * 500,
        ):
            self.assertEqual(self.get(path).status, 404, path)
        self.assertEqual(self.get("/uplot.LICENSE").status, 200)
        self.assertIn(b"MIT License", self.get("/uplot.LICENSE").body)

    def test_where_it_is(self) -> None:
        self.assertEqual(url("tcp:127.0.0.1:8080"), "http://127.0.0.1:8080/")
        self.assertEqual(url("tcp:0.0.0.0:8080"), "http://localhost:8080/")
        self.assertEqual(url(r"tcp:\:\:1:8080"), "http://[::1]:8080/")
        self.assertEqual(url("unix:/run/page"), "unix:/run/page")


class NonsenseTests(WebCase):
    """Whoever sends what."""

    def test_nonsense(self) -> None:
        """A body that is no action, and questions that make no sense, are answered."""
        for body in (b"", b"[]", b"1", b"{", b"\xff", b'{"text": ' + b"[" * 5000):
            self.assertEqual(self.post("/act/append", body).status, 400, body)
        for what in ({}, {"text": 1}, {"text": ""}, {"text": None}, {"text": "\ud800"}):
            self.assertEqual(self.post("/act/append", what).status, 400, what)
        for what in ({"author": "x"}, {"author": []}, {}):
            for act in ("follow", "unfollow", "block", "unblock"):
                self.assertEqual(self.post(f"/act/{act}", what).status, 400)
        for endpoint in ("", "nonsense", "tcp:", "tcp:x:y", 5):
            self.assertEqual(self.post("/act/connect", {"endpoint": endpoint}).status, 400)
        node = {"node": format_key(KeyKind.NODE, Author(3).key)}
        for act in ("disconnect", "ban", "unban"):
            for what in ({}, {"node": 1}, {"node": "x"}, {"node": format_author(Author(3).key)}):
                self.assertEqual(self.post(f"/act/{act}", what).status, 400, what)
        for seconds in (-1, "60", True, [], {}, 1e999):
            self.assertEqual(self.post("/act/ban", {**node, "seconds": seconds}).status, 400, seconds)
        for act in ("disconnect", "unban"):
            self.assertIn("not", self.post(f"/act/{act}", node).said["error"])
        self.assertEqual(self.node.bans, [])
        self.assertEqual(self.post("/act/none", {}).status, 404)
        for query in ("sort=evil", "from=-1", "from=1e9", "limit=x", f"from={'9' * 99}"):
            self.assertEqual(self.get(f"/logs?{query}").status, 400, query)
        self.assertEqual(self.get("/logs?begins=%ff%00<script>").said, {"logs": [], "total": 0})


class ActTests(WebCase):
    """What the owner does."""

    def test_all(self) -> None:
        """It is done, and said."""
        done = self.post("/act/append", {"text": "grüße\n<b>"}).said
        self.assertEqual(done, {"done": f"entry 1 of {format_author(self.site.author())[7:15]}"})
        self.assertEqual(self.site.payloads(self.site.author()), ["grüße\n<b>".encode()])
        other = Author(2).key
        choices = self.node.store._core.interest.choices
        for act, blocked in (("block", True), ("unblock", False), ("follow", False), ("unfollow", False)):
            self.assertEqual(self.post(f"/act/{act}", {"author": format_author(other)}).status, 200)
            self.assertEqual(other in choices.blocked, blocked)
        answer = self.post("/act/follow", {"author": format_author(self.site.author())})
        self.assertIn(answer.status, (200, 400))
        self.assertEqual(self.post("/act/connect", {"endpoint": "tcp:127.0.0.1:9"}).status, 200)
        self.assertEqual([each.endpoint for each in self.node.status().dialled], ["tcp:127.0.0.1:9"])

    def test_nodes(self) -> None:
        """Disconnected, kept out for a while or for good, let in again."""
        bob = self.world.site("bob")
        self.node.connect(bob.listen())
        self.world.run(1)
        node = {"node": format_key(KeyKind.NODE, bob.node.id)}
        said = {"done": f"node {short_key(bob.node.id)}"}
        self.assertEqual(self.post("/act/disconnect", node).said, said)
        self.world.run(1)
        self.assertEqual((self.node.peers, self.node.status().dialled), ([], ()))
        self.assertEqual(self.post("/act/ban", {**node, "seconds": 60}).said, said)
        self.assertEqual([50 < each.seconds <= 60 for each in self.node.bans], [True])
        self.assertEqual(self.post("/act/ban", node).said, said)
        self.assertEqual([each.seconds for each in self.node.bans], [inf])
        self.assertEqual(self.post("/act/unban", node).said, said)
        self.assertEqual(self.node.bans, [])
        for act in ("disconnect", "ban", "unban"):
            for changes in ({"X_Gossiplog_Token": "no"}, {"Origin": "http://evil.example"}):
                self.assertEqual(self.post(f"/act/{act}", node, **changes).status, 403)


class FeedTests(WebCase):
    """Who watches."""

    def test_begin_and_go_on(self) -> None:
        """First how it is, then what is new."""
        _, transport = self.watch()
        self.world.run(0.1)
        names = [name for name, _ in self.events(transport.value())]
        self.assertEqual(names, ["begin", "status"])
        self.site.append(b"<script>alert(1)</script>")
        self.world.run(2 * limits.WEB_TURN_SECONDS)
        said = self.events(transport.value())
        self.assertEqual(said[-1][1]["entries"] if said[-1][0] == "status" else 1, 1)
        entries = [entry for name, value in said if name == "entries" for entry in value["entries"]]
        self.assertEqual(
            [(each["kind"], each["text"]) for each in entries], [("text", "<script>alert(1)</script>")]
        )

    def test_slow(self) -> None:
        """Nothing waits for who does not read; when it reads it is told how it is, and how much it missed."""
        _channel, transport = self.watch()
        self.world.run(0.1)
        transport.producer.pauseProducing()
        size = len(transport.value())
        for _ in range(10):
            self.site.append(b"missed")
            self.world.run(limits.WEB_TURN_SECONDS)
        self.assertEqual(len(transport.value()), size)
        transport.producer.resumeProducing()
        self.world.run(limits.WEB_TURN_SECONDS)
        said = self.events(transport.value())[2:]
        self.assertEqual([name for name, _ in said if name != "growth"], ["status", "entries"])
        self.assertEqual(said[-1][1], {"entries": [], "more": 10})

    def test_who_reads_nothing_is_let_go(self) -> None:
        """After a while."""
        _channel, transport = self.watch()
        self.world.run(0.1)
        transport.producer.pauseProducing()
        self.world.run((limits.WEB_STALLED_TURNS - 1) * limits.WEB_TURN_SECONDS)
        self.assertTrue(self.hub.feed.is_watched)
        self.world.run(3 * limits.WEB_TURN_SECONDS)
        self.assertFalse(self.hub.feed.is_watched)
        self.assertTrue(transport.disconnected or transport.aborting)

    def test_too_many_watch(self) -> None:
        """And another one may when one is gone."""
        channels = [self.watch()[0] for _ in range(limits.MAX_WEB_WATCHERS)]
        _, transport = self.watch()
        self.assertEqual(Answer(transport.value()).status, 503)
        channels[0].connectionLost(GONE)
        self.assertEqual(len(self.hub.feed._watchers), limits.MAX_WEB_WATCHERS - 1)
        _, transport = self.watch()
        self.assertEqual(Answer(transport.value()).status, 200)

    def test_the_end(self) -> None:
        """Who watches a node that stops is let go."""
        self.watch()
        self.hub.stop()
        self.assertFalse(self.hub.feed.is_watched)
        self.assertIsInstance(self.hub.feed, Feed)


class HubTests(WebCase):
    """How much a node is looked at."""

    def looks(self, seconds: float, authors: bool = False) -> int:
        """So often in so many seconds."""
        count = 0
        status = type(self.node).status

        def looked(node: Any, *, authors: bool = True) -> Any:
            nonlocal count
            count += 1
            return status(node, authors=authors)

        self.patch(type(self.node), "status", looked)
        self.world.run(seconds)
        self.patch(type(self.node), "status", status)
        return count

    def test_a_look_a_second(self) -> None:
        """However many watch."""
        for _ in range(5):
            self.watch()
        self.assertEqual(self.looks(10 * limits.WEB_TURN_SECONDS), 10)

    def test_nobody_watches(self) -> None:
        """A point now and then, and no entry is read."""
        self.patch(hub_module, "shown_entry", lambda entry: self.fail("read for nobody"))
        self.site.append(b"x")
        turns = 4 * limits.WEB_POINT_TURNS
        self.assertEqual(self.looks(turns * limits.WEB_TURN_SECONDS), 4)
        self.assertEqual(self.hub._news, {})

    def test_a_flood_of_entries(self) -> None:
        """Of many logs at once some are shown; the others are counted."""
        _, transport = self.watch()
        self.world.run(0.1)
        for number in range(3 * limits.WEB_ENTRIES):
            self.site.append(b"1", b"2", name=f"writer-{number}")
        self.world.run(3 * limits.WEB_TURN_SECONDS)
        said = [value for name, value in self.events(transport.value()) if name == "entries"]
        self.assertTrue(all(len(value["entries"]) <= limits.WEB_ENTRIES for value in said))
        total = sum(len(value["entries"]) + value["more"] for value in said)
        self.assertEqual(total, 6 * limits.WEB_ENTRIES)

    def test_logs_are_looked_at_once(self) -> None:
        """In a while, however often they are asked for."""
        self.hub._loop.stop()
        status = type(self.node).status
        calls: list[int] = []
        self.patch(type(self.node), "status", lambda node: (calls.append(1), status(node))[1])
        for _ in range(5):
            self.hub.logs({})
        self.assertEqual(len(calls), 1)
        self.world.run(limits.WEB_LOGS_SECONDS)
        self.hub.logs({})
        self.assertEqual(len(calls), 2)
        self.hub._loop.start(limits.WEB_TURN_SECONDS)

    def test_asked_without_end(self) -> None:
        """Some are answered in each second; the others are told to ask again."""
        answers = [self.server_status() for _ in range(2 * limits.WEB_QUESTIONS)]
        self.assertEqual(answers.count(200), limits.WEB_QUESTIONS)
        self.world.run(limits.WEB_TURN_SECONDS)
        self.assertEqual(self.server_status(), 200)

    def server_status(self) -> int:
        """Ask for logs; no time passes."""
        channel, transport = self.open()
        channel.dataReceived(f"GET /logs HTTP/1.1\r\nHost: {HERE}\r\n\r\n".encode())
        channel.connectionLost(GONE)
        return Answer(transport.value()).status

    def test_who_comes_and_goes(self) -> None:
        """Is shown what others were."""
        self.hub._loop.stop()
        status = type(self.node).status
        calls: list[int] = []

        def looked(node: Any, *, authors: bool = True) -> Any:
            calls.append(1)
            return status(node, authors=authors)

        self.patch(type(self.node), "status", looked)
        for _ in range(50):
            self.watch()[0].connectionLost(GONE)
        self.assertEqual(len(calls), 1)
        self.hub._loop.start(limits.WEB_TURN_SECONDS)

    def test_too_many_logs(self) -> None:
        """Are not looked at."""
        self.patch(limits, "MAX_WEB_LOGS", 0)
        self.site.append(b"x")
        answer = self.get("/logs")
        self.assertEqual((answer.status, "gossiplog clock" in answer.said["error"]), (400, True))


class PictureTests(SynchronousTestCase):
    """What is shown."""

    def logs(self, count: int) -> list[AuthorStatus]:
        """So many."""
        return [
            AuthorStatus(number.to_bytes(32, "little"), number, 3 * number % 1000, False, False, False, None)
            for number in range(1, count + 1)
        ]

    def test_ten_thousand_logs(self) -> None:
        """A page of them at a time, sorted and searched as asked."""
        logs = self.logs(10_000)
        first = logs_page(logs, {}, {})
        self.assertEqual((len(first["logs"]), first["total"]), (limits.WEB_ROWS, 10_000))
        self.assertEqual(first["logs"][0]["entries"], 10_000)
        self.assertEqual(len(logs_page(logs, {}, {"limit": "99999"})["logs"]), limits.WEB_ROWS)
        self.assertEqual(logs_page(logs, {}, {"from": "10000"})["logs"], [])
        seen = [
            each["author"]
            for first_row in range(0, 10_000, 50)
            for each in logs_page(logs, {}, {"from": str(first_row), "sort": "author"})["logs"]
        ]
        self.assertEqual(len(set(seen)), 10_000)
        name = format_author(logs[1234].author)
        for begins in (name, name[:15], name[7:15], name[7:].upper()):
            found = logs_page(logs, {}, {"begins": begins})
            self.assertEqual([each["author"] for each in found["logs"]], [name])
        grown = {log.author: log.entries for log in logs} | {logs[7].author: 0}
        page = logs_page(logs, grown, {"sort": "growth", "limit": "1"})
        self.assertEqual([each["growth"] for each in page["logs"]], [8])

    def test_entries(self) -> None:
        """As text where they are, in lines, with nothing that steers; a part of what is long."""

        def shown(payload: Any, **more: Any) -> tuple[str, str]:
            said = shown_entry(Entry(bytes(32), 1, bytes(32), 0, payload, **more))
            return said["kind"], said["text"]

        self.assertEqual(shown(b"one\ntwo"), ("text", "one\ntwo"))
        self.assertEqual(shown("\u202eevil\x1b[2J".encode()), ("text", "\\u202eevil\\x1b[2J"))
        self.assertEqual(shown(b"\xff\x00"), ("binary", "2 bytes: ff00"))
        self.assertEqual(shown(None, dropped=True), ("none", "the payload was dropped"))
        kind, text = shown("é".encode() * limits.WEB_ENTRY_BYTES)
        self.assertEqual(kind, "text")
        self.assertLess(len(text), limits.WEB_ENTRY_BYTES)
        self.assertTrue(text.endswith("(4,000 bytes)"))
        self.assertLess(len(shown(b"\xff" * 10**6)[1]), 200)
        far = shown_entry(Entry(bytes(32), 2**53 - 1, bytes(32), 2**63, b""))
        self.assertTrue(far["time"].startswith("9999-"))

    def test_an_hour_of_points(self) -> None:
        """And no more; a rate is never below nothing."""
        growth = Growth()
        for number in range(3 * limits.WEB_POINTS):
            growth.add(number * 5.0, number, 500 * number, 0)
        self.assertEqual(len(growth.points), limits.WEB_POINTS)
        self.assertEqual(growth.points[-1][2:], (100, 0))
        self.assertEqual(growth.add(1e6, 0, 0, 0)[2:], (0, 0))

    def test_refused(self) -> None:
        for asked in ({"sort": "evil"}, {"from": "x"}, {"limit": "-1"}):
            self.assertRaises(InvalidValueError, logs_page, [], {}, asked)
