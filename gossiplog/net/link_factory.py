"""The links of one node, made as connections come up.

Responsible for: a link for every connection dialled, and for those from outside that are worth a look.
Must not know: what becomes of a link.
Invariant: a connection that is not worth a look is closed at once.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from gossiplog.net.endpoints import describe
from gossiplog.net.link import Link, Owner


class Closed(Protocol):
    """I am a connection that is closed at once, where something is wrapped around it."""

    def connectionMade(self) -> None:
        """Close it."""
        transport: Any = self.transport
        transport.abortConnection()


class LinkFactory(Factory):
    """I make the links of one node: those answered, or those to ``address``.

    ``port`` is what listens, if it is ours and nothing is wrapped around the connections; ``given_up`` says that nobody
    waits for a connection any more.
    """

    noisy = False

    def __init__(self, owner: Owner, address: str = "") -> None:
        self._owner = owner
        self._address = address
        self.port: Any = None
        self.given_up = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """A link for the connection from or to ``addr``; None for one that is not worth a look."""
        if self.given_up:
            return Closed()
        if not self._address and not self._owner.admits(getattr(addr, "host", "")):
            return None if self.port is not None else Closed()
        return Link(self._owner, bool(self._address), self._address or describe(addr))
