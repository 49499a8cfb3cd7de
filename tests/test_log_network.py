"""Networks: keys from names, authors and randomness."""

from __future__ import annotations

from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import InvalidKeyError, InvalidValueError
from gossiplog.log import network
from gossiplog.log.keys import KeyKind, Keypair, format_author, format_key
from gossiplog.log.network import Network

KEY = bytes(range(32))
AUTHOR = Keypair(bytes(32)).author


class Networks(SynchronousTestCase):
    def test_discovery_id(self) -> None:
        expected = sha256(b"gossiplog/1 discovery".ljust(32, b"\0") + KEY).digest()
        self.assertEqual(Network.from_key(KEY).discovery_id, expected)

    def test_network_of_a_single_log(self) -> None:
        expected = sha256(b"gossiplog/1 network of".ljust(32, b"\0") + AUTHOR).digest()
        self.assertEqual(Network.of_author(AUTHOR).key, expected)
        self.assertEqual(Network.parse(format_author(AUTHOR)), Network.of_author(AUTHOR))

    def test_random(self) -> None:
        self.assertNotEqual(Network.random(), Network.random())

    def test_equality_is_by_key(self) -> None:
        self.assertEqual(Network(KEY), Network(bytes(KEY)))
        self.assertEqual(len({Network(KEY), Network(KEY), Network(bytes(32))}), 2)
        self.assertNotEqual(Network(KEY), KEY)

    def test_the_key_does_not_show(self) -> None:
        value = Network(b"\x5a" * 32)
        shown = f"{value} {value!r} {[value]}"
        self.assertNotIn("5a5a", shown)
        self.assertNotIn("ZZ", shown)
        self.assertNotIn(format_key(KeyKind.NETWORK, value.key)[8:16], shown)

    def test_it_does_not_change(self) -> None:
        self.assertRaises(AttributeError, setattr, Network(KEY), "key", bytes(32))

    def test_keys_as_text(self) -> None:
        for text in (format_key(KeyKind.NETWORK, KEY), KEY.hex(), KEY.hex().upper()):
            self.assertEqual(Network.parse(text).key, KEY)

    def test_no_key(self) -> None:
        for key in (b"", KEY[1:], KEY + b"\0", bytearray(KEY), KEY.hex(), None):
            self.assertRaises(InvalidKeyError, Network, key)
            self.assertRaises(InvalidKeyError, Network.of_author, key)

    def test_a_mistyped_key_is_not_taken_for_a_name(self) -> None:
        text = format_key(KeyKind.NETWORK, KEY)
        for typo in (
            text[:-1],
            text + "a",
            text[:9],
            format_author(AUTHOR)[:-1],
            format_key(KeyKind.NODE, KEY),
        ):
            self.assertRaises(InvalidKeyError, Network.parse, typo)


class Names(SynchronousTestCase):
    def test_a_name_is_derived_once(self) -> None:
        network._key_of_name.cache_clear()
        first = Network.from_name("tests")
        self.assertEqual(Network.parse("tests"), first)
        self.assertEqual(network._key_of_name.cache_info().misses, 1)

    def test_composed_and_decomposed_are_one_name(self) -> None:
        self.assertEqual(Network.from_name("caf\u00e9"), Network.from_name("cafe\u0301"))

    def test_limits(self) -> None:
        Network.from_name("é" * 64)
        for name in ("", "é" * 64 + "x", "x" * 129):
            self.assertRaises(InvalidValueError, Network.from_name, name)

    def test_what_is_no_name(self) -> None:
        for name in ("a\nb", "\0", "\x7f", "a\u0085", "\u2028", "\ud800", b"bytes", None, 5):
            self.assertRaises(InvalidValueError, Network.from_name, name)
        self.assertRaises(InvalidValueError, Network.parse, b"bytes")
