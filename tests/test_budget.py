"""Rings 1 and 8: how much memory peers may take up together, what that is in bytes, and who has to give back."""

from __future__ import annotations

import sys
import tracemalloc
from collections import deque
from itertools import cycle
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode, InvalidValueError, StoreDamagedError
from gossiplog.gossip import events
from gossiplog.gossip.backlog import Backlog, Payloads
from gossiplog.gossip.budget import SESSION_BYTES, Budget
from gossiplog.gossip.events import Effect, End, Load
from gossiplog.gossip.memory_pressure import CLAIM_WITH_TABLES_BYTES
from gossiplog.gossip.messages import (
    Have,
    HaveItem,
    Item,
    Message,
    Range,
    RangeKind,
    Ranges,
    Want,
    WantItem,
)
from gossiplog.gossip.reconcile import Reconcile
from gossiplog.gossip.store_effects import StoreEffects
from gossiplog.live.memory_size import (
    LARGE_BYTES,
    default_authors,
    default_disk,
    default_memory,
    part_large,
)
from gossiplog.log.clock import Clock
from gossiplog.log.segment import Head
from gossiplog.store.held import Held
from gossiplog.store.reading_around import Stretch
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.wire.codec import decode, encode
from tests import members
from tests.processes import ProcessTestCase
from tests.replicacase import ANN, ReplicaCase, log
from tests.test_reconcile import SALT, author, entry_id, holdings

MIB = 1 << 20
RANDOM = Random(12)


def authors(count: int) -> list[bytes]:
    """So many, ascending."""
    return sorted(RANDOM.randbytes(32) for _ in range(count))


def come(*messages: Message) -> list[Message]:
    """The same as they are after the wire: every value an object of its own."""
    return [decode(encode(message)) for message in messages]


def claims(names: list[bytes], exchange: int = 1) -> list[Message]:
    """A list of a reconcile."""
    step = limits.MAX_LIST_ITEMS
    parts = [names[at : at + step] for at in range(0, len(names), step)]
    return come(
        *[
            Ranges(
                exchange,
                (Range(b"", RangeKind.DIFFERENCES, items=tuple(Item(a, 2**31, bytes(8)) for a in part)),),
            )
            for part in parts
        ]
    )


