"""Seeds as 24 words, for paper.

Responsible for: words of a seed and the seed of words, as BIP-39 has it for 256 bits of entropy: the seed and 8 bits of
its SHA-256, 11 bits for each word.
Must not know: authors, files.
Invariant: no word that was given is in an error; what one word that was mistaken makes of a seed is refused in 255 of
256 cases.

>>> to_words(bytes(32))[-11:]
'abandon art'
>>> from_words(to_words(bytes(32))) == bytes(32)
True
"""

from __future__ import annotations

import unicodedata
from hashlib import sha256
from typing import Final

from gossiplog.errors import InvalidKeyError
from gossiplog.log.keys import KEY_BYTES
from gossiplog.log.word_list import WORDS

COUNT: Final = 24
_WORD_BITS: Final = 11
_PLACES: Final = {word: place for place, word in enumerate(WORDS)}


def to_words(seed: bytes) -> str:
    """Return the words of a seed of 32 bytes."""
    if type(seed) is not bytes or len(seed) != KEY_BYTES:
        raise InvalidKeyError(f"a seed is {KEY_BYTES} bytes")
    number = int.from_bytes(seed + _checksum(seed))
    places = [number >> _WORD_BITS * place & len(WORDS) - 1 for place in reversed(range(COUNT))]
    return " ".join(WORDS[place] for place in places)


def from_words(text: str) -> bytes:
    """Return the seed of 24 words, in any case and with any space between; InvalidKeyError says what is wrong."""
    given = unicodedata.normalize("NFKD", text).lower().split()
    if len(given) != COUNT:
        raise InvalidKeyError(f"a seed has {COUNT} words, not {len(given):,}")
    number = 0
    for place, word in enumerate(given, 1):
        if word not in _PLACES:
            raise InvalidKeyError(f"word {place} is none of the list: there is a mistake in it")
        number = number << _WORD_BITS | _PLACES[word]
    whole = number.to_bytes(KEY_BYTES + 1)
    seed = whole[:KEY_BYTES]
    if whole[KEY_BYTES:] != _checksum(seed):
        raise InvalidKeyError(
            "these are no words of a seed: one of them is another, or two are in each other's place"
        )
    return seed


def _checksum(seed: bytes) -> bytes:
    return sha256(seed).digest()[:1]
