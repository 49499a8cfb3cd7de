"""The addresses of this machine.

Responsible for: :func:`addresses`, where this machine can be reached from elsewhere, and in which subnets;
:func:`source`, from which of them one reaches another host; :func:`gateway`, through which the Internet.
Must not know: what listens there.
Invariant: not a packet is sent; what the system does not say is left out.

Linux says all; elsewhere the address that a packet to the Internet would have is found, without its subnet.
"""

from __future__ import annotations

import socket
import struct
import sys
from ipaddress import IPv6Address, ip_interface
from pathlib import Path
from typing import Final

_SIOCGIFADDR: Final = 0x8915
_SIOCGIFNETMASK: Final = 0x891B
_RTF_GATEWAY: Final = 2
_SIOCGIFFLAGS: Final = 0x8913
_IFF_UP_AND_RUNNING: Final = 0x1 | 0x40
_FAR: Final = (("192.0.2.1", 32), ("2001:db8::1", 128))
"""Addresses for documentation (RFC 5737, RFC 3849): nobody has them."""


def addresses() -> frozenset[str]:
    """Return what this machine has, as ``192.0.2.7/24``, without loopback and link-local addresses.

    Takes a fraction of a millisecond.
    """
    found = _ipv4() | _ipv6() if sys.platform == "linux" else _routed()
    return frozenset(text for text in found if _is_of_use(text))


def running() -> frozenset[str]:
    """Return the interfaces of this machine with an IPv4 address that are up and have a carrier.

    Such an address stays while its cable is out.  Where that is not said there are none.
    """
    if sys.platform != "linux":
        return frozenset()
    from fcntl import ioctl

    found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                said = ioctl(probe, _SIOCGIFFLAGS, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has no address, or went meanwhile
            if struct.unpack_from("H", said, 16)[0] & _IFF_UP_AND_RUNNING == _IFF_UP_AND_RUNNING:
                found.add(name)
    return frozenset(found)


def _is_of_use(text: str) -> bool:
    ip = ip_interface(text).ip
    return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified)


def _ipv4() -> set[str]:
    from fcntl import ioctl

    found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                ip, mask = (ioctl(probe, code, request)[20:24] for code in (_SIOCGIFADDR, _SIOCGIFNETMASK))
            except OSError:
                continue  # it has none
            found.add(f"{socket.inet_ntoa(ip)}/{int.from_bytes(mask, 'big').bit_count()}")
    return found


def _ipv6() -> set[str]:
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return set()
    fields = (line.split() for line in lines)
    return {f"{IPv6Address(bytes.fromhex(each[0]))}/{int(each[2], 16)}" for each in fields if len(each) == 6}


def source(host: str) -> str | None:
    """The address from which this machine reaches a numeric ``host``, None where no way leads there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            found: str = probe.getsockname()[0]
    except OSError:
        return None
    return found


def gateway() -> str | None:
    """The IPv4 address through which the Internet is reached, None where that is not said."""
    try:
        rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    except OSError:
        return None
    found = [(int(row[6]), row[2]) for row in rows if row[1] == "00000000" and int(row[3], 16) & _RTF_GATEWAY]
    return socket.inet_ntoa(struct.pack("=I", int(min(found)[1], 16))) if found else None


def _routed() -> set[str]:
    found = ((source(far), bits) for far, bits in _FAR)
    return {f"{host}/{bits}" for host, bits in found if host is not None}
