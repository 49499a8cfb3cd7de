"""Keeping a replica to the authors that are wanted, by us and by each peer.

Responsible for: what is said to peers about our interest, what follows when it changes, and who is refused by a quota.
Must not know: how segments are accepted or sent; who changed the choices.
Invariant: once :meth:`Replica.handle` returns from a change, nothing of an author that is not wanted is asked
for, accepted, announced or sent, and every peer has been told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.interest import Choices, Wanted
from gossiplog.gossip.messages import Interest, Lazy, Message, Ranges, Refuse
from gossiplog.gossip.plumtree import Plumtree
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.quotas import Quota, QuotaLedger
from gossiplog.gossip.session import Phase, Session, Slot
from gossiplog.gossip.wanted_heads import WantedHeads

LOOK_SECONDS = 1.0
"""Between two looks for authors within their rate again, at least: a look costs in proportion to those refused."""


class Said:
    """What was said of interest at the beginning of one session.

    ``is_whole``: the peer named all that it does not want, or does.  ``root``: that of our HELLO, empty when it covered
    another interest than ours is now.  ``forgot_refused``: some that the peer does not want are taken for wanted.
    """

    __slots__ = ("forgot_refused", "is_whole", "root")

    def __init__(self, session: Session) -> None:
        self.is_whole = False
        self.root = b""
        self.forgot_refused = False


class InterestExchange:
    """I know which authors the peers of one replica and we want."""

    def __init__(
        self, core: Core, pulls: Pulls, catch_up: CatchUp, announcer: Announcer, plumtree: Plumtree
    ) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self._announcer = announcer
        self._plumtree = plumtree
        self.of = Slot(Said)
        self._renamed: dict[bytes, None] = {}
        self._looks_at: float | None = None
        self.limit_to(Choices(core.heads.local), core.ledger)

    def limit_to(self, choices: Choices, ledger: QuotaLedger) -> None:
        """Want what ``choices`` say and ``ledger`` allows; before there are sessions."""
        self.choices = choices
        core = self._core
        core.ledger = ledger
        ledger.ask(core.heads.clock.__contains__)
        core.wanted = Wanted(choices.mode, choices.named())
        core.heads.views.clear()
        core.view = WantedHeads(core.heads, core.wanted)
        core.heads.views.add(core.view)

    # -- what we say at the beginning

    def introduction(self) -> tuple[tuple[bytes, ...], Iterator[Message]]:
        """The names in our HELLO, and the messages with the rest: a full list goes on in the next one."""
        names: Sequence[bytes] = self._core.wanted.authors
        first = tuple(names[: limits.MAX_EXCEPTIONS])
        if len(first) < limits.MAX_EXCEPTIONS:
            return first, iter(())
        kind = Refuse if self._core.wanted.mode is Interest.ALL else Lazy
        rest = names[limits.MAX_EXCEPTIONS :]
        step = limits.MAX_WANT_ITEMS
        return first, (kind(tuple(rest[at : at + step])) for at in range(0, len(rest) + 1, step))

    def hear_names(self, session: Session, names: Sequence[bytes | None], *, is_last: bool) -> None:
        """The peer names what it wants, or does not; how it wants to be served is not said with it."""
        wanted = session.wanted.mode is Interest.WANTED
        for author in names:
            if author is not None:
                session.wanted.say(author, wanted)
        self.of[session].is_whole = is_last
        if is_last:
            session.view.renew()
        for author in [*self._announcer.owed(session), *session.outbox.news]:
            if not session.wanted.wants(author):
                session.outbox.forget(author)
                self._announcer.forget(session, author)

    # -- our interest changes

    def interest_changed(self, event: events.InterestChanged) -> None:
        for author in event.authors:
            self._reconsider(author)
        self._pulls.ask()

    def _reconsider(self, author: bytes) -> None:
        """Want ``author`` or not, as the choices and quotas are now."""
        wants = self.choices.wants(author) and author not in self._core.ledger.refused
        if not self._core.wanted.say(author, wants):
            return
        self._renamed[author] = None
        self._core.told_all += 1
        self._core.view.changed(author)
        if not wants:
            self._plumtree.forget_parent(author)
        for session in self._core.sessions.values():
            if not self.of[session].is_whole:
                self.of[session].root = b""
            if not wants:
                self._core.drop(session, author)
                self._plumtree.forget_expected(session, author)
                if session.phase is Phase.OPEN:
                    self._pulls.schedule.drop(session.number, author)
                    self._catch_up.check(session)

    def say_names(self) -> None:
        """Tell every peer which authors we want now, and do not; and what we hold of those that are new."""
        if not self._renamed:
            return
        wanted = [author for author in self._renamed if self._core.wanted.wants(author)]
        refused = [author for author in self._renamed if not self._core.wanted.wants(author)]
        self._renamed.clear()
        for session in tuple(self._core.sessions.values()):
            for author in wanted:
                if session.wanted.wants(author):
                    self._show(session, author)
            self._announcer.name(session, [*refused, *wanted])
            self._core.send_waiting(session)

    def _show(self, session: Session, author: bytes) -> None:
        """The peer did not hear of ``author`` while one side did not want it: say what we hold."""
        if author in self._core.heads.forks:
            session.outbox.prove(author)
            if session.phase is Phase.OPEN:
                self._core.send_waiting(session)
        elif self._core.heads.accepted_seq(author):
            self._announcer.announce(session, author)

    # -- a peer's interest changes

    def refused(self, session: Session, author: bytes) -> None:
        """The peer does not want ``author`` any more, and so has nothing of it for us."""
        session.view.changed(author)
        self._core.drop(session, author)
        self._plumtree.forget_expected(session, author)
        self._pulls.schedule.drop(session.number, author)
        self._plumtree.forget_parent(author, session)

    def wanted_again(self, session: Session, author: bytes) -> None:
        """The peer wants ``author``, which it did not before."""
        session.view.changed(author)
        if self._core.wanted.wants(author):
            self._show(session, author)

    def shown(self, session: Session, author: bytes) -> None:
        """The peer announces entries of ``author``: it wants it, and says that before it says so."""
        if self._core.wanted.wants(author) and session.wanted.say(author, True):
            self.wanted_again(session, author)

    def heed_items(self, session: Session, message: Ranges) -> None:
        """Who lists an author wants it, and believes that we do: put right what either side got wrong."""
        if self._core.wanted.is_everything and session.wanted.is_everything:
            return
        unwanted = []
        for author in [item.author for part in message.ranges for item in part.items]:
            if session.wanted.say(author, True):
                self.wanted_again(session, author)
            if not self._core.wanted.wants(author):
                unwanted.append(author)
        self._announcer.name(session, unwanted)

    def pass_over(self, session: Session, author: bytes) -> None:
        """The peer shows something of ``author``: it is not wanted, or not by the peer, who has nothing of it for us.

        Messages crossed, or it forgot that we do not want it, as it may of those who want all but some: it is told.
        """
        session.unwanted_items += 1
        if self._core.wanted.mode is Interest.ALL and not self._core.wanted.wants(author):
            self._announcer.name(session, [author])
            self._announcer.flush_within(limits.ANNOUNCE_SECONDS)

    def forget_refused(self, session: Session) -> None:
        """Take a peer that wants all but some to want these too: it is shown them again, and says so again."""
        if session.wanted.mode is Interest.ALL and session.wanted.authors:
            session.wanted.authors.clear()
            session.view.renew()
            self.of[session].forgot_refused = True

    # -- quotas

    def takes(self, author: bytes, size: int = 0) -> bool:
        """Whether ``author`` is wanted and the quotas have room (for ``size`` bytes on disk, if they came)."""
        if not self._core.wanted.wants(author):
            return False
        return self._is_within(author, self._core.ledger.breach(author, size, self._core.now))

    def has_room(self, author: bytes, size: int = 0) -> bool:
        """As :meth:`takes`, of what is no entry: for that nobody is too fast."""
        return self._core.wanted.wants(author) and self._is_within(
            author, self._core.ledger.full(author, size)
        )

    def is_beyond(self, author: bytes, size: int) -> bool:
        """Whether ``author`` is over a quota, and nobody could be told: then nothing of it is verified."""
        return not self._may_refuse and self._core.ledger.full(author, size) is not None

    @property
    def _may_refuse(self) -> bool:
        return len(self._core.ledger.refused) < limits.MAX_NAMED_AUTHORS - limits.MAX_CHOSEN_AUTHORS

    def _is_within(self, author: bytes, quota: Quota | None) -> bool:
        if quota is not None:
            self.refuse(author, quota)
        return quota is None

    def refuse(self, author: bytes, quota: Quota) -> None:
        """Want no more of ``author`` while it is over a quota; above the limit of names, do so without a word."""
        if self._may_refuse:
            self._core.ledger.refused[author] = quota
            self._reconsider(author)
            self._core.emit(events.QuotaExceeded(author, quota))
            if quota is Quota.RATE:
                self.lift_rested_at(self._core.ledger.rested_at(author))
        else:
            for number in self._pulls.schedule.claimants(author):
                self._pulls.schedule.drop(number, author)
        self._pulls.ask()

    def _lift(self, authors: Iterable[bytes]) -> None:
        """These may be within the quotas again."""
        for author in authors:
            if self._core.ledger.refused.pop(author, None) is not None:
                self._reconsider(author)
                self._core.emit(events.QuotaLifted(author))

    def resume_quotas(self) -> None:
        """The first session after a while without timers is about to begin."""
        self._looks_at = None
        self._lift(self._core.ledger.rested(self._core.now))
        self._renamed.clear()  # HELLO says it

    def lift_rested_at(self, when: float | None) -> None:
        """Look then, or in a while, who may go on that was refused for its rate."""
        if when is None:
            return
        when = max(when, self._core.now + LOOK_SECONDS)
        if self._looks_at is None or when < self._looks_at:
            self._looks_at = when
            self._core.at(when, self._look_for_rested)

    def _look_for_rested(self) -> None:
        if self._looks_at is not None and self._core.now >= self._looks_at:
            self._looks_at = None
            self._lift(self._core.ledger.rested(self._core.now))
            self.lift_rested_at(self._core.ledger.rests_until)

    def forgotten(self, event: events.Forgotten) -> None:
        """These were deleted: nothing is held of them."""
        lifted: dict[bytes, None] = {}
        for author in event.authors:
            self._core.heads.forget(author)
            self._pulls.schedule.durable(author, 0)
            lifted.update(dict.fromkeys(self._core.ledger.forgotten(author)))
            for session in self._core.sessions.values():
                self._core.drop(session, author)
        self._lift(lifted)
        again = [author for author in event.authors if self._core.wanted.wants(author)]
        if again:
            self._compare_again(again)
        self._pulls.ask()

    def lightened(self, event: events.Lightened) -> None:
        """Merging made room, or somebody chose other bounds."""
        ledger = self._core.ledger
        if ledger.refused:
            within = event.authors is None
            self._lift(ledger.within(self._core.now) if within else ledger.lightened(event.authors or ()))
            self._pulls.ask()

    def _compare_again(self, authors: Sequence[bytes]) -> None:
        """These were wanted again before they were gone: what peers said of them, they said of what we held then."""
        for session in self._core.sessions.values():
            if session.phase is Phase.GREETING:
                self.of[session].root = b""
            elif any(session.wanted.wants(author) for author in authors):
                self._catch_up.start(session)
