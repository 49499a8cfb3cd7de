"""Keys: key pairs, head signatures and text forms."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import BadSignatureError, InvalidKeyError, InvalidValueError
from gossiplog.limits import MAX_SEQ
from gossiplog.log import keys
from gossiplog.log.keys import (
    KeyKind,
    Keypair,
    format_author,
    format_key,
    parse_author,
    parse_key,
    verify_head,
)

PAIR = Keypair(bytes(32))
ENTRY_ID = b"\7" * 32


class Bytes(bytes):
    """What some callers pass instead of bytes."""


class Keypairs(SynchronousTestCase):
    def test_generated_differ(self) -> None:
        self.assertNotEqual(Keypair.generate().seed, Keypair.generate().seed)

    def test_no_seed(self) -> None:
        for seed in (b"", bytes(31), bytes(33), bytes(64), Bytes(32), bytearray(32), "a" * 32, None):
            self.assertRaises(InvalidKeyError, Keypair, seed)

    def test_text_hides_the_seed(self) -> None:
        pair = Keypair(b"\x5a" * 32)
        for text in (repr(pair), str(pair)):
            self.assertIn(keys.short_key(pair.author), text)
            self.assertNotIn("5a5a", text)
            self.assertNotIn("ZZ", text)

    def test_constants_of_the_format(self) -> None:
        self.assertEqual(keys.TAG, b"gossiplog/1 log" + bytes(17))
        self.assertEqual(keys.PREFIX, b"gossiplog/1 head" + bytes(16))


class Heads(SynchronousTestCase):
    def test_signed_is_verified(self) -> None:
        for seq in (1, 2, 2**32, MAX_SEQ):
            verify_head(PAIR.author, seq, ENTRY_ID, PAIR.sign_head(seq, ENTRY_ID))

    def test_nothing_else_is(self) -> None:
        signature = PAIR.sign_head(5, ENTRY_ID)
        for bit in range(0, 512, 37):
            changed = bytearray(signature)
            changed[bit // 8] ^= 1 << bit % 8
            self.assertRaises(BadSignatureError, verify_head, PAIR.author, 5, ENTRY_ID, bytes(changed))
        self.assertRaises(BadSignatureError, verify_head, PAIR.author, 6, ENTRY_ID, signature)
        self.assertRaises(BadSignatureError, verify_head, PAIR.author, 5, b"\6" * 32, signature)
        self.assertRaises(BadSignatureError, verify_head, Keypair(b"\1" * 32).author, 5, ENTRY_ID, signature)

    def test_wrong_shapes(self) -> None:
        signature = PAIR.sign_head(5, ENTRY_ID)
        for arguments in (
            (PAIR.author[1:], 5, ENTRY_ID, signature),
            (PAIR.author + b"\0", 5, ENTRY_ID, signature),
            (Bytes(PAIR.author), 5, ENTRY_ID, signature),
            (PAIR.author, 0, ENTRY_ID, signature),
            (PAIR.author, -5, ENTRY_ID, signature),
            (PAIR.author, MAX_SEQ + 1, ENTRY_ID, signature),
            (PAIR.author, 2**64, ENTRY_ID, signature),
            (PAIR.author, 5.0, ENTRY_ID, signature),
            (PAIR.author, True, ENTRY_ID, PAIR.sign_head(1, ENTRY_ID)),
            (PAIR.author, 5, ENTRY_ID[1:], signature),
            (PAIR.author, 5, bytearray(ENTRY_ID), signature),
            (PAIR.author, 5, ENTRY_ID, signature[1:]),
            (PAIR.author, 5, ENTRY_ID, signature + b"\0"),
            (PAIR.author, 5, ENTRY_ID, b""),
            (None, None, None, None),
        ):
            self.assertRaises(BadSignatureError, verify_head, *arguments)

    def test_bytes_do_not_move_between_fields(self) -> None:
        """A signature over one split of the same bytes is none over another."""
        signature = PAIR.sign_head(5, ENTRY_ID)
        message = keys.head_message(5, ENTRY_ID)
        self.assertEqual(len(message), 72)
        self.assertRaises(
            BadSignatureError, verify_head, PAIR.author, 5, ENTRY_ID, signature[:63] + message[:1]
        )

    def test_what_is_not_signed(self) -> None:
        for seq in (0, -1, MAX_SEQ + 1, True, 1.0, None):
            self.assertRaises(InvalidValueError, PAIR.sign_head, seq, ENTRY_ID)
        for entry_id in (b"", ENTRY_ID[1:], ENTRY_ID + b"\0", bytearray(32), None):
            self.assertRaises(InvalidValueError, PAIR.sign_head, 1, entry_id)


class Texts(SynchronousTestCase):
    @settings(derandomize=True)
    @given(st.binary(min_size=32, max_size=32), st.sampled_from(KeyKind))
    def test_round_trip(self, key: bytes, kind: KeyKind) -> None:
        if kind is KeyKind.NODE:
            key = key[:31] + bytes([key[31] & 0x7F])
        text = format_key(kind, key)
        self.assertEqual(len(text), len(kind.value) + 56)
        self.assertEqual(parse_key(kind, text), key)
        self.assertEqual(parse_key(kind, key.hex()), key)
        self.assertEqual(parse_key(kind, key.hex().upper()), key)
        self.assertTrue(text.partition("_")[2].startswith(keys.short_key(key)))

    def test_one_wrong_character_is_noticed(self) -> None:
        text = format_author(PAIR.author)
        accepted = []
        for at in range(len("author_"), len(text)):
            for char in "abcdefghijklmnopqrstuvwxyz234567":
                typo = text[:at] + char + text[at + 1 :]
                try:
                    parse_author(typo)
                except InvalidKeyError:
                    continue
                if typo != text:
                    accepted.append(typo)
        self.assertEqual(accepted, [])

    def test_the_message_says_what_is_wrong(self) -> None:
        text = format_author(PAIR.author)
        for typo, words in (
            (format_key(KeyKind.NODE, PAIR.author), "of kind node"),
            ("writer_" + text[7:], "starts with author_"),
            (text.upper(), "starts with author_"),
            (text[:-1] + "1", "letters a-z"),
            (text[:-1], "not 54"),
            (text[:-1] + "b", "spare bits"),
            (text[:10] + ("a" if text[10] != "a" else "b") + text[11:], "checksum"),
            ("hello", "64 hex digits"),
            ("", "64 hex digits"),
        ):
            error = self.assertRaises(InvalidKeyError, parse_author, typo)
            self.assertIn(words, str(error), typo)

    def test_node_ids_that_are_none(self) -> None:
        """X25519 takes them for others: an id, as text or as bytes, is below 2^255 - 19."""
        field = 2**255 - 19
        for number, right in (
            (9, True),
            (field - 1, True),
            (field, False),
            (field + 9, False),
            (2**255 + 9, False),
        ):
            key = number.to_bytes(32, "little")
            self.assertEqual(keys.is_node_id(key), right)
            for text in (format_key(KeyKind.NODE, key), key.hex()):
                if right:
                    self.assertEqual(parse_key(KeyKind.NODE, text), key)
                else:
                    error = self.assertRaises(InvalidKeyError, parse_key, KeyKind.NODE, text)
                    self.assertIn("canonical", str(error))
            self.assertEqual(parse_key(KeyKind.NETWORK, key.hex()), key)
        for key in (b"", bytes(31), bytes(33), bytearray(32), "a" * 32, None):
            self.assertFalse(keys.is_node_id(key))

    def test_not_text_and_not_keys(self) -> None:
        self.assertRaises(InvalidKeyError, parse_author, PAIR.author)
        self.assertRaises(InvalidKeyError, parse_author, None)
        self.assertRaises(InvalidKeyError, parse_author, "\uff10" * 64)
        for key in (b"", bytes(31), bytes(33), bytearray(32), "a" * 32):
            self.assertRaises(InvalidKeyError, format_author, key)

    @settings(derandomize=True)
    @given(st.text())
    def test_any_text(self, text: str) -> None:
        for candidate in (text, "author_" + text):
            self.assertRaises(InvalidKeyError, parse_author, candidate)
