"""What must hold where entries go one way only, checked on the wire.

Responsible for: that nobody says what its own mode or the peer's forbids, and that "in sync" is what it says.
Must not know: scenarios; how a node comes to know a peer's mode.
Invariant: it looks at modes as they were chosen, not as anybody told them.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossiplog.gossip import events
from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.messages import Fill, Have, Message, Pong, Want
from gossiplog.gossip.modes import Mode
from gossiplog.log.segment import Segment
from gossiplog.testing.sim.loop import Carrier


class OneWay:
    """I watch who gives what to whom; each call returns the faults that it finds."""

    def __init__(self) -> None:
        self._shown: dict[tuple[bytes, bytes, int], dict[bytes, int]] = {}
        self._known: dict[bytes, dict[bytes, int]] = {}

    def started(self, node: Carrier) -> None:
        """It knows what its disk holds."""
        self._known[node.id] = _held(node)

    def sent(self, node: Carrier, session: int, message: Message) -> list[str]:
        """Nothing leaves a node that it does not give or the other side does not take; nobody asks in vain."""
        other = _other(node, session)
        theirs = getattr(other, "mode", Mode.BOTH)
        faults = []
        if not (node.mode.gives and theirs.takes) and _gives(message):
            faults.append(f"{node.mode.value} to {theirs.value}: sends or announces entries")
        if not (node.mode.takes and theirs.gives) and isinstance(message, Want | Fill):
            faults.append(f"{node.mode.value} to {theirs.value}: asks for entries")
        if isinstance(message, Pong) and message.done and other is not None:
            self._shown[node.id, other.id, message.token] = self._known[node.id].copy()
        return faults

    def handled(self, node: Carrier, event: Event, effects: Sequence[Effect]) -> list[str]:
        """Who is in sync has what the other side had when it answered, or gave all that there is."""
        known = self._known[node.id]
        if isinstance(event, events.Committed):
            known.update({segment.author: segment.last for segment in event.segments})
        if isinstance(event, events.Forgotten):
            for author in event.authors:
                known.pop(author, None)
        if not isinstance(event, events.Received) or not isinstance(event.message, Pong):
            return []
        other = _other(node, event.session)
        shown = self._shown.pop((getattr(other, "id", b""), node.id, event.message.token), None)
        if not isinstance(other, Carrier) or not any(isinstance(effect, events.InSync) for effect in effects):
            return []
        faults = []
        if node.mode.takes and other.mode.gives and shown is not None and _lacks(node, other, shown):
            faults.append("is in sync, and lacks what the peer had")
        if node.mode.gives and other.mode.takes and _lacks(other, node, known):
            faults.append("is in sync, and the peer lacks what it has")
        if not any(a.mode.gives and b.mode.takes for a, b in ((node, other), (other, node))):
            faults.append("is in sync where nothing goes")
        return faults


def _other(node: Carrier, session: int) -> Carrier | None:
    end = node.ends.get(session)
    party = None if end is None else end.other.party
    return party if isinstance(party, Carrier) else None


def _gives(message: Message) -> bool:
    is_announcement = isinstance(message, Have) and any(item.seq for item in message.items)
    return isinstance(message, Segment) or is_announcement


def _held(node: Carrier) -> dict[bytes, int]:
    return {author: head.seq for author, head in node.backend.heads()}


def _lacks(taker: Carrier, giver: Carrier, held: dict[bytes, int]) -> list[bytes]:
    """What a node should have by now, of what both want and nobody knows as forked."""
    own = _held(taker)
    forks = taker.heads.forks | giver.heads.forks
    wants = taker.replica.core.wanted.wants, giver.replica.core.wanted.wants
    return [
        author
        for author, seq in held.items()
        if own.get(author, 0) < seq and author not in forks and all(want(author) for want in wants)
    ]
