"""Targets: what is kept of a key, words of a seed, passphrases, what an ssh-agent says."""

from __future__ import annotations

import struct
from unittest.mock import patch

from nacl.bindings import crypto_sign, crypto_sign_open
from nacl.pwhash import argon2id

from gossiplog.errors import (
    InvalidKeyError,
    InvalidValueError,
    SignerError,
    StoreDamagedError,
    StoreFormatError,
)
from gossiplog.limits import MAX_PASSPHRASE_BYTES, MAX_PASSPHRASE_PASSES
from gossiplog.log.kept_key import MAX_KEPT_BYTES, ForeignKey, SealedSeed, dump, load, seal
from gossiplog.log.keys import Keypair
from gossiplog.log.passphrase import Cost, Passphrase, SealingKey
from gossiplog.log.words import from_words, to_words
from gossiplog.store.ssh_agent import SSHAgent
from tests.fuzz.people import ANN, BOB
from tests.fuzz.target import Target, as_text

COST = Cost(1, 8192)


def _derive(size: int, passphrase: bytes, salt: bytes, opslimit: int, memlimit: int) -> bytes:
    """In the place of Argon2id, which takes long."""
    assert 1 <= opslimit <= MAX_PASSPHRASE_PASSES and memlimit <= MAX_PASSPHRASE_BYTES
    return (passphrase + salt).ljust(size, b"\0")[:size]


_KEY = SealingKey(COST, bytes(16), _derive(32, b"secret", bytes(16), 1, 8192))


def check_kept(data: bytes) -> None:
    """A key is kept in one form; sealed, it opens to the seed of that author, at a bounded cost, or not at all."""
    try:
        kept = load(data)
    except InvalidValueError:
        return
    assert dump(kept) == data and len(data) <= MAX_KEPT_BYTES
    if isinstance(kept, SealedSeed):
        with patch.object(argon2id, "kdf", _derive):
            try:
                opened = kept.open(Passphrase("secret"))
            except (StoreFormatError, StoreDamagedError):
                return
        assert opened is None or opened[0].author == kept.author


def check_words(data: bytes) -> None:
    """Words are a seed, or none; one seed has one list of words."""
    text = as_text(data)
    try:
        seed = from_words(text)
    except InvalidKeyError as error:
        assert len(str(error)) < 200
        return
    assert from_words(to_words(seed)) == seed and text.lower().split() == to_words(seed).split()


def check_passphrase(data: bytes) -> None:
    """A text is a passphrase, the same in any normal form, or none; neither shows it."""
    text = as_text(data)
    try:
        taken = Passphrase(text)
    except InvalidValueError as error:
        assert len(text) < 12 or text not in str(error)
        return
    assert text and (len(text) < 12 or text not in repr(taken))


def check_agent(data: bytes) -> None:
    """Whatever an agent says is a list of keys, a signature or an error."""
    agent = SSHAgent("/nowhere")
    with patch.object(SSHAgent, "_ask", lambda self, request, wanted, refused: data):
        try:
            for author, comment in agent.authors().items():
                assert len(author) == 32 and comment.isprintable()
        except SignerError:
            pass
        try:
            assert len(agent.sign(ANN.author, b"message")) == 64
        except SignerError:
            pass


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _sealed(pair: Keypair) -> bytes:
    return dump(SealedSeed(pair.author, (seal(pair, _KEY, bytes),)))


_SIGNATURE = crypto_sign(b"message", ANN._secret)[:64]
assert crypto_sign_open(_SIGNATURE + b"message", ANN.author)

TARGETS = [
    Target("kept-key", check_kept, [ANN.seed, _sealed(ANN), _sealed(BOB), dump(ForeignKey(ANN.author))]),
    Target("words", check_words, [to_words(pair.seed).encode() for pair in (ANN, BOB)]),
    Target("passphrase", check_passphrase, [b"correct horse", "caf\u00e9".encode(), b"\xed\xa0\x80"]),
    Target(
        "agent",
        check_agent,
        [
            struct.pack(">I", 1)
            + _string(_string(b"ssh-ed25519") + _string(ANN.author))
            + _string(b"ann@home"),
            _string(_string(b"ssh-ed25519") + _string(_SIGNATURE)),
        ],
    ),
]