class BudgetTests(SynchronousTestCase):
    """Accounts alone."""

    def setUp(self) -> None:
        """A hundred MiB, and four sessions."""
        self.budget = Budget(100 * MIB)
        for session in range(4):
            self.budget.open(session, 0.0)

    def test_who_has_a_fair_share_keeps_it(self) -> None:
        """However much the others have together."""
        for session, size in enumerate((60, 30, 20, 1)):
            self.budget.charge(session, size * MIB, now=1.0)
        self.assertEqual(self.budget.greediest(1.0), 0)
        self.budget.charge(0, 40 * MIB, now=1.0)
        self.assertEqual(self.budget.used_bytes, 91 * MIB + 4 * SESSION_BYTES)
        self.assertIsNone(self.budget.greediest(1.0), "there is enough")
        self.budget.charge(3, 24 * MIB, now=1.0)
        self.assertEqual(self.budget.greediest(1.0), 0, "24 is below a quarter of 100")
        self.budget.charge(0, 20 * MIB, now=1.0)
        self.budget.charge(2, 24 * MIB, now=1.0)
        self.budget.charge(1, 40 * MIB, now=1.0)
        self.assertEqual(self.budget.greediest(1.0), 1)

    def test_who_keeps_it_for_long_comes_before_who_needs_it_now(self) -> None:
        for session in (0, 1, 2):
            self.budget.charge(session, 30 * MIB, now=10.0)
        self.budget.charge(3, 32 * MIB, now=40.0)
        self.assertIn(self.budget.greediest(40.0), (0, 1, 2))
        self.assertEqual(self.budget.greediest(5.0), 3, "a clock that was set back")

    def test_room(self) -> None:
        """What nobody needs, up to three quarters; then what is left of three quarters of a share."""
        self.assertEqual(self.budget.room_bytes(0), 75 * MIB - 4 * SESSION_BYTES)
        self.budget.charge(0, 70 * MIB, now=0.0)
        self.assertFalse(self.budget.is_short)
        self.budget.charge(0, 75 * MIB, now=0.0)
        self.assertTrue(self.budget.is_short)
        self.assertEqual(self.budget.room_bytes(0), 0)
        self.assertEqual(self.budget.room_bytes(1), 100 * MIB // 4 // 4 * 3 - SESSION_BYTES)

    def test_a_connection_outlives_its_session(self) -> None:
        """What it keeps stays charged until it is gone."""
        self.budget.charge(0, 10 * MIB, now=0.0)
        self.budget.charge(0, link_bytes=2 * MIB, now=0.0)
        self.budget.close(0)
        self.budget.close(0)
        self.assertEqual(self.budget.used_bytes, 2 * MIB + 3 * SESSION_BYTES)
        self.budget.gone(0)
        self.budget.close(1)
        self.assertEqual(self.budget.used_bytes, 2 * SESSION_BYTES)
        self.budget.charge(1, 5, now=0.0)
        self.budget.gone(1)
        self.assertEqual(self.budget.used_bytes, 2 * SESSION_BYTES)

    def test_what_is_no_budget(self) -> None:
        for wrong in (limits.MIN_MEMORY_BYTES - 1, 0, -1, 1e9, True, "64"):
            with self.assertRaises(InvalidValueError):
                Budget(wrong)  # type: ignore[arg-type]
        Budget(limits.MIN_MEMORY_BYTES)


class WeightTests(ReplicaCase):
    """What is charged is no less than what is kept, as Python's allocator counts it, and not much more."""

    sessions = 1

    def weigh(self, *messages: Message, most: float = 2.5) -> None:
        """Hear messages, and compare what is charged with what was allocated."""
        frames = [encode(message) for message in messages]
        before = self.replica.core.budget.used_bytes
        tracemalloc.start()
        try:
            for frame in frames:
                self.hear(0, decode(frame))
                del frame
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        charged = self.replica.core.budget.used_bytes - before
        self.assertGreater(kept, 150_000)
        self.assertLessEqual(kept, charged + 50_000)
        self.assertLessEqual(charged, most * kept)

    def test_claims_of_a_reconcile(self) -> None:
        self.weigh(*claims(authors(30_000)))

    def test_claims_of_announcements(self) -> None:
        """With handles, and what is expected from elsewhere."""
        self.open(1)
        names = authors(20_000)
        self.weigh(*members.announced(names))

    def test_handles(self) -> None:
        self.weigh(*members.announced(authors(20_000), 0))

    def test_services(self) -> None:
        self.weigh(*members.lazy(authors(20_000)))

    def test_names(self) -> None:
        self.weigh(*members.refused(authors(20_000)))

    def test_what_it_asks_for(self) -> None:
        """Of authors that we hold, and of others, which it is told in vain."""
        names = authors(20_000)
        wants = [Want(tuple(WantItem(a, 1) for a in names[at : at + 1000])) for at in range(0, 20_000, 1000)]
        self.weigh(*wants)

    def test_answers_that_wait(self) -> None:
        """Of reconciles."""
        names = authors(limits.MAX_LIST_ITEMS)
        for name in names:
            self.clock.replace(name, Head(1, bytes(32)))
        session = self.replica.core.sessions[0]
        session.outbox.credit_bytes = 0
        ahead = tuple(Item(a, 2, bytes(8)) for a in names)
        with patch.object(limits, "MAX_CLAIMS", 1):
            self.weigh(Ranges(2, (Range(b"", RangeKind.LIST, items=ahead),)))


class SheddingTests(ReplicaCase):
    """A replica that has no more memory."""

    sessions = 3

    def setUp(self) -> None:
        """The least there can be, for three sessions."""
        super().setUp()
        self.replica.core.budget = Budget(limits.MIN_MEMORY_BYTES)
        for number in self.replica.core.sessions:
            self.replica.core.budget.open(number, self.now)

    def fill(self, number: int, count: int) -> list[Effect]:
        """Name so many handles and authors that are wanted."""
        names = authors(count)
        effects = self.hear(number, *come(*members.announced(names, 0)))
        return effects + self.hear(number, *come(*members.lazy(names)))

    @property
    def held(self) -> list[int]:
        """What each session is charged with."""
        return [self.replica.core.budget.held_bytes(number) for number in self.replica.core.sessions]

    def test_the_greediest_forgets_and_the_others_keep_everything(self) -> None:
        """Nobody is sent away for what can be forgotten."""
        small = self.replica.core.sessions[2]
        self.fill(2, 5000)
        heard = self.replica.announcements.of[small]
        services, handles, held = dict(small.service), dict(heard.handles), self.held[2]
        effects: list[Effect] = []
        for _ in range(2):
            for number in (0, 1):
                effects += self.fill(number, 60_000)
        self.assertEqual([effect for effect in effects if isinstance(effect, End)], [])
        self.assertEqual((small.service, heard.handles, self.held[2]), (services, handles, held))
        self.assertLessEqual(self.replica.core.budget.used_bytes, limits.MIN_MEMORY_BYTES)

    def test_claims_end_at_what_is_left(self) -> None:
        """And another reconcile finds the rest; each peer has room for its share."""
        self.hear(0, *claims(authors(200_000)))
        source = self.replica.pulls.schedule.sources[0]
        self.assertLess(len(source.claims), 100_000)
        self.assertGreater(len(source.claims), 50_000)
        self.assertTrue(source.claims_more)
        self.hear(1, *claims(authors(200_000)))
        fair = limits.MIN_MEMORY_BYTES / 3 * 3 / 4 / CLAIM_WITH_TABLES_BYTES
        self.assertGreater(len(self.replica.pulls.schedule.sources[1].claims), 0.9 * fair)
        self.assertLessEqual(self.replica.core.budget.used_bytes, limits.MIN_MEMORY_BYTES)

    def test_what_is_asked_of_one_when_another_goes(self) -> None:
        """Is charged at once, not when the one that is asked speaks."""
        names = authors(100)
        for number in (0, 1):
            self.hear(number, Have(tuple(HaveItem(at, 1, name) for at, name in enumerate(names))))
        self.tick(limits.GRAFT_SECONDS + 1.0)
        first, second = (len(self.replica.core.sessions[number].answers.firsts) for number in (0, 1))
        self.assertEqual(first + second, 100)
        gone, asked = (0, 1) if first else (1, 0)
        self.replica.handle(events.Closed(gone, ByeCode.NORMAL, ""), self.now)
        session = self.replica.core.sessions[asked]
        self.assertEqual(len(session.answers.firsts), 100)
        kept_bytes = self.replica.memory_pressure.kept_bytes(session)
        kept_bytes += self.replica.pulls.schedule.held_bytes(asked)
        self.assertEqual(self.replica.core.budget.held_bytes(asked), SESSION_BYTES + kept_bytes)

    def test_claims_of_who_has_no_room(self) -> None:
        """A few are remembered all the same, so that catching up goes on."""
        self.do(events.Buffered(0, 8 * MIB))
        for number in (1, 2):
            self.do(events.Buffered(number, 10 * MIB))
        self.hear(0, *claims(authors(2 * limits.MIN_CLAIMS)))
        self.assertEqual(len(self.replica.pulls.schedule.missing(0)), limits.MIN_CLAIMS)

    def test_what_others_are_to_send(self) -> None:
        """Is asked for when it does not come, although memory was short meanwhile: these few claims are kept."""
        names = authors(5)
        self.hear(0, Have(tuple(HaveItem(number, 1, name) for number, name in enumerate(names))))
        self.replica.memory_pressure._forget_claims(self.replica.core.sessions[0])
        asked = self.sent(self.tick(limits.GRAFT_SECONDS), Want)
        self.assertEqual([(number, len(want.items)) for number, want in asked], [(0, 5)])  # type: ignore[union-attr]

    def test_claims_of_local_writers_are_never_forgotten(self) -> None:
        """Or we would send entries of theirs that may be a fork."""
        own = authors(5)
        self.heads.local.update(own)
        self.hear(0, *claims(authors(60_000)))
        self.hear(0, *come(Have(tuple(HaveItem(number, 2**31, a) for number, a in enumerate(own)))))
        before = len(self.replica.pulls.schedule.missing(0))
        for number in (1, 2):
            self.do(events.Buffered(number, 10 * MIB))
        self.assertLess(len(self.replica.pulls.schedule.missing(0)), before / 2)
        kept = self.replica.pulls.schedule.missing(0)
        self.assertLessEqual({*own}, {*kept})

    def test_who_cannot_forget_has_to_go(self) -> None:
        """With LIMIT, at once, and it alone."""
        effects = self.do(events.Buffered(0, 20 * MIB))
        effects += self.do(events.Buffered(1, 8 * MIB))
        self.assertEqual([e for e in effects if isinstance(e, End)], [])
        effects = self.do(events.Buffered(2, 6 * MIB))
        self.assertEqual([(e.session, e.code) for e in effects if isinstance(e, End)], [(0, ByeCode.LIMIT)])
        self.assertNotIn("PeerRejected", [type(effect).__name__ for effect in effects], "it is no offence")
        self.assertEqual([*self.replica.core.sessions], [1, 2])
        self.assertEqual(self.do(events.Closed(0)), [])

    def test_nobody_is_let_in_who_would_have_too_little(self) -> None:
        """But whom we dialled."""
        most = limits.MIN_MEMORY_BYTES // limits.MIN_SHARE_BYTES
        for number in range(3, most):
            self.open(number)
        opened = events.Opened(most, bytes([most + 1]) * 32, bytes(32), dialled=False)
        [end] = self.do(opened)
        self.assertEqual((end.session, end.code), (most, ByeCode.LIMIT))  # type: ignore[union-attr]
        self.assertNotIn(most, self.replica.core.sessions)
        self.do(opened._replace(dialled=True))
        self.assertIn(most, self.replica.core.sessions)
        self.do(events.Closed(0))
        self.do(events.Closed(1))
        self.do(opened._replace(session=most + 1))
        self.assertIn(most + 1, self.replica.core.sessions)

    def test_reads_are_small_and_only_for_who_takes_them(self) -> None:
        """While memory is short."""
        [segment] = log(ANN, 1)
        self.hear(0, segment)
        self.commit(segment)
        want = Want((WantItem(segment.author, 1),))
        loads = [e for e in self.hear(1, want) if isinstance(e, Load)]
        self.assertEqual([load.limit_bytes for load in loads], [limits.READ_AHEAD_BYTES])
        self.do(events.Loaded(1, (segment,)))
        self.do(events.Buffered(0, 25 * MIB))
        loads = [e for e in self.hear(1, want) if isinstance(e, Load)]
        self.assertEqual([load.limit_bytes for load in loads], [limits.SHORT_READ_BYTES])
        self.replica.core.sessions[2].outbox.credit_bytes = 0
        self.assertEqual([e for e in self.hear(2, want) if isinstance(e, Load)], [])
        loads = [e for e in self.do(events.Writable(2)) if isinstance(e, Load)]
        self.assertEqual([load.limit_bytes for load in loads], [limits.SHORT_READ_BYTES])

    def test_forgotten_handles_lead_to_a_reconcile(self) -> None:
        """What an announcement says with a handle that we forgot, we find out another way."""
        name = authors(1)[0]
        session = self.replica.core.sessions[0]
        self.hear(0, *come(Have((HaveItem(7, 0, name),))))
        self.replica.announcements.forget_handles(session)
        effects = self.hear(0, *come(Have((HaveItem(7, 5),))))
        self.assertEqual([number for number, _ in self.sent(effects, Ranges)], [0])
        self.assertEqual(self.sent(self.hear(0, *come(Have((HaveItem(7, 0, name),)))), Ranges), [])


class OutboxTests(ReplicaCase):
    """What was read for a peer, and is read again."""

    sessions = 2

    def test_put_back(self) -> None:
        """Everything comes, once and in order."""
        segments = log(ANN, 9)
        self.hear(1, *segments)
        self.commit(*segments)
        session = self.replica.core.sessions[0]
        outbox = session.outbox
        outbox.news.clear()
        author = segments[0].author
        outbox.credit_bytes = 0
        self.hear(0, Want((WantItem(author, 1),)))
        self.do(events.Loaded(0, tuple(segments[:4])))
        self.assertEqual(len(outbox.ready), 4)
        self.assertTrue(outbox.loading, "the rest is being read")
        outbox.put_back()
        self.assertEqual((outbox.ready_bytes, len(outbox.ready), outbox.backlog), (0, 0, {author: 1}))
        self.do(events.Loaded(0, tuple(segments[4:])))
        self.assertEqual(len(outbox.ready), 0, "that is behind what was put back")
        sent = self.given(self.do(events.Writable(0)))
        for _ in range(9):
            sent += self.given(self.do(events.Loaded(0, tuple(segments[len(sent) : len(sent) + 2]))))
        self.assertEqual(sent, [(0, first) for first in range(1, 10)])


class ShortenTests(SynchronousTestCase):
    """Answers of a reconcile that wait, when there is no memory for them."""

    def test_the_rest_is_said_again(self) -> None:
        """One fingerprint instead of all that was not said; the last message ends the step."""
        held = holdings({author(number): (1, entry_id(1)) for number in range(3000)})
        names = sorted(author(number) for number in range(3000))
        reconcile = Reconcile(SALT, starts_even=True)
        items = tuple(Item(each, 2, bytes(8)) for each in names[::2])
        step = reconcile.receive(Ranges(1, (Range(b"", RangeKind.LIST, items=items),)), held)
        first = next(step.replies)
        self.assertTrue(first.more)
        before = reconcile.kept_bytes
        reconcile.shorten()
        self.assertLess(reconcile.kept_bytes, before / 100)
        rest = list(step.replies)
        kinds = [part.kind for reply in rest for part in reply.ranges]
        self.assertIn(RangeKind.FINGERPRINT, kinds)
        self.assertEqual([reply.more for reply in rest], [True] * (len(rest) - 1) + [False])
        self.assertEqual(reconcile._steps, set())
        for reply in (first, *rest):
            self.assertEqual(decode(encode(reply)), reply)


class ManyAuthorsTests(SynchronousTestCase):
    """An honest catch-up of more authors than there is memory for."""

    def test_several_reconciles(self) -> None:
        """Everything arrives, at once, and nobody is sent away."""
        with (
            patch.object(limits, "MAX_MEMORY_BYTES", 150_000),
            patch.object(limits, "MIN_MEMORY_BYTES", 1),
            patch.object(limits, "MIN_SHARE_BYTES", 0),
            patch.object(limits, "MIN_CLAIMS", 8),
        ):
            cluster = Cluster(7)
            ann, bob = cluster.add(400), cluster.add(0)
            ann.start()
            for writer in ann.local:
                ann.append(writer, [b"one", b"two"])
            cluster.run(1.0)
            cluster.connect(bob, ann)
            bob.start()
            most = 0
            for _ in range(300):
                cluster.run(0.01)
                most = max(
                    [most, *(len(source.claims) for source in bob.replica.pulls.schedule.sources.values())]
                )
            self.assertEqual(bob.heads.clock.total(), 800)
            self.assertLess(most, 300)
            self.assertGreater(cluster.figures.messages["Ranges"], 4)
            self.assertEqual(cluster.figures.healed, 0)


class ErrandTests(SynchronousTestCase):
    """What is read for peers."""

    def test_reads_at_once(self) -> None:
        """The others wait, so that what was read for many does not; each is answered in its turn."""
        queued: deque[tuple[Any, Any]] = deque()
        answered: list[Any] = []

        class Front:
            held = Held(Clock(), set(), set())

            def call(self, work: Any, answer: Any) -> None:
                queued.append((work, answer))

        errands = StoreEffects(Front(), answered.append, answered.append, None, lambda: None)  # type: ignore[arg-type]
        [theirs] = log(ANN, 1)
        most = 0
        for session in range(0, 12, 4):
            errands.load(Load(session, ((bytes(32), 1),), 100))
            errands.load_payloads(events.LoadPayloads(session + 1, bytes(32), ((1, 1),), 100))
            errands.find_holes(events.FindHoles(session + 2, None, 9))
            errands.examine(events.Examine(session + 3, theirs))
        answers = cycle((Backlog(()), Payloads(), (), None))
        while queued:
            most = max(most, len(queued))
            queued.popleft()[1](next(answers))
        self.assertEqual(most, limits.LOADS_AT_ONCE)
        self.assertEqual(sorted(event.session for event in answered), [*range(12)])
        self.assertFalse(errands.pending)

    def test_damage_costs_who_asks_for_it(self) -> None:
        """The store looks for where it ends: as much as if all that may be read at once had been."""

        class Damaged:
            clock = Clock()

            def segments(self, *_: Any) -> Any:
                raise StoreDamagedError("torn")

            def around(self, *_: Any) -> Any:
                return Stretch([])

        class Front:
            held = Held(Clock(), set(), set())

            def call(self, work: Any, answer: Any) -> None:
                try:
                    answer(work(Damaged()))
                except StoreDamagedError as error:
                    answer(error)

        class Teller:
            def damaged(self, *_: Any) -> None:
                pass

        Damaged.clock.replace(ANN.author, Head(9, bytes(32)))
        answered: list[Any] = []
        errands = StoreEffects(Front(), answered.append, answered.append, Teller(), lambda: None)  # type: ignore[arg-type]
        errands.load_payloads(events.LoadPayloads(0, ANN.author, ((1, 1),), 256 * 1024))
        [loaded] = answered
        self.assertEqual((loaded.found.segments, loaded.found.work_bytes), ((), 256 * 1024))


class MachineTests(SynchronousTestCase):
    """The default."""

    def test_a_quarter_of_what_there_is(self) -> None:
        """Of the machine's memory, or of a control group's, in either version and above us; within bounds."""
        root = Path(self.mktemp())
        group = root / "sys/fs/cgroup"
        (root / "proc/self").mkdir(parents=True)
        (group / "a/b").mkdir(parents=True)
        (group / "memory/c").mkdir(parents=True)

        with patch("gossiplog.live.memory_size._installed", return_value=1 << 40):
            self.assertEqual(default_memory(root), limits.MAX_MEMORY_BYTES)
            for size, expected in (
                (4 << 30, 512 * MIB),
                (400 * MIB, 100 * MIB),
                (1000, limits.MIN_MEMORY_BYTES),
            ):
                with patch("gossiplog.live.memory_size._installed", return_value=size):
                    self.assertEqual(default_memory(root), expected)
            (root / "proc/self/cgroup").write_text("0::/a/b\n")
            (group / "a/b/memory.max").write_text("max\n")
            self.assertEqual(default_memory(root), limits.MAX_MEMORY_BYTES)
            (group / "a/memory.max").write_text(f"{800 * MIB}\n")
            self.assertEqual(default_memory(root), 200 * MIB)
            (group / "a/b/memory.max").write_text(f"{400 * MIB}\n")
            self.assertEqual(default_memory(root), 100 * MIB)
            (root / "proc/self/cgroup").write_text("3:cpu:/x\n2:memory:/c\n")
            (group / "memory/c/memory.limit_in_bytes").write_text(f"{600 * MIB}\n")
            self.assertEqual(default_memory(root), 150 * MIB)
            (root / "proc/self/cgroup").write_text("2:memory:/docker/unknown\n")
            (group / "memory/memory.limit_in_bytes").write_text(f"{300 * MIB}\n")
            self.assertEqual(default_memory(root), 75 * MIB)

    def test_bounds_of_all(self) -> None:
        """Authors for a quarter of the memory, if all forked; what is held, and a share of what is free on disk."""
        each = limits.AUTHOR_MEMORY_BYTES + limits.FORK_MEMORY_BYTES
        for size, expected in ((1 << 40, limits.MAX_AUTHORS), (4 * each * 700, 700)):
            with patch("gossiplog.live.memory_size._installed", return_value=size):
                self.assertEqual(default_authors(Path(self.mktemp())), expected)
        with patch("gossiplog.live.memory_size.disk_usage", return_value=SimpleNamespace(free=1000)):
            self.assertEqual(default_disk(".", 5000, 5000), 5000 + 1000 * limits.DISK_SHARE)
            self.assertEqual(default_disk(".", 5000, 8000), 5000 + 4000 * limits.DISK_SHARE)
            self.assertEqual(default_disk(".", 5000, 1000), 5000)
        with patch("gossiplog.live.memory_size.disk_usage", return_value=SimpleNamespace(free=0)):
            self.assertEqual(default_disk(".", 0, 0), 1)
        self.assertIsNone(default_disk(self.mktemp(), 5000, 5000))
        self.assertIsNone(default_disk(None, 5000, 5000))

    def test_large_buffers_are_given_back(self) -> None:
        """Where the C library can be told to; nothing happens elsewhere."""
        asked: list[tuple[int, int]] = []

        class Library:
            @staticmethod
            def mallopt(what: int, value: int) -> int:
                asked.append((what, value))
                return 1

        for library in (Library(), object()):
            with patch("ctypes.CDLL", return_value=library):
                part_large()
        with patch("ctypes.CDLL", side_effect=OSError):
            part_large()
        self.assertEqual(asked, [(-3, LARGE_BYTES)])


class ProcessTests(ProcessTestCase):
    """A real process; ``python -m tests.audit`` has the large ones."""

    def test_worst_peers(self) -> None:
        """What four members can make it keep, each in a way of its own, beside one who only looks on."""
        if not sys.platform.startswith("linux"):
            return
        most = limits.MIN_MEMORY_BYTES
        self.run_gossiplog("init", "--store", "ann")
        arguments = (
            "--network",
            "00" * 32,
            "--listen",
            "tcp:0:interface=127.0.0.1",
            "--max-memory",
            str(most),
        )
        node = self.gossiplog("run", "--store", "ann", *arguments)
        port = int(node.ready()["listening"][0].rpartition(":")[2])
        pid = node.popen.pid
        before = members.resident_bytes(pid)
        honest = members.Member(port, bytes(32))
        self.addCleanup(honest.close)
        hostile = [members.Member(port, bytes(32)) for _ in range(4)]
        for member in hostile:
            self.addCleanup(member.close)
        claiming, announcing, asking, serving = hostile
        for message in members.claims(150_000):
            claiming.say(message)
        names = members.authors(limits.MAX_HANDLES)
        for message in members.announced(names):
            announcing.say(message)
        for at in range(0, len(names), 1024):
            asking.say(Want(tuple(WantItem(a, 1) for a in names[at : at + 1024])))
        for message in members.lazy(names):
            serving.say(message)
        frames = [members.Member(port, bytes(32)) for _ in range(48)]
        for member in frames:
            self.addCleanup(member.close)
            try:
                member.begin(limits.MAX_FRAME_BYTES)
            except OSError:
                pass  # it was sent away
        self.assertTrue(honest.alive(), "who takes nothing is not sent away")
        grown = members.resident_bytes(pid, most=True) - before
        self.assertLess(grown, most * 1.2 + 20 * MIB)
        self.assertGreater(grown, most / 2)
