"""Writers: the local authors of a store.

Responsible for: :class:`Writer`.
Must not know: threads, disks; how an append becomes durable.
Invariant: what cannot be an entry is refused before anything is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from gossiplog.errors import InvalidValueError
from gossiplog.live.results import Result
from gossiplog.log.body import Reference, encode_bodies, encode_body
from gossiplog.log.encodings import Encoding, encode_payloads

_SINGLE = (str, bytes, bytearray, memoryview, Mapping)
"""What can be iterated over and is one payload all the same."""


class Appends(Protocol):
    """What a writer needs of its store."""

    def append(self, author: bytes, bodies: list[bytes]) -> Result[range]:
        """Append encoded bodies; fires with their seqs once they are on disk."""

    def run(self, work: Callable[[Any], Any]) -> Result[Any]:
        """Do ``work`` in the store's thread."""


class Writer:
    """I append to one local log.  ``author`` is its key, ``name`` what this store calls it."""

    def __init__(self, store: Appends, name: str, author: bytes, chosen: Encoding) -> None:
        self._store = store
        self._encoding = chosen
        self.name = name
        self.author = author

    def append(self, payload: Any, *, after: Sequence[Reference] = ()) -> Result[int]:
        """Append one entry; fires with its seq once it is on disk.

        Raises :class:`EncodingError` and :class:`PayloadTooLargeError` at once; nothing is written then.
        """
        [encoded] = encode_payloads((payload,), self._encoding)
        body = encode_body(int(time.time() * 1000), encoded, after)
        return self._store.append(self.author, [body]).addCallback(lambda seqs: seqs.start)  # type: ignore[return-value]

    def append_many(self, payloads: Iterable[Any]) -> Result[range]:
        """Append all of them or none; fires with their seqs once they are on disk, at once if there are none."""
        if isinstance(payloads, _SINGLE) or not isinstance(payloads, Iterable):
            raise InvalidValueError(
                f"append_many takes a list of payloads, not one {type(payloads).__name__}"
            )
        encoded = encode_payloads(payloads, self._encoding)
        if not encoded:
            return self._store.run(lambda _: range(0))
        return self._store.append(self.author, encode_bodies(int(time.time() * 1000), encoded))
