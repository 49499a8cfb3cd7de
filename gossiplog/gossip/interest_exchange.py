"""Keeping a replica to the authors that are wanted, by us and by each peer.

Responsible for: what is said to peers about our interest, what follows when it changes, and who is refused by a quota.
Must not know: how segments are accepted or sent; who changed the choices.
Invariant: once :meth:`InterestExchange.handle` returns from a change, nothing of an author that is not wanted is asked
for, accepted, announced or sent, and every peer has been told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.interest import Choices, Wanted
from gossiplog.gossip.messages import Interest, Lazy, Message, Ranges, Refuse
from gossiplog.gossip.quotas import Quota, QuotaLedger, Quotas
from gossiplog.gossip.session import Phase, Session
from gossiplog.gossip.wanted_heads import WantedHeads
from gossiplog.log.disk_cost import Weights

LOOK_SECONDS = 1.0
"""Between two looks for authors within their rate again, at least: a look costs in proportion to those refused."""


class InterestExchange(Announcer):
    """I know which authors the peers of one replica and we want."""

    def __init__(self, holdings: Heads) -> None:
        super().__init__(holdings)
        self._renamed: dict[bytes, None] = {}
        self._relayed = 0
        self._looks_at: float | None = None
        self.limit_to(Choices(holdings.local), QuotaLedger(Quotas(), Weights(), holdings.local))

    def limit_to(self, choices: Choices, ledger: QuotaLedger) -> None:
        """Want what ``choices`` say and ``ledger`` allows; before there are sessions."""
        self.choices = choices
        self.ledger = ledger
        self.wanted = Wanted(choices.mode, choices.named())
        self.holdings.views.clear()
        self._our_view = WantedHeads(self.holdings, self.wanted)
        self.holdings.views.add(self._our_view)

    # -- what we say at the beginning

    def _interest(self) -> tuple[tuple[bytes, ...], Iterator[Message]]:
        """The names in our HELLO, and the messages with the rest: a full list goes on in the next one."""
        names: Sequence[bytes] = self.wanted.authors
        first = tuple(names[: limits.MAX_EXCEPTIONS])
        if len(first) < limits.MAX_EXCEPTIONS:
            return first, iter(())
        kind = Refuse if self.wanted.mode is Interest.ALL else Lazy
        rest = names[limits.MAX_EXCEPTIONS :]
        step = limits.MAX_WANT_ITEMS
        return first, (kind(tuple(rest[at : at + step])) for at in range(0, len(rest) + 1, step))

    def _introduce(self, session: Session, names: Sequence[bytes | None], *, is_last: bool) -> None:
        """The peer names what it wants, or does not; how it wants to be served is not said with it."""
        wanted = session.wanted.mode is Interest.WANTED
        for author in names:
            if author is not None:
                session.wanted.say(author, wanted)
        session.introduced = is_last
        if session.introduced:
            session.view.renew()
        for author in [*session.announce, *session.outbox.news]:
            if not session.wanted.wants(author):
                session.outbox.forget(author)
                session.announce.pop(author, None)

    # -- our interest changes

    def _interest_changed(self, event: events.InterestChanged) -> None:
        for author in event.authors:
            self._reconsider(author)
        self._ask()

    def _reconsider(self, author: bytes) -> None:
        """Want ``author`` or not, as the choices and quotas are now."""
        wants = self.choices.wants(author) and author not in self.ledger.refused
        if not self.wanted.say(author, wants):
            return
        self._renamed[author] = None
        self._relayed += 1
        self._our_view.changed(author)
        if not wants:
            self._part(author)
        for session in self.sessions.values():
            if not session.introduced:
                session.root_in_hello = b""  # it covered another interest
            if not wants:
                session.drop(author)
                session.announce.pop(author, None)
                session.expected.pop(author)
                if session.phase is Phase.OPEN:
                    self.schedule.drop(session.number, author)
                    self._check_caught_up(session)

    def _say_names(self) -> None:
        """Tell every peer which authors we want now, and do not; and what we hold of those that are new."""
        if not self._renamed:
            return
        wanted = [author for author in self._renamed if self.wanted.wants(author)]
        refused = [author for author in self._renamed if not self.wanted.wants(author)]
        self._renamed.clear()
        for session in tuple(self.sessions.values()):
            for author in wanted:
                if session.wanted.wants(author):
                    self._show(session, author)
            self._name(session, [*refused, *wanted])
            self._pump(session)

    def _show(self, session: Session, author: bytes) -> None:
        """The peer did not hear of ``author`` while one side did not want it: say what we hold."""
        if author in self.holdings.forks:
            session.outbox.prove(author)
            if session.phase is Phase.OPEN:
                self._pump(session)
        elif self.holdings.accepted_seq(author):
            self._announce(session, author)

    # -- a peer's interest changes

    def _refused(self, session: Session, author: bytes) -> None:
        """The peer does not want ``author`` any more, and so has nothing of it for us."""
        session.view.changed(author)
        session.drop(author)
        session.announce.pop(author, None)
        session.expected.pop(author)
        self.schedule.drop(session.number, author)
        self._part(author, session)

    def _part(self, author: bytes, session: Session | None = None) -> None:
        raise NotImplementedError

    def _wanted_again(self, session: Session, author: bytes) -> None:
        """The peer wants ``author``, which it did not before."""
        session.view.changed(author)
        if self.wanted.wants(author):
            self._show(session, author)

    def _heed_items(self, session: Session, message: Ranges) -> None:
        """Who lists an author wants it, and believes that we do: put right what either side got wrong."""
        if self.wanted.is_everything and session.wanted.is_everything:
            return
        unwanted = []
        for author in [item.author for part in message.ranges for item in part.items]:
            if session.wanted.say(author, True):
                self._wanted_again(session, author)
            if not self.wanted.wants(author):
                unwanted.append(author)
        self._name(session, unwanted)

    # -- quotas

    def _takes(self, author: bytes, size: int = 0) -> bool:
        """Whether ``author`` is wanted and the quotas have room (for ``size`` bytes on disk, if they came)."""
        if not self.wanted.wants(author):
            return False
        return self._is_within(author, self.ledger.breach(author, size, self.now))

    def _has_room(self, author: bytes, size: int = 0) -> bool:
        """As :meth:`_takes`, of what is no entry: for that nobody is too fast."""
        return self.wanted.wants(author) and self._is_within(author, self.ledger.full(author, size))

    def _is_beyond(self, author: bytes, size: int) -> bool:
        """Whether ``author`` is over a quota, and nobody could be told: then nothing of it is verified."""
        return not self._may_refuse and self.ledger.full(author, size) is not None

    @property
    def _may_refuse(self) -> bool:
        return len(self.ledger.refused) < limits.MAX_NAMED_AUTHORS - limits.MAX_CHOSEN_AUTHORS

    def _is_within(self, author: bytes, quota: Quota | None) -> bool:
        if quota is not None:
            self._refuse(author, quota)
        return quota is None

    def _refuse(self, author: bytes, quota: Quota) -> None:
        """Want no more of ``author`` while it is over a quota; above the limit of names, do so without a word."""
        if self._may_refuse:
            self.ledger.refused[author] = quota
            self._reconsider(author)
            self._emit(events.QuotaExceeded(author, quota))
            if quota is Quota.RATE:
                self._look_at(self.ledger.rested_at(author))
        else:
            for number in self.schedule.claimants(author):
                self.schedule.drop(number, author)
        self._ask()

    def _lift(self, authors: Iterable[bytes]) -> None:
        """These may be within the quotas again."""
        for author in authors:
            if self.ledger.refused.pop(author, None) is not None:
                self._reconsider(author)
                self._emit(events.QuotaLifted(author))

    def _resume_quotas(self) -> None:
        """The first session after a while without timers is about to begin."""
        self._looks_at = None
        self._lift(self.ledger.rested(self.now))
        self._renamed.clear()  # HELLO says it

    def _look_at(self, when: float | None) -> None:
        """Look then, or in a while, who may go on that was refused for its rate."""
        if when is None:
            return
        when = max(when, self.now + LOOK_SECONDS)
        if self._looks_at is None or when < self._looks_at:
            self._looks_at = when
            self._at(when, self._look_for_rested)

    def _look_for_rested(self) -> None:
        if self._looks_at is not None and self.now >= self._looks_at:
            self._looks_at = None
            self._lift(self.ledger.rested(self.now))
            self._look_at(self.ledger.rests_until)

    def _forgotten(self, event: events.Forgotten) -> None:
        """These were deleted: nothing is held of them."""
        lifted: dict[bytes, None] = {}
        for author in event.authors:
            self.holdings.forget(author)
            self.schedule.durable(author, 0)
            lifted.update(dict.fromkeys(self.ledger.forgotten(author)))
            for session in self.sessions.values():
                session.drop(author)
                session.announce.pop(author, None)
        self._lift(lifted)
        again = [author for author in event.authors if self.wanted.wants(author)]
        if again:
            self._fetch_again(again)
        self._ask()

    def _lightened(self, event: events.Lightened) -> None:
        """Merging made room."""
        if self.ledger.refused:
            self._lift(self.ledger.lightened(event.authors))
            self._ask()

    def _fetch_again(self, authors: Sequence[bytes]) -> None:
        """These were wanted again before they were gone: what peers said of them, they said of what we held then."""
        for session in self.sessions.values():
            if session.phase is Phase.GREETING:
                session.root_in_hello = b""
            elif any(session.wanted.wants(author) for author in authors):
                self._start_reconcile(session)
