"""What an address stands for, when connections from one place are counted.

Responsible for: :func:`place`, :func:`is_local`.
Must not know: connections.
Invariant: every address of which one has them all, because one has another, is the same place.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address


def place(host: str) -> str:
    """What an address stands for: itself, or for IPv6 its /64 network, of which an attacker has every address.

    Of a link every neighbour has addresses in the same /64, so there it is the address, whichever the interface.  An
    IPv4 address in an IPv6 one is the former.  What is no address stands for itself.  A network is taken for one of its
    addresses.

    >>> place("2001:db8::7"), place("::ffff:192.0.2.7"), place("fe80::7%eth0")
    ('2001:db8::/64', '192.0.2.7', 'fe80::7')
    """
    address = _address(host)
    if address is None:
        return host
    if isinstance(address, IPv4Address) or address.is_link_local or address.is_loopback:
        return str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


def is_local(host: str) -> bool:
    """Whether ``host`` is this machine, or no IP address."""
    address = _address(host)
    return address is None or address.is_loopback


_IPV4_BEHIND_NAT64 = IPv6Network("64:ff9b::/96")
"""All of IPv4, as a node sees it that has only IPv6 (RFC 6052)."""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """``host`` without a zone or the length of a network, as IPv4 if it is; None for what is no address."""
    try:
        address = ip_address(host.partition("/")[0].partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address in _IPV4_BEHIND_NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address
