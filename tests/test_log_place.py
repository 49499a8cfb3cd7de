"""Places: computed as the specification says, whatever the order in which entries come, and whoever names what."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import InvalidValueError
from gossiplog.limits import MAX_SEQ
from gossiplog.log import debts
from gossiplog.log.body import MAX_TIMESTAMP_MS, Reference, encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.place import (
    EARLIEST,
    Moment,
    Place,
    Stated,
    Zone,
    place_bytes,
    read_place,
    read_stated,
)
from gossiplog.log.placer import Placed, Placer
from gossiplog.log.segment import Head, build, chain_ids, drop_payloads

ANN, BOB, CAT = (bytes([number]) * 32 for number in (1, 2, 3))
AUTHORS = [bytes([number]) * 32 for number in range(1, 7)]

Line = tuple[int, Sequence[Reference]]
History = Mapping[bytes, Sequence[Line]]
"""Of each author: the clock of each entry, and what it names."""


def id_of(author: bytes, seq: int) -> bytes:
    """Return the id that the tests give an entry."""
    return author[:8] + seq.to_bytes(8, "big") + bytes(16)


def name(author: bytes, seq: int) -> Reference:
    """Return a reference to an entry of a history."""
    return Reference(author, seq, id_of(author, seq)[:16])


def stated(history: History, author: bytes, first: int, last: int) -> Stated:
    """Return what some entries of a history say."""
    lines = history[author][first - 1 : last]
    after = {seq: tuple(names) for seq, (_, names) in enumerate(lines, first) if names}
    return Stated(author, first, [clock for clock, _ in lines], after, lambda seq: id_of(author, seq))


def by_formula(history: History) -> dict[tuple[bytes, int], Moment]:
    """Return the moment of each entry as the specification defines it."""
    moments: dict[tuple[bytes, int], Moment] = {}

    def moment(author: bytes, seq: int) -> Moment:
        if seq == 0:
            return EARLIEST
        if (author, seq) not in moments:
            clock, names = history[author][seq - 1]
            behind = [
                moment(each.author, each.seq)
                for each in names
                if each.author in history
                and each.seq <= len(history[each.author])
                and (each.author != author or each.seq < seq)
                and each.id16 == id_of(each.author, each.seq)[:16]
            ]
            moments[author, seq] = max(
                (clock, 0), moment(author, seq - 1), *[(ms, n + 1) for ms, n in behind]
            )
        return moments[author, seq]

    for author, lines in history.items():
        for seq in range(1, len(lines) + 1):
            moment(author, seq)
    return moments


class Keeper:
    """I bring a history to a placer as it comes, and keep its zones, as a store does."""

    def __init__(self, history: History, patient: bool = True) -> None:
        self.history = history
        self.held = dict.fromkeys(history, 0)
        self.zones: dict[bytes, list[Zone]] = {author: [] for author in history}
        self.placer = Placer(expects=lambda each: patient or self.holds(each), bound=self.bound)
        self.asked = 0
        self.went_back = 0

    def bound(self, author: bytes, seq: int) -> Moment:
        return self.zone_of(author, seq).high

    def zone_of(self, author: bytes, seq: int) -> Zone:
        return next(zone for zone in self.zones[author] if zone.first <= seq <= zone.last)

    def moment(self, author: bytes, seq: int) -> Moment:
        zone = self.zone_of(author, seq)
        return zone.moments(stated(self.history, author, zone.first, seq).timestamps)[-1]

    def come(self, author: bytes, last: int) -> None:
        """Entries up to ``last`` are held now."""
        self.held[author] = last
        self.place([author])

    def place(self, todo: list[bytes]) -> None:
        while todo:
            author = todo.pop()
            position = self.placer.position(author)
            if position > self.held[author]:
                continue
            placed = self.placer.add(stated(self.history, author, position, self.held[author]))
            todo += self.take(placed)
            wait = self.placer.waits.get(author)
            for each in [*wait.unread] if wait else []:
                self.asked += 1
                same = each.id16 == id_of(each.author, each.seq)[:16]
                self.placer.recall(author, each, self.moment(each.author, each.seq) if same else None)
            if wait is not None and not wait.missing:
                todo.append(author)

    def take(self, placed: Placed) -> list[bytes]:
        if placed.zone is not None:
            self.zones[placed.zone.author].append(placed.zone)
        if placed.late:
            return self.go_back(min(late.moment for late in placed.late))
        return placed.freed

    def go_back(self, moment: Moment) -> list[bytes]:
        self.went_back += 1
        for zones in self.zones.values():
            while zones and zones[-1].high >= moment:
                zones.pop()
        self.placer.go_back(
            {author: (zones[-1].last, zones[-1].high) for author, zones in self.zones.items() if zones}
        )
        return [*self.zones]

    def give_up(self) -> None:
        """Wait no longer for what is missing."""
        while waits := self.placer.waits:
            lost = {
                author: [each for each in wait.missing if not self.holds(each)]
                for author, wait in waits.items()
            }
            claimed = [
                (author, each)
                for author in waits
                for each in waits[author].missing
                if self.holds(each) and each.id16 != id_of(each.author, each.seq)[:16]
            ]
            if author := min((author for author in waits if lost[author]), default=None):
                self.placer.give_up(author, lost[author])
            else:
                author, named = claimed[0]
                self.placer.recall(author, named, None)
            self.place([author])

    def holds(self, each: Reference) -> bool:
        return each.seq <= self.held.get(each.author, 0)

    def moments(self) -> dict[tuple[bytes, int], Moment]:
        return {
            (author, seq): moment
            for author, zones in self.zones.items()
            for zone in zones
            for seq, moment in enumerate(
                zone.moments(stated(self.history, author, zone.first, zone.last).timestamps), zone.first
            )
        }


def arrivals(chance: random.Random, history: History) -> Iterator[tuple[bytes, int]]:
    """Yield (author, last held), each log ascending, some entries at once."""
    at = dict.fromkeys((author for author, lines in history.items() if lines), 0)
    while at:
        author = chance.choice(sorted(at))
        at[author] = min(at[author] + chance.choice((1, 1, 2, 5)), len(history[author]))
        yield author, at[author]
        if at[author] == len(history[author]):
            del at[author]


def make_history(chance: random.Random, lies: bool = False) -> dict[bytes, list[Line]]:
    """Return logs of some authors with clocks that are off, each naming what its author had seen; with ``lies`` also
    what does not exist, or is another entry, or itself."""
    authors = AUTHORS[: chance.randint(2, 6)]
    skew = chance.choice((0, 3, 400))
    off = {author: chance.randint(-skew, skew) for author in authors}
    history: dict[bytes, list[Line]] = {author: [] for author in authors}
    seen: dict[bytes, dict[bytes, int]] = {author: {} for author in authors}
    often = chance.random()
    for step in range(chance.randint(4, 60)):
        author, other = chance.choice(authors), chance.choice(authors)
        if chance.random() < 0.4:
            for each, seq in seen[other].items():
                seen[author][each] = max(seq, seen[author].get(each, 0))
        names = [name(each, seq) for each, seq in sorted(seen[author].items()) if chance.random() < often]
        if names and chance.random() < 0.3:
            names.append(name(names[0].author, chance.randint(1, names[0].seq)))
        if lies and chance.random() < 0.2:
            liar = chance.choice(authors)
            names.append(Reference(liar, chance.randint(1, 30), bytes(16)))
            names.append(name(author, len(history[author]) + chance.randint(1, 2)))
        clock = max(0, 500 + 10 * step + off[author] - (300 if chance.random() < 0.1 else 0))
        history[author].append((clock, names))
        seen[author][author] = len(history[author])
    return history


class Bytes(SynchronousTestCase):
    def test_form(self) -> None:
        self.assertEqual(place_bytes((1, 2), ANN, 3).hex(), f"{1:016x}{2:016x}{ANN.hex()}{3:016x}")

    @settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(
            st.builds(
                Place,
                st.sampled_from([0, 1, 255, 256, MAX_TIMESTAMP_MS]),
                st.sampled_from([0, 1, 2**40]),
                st.sampled_from(AUTHORS),
                st.sampled_from([1, 255, 256, MAX_SEQ]),
            )
        )
    )
    def test_sorted_as_places(self, places: list[Place]) -> None:
        written = [place_bytes((place.ms, place.n), place.author, place.seq) for place in places]
        self.assertEqual([read_place(each) for each in sorted(written)], sorted(places))

    def test_what_is_no_place(self) -> None:
        for wrong in (b"", bytes(55), bytes(57), "x" * 56, None):
            self.assertRaises(InvalidValueError, read_place, wrong)


class Stating(SynchronousTestCase):
    def test_what_bodies_say(self) -> None:
        pair = Keypair(bytes(32))
        ref = Reference(BOB, 5, b"\7" * 16)
        bodies = [
            encode_body(1_700_000_000_000, b"x"),
            encode_body(1_700_000_000_001, b"x" * 300),
            encode_body(1_700_000_000_002, b"", [ref]),
            encode_body(7, b"small"),
            encode_body(MAX_TIMESTAMP_MS, bytes(70_000)),
            b"\x92\xcf" + (2**53).to_bytes(8, "big") + b"\xc4\x01x",
            b"\x92\xcf" + (5).to_bytes(8, "big") + b"\xc4\x02x",
            b"\x92\xcf" + (5).to_bytes(8, "big") + b"\xc5\x00\x01x",
            b"\x92\xcf" + (5).to_bytes(8, "big") + b"\xc4",
            b"\x92\xcf",
            b"noise",
            encode_body(1_700_000_000_003, b"dropped", [ref]),
        ]
        [segment], _ = build(pair, Head(0, genesis_id(pair.author)), bodies)
        segment = drop_payloads(segment, [12])
        said = read_stated(segment)
        now = 1_700_000_000_000
        self.assertEqual(said.timestamps, [now, now + 1, now + 2, 7, MAX_TIMESTAMP_MS, 0, 0, 5, 0, 0, 0, 0])
        self.assertEqual(said.after, {3: (ref,)})
        self.assertEqual([said.id_at(seq) for seq in range(1, 13)], chain_ids(segment))
        part = read_stated(segment, 3, 4)
        self.assertEqual((part.first, part.last, part.timestamps), (3, 4, [now + 2, 7]))
        self.assertEqual(said.from_seq(4).timestamps[:1], [7])


class Converging(SynchronousTestCase):
    """Whoever holds the same entries has the same order, however they came."""

    @settings(derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def test_any_history_in_any_order(self, seed: int) -> None:
        chance = random.Random(seed)
        history = make_history(chance)
        wanted = by_formula(history)
        for _ in range(3):
            keeper = Keeper(history)
            for author, last in arrivals(chance, history):
                keeper.come(author, last)
                for place, moment in keeper.moments().items():
                    self.assertEqual(moment, wanted[place], "a place changed")
            self.assertEqual(keeper.moments(), wanted)
            self.assertEqual(dict(keeper.placer.waits), {})
        order = sorted((*moment, *place) for place, moment in wanted.items())
        at = {place[2:]: index for index, place in enumerate(order)}
        for author, lines in history.items():
            for seq, (_, names) in enumerate(lines, 1):
                for each in [*names, *([name(author, seq - 1)] if seq > 1 else [])]:
                    self.assertLess(at[each[:2]], at[author, seq])

    @settings(derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def test_what_is_given_up_and_comes_later(self, seed: int) -> None:
        """Nobody is patient: entries are placed without what is not held, and again when it comes."""
        chance = random.Random(seed)
        history = make_history(chance, lies=True)
        wanted = by_formula(history)
        for patient in (False, True):
            keeper = Keeper(history, patient)
            for author, last in arrivals(chance, history):
                keeper.come(author, last)
                if chance.random() < 0.2:
                    keeper.give_up()
            keeper.give_up()
            self.assertEqual(keeper.moments(), wanted)
            self.assertEqual(dict(keeper.placer.waits), {})
            self.assertEqual(keeper.placer._found, {})
            self.assertEqual(keeper.placer._watched._authors, {})


class Placing(SynchronousTestCase):
    def test_what_is_waited_for(self) -> None:
        keeper = Keeper({ANN: [(9, ())], BOB: [(1, ()), (2, [name(ANN, 1)]), (3, ())]})
        keeper.come(BOB, 3)
        self.assertEqual(keeper.placer.position(BOB), 2)
        self.assertEqual(keeper.placer.waits[BOB].seq, 2)
        self.assertEqual(keeper.placer.waits[BOB].missing, {name(ANN, 1)})
        keeper.come(ANN, 1)
        self.assertEqual(
            keeper.moments(), {(ANN, 1): (9, 0), (BOB, 1): (1, 0), (BOB, 2): (9, 1), (BOB, 3): (9, 1)}
        )
        self.assertEqual(keeper.zones[BOB][-1].raised, ((2, (9, 1)),))

    def test_only_ascending(self) -> None:
        placer = Placer([(ANN, (5, (7, 0)))])
        self.assertEqual(placer.position(ANN), 6)
        self.assertRaises(InvalidValueError, placer.add, Stated(ANN, 5, [1], {}, lambda seq: b""))
        placed = placer.add(Stated(ANN, 6, [1], {}, lambda seq: b""))
        self.assertEqual(placed.zone, Zone(ANN, 6, 6, (7, 0), (7, 0)))

    def test_ahead_of_our_clock(self) -> None:
        placer = Placer()
        said = Stated(ANN, 1, [5, 20, 6], {3: (name(BOB, 1),)}, lambda seq: id_of(ANN, seq))
        placed = placer.add(said, 10)
        self.assertEqual(placed.zone, Zone(ANN, 1, 1, (5, 0), (5, 0)))
        self.assertEqual((placer.waits[ANN].seq, placer.waits[ANN].due_ms), (2, 20))
        self.assertIsNone(placer.add(said.from_seq(2), 19).zone)
        placed = placer.add(said.from_seq(2), 20)
        self.assertEqual(placed.zone, Zone(ANN, 2, 2, (20, 0), (20, 0)))
        self.assertEqual(placer.waits[ANN].missing, {name(BOB, 1)})

    def test_a_reference_to_the_future_does_not_raise_it(self) -> None:
        placer = Placer()
        placer.add(Stated(ANN, 1, [50], {1: (name(BOB, 1),)}, lambda seq: b""), 10)
        self.assertEqual(placer.waits[ANN].due_ms, 50)

    def test_what_never_comes_is_given_up_at_once(self) -> None:
        placer = Placer(expects=lambda each: each.author != BOB)
        placed = placer.add(Stated(ANN, 1, [1, 2], {2: (name(BOB, 1),)}, lambda seq: b""))
        self.assertEqual(placed.zone, Zone(ANN, 1, 2, (1, 0), (2, 0)))

    def test_itself_and_later_ones_are_passed_over(self) -> None:
        keeper = Keeper({ANN: [(1, [name(ANN, 1)]), (2, [name(ANN, 9)])]})
        keeper.come(ANN, 2)
        self.assertEqual(keeper.moments(), {(ANN, 1): (1, 0), (ANN, 2): (2, 0)})

    def test_the_one_before_it(self) -> None:
        """Of the row before, whose last id is known from this one: its moment is that of the log."""
        placer = Placer([(ANN, (5, (7, 0)))])
        asked = []
        stated = Stated(ANN, 6, [1], {6: (name(ANN, 5),)}, lambda seq: asked.append(seq) or id_of(ANN, seq))
        self.assertEqual(placer.add(stated).zone, Zone(ANN, 6, 6, (7, 1), (7, 1), ((6, (7, 1)),)))
        self.assertEqual(asked, [5])

    def test_one_of_its_own_log(self) -> None:
        keeper = Keeper({ANN: [(5, ()), (5, [name(ANN, 1)]), (1, ()), (1, [name(ANN, 2)])]})
        keeper.come(ANN, 4)
        self.assertEqual([*keeper.moments().values()], [(5, 0), (5, 1), (5, 1), (5, 2)])

    def test_what_names_old_entries_asks_for_none(self) -> None:
        """A moment that cannot matter is not looked up: its log's zone says how late it may be at most."""
        keeper = Keeper({ANN: [(seq, ()) for seq in range(9)], BOB: [(20, [name(ANN, 3), name(ANN, 9)])]})
        keeper.come(ANN, 9)
        keeper.come(BOB, 1)
        self.assertEqual(keeper.asked, 0)
        self.assertEqual(keeper.moments()[BOB, 1], (20, 0))

    def test_another_entry_at_that_seq(self) -> None:
        wrong = Reference(ANN, 1, bytes(16))
        for first, second in ((ANN, BOB), (BOB, ANN)):
            keeper = Keeper({ANN: [(9, ())], BOB: [(1, [wrong])]})
            keeper.come(first, 1)
            keeper.come(second, 1)
            self.assertEqual(keeper.moments(), {(ANN, 1): (9, 0), (BOB, 1): (1, 0)})

    def test_two_references_to_one_seq(self) -> None:
        """One of them is no entry: the other one is waited for all the same."""
        wrong = Reference(ANN, 1, bytes(16))
        placer = Placer()
        placer.add(Stated(BOB, 1, [1], {1: (wrong, name(ANN, 1))}, lambda seq: b""))
        placer.recall(BOB, wrong, None)
        self.assertEqual(placer.waits[BOB].missing, {name(ANN, 1)})
        self.assertEqual(placer.add(Stated(ANN, 1, [1], {}, lambda seq: id_of(ANN, seq))).freed, [BOB])

    def test_a_cycle_cannot_be_but_may_be_claimed(self) -> None:
        names = [Reference(author, 1, bytes(16)) for author in (BOB, ANN)]
        keeper = Keeper({ANN: [(1, names[:1])], BOB: [(1, names[1:])], CAT: [(1, ())]})
        for author in (ANN, BOB, CAT):
            keeper.come(author, 1)
        self.assertEqual(keeper.moments(), {(CAT, 1): (1, 0)})  # nobody else is held up
        keeper.give_up()
        self.assertEqual(set(keeper.moments()), {(ANN, 1), (BOB, 1), (CAT, 1)})

    def test_late_only_if_it_belongs_elsewhere(self) -> None:
        for clock, moved in ((5, 0), (50, 1)):
            keeper = Keeper({ANN: [(clock, ())], BOB: [(9, [name(ANN, 1)]), (60, ())]})
            keeper.come(BOB, 2)
            keeper.give_up()
            keeper.come(ANN, 1)
            self.assertEqual(keeper.went_back, moved)
            self.assertEqual(keeper.moments(), by_formula(keeper.history))

    def test_forgotten(self) -> None:
        placer = Placer()
        placer.add(Stated(ANN, 1, [5, 6], {2: (name(BOB, 1),)}, lambda seq: b""))
        placer.forget(ANN)
        self.assertEqual((placer.position(ANN), dict(placer.waits)), (1, {}))
        self.assertEqual(placer.add(Stated(BOB, 1, [1], {}, lambda seq: id_of(BOB, seq))).freed, [])


