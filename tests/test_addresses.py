"""Addresses that peers name: which may be dialled, and which stand together."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.addresses import Address, is_private, is_public, may_dial, parse_ip
from gossiplog.errors import InvalidValueError

OFFICE = ["10.1.2.1/24", "fd00:1::1/64"]
NEIGHBOUR = bytes([10, 1, 2, 9])
FAR = bytes([1, 2, 3, 4])
NOWHERE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "169.254.1.1",
    "224.0.0.1",
    "239.1.1.1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "100.64.0.1",
    "::",
    "::1",
    "fe80::1",
    "ff02::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "64:ff9b::a00:1",
    "2001:0:1::1",
    "::a00:1",
    "100::1",
]
"""Of this machine, this link, many, nobody, or of any IPv4 address behind one of IPv6."""


def named(host: str, port: int = 4000, teller: bytes | None = FAR) -> bool:
    """Whether a peer at ``teller`` can have ``host`` dialled."""
    return may_dial(Address.of(host, port), teller, OFFICE)


class DialTests(SynchronousTestCase):
    def test_public(self) -> None:
        for host in ("1.1.1.1", "8.8.8.8", "2a00:1450::1"):
            self.assertTrue(named(host), host)
            self.assertTrue(named(host, teller=None), host)

    def test_never(self) -> None:
        """Loopback, link-local, multicast, reserved, documentation, and IPv6 that leads to any IPv4 address."""
        for host in NOWHERE:
            for teller in (None, FAR, NEIGHBOUR):
                self.assertFalse(named(host, teller=teller), host)
        mapped = Address(bytes(10) + b"\xff\xff" + bytes([1, 1, 1, 1]), 4000)
        self.assertFalse(may_dial(mapped, FAR, OFFICE))

    def test_an_address_of_this_machine(self) -> None:
        """Only if who names it is here too: a bridge for containers has the same address on every machine."""
        here = Address.of("10.1.2.1", 1).ip
        self.assertFalse(named("10.1.2.1", teller=NEIGHBOUR))
        self.assertTrue(named("10.1.2.1", teller=here))

    def test_ports_of_others(self) -> None:
        for port in (1, 22, 25, 53, 80, 1023):
            self.assertFalse(named("1.1.1.1", port))
        for port in (443, 1024, 65_535):
            self.assertTrue(named("1.1.1.1", port))

    def test_private_ones_from_neighbours(self) -> None:
        """Only from a peer at a private address, and into a subnet of ours: Docker's 172.17.0.1 is none."""
        for host in ("10.1.2.7", "fd00:1::7"):
            self.assertTrue(named(host, teller=NEIGHBOUR), host)
            self.assertFalse(named(host, teller=FAR), host)
            self.assertFalse(named(host, teller=None), host)
        for host in ("10.1.3.7", "172.17.0.1", "192.168.1.1", "fd00:2::7"):
            self.assertFalse(named(host, teller=NEIGHBOUR), host)
        for host in ("10.1.2.0", "10.1.2.255"):
            self.assertFalse(named(host, teller=NEIGHBOUR), host)

    @settings(deadline=None)
    @given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), st.integers(1, 65_535))
    def test_anything(self, ip: bytes, port: int) -> None:
        address = Address(ip, port)
        if may_dial(address, FAR, OFFICE):
            self.assertTrue(is_public(ip))
            self.assertFalse(is_private(ip))
            self.assertTrue(port >= 1024 or port == 443)


class FormTests(SynchronousTestCase):
    def test_of(self) -> None:
        self.assertEqual(Address.of("::ffff:192.0.2.7", 1), Address(bytes([192, 0, 2, 7]), 1))
        self.assertEqual(Address.of("fe80::1%eth0", 1).host, "fe80::1")
        for host in ("", "localhost", "1.2.3", "tcp:1.2.3.4:5", "1.2.3.4/24"):
            self.assertRaises(InvalidValueError, Address.of, host, 1)
        self.assertIsNone(parse_ip("localhost"))

    def test_groups(self) -> None:
        def same(one: str, other: str) -> bool:
            return Address.of(one, 1).group == Address.of(other, 2).group

        self.assertTrue(same("1.2.3.4", "1.2.200.200"))
        self.assertFalse(same("1.2.3.4", "1.3.3.4"))
        self.assertTrue(same("2a00:1450:1::1", "2a00:1450:1:ffff::1"))
        self.assertFalse(same("2a00:1450:1::1", "2a00:1450:2::1"))
        self.assertFalse(same("10.1.2.3", "10.1.2.4"))
        self.assertTrue(same("10.1.2.3", "10.1.2.3"))
        self.assertFalse(same("127.0.0.1", "127.0.0.1"))
