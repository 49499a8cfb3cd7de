"""Events and effects as lines to read.

Responsible for: saying in a line of the trace what happened.
Must not know: anything but the values themselves.
Invariant: the line depends on the value alone.
"""

from __future__ import annotations

from gossiplog.gossip import events
from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.messages import Fork, Message
from gossiplog.log.segment import Segment


def describe(value: Event | Effect) -> str:
    """A line of the trace for an event or effect."""
    name = type(value).__name__
    if isinstance(value, events.Received | events.Send):
        return f"{name} {value.session} {_message(value.message)}"
    if isinstance(value, events.Committed):
        return f"{name} {[(s.author.hex()[:4], s.first, s.last) for s in value.segments]} {value.done_bytes}"
    if isinstance(value, events.StoreSegment | events.Examine):
        return f"{name} {_message(value.segment)}"
    if isinstance(value, events.Loaded):
        return f"{name} {value.session} {[_message(s if isinstance(s, Segment) else Fork(s)) for s in value.segments]}"
    if isinstance(value, events.Load):
        return f"{name} {value.session} {[(author.hex()[:4], first) for author, first in value.wants]}"
    if isinstance(value, events.End | events.PeerDown):
        return f"{name} {value.session} {value.code} {value.reason}"
    if isinstance(value, events.PeerRejected):
        return f"{name} {value.session} {value.error}"
    return f"{name} {getattr(value, 'session', '')}"


def _message(message: Message) -> str:
    name = type(message).__name__.upper()
    if isinstance(message, Segment):
        return f"{name} {message.author.hex()[:4]} {message.first}-{message.last}"
    return name + _shorten(tuple(message))


def _shorten(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()[:4]
    if isinstance(value, tuple):
        return "(" + " ".join(_shorten(part) for part in value) + ")"
    return repr(value)
