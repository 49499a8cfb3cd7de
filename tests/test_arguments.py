"""Ring 1: whatever a program gives as an argument of whatever is public, it is refused by name, or means what it says.

A table of every public callable with its parameters, each given every nonsense value.  What is refused is refused with
an error that names the parameter; what is not stands in the table as meant.  The store and the node go on.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from math import inf, nan
from pathlib import Path
from typing import Any, get_type_hints

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

import gossiplog
from gossiplog import (
    Clock,
    Cursor,
    ForkProof,
    GossiplogError,
    Head,
    LiveSearch,
    LiveView,
    Network,
    Node,
    Quotas,
    Reader,
    Reference,
    Search,
    Segment,
    SSHAgent,
    Store,
    Ticket,
    Writer,
    aio,
    blocking,
    format_author,
    import_store,
    open_store,
    parse_author,
    restore_store,
    short_key,
    testing,
)
from gossiplog.live.follows import Follows
from gossiplog.net.settings import NodeOptions
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.testing.network import VirtualThread
from tests.netcase import NETWORK, World


class Thing:
    """Of no use to anybody."""


NONSENSE: dict[str, Any] = {
    "None": None,
    "5": 5,
    "5.5": 5.5,
    "nan": nan,
    "inf": inf,
    "text": "x",
    "no text": "",
    "bytes": b"x",
    "[]": [],
    "{}": {},
    "()": (),
    "object": Thing(),
    "class": Thing,
    "-1": -1,
    "0": 0,
    "2**70": 2**70,
    "-(2**70)": -(2**70),
    "True": True,
    "False": False,
    "surrogate": "\ud800",
    "NUL": "a\0b",
    "long text": "x" * 10_000,
    "long bytes": b"x" * 10_000,
    "function": lambda *_: None,
    "generator": (x for x in ()),
    "set": {1},
    "complex": 1j,
}

NUMBERS = {"5", "0", "-1", "2**70", "-(2**70)"}
TIMES = {"5", "5.5", "0", "2**70"}
FLAGS = {"True", "False"}
NOTHING = {"None"}
TEXT = {"text", "no text", "surrogate", "NUL", "long text"}
ITERABLES = {"[]", "()", "generator"}
HASHABLE = frozenset(NONSENSE) - {"[]", "{}", "set"}
"""What may be looked for, although it is nowhere."""


INTERNAL = {f"Follows.{name}" for name in ("on", "listen", "joined", "tell", "forked", "committed", "close")}
INTERNAL |= {"Cursor.apply", "Cursor.difference", "DamageReports.found", "Quotas.or_else", "Clock.range"}
"""What layers of gossiplog ask of each other."""


class Call:
    """One parameter of one call: ``meant`` names the values that it takes."""

    def __init__(
        self, name: str, parameter: str, call: Callable[[Any], Any], meant: Iterable[str] = ()
    ) -> None:
        self.name = name
        self.parameter = parameter
        self.call = call
        self.meant = frozenset(meant)


class ArgumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.site("a"), self.world.site("b")
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir()
        self.a.append(b"one", b"two")
        self.ours: Writer = self.world.result(self.a.store.writer())

    # -- the table

    def networks(self) -> Iterator[Call]:
        """Those of ``gossiplog.testing``."""
        network = testing.Network(1)
        ann, _ = network.machine("ann"), network.machine("bob")
        qualities, line = testing.Quality, testing.Quality()

        async def nothing() -> None:
            """Nothing."""

        yield Call("testing.Chain", "key", testing.Chain, {"5", "0", "2**70"})
        yield Call("testing.Network", "seed", testing.Network, NUMBERS)
        yield Call("testing.Network", "quality", lambda value: testing.Network(1, quality=value))
        for name, meant in (
            ("delay", TIMES),
            ("bytes_per_second", TIMES - {"0"} | {"inf"}),
            ("lasts", TIMES),
        ):
            made = lambda value, name=name: testing.Network(1, quality=qualities(**{name: value}))  # noqa: E731
            yield Call("testing.Quality", name, made, meant)
        yield Call("testing.Network.machine", "name", network.machine, {"text"})
        yield Call("testing.Network.machine", "disk", lambda value: network.machine("cleo", disk=value))
        yield Call("testing.Network.cut", "machine", lambda value: network.cut(value, "bob"), {"text"})
        yield Call("testing.Network.cut", "machine", lambda value: network.cut("ann", value), {"text"})
        yield Call(
            "testing.Network.cut", "silent", lambda value: network.cut("ann", "bob", silent=value), FLAGS
        )
        yield Call("testing.Network.partition", "machine", network.partition, {"[]", "{}", "()"})
        yield Call(
            "testing.Network.partition", "silent", lambda value: network.partition(silent=value), FLAGS
        )
        yield Call("testing.Network.heal", "machine", lambda value: network.heal("ann", value), {"text"})
        yield Call(
            "testing.Network.become",
            "machine",
            lambda value: network.become(value, "bob", line),
            {"text"},
        )
        yield Call("testing.Network.become", "quality", lambda value: network.become("ann", "bob", value))
        yield Call("testing.Network.advance", "seconds", network.advance, TIMES)
        yield Call("testing.Network.sleep", "seconds", network.sleep, TIMES)
        yield Call("testing.Network.start", "coroutine", network.start)
        yield Call("testing.Network.run", "coroutine", network.run)
        yield Call("testing.Network.run", "seconds", lambda value: network.run(nothing(), value), TIMES)
        yield Call(
            "testing.Network.run_until",
            "seconds",
            lambda value: network.run_until(lambda: True, value),
            TIMES,
        )
        yield Call("testing.Network.until", "condition", network.until, {"function", "class"})
        yield Call("testing.Machine.crash", "silent", lambda value: ann.crash(silent=value), FLAGS)

    def functions(self) -> Iterator[Call]:
        reactor = self.world.reactor
        place = self.place / "made"
        real: Any = Thing()
        real.callLater = real.callFromThread = lambda *_: None

        def opened(where: Any, at: Any = real, **how: Any) -> None:
            open_store(where, at, **how)._core.thread.end()

        source = self.place / "source"
        opened(source)
        yield Call("open_store", "path", lambda value: opened(value), {"text", "bytes"})
        yield Call("open_store", "reactor", lambda value: opened(place, value))
        yield Call("open_store", "init", lambda value: opened(source, init=value), FLAGS)
        yield Call("open_store", "read_only", lambda value: opened(source, read_only=value), FLAGS)
        yield Call("open_store", "wait", lambda value: opened(source, wait=value), TIMES)
        yield Call("open_store", "state", lambda value: opened(source, state=value), NOTHING)
        yield Call(
            "open_store",
            "passphrase",
            lambda value: opened(source, passphrase=value),
            {"text", "NUL", "None"},
        )
        yield Call("open_store", "signer", lambda value: opened(source, signer=value), NOTHING)
        yield Call("SSHAgent", "path", SSHAgent, {"text", "bytes", "None", "long text", "long bytes"})
        yield Call("import_store", "path", lambda value: import_store(value, source), {"text", "bytes"})
        yield Call("import_store", "path", lambda value: import_store(place, value), {"text", "bytes"})
        yield Call("restore_store", "path", lambda value: restore_store(value, place))
        yield Call("import_store", "quotas", lambda value: import_store(place, source, quotas=value), NOTHING)
        yield Call("import_store", "wait", lambda value: import_store(place, source, wait=value), TIMES)
        yield Call("format_author", "author", format_author)
        yield Call("parse_author", "key", parse_author)
        yield Call("short_key", "key", short_key, {"bytes", "long bytes"})
        yield Call("Network", "key", Network)
        yield Call("Network.from_key", "key", Network.from_key)
        yield Call("Network.from_name", "name", Network.from_name, {"text"})
        yield Call("Network.of_author", "author", Network.of_author)
        yield Call("Network.parse", "text", Network.parse, {"text"})
        yield Call("Ticket", "network", Ticket)
        yield Call("Ticket", "addresses", lambda value: Ticket(NETWORK, value), {"[]", "()"})
        yield Call("Ticket", "endpoint", lambda value: Ticket(NETWORK, [value]))
        yield Call("Ticket", "node", lambda value: Ticket(NETWORK, (), value), NOTHING)
        yield Call("Ticket.parse", "ticket", Ticket.parse)
        yield Call("Ticket.of", "network", Ticket.of, {"text"})
        for door in (aio, blocking):
            name = door.__name__.rpartition(".")[2]
            yield Call(f"{name}.Store", "wait", lambda value, door=door: door.Store(place, wait=value), TIMES)
            yield Call(f"{name}.Node", "store", lambda value, door=door: door.Node(value, network=NETWORK))
        with blocking.Store(place) as waiting:

            def verified(timeout: Any) -> None:
                waiting.timeout = timeout
                with contextlib.suppress(TimeoutError):
                    waiting.verify()

            yield Call("blocking.Store", "timeout", verified, TIMES | NOTHING)
            waiting.timeout = None
        yield Call("ForkProof.load", "content", ForkProof.load)
        yield from self.networks()
        for quota in ("authors", "bytes_per_author", "bytes"):
            yield Call(
                "Quotas", quota, lambda value, quota=quota: Quotas(**{quota: value}), {"None", "5", "2**70"}
            )
        yield Call(
            "Quotas",
            "entries_per_second",
            lambda value: Quotas(entries_per_second=value),
            {"None", "5", "5.5", "inf", "2**70"},
        )

        store = Store(lambda: Logs(MemoryBackend("c")), reactor, "c", thread=VirtualThread)

        def made(**settings: Any) -> None:
            ours = {"reactor": reactor, "store": store, "network": NETWORK, **settings}
            self.world.result(Node(ours.pop("reactor"), ours.pop("store"), **ours).stop())

        yield Call("Node", "reactor", lambda value: made(reactor=value))
        yield Call("Node", "store", lambda value: made(store=value))
        yield Call("Node", "agent", lambda value: made(agent=value), {"text", "no text", "NUL"})
        yield Call("Node", "random", lambda value: made(random=value), {"function", "class", "None"})
        yield Call("Node", "quotas", lambda value: made(quotas=value), NOTHING)
        yield Call("Node", "mode", lambda value: made(mode=value), set())
        yield Call("Node", "max_memory", lambda value: made(max_memory=value), {"None", "2**70"})
        yield Call("Node", "network", lambda value: made(network=value))

    def store(self) -> Iterator[Call]:
        store = self.a.store
        yield Call("Store.writer", "name", store.writer, {"text"})
        yield Call("Store.writer", "encoding", lambda value: store.writer(encoding=value))
        yield Call("Store.add_writer", "author", store.add_writer)
        yield Call("Store.add_writer", "name", lambda value: store.add_writer(bytes(32), value), {"text"})
        yield Call("Store.unlock", "passphrase", store.unlock, {"text", "NUL"})
        yield Call("Store.protect", "passphrase", store.protect, {"text", "NUL", "None"})
        yield Call(
            "Store.protect",
            "passphrase",
            lambda value: store.protect(None, old=value),
            {"text", "NUL", "None"},
        )
        yield Call("Store.add_fork", "proof", store.add_fork)
        self.patch(VirtualThread, "beside", lambda *_: None)
        paths = {"text", "bytes", "long text", "long bytes"}
        lists = NOTHING | {"[]", "()", "generator"}
        yield Call("Store.export", "path", store.export, paths)
        yield Call("Store.export", "authors", lambda value: store.export("x", authors=value), lists)
        yield Call("Store.export", "since", lambda value: store.export("x", since=value), NOTHING)
        yield Call("Store.import_", "path", store.import_, paths)
        yield Call("Store.backup", "path", store.backup, paths)
        yield Call("Store.backup", "seeds", lambda value: store.backup("x", seeds=value), FLAGS)
        yield Call("Store.backup", "check", lambda value: store.backup("x", check=value), FLAGS)
        yield Call("Store.import_", "quotas", lambda value: store.import_("x", quotas=value), NOTHING)
        for field in range(5):
            good: list[Any] = [
                bytes(32),
                1,
                bytes(32),
                bytes(64),
                Segment(bytes(32), 1, 1, bytes(32), bytes(64), b""),
            ]

            def broken(value: Any, field: int = field, good: list[Any] = good) -> Any:
                return store.add_fork(ForkProof(*good[:field], value, *good[field + 1 :]))

            yield Call("Store.add_fork", "", broken)
        yield Call("Store.fork_proof", "author", store.fork_proof)
        author = self.a.author()
        yield Call("Store.read", "author", store.read, NOTHING)
        yield Call("Store.read", "first", lambda value: store.read(author, first=value), {"5", "2**70"})
        yield Call(
            "Store.read", "last", lambda value: store.read(author, last=value), {"None", "5", "0", "2**70"}
        )
        yield Call("Store.read", "after", lambda value: store.read(after=value), NOTHING)
        yield Call("Store.read", "live", lambda value: store.read(live=value), FLAGS)
        yield Call("Store.read", "tail", lambda value: store.read(tail=value), FLAGS)
        yield Call("Store.read", "order", lambda value: store.read(order=value))
        yield Call("Store.read", "settle", lambda value: store.read(order="causal", settle=value), TIMES)
        yield Call("Store.read", "encoding", lambda value: store.read(encoding=value))
        number = {"None", "5", "0", "2**70"}
        yield Call("Store.read", "newest", lambda value: store.read(newest=value), number)
        yield Call("Store.read", "reverse", lambda value: store.read(reverse=value), FLAGS)
        functions = {"None", "function", "class"}
        yield Call("Store.read", "where", lambda value: store.read(where=value), functions)
        yield Call("Store.entry", "author", lambda value: store.entry(value, 1))
        yield Call("Store.entry", "seq", lambda value: store.entry(author, value), {"5", "2**70"})
        yield Call("Store.entry", "encoding", lambda value: store.entry(author, 1, encoding=value))
        reader = store.read()
        yield Call("Reader.batches", "size", reader.batches, {"5", "2**70"})
        yield Call("Reader.batches", "idle", lambda value: reader.batches(1, idle=value), TIMES)
        yield Call("Store.timeline", "limit", lambda value: store.timeline(value), {"5", "2**70"})
        yield Call(
            "Store.timeline", "authors", lambda value: store.timeline(authors=value), NOTHING | ITERABLES
        )
        yield Call("Store.timeline", "since", lambda value: store.timeline(since=value), NOTHING)
        yield Call("Store.timeline", "before", lambda value: store.timeline(before=value), NOTHING)
        yield Call("Store.timeline", "older", lambda value: store.timeline(older=value), NOTHING)
        yield Call(
            "Store.timeline",
            "where",
            lambda value: store.timeline(where=value),
            NOTHING | {"function", "class"},
        )
        yield Call("Store.timeline", "encoding", lambda value: store.timeline(encoding=value))
        yield Call("Store.view", "view", store.view)
        yield Call("Store.cursor", "name", store.cursor, {"text", "NUL"})
        yield Call(
            "Store.save_cursor", "name", lambda value: store.save_cursor(value, Cursor()), {"text", "NUL"}
        )
        yield Call("Store.save_cursor", "cursor", lambda value: store.save_cursor("c", value), NOTHING)

    def views(self) -> Iterator[Call]:
        live = self.world.result(self.a.store.view(Search(str)))
        for name in ("LiveView.query", "LiveSearch.query"):
            yield Call(name, "sql", live.query, TEXT)
            yield Call(name, "parameters", lambda value: live.query("SELECT 1", value), {"[]", "{}", "()"})
            yield Call(name, "timeout", lambda value: live.query("SELECT 1", timeout=value), TIMES)
        yield Call("LiveSearch.find", "text", live.find, TEXT - {"long text"})
        yield Call("LiveSearch.find", "limit", lambda value: live.find("x", limit=value), {"5", "2**70"})
        yield Call(
            "LiveSearch.find", "offset", lambda value: live.find("x", offset=value), {"5", "0", "2**70"}
        )
        yield Call("LiveSearch.find", "order", lambda value: live.find("x", order=value))
        yield Call("LiveSearch.find", "timeout", lambda value: live.find("x", timeout=value), TIMES)
        yield Call("Search", "text", Search, {"function", "class"})
        yield Call("Search", "tokenize", lambda value: Search(str, tokenize=value), TEXT)
        yield Call("Search", "name", lambda value: self.a.store.view(Search(str, name=value)), {"text"})
        yield Call(
            "Search", "version", lambda value: self.a.store.view(Search(str, version=value, name="v")), {"5"}
        )
        yield Call(
            "Search", "encoding", lambda value: self.a.store.view(Search(str, encoding=value, name="e"))
        )

    def writer(self) -> Iterator[Call]:
        store = self.a.store
        wanted = {
            "bytes": {"bytes", "long bytes"},
            "utf-8": TEXT - {"surrogate"},
            "json": set(NONSENSE)
            - {
                "nan",
                "inf",
                "bytes",
                "()",
                "object",
                "class",
                "surrogate",
                "long bytes",
                "function",
                "generator",
            }
            - {"set", "complex"},
            "msgpack": set(NONSENSE)
            - {
                "nan",
                "()",
                "object",
                "class",
                "2**70",
                "-(2**70)",
                "surrogate",
                "function",
                "generator",
                "set",
            }
            - {"complex"},
        }
        for encoding, meant in wanted.items():
            writer = self.world.result(store.writer("of " + encoding, encoding=encoding))
            yield Call("Writer.append", "payload", writer.append, meant)
            yield Call(
                "Writer.append_many",
                "payload",
                lambda value, writer=writer: writer.append_many([value]),
                meant,
            )
        yield Call("Writer.append", "after", lambda value: self.ours.append(b"", after=value), ITERABLES)
        for field, value in enumerate(Reference(self.a.author(), 1, bytes(16))):

            def referring(value: Any, field: int = field) -> Any:
                good: list[Any] = [self.a.author(), 1, bytes(16)]
                return self.ours.append(b"", after=[Reference(*good[:field], value, *good[field + 1 :])])

            yield Call("Writer.append", "after", referring)
        yield Call("Writer.append_many", "payload", self.ours.append_many, ITERABLES)

    def follows(self) -> Iterator[Call]:
        follows = self.a.store.interest
        for method in ("follow", "unfollow", "block", "unblock"):
            for owner in (follows, self.a.node):
                name = f"{type(owner).__name__}.{method}"
                do = getattr(owner, method)
                yield Call(name, "author", do)
                yield Call(name, "author", lambda value, do=do: do(bytes(32), value))
        for owner in (follows, self.a.node):
            name = f"{type(owner).__name__}.block"
            yield Call(name, "delete", lambda value, owner=owner: owner.block(bytes(32), delete=value), FLAGS)
        yield Call("Follows.only_followed", "only", self.b.store.interest.only_followed, {"False"})

    def node(self) -> Iterator[Call]:
        node = self.a.node
        yield Call("Node.listen", "endpoint", node.listen)
        yield Call("Node.connect", "endpoint", node.connect)
        yield Call(
            "Node.subscribe", "subscriber", lambda value: node.subscribe(value)(), {"function", "class"}
        )
        yield Call("Node.when", "kind", node.when)
        yield Call("Node.when", "where", lambda value: node.when(where=value), {"None", "function", "class"})
        yield Call("Node.events", "kind", node.events)
        yield Call("Node.when_in_sync", "peer", node.when_in_sync)
        yield Call("Node.recover", "peer", node.recover)
        yield Call("Node.unban", "peer", node.unban)
        yield Call("Node.ban", "peer", node.ban)
        yield Call("Node.ban", "seconds", lambda value: node.ban(bytes(32), seconds=value), TIMES | {"inf"})
        yield Call("Node.ban", "reason", lambda value: node.ban(bytes(32), reason=value), TEXT | {"no text"})
        yield Call("Node.disconnect", "peer", node.disconnect)
        yield Call("Node.status", "authors", lambda value: node.status(authors=value), FLAGS)
        yield Call("Node.join", "ways", lambda value: node.join(value))
        yield Call("Node.join", "links", lambda value: node.join(links=value).leave(), {"5"})
        yield Call("Node.join", "max_links", lambda value: node.join(max_links=value).leave())
        yield Call("Node.join", "tell_peers", lambda value: node.join(tell_peers=value).leave(), FLAGS)
        yield Call("Node.connect_to", "node", node.connect_to)
        yield Call("Node.forget", "endpoint", node.forget, TEXT)
        joined = node.join()
        yield Call("Joined.flush", "timeout", joined.flush, TIMES)

    def clocks(self) -> Iterator[Call]:
        author, head = bytes(32), Head(1, bytes(32))
        cursor = Cursor({author: (5, b"")})
        yield Call("Clock", "heads", Clock, ITERABLES | {"{}"})
        yield Call("Clock", "heads", lambda value: Clock({author: value}))
        yield Call("Clock.advance", "head", lambda value: Clock().advance(author, value))
        yield Call("Clock.replace", "head", lambda value: Clock().replace(author, value))
        yield Call("Clock.set", "head", lambda value: Clock().set(author, value), NOTHING)
        for method in ("merge", "compare", "difference"):
            yield Call(
                f"Clock.{method}",
                "other",
                lambda value, method=method: getattr(Clock({author: head}), method)(value),
            )
        yield Call("Cursor", "read", Cursor, ITERABLES | {"{}"})
        yield Call("Cursor", "read", lambda value: Cursor({author: value}))
        yield Call("Cursor.of", "clock", Cursor.of)
        yield Call("Cursor.load", "bytes", Cursor.load)
        yield Call("Cursor.difference", "before", cursor.difference)
        yield Call("Cursor.apply", "changes", cursor.apply, ITERABLES | {"{}"})
        yield Call("Cursor.apply", "changes", lambda value: cursor.apply({author: value}), {"None"})
        yield Call("Cursor.advance", "author", lambda value: Cursor().advance(value, 1))
        yield Call("Cursor.advance", "seq", lambda value: Cursor().advance(author, value), {"5"})
        yield Call("Cursor.advance", "id", lambda value: Cursor().advance(author, 1, value), {"long bytes"})
        for method in ("seq", "id8", "discard"):
            yield Call(f"Cursor.{method}", "author", getattr(cursor, method), HASHABLE)
        for method in ("seq", "head", "discard"):
            yield Call(f"Clock.{method}", "author", getattr(Clock({author: head}), method), HASHABLE)

    # -- what holds for all of it

    def check(self, calls: Iterable[Call]) -> list[str]:
        """What is not as it should be."""
        wrong = []
        for call in calls:
            for name, value in NONSENSE.items():
                about = f"{call.name}({call.parameter}={name})"
                try:
                    result = call.call((x for x in ()) if name == "generator" else value)
                    if isinstance(result, Deferred):
                        result.addErrback(lambda _: None)
                    if isinstance(result, Reader):
                        result.close()
                except GossiplogError as error:
                    if name in call.meant:
                        wrong.append(f"{about} is meant, and raises {error!r}")
                    elif call.parameter not in str(error) and not self.names(call, error):
                        wrong.append(f"{about}: not named in {error}")
                except TypeError as error:
                    if "unhashable" not in str(error) or call.meant != HASHABLE:
                        wrong.append(f"{about} raises {error!r}")
                except Exception as error:
                    wrong.append(f"{about} raises {error!r}")
                else:
                    if name not in call.meant:
                        wrong.append(f"{about} is taken")
        return wrong

    def names(self, call: Call, error: GossiplogError) -> bool:
        """Whether an error says in another word what it is about."""
        words = {
            "path": "store", "text": "network", "content": "proof", "where": "with a notice", "heads": "head",
            "read": "cursor", "only": "interest", "kind": "notice",
        }  # fmt: skip
        return words.get(call.parameter, "\0") in str(error)

    def assert_table(self, calls: Iterable[Call]) -> None:
        wrong = self.check(calls)
        self.assertEqual(wrong, [], "\n".join(wrong))
        self.a.append(b"goes on")
        self.assertTrue(self.world.result(self.a.store.verify()).ok)
        self.b.node.connect(self.a.listen())
        self.world.run(5)
        self.assertTrue(self.b.node.peers)
        self.assertEqual(self.b.store.clock.seq(self.a.author()), self.a.store.clock.seq(self.a.author()))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_functions_and_constructors(self) -> None:
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.place)
        self.assert_table(self.functions())

    def test_store(self) -> None:
        self.assert_table(self.store())

    def test_views(self) -> None:
        self.assert_table(self.views())

    def test_writer(self) -> None:
        self.assert_table(self.writer())

    def test_follows(self) -> None:
        self.assert_table(self.follows())

    def test_node(self) -> None:
        self.assert_table(self.node())

    def test_clocks(self) -> None:
        self.assert_table(self.clocks())

    def test_options_of_a_node(self) -> None:
        """What the other front doors pass on is what a node takes, and all of it."""
        said = inspect.signature(Node).parameters
        taken = {name for name, each in said.items() if each.kind is each.KEYWORD_ONLY} - {"network"}
        self.assertEqual(set(NodeOptions.__annotations__), taken)
        hints, declared = get_type_hints(Node.__init__), get_type_hints(NodeOptions)
        self.assertEqual({name: hints[name] for name in taken}, declared)

    def test_everything_public_is_in_the_table(self) -> None:
        """But for what nodes and readers ask of a store, and what takes nothing."""
        parts = (self.functions, self.store, self.views, self.writer, self.follows, self.node, self.clocks)
        known = {call.name for part in parts for call in part()}
        public = {name: getattr(gossiplog, name) for name in gossiplog.__all__ if name[0].islower()}
        for owner in (
            Clock,
            Cursor,
            Follows,
            ForkProof,
            LiveSearch,
            LiveView,
            Network,
            Node,
            Quotas,
            Reader,
            Store,
            Ticket,
            Writer,
        ):
            for name, method in inspect.getmembers(owner, callable):
                if name[0] != "_" and not hasattr(tuple, name):
                    public[f"{owner.__name__}.{name}"] = method
        taking = {name for name, call in public.items() if set(inspect.signature(call).parameters) - {"self"}}
        self.assertEqual(taking - known - INTERNAL, set())

    def test_errors_of_what_is_iterated_over(self) -> None:
        """They come as they are: nobody takes them for an error of the encoding."""

        def failing(error: Exception) -> Iterator[bytes]:
            yield b"never written"
            raise error

        before = self.a.store.clock.total()
        for error in (
            ValueError("mine"),
            TypeError("mine"),
            OverflowError(),
            RecursionError(),
            UnicodeError(),
            KeyError(),
        ):
            self.assertIs(self.assertRaises(type(error), self.ours.append_many, failing(error)), error)
        self.a.append(b"one")
        self.assertEqual(self.a.store.clock.total(), before + 1)
