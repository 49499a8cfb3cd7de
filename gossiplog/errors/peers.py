"""What a peer sent.

Responsible for: the errors that end one session, each with the code that the other side is told.
Must not know: sessions.
Invariant: none of them is about what you did.
"""

from __future__ import annotations

from gossiplog.errors.base import ByeCode, GossiplogError


class PeerError(GossiplogError):
    """A peer broke the protocol; that session ends, nothing else changes."""

    code = ByeCode.MALFORMED


class HandshakeError(PeerError):
    """The encrypted channel could not be set up."""


class WrongProtocolError(HandshakeError):
    """The other side does not speak this protocol at all."""


class WrongNetworkError(HandshakeError):
    """The other side does not know the network key."""


class ReplayError(HandshakeError):
    """The first message of a handshake is one that was seen before: it may have been recorded."""


class ChannelError(PeerError):
    """A record did not decrypt: damaged, replayed or out of order."""


class FrameTooLargeError(PeerError):
    """A frame is announced above the ceiling."""

    code = ByeCode.TOO_LARGE


class MalformedMessageError(PeerError):
    """A frame is not a message."""


class UnexpectedMessageError(PeerError):
    """A message that is not allowed in this state of the session."""

    code = ByeCode.UNEXPECTED


class VersionMismatchError(PeerError):
    """No protocol version in common."""

    code = ByeCode.VERSION


class LimitExceededError(PeerError):
    """A peer went over a limit of ``limits.py``."""

    code = ByeCode.LIMIT


class PeerTimeoutError(PeerError):
    """A peer was silent for too long."""

    code = ByeCode.TIMEOUT


class BadSegmentError(PeerError):
    """A segment of wrong shape, over its limits or with a broken chain."""

    code = ByeCode.BAD_SEGMENT


class UnaskedHolesError(BadSegmentError):
    """A segment without all of its bodies, from a peer that was not asked for such."""


class BadSignatureError(PeerError):
    """A signature that is not one."""

    code = ByeCode.BAD_SIGNATURE


class BadForkProofError(PeerError):
    """A fork proof that proves nothing."""

    code = ByeCode.BAD_FORK