class Hostile(SynchronousTestCase):
    def test_what_is_remembered_of_who_names_thousands(self) -> None:
        """An honest author is not forgotten because another one names more."""
        with patch.object(debts, "MAX_OWED_REFERENCES", 100):
            liar = [
                (1, [Reference(CAT, 64 * seq + each + 1, bytes(16)) for each in range(64)])
                for seq in range(9)
            ]
            keeper = Keeper({ANN: [(50, ())], BOB: [(9, [name(ANN, 1)])], AUTHORS[4]: liar})
            keeper.come(BOB, 1)
            keeper.give_up()
            for last in range(1, 10):
                keeper.come(AUTHORS[4], last)
                keeper.give_up()
            self.assertEqual(keeper.placer._owed._count, 100)
            keeper.come(ANN, 1)
            self.assertEqual(keeper.moments()[BOB, 1], (50, 1))

    def test_who_is_named_by_many_pays_nothing(self) -> None:
        """Many wait for what an author may write one day: its entries are placed without looking at them."""
        placer = Placer()
        for number in range(200):
            author = number.to_bytes(32, "big")
            names = [Reference(ANN, 10**6 + 64 * number + each, bytes(16)) for each in range(64)]
            placer.add(Stated(author, 1, [1], {1: names}, lambda seq: b""))
        self.assertEqual(placer._watched.between(ANN, 1, 10**5), [])
        self.assertEqual(len(placer._watched.between(ANN, 1, 10**9)), 12_800)
