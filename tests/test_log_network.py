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

    def test_nor_one_that_lost_or_gained_something(self) -> None:
        """A digit, the prefix, the case; put in groups, with space around it, or only half of it."""
        key = sha256(b"a key").digest()
        text, digits = format_key(KeyKind.NETWORK, key), sha256(b"digits").hexdigest()
        bare = text.removeprefix("network_")
        for typo in (
            *(digits[:63], f"{digits}0", digits[:-1] + "g", "O" + digits[1:], digits[:32], digits[5:21]),
            *(f"0x{digits}", f"{digits}\n", f" {digits}", f"{digits} {digits}", digits.replace("a", "ä")),
            " ".join(digits[i : i + 8] for i in range(0, 64, 8)),
            ":".join(digits[i : i + 2] for i in range(0, 64, 2)),
            f"{digits[:31]}-{digits[31:]}",
            *(
                text.upper(),
                text.capitalize(),
                f" {text}",
                f"{text} ",
                text.replace("_", "-"),
                text.replace("_", ""),
            ),
            *(
                bare,
                bare[:-1],
                bare.upper(),
                " ".join(bare[i : i + 5] for i in range(0, 55, 5)),
                f"net_{bare}",
            ),
            *(
                "author_",
                "node_x",
                "Network_garden",
                format_author(AUTHOR).upper(),
                f"\t{format_author(AUTHOR)}",
            ),
        ):
            error = self.assertRaises(InvalidValueError, Network.parse, typo)
            self.assertNotIn(digits[8:24], str(error))
            if isinstance(error, InvalidKeyError):
                self.assertIn("name:", str(error))

    def test_a_name_that_looks_like_a_key(self) -> None:
        """It can be said, and then nothing is guessed about it."""
        for name in (KEY.hex(), KEY.hex()[:63], "network_garden", "name:garden", " garden"):
            self.assertEqual(Network.parse(f"name:{name}"), Network.from_name(name))
        self.assertRaises(InvalidValueError, Network.parse, "name:")

    def test_a_name_with_something_invisible(self) -> None:
        """What was pasted with it makes another network."""
        for name in ("garden ", "\u3000garden", "gar\u200bden", "\u202egarden", "\ufeffgarden"):
            error = self.assertRaises(InvalidValueError, Network.parse, name)
            self.assertIn("name:", str(error))


class Names(SynchronousTestCase):
    def test_a_name_is_derived_once(self) -> None:
        network._key_of_name.cache_clear()
        first = Network.from_name("tests")
        self.assertEqual(Network.parse("tests"), first)
        self.assertEqual(network._key_of_name.cache_info().misses, 1)

    def test_common_names(self) -> None:
        """Words, sentences, addresses and dates are names."""
        self.patch(network, "_key_of_name", lambda name: sha256(name).digest())
        for name in (
            *(
                "garden",
                "n",
                "café",
                "日本語の庭",
                "deadbeef",
                "cafe 2024",
                "node",
                "network",
                "author of this",
            ),
            *(
                "my-home-network",
                "https://example.org/garden/network-of-friends",
                "nodes_1",
                "me@example.org",
            ),
            *("the network of all my friends and theirs", "berlin, 23 july 2024, 6 pm, room 45"),
            *("2024-07-23", "192.168.100.200", "persisted-chat"),
        ):
            self.assertEqual(Network.parse(name), Network.from_name(name), name)

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
