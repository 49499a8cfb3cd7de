"""What became of accepted segments on our disk.

Responsible for: following commits and their failures.
Must not know: how the disk commits; why it failed.
Invariant: what was accepted and then lost is asked for again; own entries are passed on as soon as they are durable,
and not before.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.hole_filling import HoleFilling
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.sender import Sender
from gossiplog.gossip.write_queue import WriteQueue


class Commits:
    """I follow what one replica's store does with what it was given."""

    def __init__(
        self,
        core: Core,
        pulls: Pulls,
        catch_up: CatchUp,
        interest: InterestExchange,
        hole_filling: HoleFilling,
        sender: Sender,
        writes: WriteQueue,
    ) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self._interest = interest
        self._hole_filling = hole_filling
        self._sender = sender
        self._writes = writes

    def committed(self, event: events.Committed) -> None:
        """These are durable, or were overtaken by an own append."""
        core, ledger = self._core, self._core.ledger
        self._writes.done(event.done_bytes)
        if not event.segments and not event.stale:
            return  # of a commit, what it put on disk is told first, and then each write on its own
        changed = dict.fromkeys(segment.author for segment in event.segments)
        own = changed.keys() - core.heads.ahead.keys() - core.heads.forks
        for author in changed:
            core.heads.settle(author)
            self._pulls.schedule.durable(author, core.heads.clock.seq(author))
            self._pulls.withdrawn.durable(author, core.heads.clock.seq(author))
        self._hole_filling.seek_fresh(changed)
        for segment in event.segments:
            bringer = core.sessions.get(core.brought.pop((segment.author, segment.first), -1))
            if bringer is not None:
                bringer.entries_in += segment.count
            ledger.committed(segment, last=segment.author not in core.heads.ahead)
            # what was accepted went on its way then
            if segment.author in own and core.wanted.wants(segment.author):
                self._sender.relay(segment, None, backlog=False)
        if event.stale:
            self._lost(event.stale)
        for session in core.open_sessions():
            if not session.outbox.idle and any(session.outbox.owes(author) for author in changed):
                core.send_waiting(session)
            self._catch_up.check(session)
        self._pulls.ask()

    def failed(self, event: events.CommitFailed) -> None:
        """Nothing that is pending is going to be on disk."""
        self._core.is_read_only = event.final
        # a full disk stays full for a while: what comes again at once would fail again
        self._pulls.rest_until(self._core.now + limits.RETRY_WRITE_SECONDS)
        self._lost(None)
        self._pulls.ask()

    def _lost(self, authors: tuple[bytes, ...] | None) -> None:
        """What was accepted (of ``authors``) is not going to be on disk."""
        heads, brought = self._core.heads, self._core.brought
        lost = tuple(heads.ahead) if authors is None else authors
        for author in (None,) if authors is None else authors:
            heads.revert(author)
            self._core.ledger.lost(author)
        gone = frozenset(lost)
        for place in [each for each in brought if authors is None or each[0] in gone]:
            del brought[place]
        self._pulls.schedule.reask(lost)
        for session in self._core.sessions.values():
            session.outbox.sweep(self._sender.has_all)
