"""Ways of finding peers, as a node and an application see them.

Responsible for: :class:`Way`, and :class:`Finder`, what one may use of its node.
Must not know: how a way finds anybody; what becomes of who is found.
Invariant: a way needs nothing else of a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IProtocol

from gossiplog.errors import InvalidValueError
from gossiplog.log.network import Network


class Finder(Protocol):
    """What a :class:`Way` may use of its node."""

    reactor: Any
    network: Network
    node: bytes
    """Its id."""

    def found(self, host: str, port: int, node: bytes | None = None, label: bytes = b"") -> None:
        """Somebody of the network can be dialled there; ``host`` is numeric.  Saying it again does no harm.

        Addresses with one ``label`` are of one node.
        """

    def lost(self, host: str, port: int) -> None:
        """It is there no longer; if it is found again, that is news, and it may be dialled at once."""

    def reachable(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Others reach us there too, and no longer where this way said before."""

    def failed(self, reason: str) -> None:
        """It does not work, at least now; said once for each reason."""

    # For a way that makes connections of its own:

    def wants(self, node: bytes, pending: int = 0) -> bool:
        """Whether a session with this node is wanted, beside so many that are being made."""

    def takes(self, node: bytes) -> bool:
        """Whether a session with it would be taken, if that is what it wants."""

    def may_dial(self, host: str, port: int, teller: str) -> bool:
        """Whether to dial there, once, because somebody at the numeric host ``teller`` said so."""

    def carry(
        self, node: bytes, name: str, *, dials: bool, is_direct: bool, is_chosen: bool = False
    ) -> IProtocol | None:
        """Give the protocol for a connection to this node, called ``name``; None once we have left.

        ``dials``: we are the initiator; the other side says the contrary.  ``is_direct``: what the transport says of
        the other side's address is the node's own; ``is_chosen``: the application named this node.  If somebody else is
        there, the connection is closed.
        """


def require_ended(way: Way, is_over: bool) -> None:
    """Raise :class:`InvalidValueError` for one that is started while it is at work: nobody could stop that again."""
    if not is_over:
        raise InvalidValueError(f"{way.name} is at work: a way is for one node at a time, make one for each")


class Way(Protocol):
    """A way of finding peers.  Whatever it raises is told as :class:`~gossiplog.notices.WayFailed`.

    All is called on the reactor.  What returns a Deferred is waited for, its end for 5 seconds at most.  It may be
    stopped before it has started, and started again once it has stopped; it is at work for one node at a time.

    One that knows names of the local network has ``resolve(name)`` too: a Deferred of numeric addresses of a name that
    ends in ``.local``.  One that knows nodes by their ids, and not where they are, has ``reach(node)``: an
    ``IStreamClientEndpoint`` that leads there, or None.
    """

    name: str

    def start(self, finder: Finder) -> Any:
        """Begin; whoever is found later is said to ``finder``.  Not called again before :meth:`stop`."""

    def announce(self, addresses: Sequence[tuple[str, int]]) -> Any:
        """Let others find us at these hosts and ports, and no longer at former ones; there may be none.

        A machine that is in no network has the host 127.0.0.1.
        """

    def look(self) -> Any:
        """Look around once, now; over when its Deferred fires."""

    def stop(self) -> Any:
        """Find nobody any more, and let nobody find us."""
