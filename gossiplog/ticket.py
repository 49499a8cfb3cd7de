"""Tickets: what somebody hands to somebody who is to join a network.

Responsible for: :class:`Ticket`: a network, where its nodes are, and the text of both.
Must not know: how one is handed over, or who dials.
Invariant: immutable; its repr has nothing of the key.  A ticket is the capability to read a network, and cannot be
taken back.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossiplog.arguments import wrong
from gossiplog.errors import InvalidValueError
from gossiplog.log import ticket_text
from gossiplog.log.keys import KeyKind, format_key, is_node_id
from gossiplog.log.network import Network
from gossiplog.net.endpoints import check_client, parts
from gossiplog.printable import printable


class Ticket:
    """I am a network and the addresses of some of its nodes.

    ``addresses`` are endpoints ``tcp:HOST:PORT``, at most 8 of at most 255 bytes: a ticket comes from somebody else,
    and leads to no file or program here.  ``node`` is the id of the node that invites.  Raises InvalidValueError or
    EndpointError for others.
    """

    __slots__ = ("addresses", "network", "node")

    network: Network
    addresses: tuple[str, ...]
    node: bytes | None

    def __init__(self, network: Network, addresses: Sequence[str] = (), node: bytes | None = None) -> None:
        if not isinstance(network, Network):
            raise InvalidValueError(
                f"a network is a Network, its text or a Ticket, not {type(network).__name__}"
            )
        if isinstance(addresses, str | bytes) or not isinstance(addresses, Sequence):
            raise wrong("addresses", "a list of addresses", addresses)
        if len(addresses) > ticket_text.MAX_ADDRESSES:
            raise InvalidValueError(f"a ticket has at most {ticket_text.MAX_ADDRESSES} addresses")
        for address in addresses:
            check_client(address)
            if parts(address)[0] != "tcp":
                raise InvalidValueError(f"an address in a ticket is tcp:HOST:PORT, not {printable(address)}")
            if len(address.encode()) > ticket_text.MAX_ADDRESS_BYTES:
                raise InvalidValueError(
                    f"an address in a ticket is {ticket_text.MAX_ADDRESS_BYTES} bytes at most"
                )
        if node is not None and not is_node_id(node):
            raise InvalidValueError("a node is named by its id, 32 bytes")
        object.__setattr__(self, "network", network)
        object.__setattr__(self, "addresses", tuple(addresses))
        object.__setattr__(self, "node", node)

    @classmethod
    def parse(cls, text: str) -> Ticket:
        """Return the ticket of its text, in small letters or capitals.

        Raises InvalidKeyError for what is none, InvalidValueError and EndpointError for one with such an address.
        """
        if not isinstance(text, str):
            raise InvalidValueError(f"a ticket as text is a str, not {type(text).__name__}")
        key, addresses, node = ticket_text.decode(text)
        return cls(Network(key), addresses, node)

    @classmethod
    def of(cls, network: Network | Ticket | str) -> Ticket:
        """Return what somebody said who may have a ticket, its text, or a network alone (:meth:`Network.parse`)."""
        if isinstance(network, str):
            return cls.parse(network) if ticket_text.is_ticket(network) else cls(Network.parse(network))
        return network if isinstance(network, Ticket) else cls(network)

    @property
    def text(self) -> str:
        """All of it, the network's key too: ``gossip-...``."""
        return ticket_text.encode(self.network.key, self.addresses, self.node)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ticket):
            return NotImplemented
        return (self.network, self.addresses, self.node) == (other.network, other.addresses, other.node)

    def __hash__(self) -> int:
        return hash((self.network, self.addresses, self.node))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a ticket does not change")

    def __repr__(self) -> str:
        of = f" of {format_key(KeyKind.NODE, self.node)[:13]}" if self.node is not None else ""
        return f"<Ticket for {self.network!r}{of} at {', '.join(self.addresses) or 'no address'}>"
