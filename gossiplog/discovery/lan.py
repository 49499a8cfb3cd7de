"""Finding peers on the local network, by multicast DNS.

Responsible for: :class:`Lan`: what is announced and when, what is made of what is heard, names of hosts.
Must not know: how multicast DNS is spoken (``multicast``), who is dialled.
Invariant: nobody who does not know the network learns which it is, or that two announcements are of one node; what a
neighbour announces is dialled only inside the subnets of this machine.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_interface
from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from gossiplog import limits
from gossiplog.arguments import check_flags
from gossiplog.discovery.extras import require
from gossiplog.discovery.lan_record import HERE, SALT_BYTES, check_name, is_ours, properties, to_dial
from gossiplog.discovery.loop_thread import LoopThread
from gossiplog.discovery.multicast import Heard, Multicast, Said
from gossiplog.errors import NodeError
from gossiplog.net.interfaces import addresses
from gossiplog.net.ways import Finder, require_ended
from gossiplog.store.owning_process import hold


class Lan:
    """A way of finding the nodes of a network on the local one.

    ``name``: be found as ``NAME.local`` too, by everybody there, as long as nobody else is.  ``names_only``: find
    nobody, and announce nothing but the name; it and others can be dialled, ``node.connect("tcp:bob.local:4000")``.

    Raises :class:`InvalidValueError` for what can be no name, and :class:`MissingExtraError` without zeroconf.
    """

    name = "lan"

    def __init__(self, name: str | None = None, *, names_only: bool = False) -> None:
        check_flags(names_only=names_only)
        self.host = None if name is None else check_name(name)
        self.names_only = names_only
        require("zeroconf", "lan", "finding peers on the local network")
        self._addresses: list[tuple[str, int]] = []
        self._own: list[str] = []
        self._subnets: list[str] = []
        self._known: dict[str, Heard] = {}
        self._random = Random(os.urandom(8))
        self._thread: LoopThread | None = None
        self._finder: Any = None
        self._open: Multicast | None = None
        self._opened_at = 0.0
        self._closing: asyncio.Task[None] | None = None
        self._call: Any = None

    # -- the node calls

    def start(self, finder: Finder) -> Any:
        """Announce this node, and listen."""
        require_ended(self, self._thread is None)
        self._finder = finder
        self._closing = None
        self._thread = LoopThread(finder.reactor, "gossiplog lan")
        hold(self)
        return self._reopen()

    def announce(self, addresses: Sequence[tuple[str, int]]) -> Any:
        """As :meth:`Way.announce`."""
        if sorted(self._addresses) == sorted(addresses):
            return None
        self._addresses = list(addresses)
        return None if self._thread is None else self._reopen()

    def look(self) -> Any:
        """Ask who is there, and wait for answers as long as they take on a network that loses some."""
        if self._thread is None:
            return None
        if self._finder.reactor.seconds() - self._opened_at > limits.LAN_LOOK_SECONDS:
            opening = self._reopen()
            return opening.addCallback(lambda _: self._answers())
        return self._answers()

    def stop(self) -> Any:
        """Say goodbye."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        thread, self._thread = self._thread, None
        if thread is None:
            return None
        speaker, self._open = self._open, None
        closed = thread.call(self._end(speaker))
        closed.addTimeout(limits.LAN_CLOSE_SECONDS, self._finder.reactor)
        closed.addErrback(lambda _: None)
        return closed.addBoth(lambda _: thread.stop())

    def resolve(self, name: str) -> Deferred[list[str]]:
        """The addresses of ``name``, which ends in ``.local``, inside the subnets of this machine."""
        result: Deferred[list[str]] = Deferred()
        if self._thread is None or self._open is None:
            result.callback([])
            return result
        short = name.lower().removesuffix(".").removesuffix(".local")
        found = self._thread.call(self._open.resolve(short, limits.LAN_ANSWER_SECONDS))
        found.addCallback(lambda hosts: to_dial(hosts, self._own, self._subnets))
        return found

    def give_up(self) -> None:
        """In a child by fork: the thread and the port are the parent's."""
        self._thread = self._open = None
        if self._call is not None and self._call.active():
            self._call.cancel()

    # -- opening

    def _reopen(self) -> Any:
        """Announce what is so by now, under new names, and listen on every interface."""
        self._locate()
        if self._call is not None:
            self._call.cancel()
        self._wait()
        self._opened_at = self._finder.reactor.seconds()
        before, self._open = self._open, None
        thread = self._thread
        assert thread is not None
        discovery_id = self._finder.network.discovery_id

        def ours(said: Mapping[bytes, bytes | None]) -> bool:
            return is_ours(said, discovery_id)

        def told(changed: dict[str, Heard | None]) -> None:
            thread.on_reactor(self._told, speaker, changed)

        speaker = self._open = Multicast(ours, told, lambda: thread.on_reactor(self._flooded, speaker))
        self._known.clear()
        services = None if self.names_only else self._services(discovery_id)
        opening = thread.call(self._exchange(before, speaker, services))
        opening.addCallbacks(lambda _: self._opened(speaker), lambda failure: self._failed(speaker, failure))
        return opening

    def _services(self, discovery_id: bytes) -> list[Said]:
        """One for each port, each with a salt of its own."""
        ports: defaultdict[int, list[str]] = defaultdict(list)
        for host, port in self._addresses:
            if host in self._own or host == HERE:
                ports[port].append(host)
        return [
            Said(tuple(hosts), port, properties(discovery_id, os.urandom(SALT_BYTES)))
            for port, hosts in list(ports.items())[: limits.MAX_LAN_PORTS]
        ]

    def _opened(self, speaker: Multicast) -> Any:
        if self._thread is None or self._open is not speaker or self.host is None:
            return None
        hosts = tuple(self._own or [HERE])
        port = self._addresses[0][1] if self._addresses else limits.LAN_NO_PORT
        claiming = self._thread.call(speaker.claim(self.host, Said(hosts, port, {})))
        claiming.addCallbacks(self._claimed, lambda failure: self._finder.failed(failure.getErrorMessage()))
        return claiming

    def _claimed(self, taken: str) -> None:
        if taken:
            self._finder.failed(f"{self.host}.local is {taken} already; choose another name")

    def _failed(self, speaker: Multicast, failure: Any) -> Any:
        if self._open is speaker:
            self._open = None
        error = failure.value
        if isinstance(error, OSError) and error.errno is not None:
            raise NodeError(f"cannot listen for neighbours: {error.strerror or error}") from error
        return failure

    def _flooded(self, speaker: Multicast) -> None:
        if speaker is self._open:
            self._finder.failed(
                f"somebody announces more than {limits.MAX_LAN_EVENTS:,} services; listening again in "
                f"{limits.LAN_AGAIN_SECONDS:g} s"
            )

    def _locate(self) -> None:
        self._subnets = sorted(addresses())
        self._own = [str(ip_interface(text).ip) for text in self._subnets]
        if not self._own:
            self._finder.failed("this machine has no address in a network: only who is on it is found")

    # -- as time goes on

    def _wait(self) -> None:
        self._call = self._finder.reactor.callLater(limits.LAN_AGAIN_SECONDS, self._again)

    def _again(self) -> None:
        """Try anew what did not work; say once more who is there, for a book that forgot; look after our name."""
        self._call = None
        if self._thread is None:
            return
        if self._open is None or self._open.is_worn:
            self._reopen().addErrback(lambda failure: self._finder.failed(failure.getErrorMessage()))
            return
        self._wait()
        self._open.rest()
        known = list(self._known.items())
        self._random.shuffle(known)
        for name, heard in known:
            self._say(name, heard)
        if self.host is not None:
            giving = self._thread.call(self._open.give_way(self.host, tuple(self._own or [HERE])))
            giving.addCallbacks(self._claimed, lambda _: None)

    def _told(self, speaker: Multicast, changed: dict[str, Heard | None]) -> None:
        """These services came, or went."""
        if speaker is not self._open:
            return
        for name, heard in changed.items():
            before = self._known.pop(name, None)
            others = {place for each in self._known.values() for place in self._places(each)}
            old = set() if before is None else set(self._places(before))
            new = set() if heard is None else set(self._places(heard))
            # a service of another name at the same place is another process: what failed before may be tried at once
            again = new & others if before is None else set()
            for host, port in sorted((old - new - others) | again):
                self._finder.lost(host, port)
            if heard is not None:
                self._known[name] = heard
                self._say(name, heard)

    def _say(self, name: str, heard: Heard) -> None:
        label = sha256(name.encode(errors="replace")).digest()[:8]
        for host, port in self._places(heard):
            self._finder.found(host, port, label=label)

    def _places(self, heard: Heard) -> list[tuple[str, int]]:
        return [(host, heard.port) for host in to_dial(heard.hosts, self._own, self._subnets)]

    def _answers(self) -> Any:
        """Fire when who is there has had the time to answer."""
        return None if self._thread is None else self._thread.call(asyncio.sleep(limits.LAN_LOOK_SECONDS))

    # -- on the thread

    async def _exchange(
        self, before: Multicast | None, speaker: Multicast, services: Sequence[Said] | None
    ) -> None:
        try:
            await speaker.open(services)
        finally:
            if before is not None:
                self._closing = asyncio.ensure_future(before.close())

    async def _end(self, speaker: Multicast | None) -> None:
        if speaker is not None:
            await speaker.close()
        if self._closing is not None:
            await self._closing
