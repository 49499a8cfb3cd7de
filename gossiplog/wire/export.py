"""Exports: segments and fork proofs in a file, as a peer would send them.

Responsible for: what stands before, between and behind them, and reading that from whatever bytes came.
Must not know: files; what is true of a segment.
Invariant: at most one unfinished frame is held, and nothing is read behind the first byte that is not of an export.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from gossiplog.errors import BadExportError, MalformedMessageError
from gossiplog.gossip.messages import Fork, Segment, Unknown
from gossiplog.limits import MAX_FRAME_BYTES
from gossiplog.log.fork import ForkProof
from gossiplog.wire.codec import decode, encode
from gossiplog.wire.frames import FRAME_HEADER, frame

MAGIC: Final = b"gossiplog/1 logs"
"""How every export begins."""

_BEGIN: Final = b"\x92\x00"
_NO_NETWORK: Final = _BEGIN + b"\xc0"
_OF_NETWORK: Final = _BEGIN + b"\xc4\x20"
_END: Final = b"\x92\x01\xc4\x20"


class Begin(NamedTuple):
    """The store that was exported belongs to the network with this discovery id; to none yet if that is None."""

    network: bytes | None


Exported: TypeAlias = Begin | Segment | ForkProof


class ExportWriter:
    """I turn what is exported into bytes."""

    def __init__(self) -> None:
        self._sum = sha256()

    def begin(self, network: bytes | None) -> bytes:
        """Return the beginning."""
        self._sum.update(MAGIC)
        return MAGIC + self._frame(_NO_NETWORK if network is None else _OF_NETWORK + network)

    def segment(self, segment: Segment) -> bytes:
        """Return a segment, whose payloads are all there."""
        return self._frame(encode(segment))

    def proof(self, proof: ForkProof) -> bytes:
        """Return a fork proof."""
        return self._frame(encode(Fork(proof)))

    def end(self) -> bytes:
        """Return what says that this is all."""
        return self._frame(_END + self._sum.digest())

    def _frame(self, body: bytes) -> bytes:
        framed = frame(body)
        self._sum.update(framed)
        return framed


class ExportReader:
    """I am the inverse, fed with pieces of any size.

    ``ended``: the end was there, and all before it is as it was written.
    """

    def __init__(self) -> None:
        self.ended = False
        self._sum = sha256()
        self._begun = False
        self._rest = bytearray()
        self._is_export = False

    def feed(self, data: bytes) -> tuple[list[Exported], BadExportError | None]:
        """Return what ends in ``data``, and what is wrong behind that; after something was wrong, feed no more."""
        found: list[Exported] = []
        try:
            self._read(data, found)
        except MalformedMessageError as error:
            return found, BadExportError(str(error))
        except BadExportError as error:
            return found, error
        return found, None

    def finish(self) -> BadExportError | None:
        """There is no more: return what is wrong with that."""
        if self.ended:
            return None
        if not self._is_export:
            return BadExportError("it is no export: it is too short for one")
        return BadExportError(
            "it is cut off: what is there was taken, and the whole one can be imported again"
        )

    def _read(self, data: bytes, found: list[Exported]) -> None:
        self._rest += data
        at = 0
        if not self._is_export:
            if not self._rest.startswith(MAGIC[: len(self._rest)]):
                raise BadExportError("it is no export: these begin in another way")
            if len(self._rest) < len(MAGIC):
                return
            self._is_export = True
            self._sum.update(MAGIC)
            at = len(MAGIC)
        while len(self._rest) > at and not self.ended:
            if len(self._rest) < at + FRAME_HEADER.size:
                break
            (size,) = FRAME_HEADER.unpack_from(self._rest, at)
            if size > MAX_FRAME_BYTES:
                raise BadExportError(f"a frame of {size} bytes is longer than any")
            end = at + FRAME_HEADER.size + size
            if len(self._rest) < end:
                break
            self._take(bytes(self._rest[at + FRAME_HEADER.size : end]), found)
            at = end
        del self._rest[:at]
        if self.ended and self._rest:
            raise BadExportError("something stands behind its end")

    def _take(self, body: bytes, found: list[Exported]) -> None:
        if not self._begun:
            if body != _NO_NETWORK and not (
                body.startswith(_OF_NETWORK) and len(body) == len(_OF_NETWORK) + 32
            ):
                raise BadExportError("its first frame is no beginning of one")
            self._begun = True
            found.append(Begin(body[len(_OF_NETWORK) :] or None))
        elif body.startswith(_END):
            if body != _END + self._sum.digest():
                raise BadExportError("it was changed since it was written; what is signed was taken")
            self.ended = True
        else:
            message = decode(body)
            if isinstance(message, Segment):
                found.append(message)
            elif isinstance(message, Fork):
                found.append(message.proof)
            elif not isinstance(message, Unknown):
                raise BadExportError(f"a {type(message).__name__} is nothing that an export has")
        self._sum.update(frame(body))
