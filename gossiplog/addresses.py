"""Where a node can be dialled: an IP address and a port.

Responsible for: :class:`Address`, which of them may be dialled because a peer said so, and which stand together.
Must not know: connections, names, endpoints.
Invariant: one place has one form: an IPv4 address is never written as one of IPv6.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_interface
from typing import Final, NamedTuple

from gossiplog.errors import InvalidValueError

OPEN_PORT: Final = 443
"""The one port below 1024 that peers may name: many networks let nothing else out, and rooms listen there."""

FIRST_FREE_PORT: Final = 1024
"""What is below belongs to mail, names, databases of the system: nobody may aim nodes at it."""

LAST_PORT: Final = 65535

_PRIVATE: Final = tuple(
    ip_interface(text).network for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)

_CARRYING_IPV4: Final = tuple(
    map(IPv6Network, ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "2001::/32", "2002::/16"))
)
"""IPv6 networks whose addresses lead to an IPv4 address inside them, whatever that is."""


class Address(NamedTuple):
    """``ip`` is 4 or 16 bytes in network order, ``port`` 1 to 65535."""

    ip: bytes
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> Address:
        """The address of a numeric ``host``; raises :class:`InvalidValueError` for anything else.

        >>> Address.of("192.0.2.7", 4000).endpoint, Address.of("2001:db8::7", 4000).endpoint
        ('tcp:192.0.2.7:4000', 'tcp:[2001:db8::7]:4000')
        """
        try:
            ip = ip_address(host.partition("%")[0])
        except (ValueError, AttributeError) as error:
            raise InvalidValueError(f"{host!r:.80} is no IP address") from error
        if type(port) is not int or not 1 <= port <= LAST_PORT:
            raise InvalidValueError(f"a port is from 1 to {LAST_PORT}, not {port!r:.80}")
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return cls(ip.packed, port)

    @property
    def host(self) -> str:
        """The IP address as text."""
        return str(ip_address(self.ip))

    @property
    def endpoint(self) -> str:
        """As :meth:`gossiplog.Node.connect` takes it."""
        return f"tcp:{self.host}:{self.port}" if len(self.ip) == 4 else f"tcp:[{self.host}]:{self.port}"

    @property
    def group(self) -> bytes:
        """What one owner may easily have all of: IPv4 by /16, IPv6 by /48; other addresses stand for themselves.

        On this machine every port does: nobody but its owner says that somebody is there.
        """
        return _group(self)


@lru_cache(maxsize=65_536)
def _group(address: Address) -> bytes:
    if ip_address(address.ip).is_loopback:
        return address.ip + address.port.to_bytes(2, "big")
    if not is_public(address.ip):
        return address.ip
    return address.ip[:2] if len(address.ip) == 4 else address.ip[:6]


@lru_cache(maxsize=4096)
def is_private(ip: bytes) -> bool:
    """Whether ``ip`` means something else in every office (RFC 1918, RFC 4193)."""
    address = ip_address(ip)
    return any(address in network for network in _PRIVATE if network.version == address.version)


@lru_cache(maxsize=4096)
def is_public(ip: bytes) -> bool:
    """Whether ``ip`` is the same host wherever one is: not loopback, link-local, multicast or reserved."""
    address = ip_address(ip)
    if isinstance(address, IPv6Address) and any(address in network for network in _CARRYING_IPV4):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def may_dial(address: Address, teller: bytes | None, subnets: Iterable[str]) -> bool:
    """Whether to dial ``address`` because a peer at ``teller`` named it; None is a peer without an IP address.

    ``subnets`` are those of this machine, as ``192.0.2.1/24``.  A private address counts only from a peer at a private
    one, and inside a subnet of ours: whoever names it far away means another network.  One that is ours counts from
    this machine alone: bridges for containers have the same address on every machine.

    >>> near, at = Address.of("10.1.2.3", 4000), bytes([10, 1, 2, 9])
    >>> may_dial(near, at, ["10.1.2.1/24"]), may_dial(near, at, ["10.1.3.1/24"]), may_dial(near, None, ["10.1.2.1/24"])
    (True, False, False)
    >>> may_dial(Address.of("10.1.2.1", 4000), at, ["10.1.2.1/24"])
    False
    """
    if address.port < FIRST_FREE_PORT and address.port != OPEN_PORT:
        return False
    if is_public(address.ip):
        return True
    if teller is None or not (is_private(address.ip) and is_private(teller)):
        return False
    own = {ip_interface(text).ip.packed for text in subnets}
    return in_subnets(address.ip, subnets) and (address.ip not in own or teller in own)


def in_subnets(ip: bytes, subnets: Iterable[str]) -> bool:
    """Whether ``ip`` is a neighbour in one of these subnets, and not the network's own or its broadcast address."""
    address = ip_address(ip)
    for text in subnets:
        network = ip_interface(text).network
        if address.version == network.version and address in network:
            ends = {network.network_address, network.broadcast_address}
            return isinstance(address, IPv6Address) or network.prefixlen >= 31 or address not in ends
    return False


def parse_ip(host: str) -> bytes | None:
    """The bytes of a numeric host, without its zone; None for what is none."""
    try:
        return Address.of(host, 1).ip
    except InvalidValueError:
        return None
