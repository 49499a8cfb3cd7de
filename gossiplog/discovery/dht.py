"""Peers anywhere, through a distributed hash table.

Responsible for: :class:`Dht`: being announced under the key of the day, looking under it, when to do so again.
Must not know: sessions, entries, which of those found are dialled.
Invariant: between ``start`` and ``stop`` there are one thread and one UDP port for each kind of IP address; before and
after nothing.  What is said to the table is the key of the day and a port, and the same not again within
``DHT_FIRST_SECONDS``; a look is over after ``DHT_LOOK_SECONDS``, whoever answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed

from gossiplog import limits
from gossiplog.addresses import is_public, parse_ip
from gossiplog.arguments import check_flags
from gossiplog.discovery.dht_answers import Answers, Bootstrap
from gossiplog.discovery.dht_keys import keys_of_others, keys_to_ask
from gossiplog.discovery.extras import require
from gossiplog.discovery.torrent_session import Heard, TorrentSession, join
from gossiplog.errors import InvalidValueError
from gossiplog.net.happy_eyeballs import reaching
from gossiplog.net.interfaces import addresses, source
from gossiplog.net.ways import Finder, require_ended
from gossiplog.store.owning_process import hold

MAINLINE: Final = ("dht.libtorrent.org:25401", "router.bittorrent.com:6881", "dht.transmissionbt.com:6881")
"""Where one gets into the table of BitTorrent."""

_WAITS: Final = (limits.DHT_FIRST_SECONDS, limits.DHT_SECOND_SECONDS, limits.DHT_SECONDS)


class Dht:
    """I am the way of finding peers through the BitTorrent DHT, or through one of your own.

    ``bootstrap`` are nodes of one of your own, as ``HOST:PORT``; where such a node is to be, this way runs it itself.
    ``announce=False``: only look, and let nobody find us.
    """

    name = "dht"

    def __init__(self, bootstrap: Iterable[str] = (), *, announce: bool = True) -> None:
        require("libtorrent", "dht", "the distributed hash table")
        check_flags(announce=announce)
        if isinstance(bootstrap, str | bytes) or not isinstance(bootstrap, Iterable):
            raise InvalidValueError(f"bootstrap is a list of HOST:PORT, not {bootstrap!r:.80}")
        given = tuple(bootstrap)
        if len(given) > limits.MAX_DHT_BOOTSTRAP:
            raise InvalidValueError(f"at most {limits.MAX_DHT_BOOTSTRAP} bootstrap nodes, not {len(given)}")
        self._is_own = bool(given)
        self._bootstrap = tuple(map(Bootstrap.parse, given or MAINLINE))
        self._announces = announce
        self._wall_clock = time.time
        self._random = Random()
        self._port = 0
        self._begin()

    def _begin(self) -> None:
        self._finder: Finder | None = None
        self._session: TorrentSession | None = None
        self._hosts: tuple[str, ...] = ()
        self._nodes: list[tuple[str, int]] = []
        self._answers = Answers((), self._random)
        self._is_entering = self._is_in = self._has_asked = False
        self._asked: tuple[float, int, bytes] | None = None
        self._received = self._received_before = 0
        self._over: Deferred[None] | None = None
        self._late: Any = None
        self._again: Any = None
        self._waits = list(_WAITS)

    # -- as a way of finding

    def start(self, finder: Finder) -> None:
        """Be ready to look."""
        require_ended(self, self._finder is None)
        self._begin()
        self._finder = finder
        hold(self)

    def announce(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Be found at one of these: one that everybody reaches, if there is one."""
        far = [port for host, port in addresses if is_public(parse_ip(host) or bytes(4))]
        ports = far or [port for _, port in addresses]
        self._port = ports[0] if ports and self._announces else 0
        if self._session is not None and self._sources() != self._hosts:
            self._session.stop()
            self._session = None
        if self._is_in and self._asked is not None and self._asked[1] != self._port:
            self._ask()

    def look(self) -> Deferred[None]:
        """Look once; over when nothing is asked any more."""
        over = Deferred[None]()
        finder = self._finder
        if finder is None:
            over.callback(None)
            return over
        if self._over is None:
            self._over = Deferred()
            self._late = finder.reactor.callLater(limits.DHT_LOOK_SECONDS, self._finish)
        self._over.addCallback(over.callback)
        self._answers.begin()
        self._has_asked = False
        if self._session is None:
            self._enter(finder)
        else:
            self._session.hurry(True)
            if self._is_in:
                self._ask()
        return over

    def stop(self) -> None:
        """Be in no table."""
        over, session = self._over, self._session
        self.give_up()
        if session is not None:
            session.stop()
        if over is not None:
            over.callback(None)

    def give_up(self) -> None:
        """In a child by fork: look for nobody."""
        for call in (self._late, self._again):
            if call is not None and call.active():
                call.cancel()
        self._begin()

    # --

    def _enter(self, finder: Finder) -> None:
        """Get into the table, once it is known where its bootstrap nodes are."""
        if self._is_entering:
            return
        self._is_entering = True
        lookups = [self._address_of(finder.reactor, node) for node in self._bootstrap]
        gatherResults(lookups).addCallback(self._begin_session, finder)

    def _address_of(self, reactor: Any, node: Bootstrap) -> Deferred[tuple[str, int] | None]:
        """Where a bootstrap node is; None for a name that is not known here."""
        numeric = parse_ip(node.host) is not None
        found = succeed(node.host) if numeric else maybeDeferred(reaching(reactor).resolve, node.host)
        return found.addCallbacks(lambda host: (host, node.port), lambda _: None)

    def _sources(self) -> tuple[str, ...]:
        """The addresses of this machine from which the bootstrap nodes are reached, one of each kind."""
        found = {":" in host: here for host, _ in self._nodes if (here := source(host)) is not None}
        return tuple(found.values())

    def _begin_session(self, nodes: Sequence[tuple[str, int] | None], finder: Finder) -> None:
        """Begin a session, where this machine is now."""
        if finder is not self._finder:
            return
        self._nodes = [node for node in nodes if node is not None]
        self._hosts = self._sources()
        self._is_entering = self._is_in = False
        self._asked = None
        self._received = self._received_before = 0
        if not self._hosts:
            self._finish()
            return
        own = self._nodes if self._is_own else []  # whatever a resolver makes of the names of others
        self._answers = Answers((ip for host, _ in own if (ip := parse_ip(host))), self._random)
        port = next((port for host, port in own if host in self._hosts), 0)
        self._session = TorrentSession(
            *(finder.reactor, self._hosts, port, self._nodes, self._heard),
            is_private=self._answers.is_private,
        )

    def _ask(self) -> None:
        """Say that we are there, and see who else is; not again at once, unless we are somewhere else."""
        finder, session = self._finder, self._session
        if finder is None or session is None:
            return
        now = float(finder.reactor.seconds())
        self._has_asked = True
        today, yesterday = keys_to_ask(finder.network.discovery_id, self._wall_clock())
        at, *about = self._asked or (-limits.DHT_SECONDS,)
        if about == [self._port, today] and now - at < limits.DHT_FIRST_SECONDS:
            return
        self._asked = now, self._port, today
        self._received_before = self._received
        if self._port:
            session.announce(today, self._port)
        else:
            session.look_up(today)
        session.look_up(yesterday)
        session.ask()

    def _heard(self, said: Heard) -> None:
        if said.is_in and not self._is_in:
            self._is_in = True
            self._ask()
        for answer in said.answers:
            self._found(answer)
        for key, host, port in said.announced:
            self._announced(key, host, port)
        if said.received is not None:
            self._received = said.received
        if self._over is not None and self._has_asked and self._session is not None:
            if said.is_asking is False:
                self._finish()
            else:
                self._session.ask()

    def _announced(self, key: bytes, host: str, port: int) -> None:
        """Somebody who looks for the same as we do, perhaps, whose clock may be fast."""
        if self._finder is None:
            return
        if key in keys_of_others(self._finder.network.discovery_id, self._wall_clock()):
            self._found([(host, port)])

    def _found(self, said: Sequence[tuple[str, int]]) -> None:
        for address in self._answers.choose(said):
            if self._finder is not None:
                self._finder.found(address.host, address.port)

    def _finish(self) -> None:
        """The look is over: answered, or for now not."""
        over, self._over = self._over, None
        finder = self._finder
        if finder is None:
            return
        for call in (self._late, self._again):
            if call is not None and call.active():
                call.cancel()
        if self._received > self._received_before:
            wait = self._waits.pop(0) if len(self._waits) > 1 else self._waits[0]
        else:
            wait = limits.DHT_SECOND_SECONDS
            named = ", ".join(join(*node) for node in self._nodes or self._bootstrap)
            alone = "" if self._hosts or addresses() else "this machine has no address in a network: "
            finder.failed(f"{alone}no node of the DHT answers ({named})")
        self._wait(finder, finder.reactor.seconds() + wait)
        if self._session is not None:
            self._session.hurry(False)
        if over is not None:
            over.callback(None)

    def _wait(self, finder: Finder, until: float) -> None:
        """Look again then, or soon after the day is another one: it is midnight, or the clock was set."""
        left = until - finder.reactor.seconds()
        self._again = finder.reactor.callLater(min(left, limits.DHT_SECOND_SECONDS), self._waited, until)

    def _waited(self, until: float) -> None:
        finder = self._finder
        if finder is None:
            return
        today, _ = keys_to_ask(finder.network.discovery_id, self._wall_clock())
        is_another = self._asked is not None and self._asked[2] != today
        if is_another or finder.reactor.seconds() >= until:
            self.look()
        else:
            self._wait(finder, until)
