"""Figures of a node for Prometheus.

Responsible for: their names, what each is, and answering who collects them.
Must not know: how a node counts.
Invariant: nothing is counted here that is counted elsewhere; who does not collect costs nothing; no name, key, address
or text of others is in a figure, and there are as many series as there are rows here, whatever happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from gossiplog.app.happenings import NAMES
from gossiplog.app.http import BoundedSite, listen
from gossiplog.errors import ByeCode, InvalidValueError
from gossiplog.live.logger import NodeLog
from gossiplog.net.endpoints import describe
from gossiplog.node import Node
from gossiplog.notices import NewEntries, Notice, PeerDown, StrangersTurnedAway

if TYPE_CHECKING:
    from gossiplog.status import Status

_log = NodeLog()


class Seen(NamedTuple):
    """What figures of one node are made of."""

    status: Status
    over_quota: int
    tally: Tally


class Row(NamedTuple):
    """One figure: its name without ``gossiplog_``, what it is, and how it is read; with a ``label``, one for each."""

    name: str
    about: str
    read: Callable[[Seen], Any]
    label: str = ""


GAUGES: Final = (
    Row("peers", "Peers with an open session.", lambda seen: len(seen.status.peers)),
    Row("logs", "Logs of which anything is held.", lambda seen: seen.status.log_count),
    Row("entries", "Entries held.", lambda seen: seen.status.entries),
    Row(
        "entries_to_come",
        "Entries that peers say to hold and are not on our disk.",
        lambda seen: seen.status.to_come,
    ),
    Row(
        "entries_to_send",
        "Entries that peers are to get and were not given yet.",
        lambda seen: seen.status.to_send,
    ),
    Row("caught_up", "1 when all that peers told of is on our disk.", lambda seen: seen.status.caught_up),
    Row("forked_logs", "Logs whose authors signed two.", lambda seen: seen.status.fork_count),
    Row(
        "logs_over_quota",
        "Logs of which nothing is taken because of a quota.",
        lambda seen: seen.over_quota,
    ),
    Row("banned_nodes", "Nodes that are kept out.", lambda seen: len(seen.status.bans)),
    Row("dialled_endpoints", "Endpoints that are kept dialled.", lambda seen: len(seen.status.dialled)),
    Row(
        "store_copied", "1 when the store is a copy and does not sign.", lambda seen: bool(seen.status.copied)
    ),
    Row("store_locked", "1 when its writers wait for a passphrase.", lambda seen: seen.status.locked),
    Row("log_bytes", "What logs and fork proofs take on disk.", lambda seen: seen.status.log_bytes),
    Row(
        "disk_bytes",
        "Bytes of files in the directory of the store.",
        lambda seen: {
            kind: getattr(seen.status.disk, kind) for kind in ("logs", "journal", "views", "other")
        },
        "kind",
    ),
    Row("disk_free_bytes", "Bytes that the file system has left.", lambda seen: seen.status.disk.free),
    Row("queued_jobs", "Jobs that wait for the store.", lambda seen: seen.status.queues.jobs),
    Row("queued_messages", "Messages of peers that wait.", lambda seen: seen.status.queues.messages),
    Row("peer_memory_bytes", "Memory that is kept for peers.", lambda seen: seen.status.queues.memory_bytes),
    Row("peer_memory_limit_bytes", "Of that the most.", lambda seen: seen.status.queues.max_memory_bytes),
    Row("commit_longest_seconds", "The longest commit.", lambda seen: seen.status.commits.longest_seconds),
    Row("build_info", "1.", lambda seen: {version("gossiplog"): 1}, "version"),
)

COUNTERS: Final = (
    Row("received_bytes", "Bytes that came from peers.", lambda seen: seen.status.bytes_in),
    Row("sent_bytes", "Bytes that went to peers.", lambda seen: seen.status.bytes_out),
    Row("sent_entries", "Entries that went to peers.", lambda seen: seen.status.entries_out),
    Row("commits", "Commits.", lambda seen: seen.status.commits.count),
    Row("commit_seconds", "Time that commits took.", lambda seen: seen.status.commits.seconds),
    Row(
        "committed_entries", "Entries that commits brought to disk.", lambda seen: seen.status.commits.entries
    ),
    Row("committed_bytes", "Bytes of these.", lambda seen: seen.status.commits.bytes),
)


_CODES: Final = {int(code): code.name.lower() for code in ByeCode}


class Tally:
    """I count what a node tells, while somebody collects."""

    def __init__(self, node: Node) -> None:
        self._local = node.store._core.local
        self.events: Counter[str] = Counter(dict.fromkeys(NAMES.values(), 0))
        self.entries: Counter[str] = Counter(local=0, peers=0)
        self.ends: Counter[str] = Counter(dict.fromkeys([*_CODES.values(), "other"], 0))
        self.strangers = 0
        self.stop = node.subscribe(self._told)

    def _told(self, notice: Notice) -> None:
        self.events[NAMES[type(notice)]] += 1
        match notice:
            case NewEntries(author, first, last):
                self.entries["local" if author in self._local else "peers"] += last - first + 1
            case PeerDown(_, code, _):
                self.ends[_CODES.get(code, "other")] += 1
            case StrangersTurnedAway():
                self.strangers += notice.count


TALLIED: Final = (
    Row(
        "new_entries",
        "Entries that are new on disk, by who wrote them.",
        lambda seen: seen.tally.entries,
        "author",
    ),
    Row(
        "events",
        "What happened, by the name that it has in the log.",
        lambda seen: seen.tally.events,
        "event",
    ),
    Row("sessions_ended", "Sessions that ended, by how.", lambda seen: seen.tally.ends, "code"),
    Row("turned_away", "Strangers that were turned away, told together.", lambda seen: seen.tally.strangers),
)
"""What is counted here, as counters."""


class Figures:
    """I am what a registry of Prometheus collects of a node, or, with a ``label``, of several, by what that says."""

    def __init__(self, label: str = "") -> None:
        self._core: Any = client()
        self._label = label
        self._nodes: dict[str, tuple[Node, Tally]] = {}
        self._seen: dict[str, Seen] = {}
        self.registry: Any = self._core.CollectorRegistry()
        self.registry.register(self)
        self._core.ProcessCollector(registry=self.registry)

    def add(self, node: Node, name: str = "") -> Tally:
        """Count and show ``node``."""
        tally = Tally(node)
        self._nodes[name] = node, tally
        return tally

    def remove(self, name: str) -> None:
        """Do so no more."""
        _, tally = self._nodes.pop(name)
        tally.stop()

    def describe(self) -> list[Any]:
        """Nothing is looked at when a registry takes me."""
        return []

    def collect(self) -> Iterator[Any]:
        """Give all figures of those that were looked at, or look at all.  O(peers and what they are owed)."""
        if not self._seen:
            for _ in self.look():
                pass
        seen, self._seen = self._seen, {}
        families = import_module("prometheus_client.core")
        for rows, family in (
            (GAUGES, families.GaugeMetricFamily),
            ((*COUNTERS, *TALLIED), families.CounterMetricFamily),
        ):
            for row in rows:
                yield self._filled(family, row, {name: row.read(each) for name, each in seen.items()})

    def look(self) -> Iterator[None]:
        """Look at one node after the other, for what is collected next."""
        for name, (node, tally) in tuple(self._nodes.items()):
            self._seen[name] = Seen(node.status(authors=False), len(node.over_quota), tally)
            yield

    def text(self) -> bytes:
        """Return what a server of Prometheus reads."""
        return bytes(self._core.generate_latest(self.registry))

    async def text_of_many(self, reactor: Any) -> bytes:
        """Return the same, without holding up the reactor for as long as many nodes take."""
        for _ in self.look():
            await deferLater(reactor, 0)
        return await deferToThreadPool(reactor, reactor.getThreadPool(), self.text)

    def _filled(self, family: Any, row: Row, values: Mapping[str, Any]) -> Any:
        labels = [label for label in (self._label, row.label) if label]
        made = family(f"gossiplog_{row.name}", row.about, labels=labels or None)
        for name, value in values.items():
            of = [name] if self._label else []
            for label, number in value.items() if isinstance(value, Mapping) else (("", value),):
                made.add_metric([*of, label] if row.label else of, float(number))
        return made


class MetricsPage(Resource):
    """I answer ``GET /metrics``."""

    isLeaf = True

    def __init__(self, figures: Figures, many: Any = None) -> None:
        """``many``: the reactor, where there are many nodes to look at."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._figures = figures
        self._many = many
        self._busy: Deferred[bytes] | None = None

    def render(self, request: Request) -> bytes | int:
        """Answer; there is nothing else here, and nothing to do."""
        request.setHeader("X-Content-Type-Options", "nosniff")
        if request.method not in (b"GET", b"HEAD") or request.path not in (b"/metrics", b"/"):
            request.setResponseCode(404)
            return b"see /metrics\n"
        request.setHeader("Content-Type", client().CONTENT_TYPE_LATEST)
        if request.method == b"HEAD":
            return b""
        return self._figures.text() if self._many is None else self._later(request)

    def _later(self, request: Request) -> bytes | int:
        if self._busy is not None:
            request.setResponseCode(503)
            return b"somebody else is answered\n"
        gone: list[Any] = []
        request.notifyFinish().addErrback(gone.append)

        def made(text: bytes | Failure) -> None:
            self._busy = None
            if isinstance(text, Failure):
                _log.failure("figures were not collected", text, event="web_failed")
                request.setResponseCode(500)
            if not gone:
                request.write(text if isinstance(text, bytes) else b"internal error\n")
                request.finish()

        self._busy = Deferred.fromCoroutine(self._figures.text_of_many(self._many))
        self._busy.addBoth(made)
        return NOT_DONE_YET


async def begin(reactor: Any, node: Node, endpoint: str, opened: AsyncExitStack) -> str:
    """Answer who collects until ``opened`` is closed; return where."""
    figures = Figures()
    opened.callback(figures.add(node).stop)
    return await answer(reactor, MetricsPage(figures), endpoint, opened)


async def answer(reactor: Any, page: MetricsPage, endpoint: str, opened: AsyncExitStack) -> str:
    """Listen for who collects until ``opened`` is closed; return where."""
    site = BoundedSite(page, reactor)
    port = await listen(reactor, endpoint, site)
    opened.push_async_callback(site.close, port)
    return describe(port.getHost())


def client() -> Any:
    """Return the module ``prometheus_client``; InvalidValueError where it is not installed."""
    try:
        return import_module("prometheus_client")
    except ImportError:
        raise InvalidValueError("metrics need prometheus-client: pip install 'gossiplog[metrics]'") from None
