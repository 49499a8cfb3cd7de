"""The address book: its bounds, what it forgets, chooses, passes on and keeps."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgpack import packb
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.addresses import Address
from gossiplog.gossip.book import Book, Known
from gossiplog.gossip.saved_book import dump, load

DAY = 86_400.0


def at(number: int, group: int | None = None) -> Address:
    """An address: of a group of its own, if none is said."""
    high = number if group is None else group
    return Address(bytes([20 + high // 256 % 100, high % 256, number // 256 % 256, number % 256]), 4000)


def node(number: int) -> bytes:
    """The id of a node."""
    return number.to_bytes(32, "big")


def anybody(known: Known) -> bool:
    """Every address may be dialled."""
    return True


class BoundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.book = Book(Random(1))

    def test_in_all(self) -> None:
        for number in range(2 * limits.MAX_BOOK):
            self.book.heard(at(number), None, None, 0.0)
        self.assertEqual(len(self.book), limits.MAX_BOOK)

    def test_of_one_source(self) -> None:
        for number in range(200):
            self.book.heard(at(number), None, b"liar", 0.0)
        self.assertEqual(len(self.book), limits.MAX_BOOK_PER_SOURCE)
        self.assertTrue(self.book.heard(at(500), None, b"other", 0.0))

    def test_what_is_verified_counts_for_no_source(self) -> None:
        for number in range(limits.MAX_BOOK_PER_SOURCE):
            self.book.heard(at(number), None, b"teller", 0.0)
        self.assertFalse(self.book.heard(at(1000), None, b"teller", 0.0))
        self.book.verified(at(0), node(0), 1.0, is_shared=True)
        self.assertTrue(self.book.heard(at(1000), None, b"teller", 0.0))

    def test_of_one_group(self) -> None:
        for number in range(100):
            self.book.heard(at(number, group=7), None, None, 0.0)
        self.assertEqual(len(self.book), limits.MAX_BOOK_PER_GROUP)
        for number in range(100, 200):
            self.book.verified(at(number, group=7), node(number), 1.0, is_shared=True)
        self.assertEqual(len(self.book), limits.MAX_BOOK_PER_GROUP)
        self.assertFalse(self.book.heard(at(300, group=7), None, None, 0.0))

    def test_hearsay_changes_nothing_that_is_verified(self) -> None:
        self.book.verified(at(1), node(1), 1.0, is_shared=True)
        self.book.heard(at(1), node(2), b"liar", 2.0)
        [known] = self.book
        self.assertEqual((known.node, known.verified_at), (node(1), 1.0))

    def test_who_is_gone(self) -> None:
        """What was never met is forgotten; who was comes back as news, and may be dialled at once, but once only."""
        for number in (1, 2):
            self.book.heard(at(number), None, b"lan", 0.0, "lan")
        self.book.verified(at(1), node(1), 1.0, is_shared=True)
        self.book.failed(at(1), 2.0, 0.5)
        for number in (1, 2, 3):
            self.book.lost(at(number))
        [known] = self.book
        self.assertGreater(known.retry_at, 2.0)
        self.assertFalse(self.book.heard(at(1), None, b"a peer", 2.0))
        self.assertGreater(known.retry_at, 2.0)
        self.assertTrue(self.book.heard(at(1), None, b"lan", 2.0, "lan"))
        self.assertEqual(known.retry_at, 2.0)
        self.book.failed(at(1), 2.0, 0.5)
        self.assertFalse(self.book.heard(at(1), None, b"lan", 2.0, "lan"))
        self.assertGreater(known.retry_at, 2.0)

    def test_a_full_book_takes_whom_we_met(self) -> None:
        for number in range(limits.MAX_BOOK):
            self.book.verified(at(number), node(number), float(number), is_shared=True)
        self.assertFalse(self.book.heard(at(2000), None, None, 0.0))
        self.book.verified(at(2000), node(2000), 5000.0, is_shared=True)
        self.assertEqual(len(self.book), limits.MAX_BOOK)
        self.assertIsNone(self.book.get(at(0)))

    def test_liars(self) -> None:
        """Half of all peers lie for an hour, from 16 groups: few of their addresses are in the book."""
        random = Random(5)
        honest = [at(number, group=1000 + number % 200) for number in range(300)]
        made = 0
        for minute in range(60):
            for peer in range(8):
                source = bytes([peer])
                if peer < 4:
                    for _ in range(64):
                        made += 1
                        self.book.heard(at(made, group=made % 16), None, source, minute * 60.0)
                elif minute % 10 == 0:
                    for address in random.sample(honest, 64):
                        self.book.heard(address, None, source, minute * 60.0)
        bad = sum(known.address not in honest for known in self.book)
        self.assertLessEqual(bad, 16 * limits.MAX_BOOK_PER_GROUP)
        self.assertGreaterEqual(len(self.book) - bad, 150)


class ForgettingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.book = Book(Random(1))

    def test_unverified(self) -> None:
        self.book.heard(at(1), None, None, 0.0)
        for _ in range(limits.UNVERIFIED_FAILURES):
            self.assertEqual(len(self.book), 1)
            self.book.failed(at(1), 0.0, 0.5)
        self.assertEqual(len(self.book), 0)

    def test_verified(self) -> None:
        """After ten failures over seven days."""
        self.book.verified(at(1), node(1), 0.0, is_shared=True)
        for day in range(7):
            for _ in range(3):
                self.book.failed(at(1), day * DAY, 0.5)
            self.assertEqual(len(self.book), 1)
        self.book.failed(at(1), 7 * DAY, 0.5)
        self.assertEqual(len(self.book), 0)

    def test_back_off(self) -> None:
        self.book.verified(at(1), node(1), 0.0, is_shared=True)
        [known] = self.book
        waits = []
        for _ in range(14):
            self.book.failed(at(1), 100.0, 1.0)
            waits.append(known.retry_at - 100.0)
        self.assertEqual(waits[:3], [5.0, 10.0, 20.0])
        self.assertEqual(waits[-1], limits.FIND_MOST_SECONDS)
        self.book.failed(at(1), 100.0, 0.0)
        self.assertEqual(known.retry_at - 100.0, limits.FIND_MOST_SECONDS / 2)
        self.book.forgive()
        self.assertEqual(self.book.choose(100.0, anybody), known)

    def test_old(self) -> None:
        self.book.verified(at(1), node(1), 0.0, is_shared=True)
        self.book.heard(at(2), None, None, 0.0)
        self.book.heard(at(3), None, None, 20 * DAY)
        self.book.forget_old(30 * DAY)
        self.assertEqual(len(self.book), 3)
        self.book.forget_old(30 * DAY + 1)
        self.assertEqual([known.address for known in self.book], [at(3)])

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(0, 5)), max_size=60))
    def test_counts_stay_true(self, steps: list[tuple[int, int, int]]) -> None:
        """Whatever happens, no group and no source has more than it may, and nothing is counted that is gone."""
        book = Book(Random(2))
        for number, what, group in steps:
            address, source = at(number, group=group), bytes([number % 2])
            if what == 0:
                book.heard(address, None, source, 0.0)
            elif what == 1:
                book.verified(address, node(number), 1.0, is_shared=True)
            elif what == 2:
                book.failed(address, 0.0, 0.5)
            else:
                book.forget(address)
        groups = Counter(known.address.group for known in book)
        self.assertTrue(all(count <= limits.MAX_BOOK_PER_GROUP for count in groups.values()))
        for known in tuple(book):
            book.forget(known.address)
        for number in range(limits.MAX_BOOK_PER_SOURCE):
            self.assertTrue(book.heard(at(number), None, bytes(1), 0.0))
            self.assertTrue(book.heard(at(number + 500), None, bytes([1]), 0.0))


class ChoosingTests(SynchronousTestCase):
    def test_half_are_verified(self) -> None:
        """However many others there are."""
        book = Book(Random(3))
        for number in range(64):
            book.heard(at(number), None, None, 0.0)
        book.verified(at(900), node(900), 0.0, is_shared=True)
        chosen = [book.choose(1.0, anybody) for _ in range(400)]
        verified = sum(known is not None and known.verified_at is not None for known in chosen)
        self.assertTrue(150 <= verified <= 250, verified)

    def test_groups_are_equal(self) -> None:
        """Eight addresses in one place are chosen as often as one in another."""
        book = Book(Random(3))
        for number in range(8):
            book.heard(at(number, group=1), None, None, 0.0)
        book.heard(at(9, group=2), None, None, 0.0)
        lone = sum(book.choose(1.0, anybody) is book.get(at(9, group=2)) for _ in range(400))
        self.assertTrue(150 <= lone <= 250, lone)

    def test_only_what_is_due_and_may(self) -> None:
        book = Book(Random(3))
        book.heard(at(1), None, None, 0.0)
        book.put_off(at(1), 10.0)
        self.assertIsNone(book.choose(9.0, anybody))
        self.assertEqual(book.next_due(anybody), 10.0)
        self.assertIsNone(book.choose(10.0, lambda known: False))
        self.assertIsNone(book.next_due(lambda known: False))
        self.assertIsNotNone(book.choose(10.0, anybody))


class PassingOnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.book = Book(Random(1))

    def test_only_first_hand(self) -> None:
        self.book.heard(at(1), node(1), b"teller", 0.0)
        self.assertEqual(self.book.contacts(0.0, node(9)), [])
        self.book.verified(at(1), node(1), 60.0, is_shared=True)
        [contact] = self.book.contacts(60.0 + 17 * 60, node(9))
        self.assertEqual((contact.node, contact.age, contact.addresses), (node(1), 17, (at(1),)))

    def test_only_who_wants_it(self) -> None:
        self.book.verified(at(1), node(1), 0.0, is_shared=False)
        self.assertEqual(self.book.contacts(0.0, node(9)), [])

    def test_not_to_itself(self) -> None:
        self.book.verified(at(1), node(1), 0.0, is_shared=True)
        self.assertEqual(self.book.contacts(0.0, node(1)), [])

    def test_not_for_longer_than_a_week(self) -> None:
        self.book.verified(at(1), node(1), 0.0, is_shared=True)
        self.assertEqual(len(self.book.contacts(limits.VERIFIED_SECONDS, node(9))), 1)
        self.assertEqual(self.book.contacts(limits.VERIFIED_SECONDS + 1, node(9)), [])

    def test_so_many(self) -> None:
        for number in range(200):
            self.book.verified(at(number), node(number), 0.0, is_shared=True)
        for number in range(300, 312):
            self.book.verified(at(number), node(0), 0.0, is_shared=True)
        contacts = self.book.contacts(0.0, node(9))
        self.assertEqual(len(contacts), limits.MAX_PEERS)
        self.assertTrue(all(len(each.addresses) <= limits.MAX_CONTACT_ADDRESSES for each in contacts))


class KeepingTests(SynchronousTestCase):
    def test_kept(self) -> None:
        """With its times, by the clock on the wall."""
        book = Book(Random(1))
        book.verified(at(1), node(1), 900.0, is_shared=True)
        book.verified(at(2), node(2), 900.0, is_shared=False)
        book.heard(at(3), None, None, 0.0)
        again = Book(Random(2))
        load(dump(book, now=1000.0, wall=1e9), again, now=50.0, wall=1e9 + 600)
        found = {known.address: (known.node, known.verified_at, known.is_shared) for known in again}
        self.assertEqual(
            found,
            {at(1): (node(1), -650.0, True), at(2): (node(2), -650.0, False), at(3): (None, None, False)},
        )

    def test_a_clock_that_was_ahead(self) -> None:
        book = Book(Random(1))
        book.verified(at(1), node(1), 0.0, is_shared=True)
        again = Book(Random(2))
        load(dump(book, now=0.0, wall=2e9), again, now=7.0, wall=1e9)
        self.assertEqual([known.verified_at for known in again], [7.0])

    def test_a_clock_that_was_set(self) -> None:
        """Saved in 1970 and read now, or read in 2100: all are tried once more, and none is passed on."""
        book = Book(Random(1))
        book.verified(at(1), node(1), 0.0, is_shared=True)
        for saved_wall, wall in ((100.0, 1.8e9), (1.8e9, 4.1e9)):
            again = Book(Random(2))
            load(dump(book, now=0.0, wall=saved_wall), again, now=7.0, wall=wall)
            again.forget_old(8.0)
            self.assertEqual([(known.node, known.verified_at) for known in again], [(node(1), None)])
            self.assertIsNotNone(again.choose(8.0, lambda known: True))
            self.assertEqual(again.contacts(8.0, node(9)), [])

    def test_nonsense(self) -> None:
        rows = [
            5,
            (b"xx", 1, None, None, True),
            (bytes(4), 0, None, None, True),
            (bytes(4), 70_000, None, None, True),
            (bytes(4), 5, b"short", None, True),
            (bytes(4), 5, None, "late", True),
            (bytes(4), 5, None, None, 1),
            (bytes([1, 2, 3, 4]), 5, node(1), 3, True),
        ]
        for saved, count in (
            (None, 0),
            (b"", 0),
            (b"\xc1", 0),
            (packb((2, rows)), 0),
            (packb((1, 7)), 0),
            (packb(7), 0),
            (packb((1, rows)), 1),
            (packb((1, rows * 1000)), 1),
        ):
            book = Book(Random(1))
            load(saved, book, 0.0, 10.0)
            self.assertEqual(len(book), count, saved and saved[:20])

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, saved: bytes) -> None:
        load(saved, Book(Random(1)), 0.0, 10.0)
