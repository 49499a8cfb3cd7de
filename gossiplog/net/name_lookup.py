"""Names of hosts, looked up.

Responsible for: the addresses of a name as the system knows them.
Must not know: who dials them.
Invariant: a look-up holds up no other one, not the reactor, and not the end of the process; of one name there is at
most one at a time.

Twisted looks names up in ten threads that the process waits for at its end: ten names that nobody answers for hold up
all others, and a look-up may take minutes.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

Address: TypeAlias = IPv4Address | IPv6Address

LOCAL: Final = ".local"

_TYPES: dict[int, Any] = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}


@implementer(IHostResolution)
class LookUp:
    """I am somebody who waits for a name; ``problem`` says why there is no address, once there is none."""

    def __init__(
        self, name: str, port: int, types: Sequence[Any], transport: str, receiver: IResolutionReceiver
    ) -> None:
        self.name = name
        self.problem = ""
        self._port = port
        self._types = types
        self._transport = transport
        self._receiver: IResolutionReceiver | None = receiver

    def cancel(self) -> None:
        """Wait no longer."""
        self._receiver = None

    def tell(self, found: Sequence[Any] | Exception) -> None:
        """This is what the system said."""
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        if isinstance(found, Exception):
            self.problem = str(getattr(found, "strerror", None) or found)
        else:
            for family, *_, where in found:
                kind = _TYPES.get(family)
                if kind is not None and kind in self._types:
                    receiver.addressResolved(kind(self._transport, where[0], self._port, *where[2:]))
        receiver.resolutionComplete()


Near: TypeAlias = Callable[[str], Deferred[list[str]]]
"""Gives the numeric addresses of a name on the local network, none if nobody there has it."""


@implementer(IHostnameResolver)
class Names:
    """I look names up for one reactor; where there is a ``near``, that is asked first for those in ``.local``."""

    def __init__(self, reactor: Any) -> None:
        self.near: Near | None = None
        self._reactor = reactor
        self._waiting: dict[str, list[LookUp]] = {}

    @property
    def under_way(self) -> Collection[str]:
        """What is being looked up."""
        return self._waiting.keys()

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None,
        transportSemantics: str = "TCP",
    ) -> LookUp:
        """Tell ``resolutionReceiver`` every address of ``hostName``, those to prefer first, and when that is all."""
        types = tuple(addressTypes or _TYPES.values())
        one = LookUp(hostName, portNumber, types, transportSemantics, resolutionReceiver)
        resolutionReceiver.resolutionBegan(one)
        if hostName in self._waiting:
            self._waiting[hostName].append(one)
            return one
        self._waiting[hostName] = [one]
        if self.near is not None and hostName.lower().removesuffix(".").endswith(LOCAL):
            asking = maybeDeferred(self.near, hostName)
            asking.addCallbacks(
                lambda hosts: self._near(hostName, hosts), lambda _: self._ask_system(hostName)
            )
        else:
            self._ask_system(hostName)
        return one

    def _near(self, hostName: str, hosts: Sequence[str]) -> None:
        if hosts:
            families = [(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, 0)) for host in hosts]
            self._found(hostName, families)
        else:
            self._ask_system(hostName)

    def _ask_system(self, hostName: str) -> None:
        thread = threading.Thread(
            target=self._look_up, args=(hostName,), name=f"gossiplog {hostName}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads
            self._reactor.callLater(0, self._found, hostName, error)

    def _found(self, name: str, found: Sequence[Any] | Exception) -> None:
        for one in self._waiting.pop(name):
            one.tell(found)

    # -- in the thread

    def _look_up(self, name: str) -> None:
        found: Sequence[Any] | Exception
        try:
            found = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)
        except Exception as error:  # gaierror, and UnicodeError for what cannot be a name
            found = error
        try:
            self._reactor.callFromThread(self._found, name, found)
        except RuntimeError:  # the asyncio loop is closed: nobody waits any more
            return
