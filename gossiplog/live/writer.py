"""Writers: the local authors of a store.

Responsible for: :class:`Writer`.
Must not know: threads, disks; how an append becomes durable.
Invariant: what cannot be an entry is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from gossiplog.arguments import wrong
from gossiplog.errors import InvalidReferenceError, InvalidValueError
from gossiplog.limits import MAX_REFERENCES
from gossiplog.live.machine import wall_ms
from gossiplog.live.results import Result
from gossiplog.log.body import ID16_BYTES, Reference, check_reference, encode_bodies, encode_body
from gossiplog.log.clock_view import HeadView
from gossiplog.log.encodings import Encoding, encode_payloads
from gossiplog.log.entry import Entry
from gossiplog.log.keys import short_key

_SINGLE = (str, bytes, bytearray, memoryview, Mapping)
"""What can be iterated over and is one payload all the same."""


class Appends(Protocol):
    """What a writer needs of its store."""

    reactor: Any

    @property
    def clock(self) -> HeadView:
        """What it holds."""

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

    def append(self, payload: Any, *, after: Iterable[Entry | Reference] = ()) -> Result[int]:
        """Append one entry; fires with its seq once it is on disk.

        ``after`` are entries that it comes behind, at most 64: those that it replies to, or ``await store.heads()``.
        Raises :class:`EncodingError`, :class:`PayloadTooLargeError` and :class:`InvalidReferenceError` at once; nothing
        is written then.
        """
        [encoded] = encode_payloads((payload,), self._encoding)
        references = self._references(after) if after != () else []
        body = encode_body(wall_ms(self._store.reactor), encoded, references)
        return self._store.append(self.author, [body]).addCallback(lambda seqs: seqs.start)  # type: ignore[return-value]

    def _references(self, after: Any) -> list[Reference]:
        """What ``after`` names, each once; raises :class:`InvalidReferenceError` for what nothing can come behind."""
        if isinstance(after, (Entry, Reference, *_SINGLE)) or not isinstance(after, Iterable):
            raise wrong("after", "a list of entries, or of references to some", after)
        found: dict[Reference, None] = {}
        for each in after:
            if isinstance(each, Entry):
                found[Reference(each.author, each.seq, each.id[:ID16_BYTES])] = None
            elif isinstance(each, Reference):
                found[check_reference(each)] = None
            else:
                raise wrong("after", "a list of entries, or of references to some", each)
        held = self._store.clock.seq(self.author)
        for author, seq, _ in found:
            if author == self.author and seq > held:
                raise InvalidReferenceError(
                    f"after names entry {seq} of {short_key(author)}, which is this log: it has {held}, and an entry "
                    "cannot come behind itself or a later one"
                )
        if len(found) > MAX_REFERENCES:
            raise InvalidReferenceError(
                f"after names {len(found)} entries, and a body has room for {MAX_REFERENCES}: "
                "name the last ones, which are behind the others, or those of store.heads()"
            )
        return [*found]

    def append_many(self, payloads: Iterable[Any]) -> Result[range]:
        """Append all of them or none; fires with their seqs once they are on disk, at once if there are none."""
        if isinstance(payloads, _SINGLE) or not isinstance(payloads, Iterable):
            raise InvalidValueError(
                f"append_many takes a list of payloads, not one {type(payloads).__name__}"
            )
        encoded = encode_payloads(payloads, self._encoding)
        if not encoded:
            return self._store.run(lambda _: range(0))
        return self._store.append(self.author, encode_bodies(wall_ms(self._store.reactor), encoded))
