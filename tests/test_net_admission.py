"""Ring 1 and 6: who may be connected, who has to go, and whose handshake is answered when."""

from __future__ import annotations

from random import Random
from typing import Any
from unittest.mock import patch

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.app.happenings import describe
from gossiplog.errors import (
    BadSignatureError,
    ByeCode,
    GossiplogError,
    LimitExceededError,
    ReplayError,
    WrongProtocolError,
)
from gossiplog.net import admission
from gossiplog.net import refusals as turned_away
from gossiplog.net.admission import OFFENCE_COST, UNFINISHED_COST, Admission
from gossiplog.net.connection_counts import ConnectionCounts
from gossiplog.net.first_messages import FirstMessages
from gossiplog.net.link import Link
from gossiplog.net.link_factory import LinkFactory
from gossiplog.net.refusals import TOLD_ONE_BY_ONE, TOLD_SECONDS, Refusals
from gossiplog.net.token_bucket import Bucket, PlaceRates
from gossiplog.notices import Banned, PeerRejected, StrangersTurnedAway
from gossiplog.wire.channel import Channel
from tests.netcase import NETWORK, Peer, Raw
from tests.test_net_protocol import HTTP, OneNode

KEY, OTHER = b"\x01" * 32, b"\x02" * 32
HOST = "192.0.2.7"
WORST = BadSignatureError("no signature")


class CrowdTests(SynchronousTestCase):
    """Connections by place."""

    def test_model(self) -> None:
        """Against a list that is searched."""
        for seed in range(20):
            random = Random(seed)
            crowd: ConnectionCounts[int] = ConnectionCounts()
            model: list[tuple[int, str]] = []
            for number in range(400):
                if model and random.random() < 0.45:
                    gone, where = model.pop(random.randrange(len(model)))
                    self.assertTrue(crowd.remove(gone))
                    self.assertFalse(crowd.remove(gone))
                else:
                    where = f"place {random.randrange(6)}"
                    crowd.add(number, where)
                    model.append((number, where))
                places = [at for _, at in model]
                self.assertEqual(crowd.at(where), places.count(where))
                self.assertEqual(len(crowd), len(model))
                if model:
                    fullest = crowd.fullest()
                    of = dict(model)[fullest]
                    self.assertEqual(places.count(of), max(map(places.count, places)))
                    self.assertEqual(fullest, next(one for one, at in model if at == of))

    def test_turns(self) -> None:
        """Each place has one, however many wait there; then again."""
        crowd: ConnectionCounts[str] = ConnectionCounts()
        for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
            crowd.add(name, name[0])
        served = []
        while crowd:
            for where, name in crowd.turns():
                self.assertEqual(where, name[0])
                crowd.served(name)
                served.append(name)
        self.assertEqual(served, ["a1", "b1", "c1", "a2", "c2", "a3"])

    def test_whose_turn_it_was_comes_last(self) -> None:
        """Also when others came first."""
        crowd: ConnectionCounts[str] = ConnectionCounts()
        for name in ("a1", "a2", "b1"):
            crowd.add(name, name[0])
        crowd.served("a1")
        self.assertEqual([name for _, name in crowd.turns()], ["b1", "a2"])


class RateTests(SynchronousTestCase):
    """How often something may happen."""

    def test_burst_and_rate(self) -> None:
        """So many at once, then one each time that it says."""
        bucket = Bucket(3, 2, 0.0)
        for _ in range(3):
            self.assertEqual(bucket.wait(0.0), 0.0)
            bucket.take()
        self.assertEqual(bucket.wait(0.0), 0.5)
        self.assertEqual(bucket.wait(0.5), 0.0)
        bucket.take()
        self.assertEqual(bucket.wait(0.75), 0.25)
        bucket.take(100)
        self.assertEqual(bucket.wait(0.75), 0.5)
        self.assertEqual(bucket.wait(1000.0), 0.0)
        bucket.take(3)
        self.assertGreater(bucket.wait(1000.0), 0.0)

    def test_time_that_goes_back(self) -> None:
        """Is none that passed."""
        bucket = Bucket(1, 1, 100.0)
        bucket.take()
        self.assertEqual(bucket.wait(0.0), 1.0)
        self.assertEqual(bucket.wait(1.0), 0.0)

    def test_places_are_bounded(self) -> None:
        """The one that was asked for least recently is forgotten."""
        self.patch(limits, "MAX_PLACES", 2)
        rates = PlaceRates(1, 1)
        for where in ("a", "b", "c"):
            rates.take(where, 0.0)
        self.assertEqual([rates.wait(where, 0.0) for where in ("b", "c")], [1.0, 1.0])
        self.assertEqual(rates.wait("a", 0.0), 0.0)
        self.assertEqual(len(rates._buckets), 2)


class FirstMessageTests(SynchronousTestCase):
    """FIRST_MESSAGE_SECONDS, MAX_FIRST_MESSAGES: what was recorded is worth nothing for a while."""

    def test_remembered_for_a_while(self) -> None:
        """At least as long as it says, and for no more than twice that."""
        seen = FirstMessages(0.0)
        self.assertFalse(seen.repeated(b"one" * 16, 0.0))
        for now in (0.0, 1.0, limits.FIRST_MESSAGE_SECONDS, 2 * limits.FIRST_MESSAGE_SECONDS - 1):
            self.assertTrue(seen.repeated(b"one" * 16, now))
        seen.repeated(b"two" * 16, 2 * limits.FIRST_MESSAGE_SECONDS)
        self.assertFalse(seen.repeated(b"one" * 16, 2 * limits.FIRST_MESSAGE_SECONDS))

    def test_bounded(self) -> None:
        """So many are remembered whatever came since, and never more than twice as many."""
        self.patch(limits, "MAX_FIRST_MESSAGES", 10)
        seen = FirstMessages(0.0)
        messages = [bytes(32) + number.to_bytes(16, "big") for number in range(100)]
        for number, message in enumerate(messages):
            self.assertFalse(seen.repeated(message, 0.0))
            self.assertLessEqual(len(seen._newer) + len(seen._older), 20)
            for earlier in messages[max(0, number - 9) : number]:
                self.assertTrue(seen.repeated(earlier, 0.0))


class ToldTests(SynchronousTestCase):
    """What an application and a log hear of strangers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[Any] = []
        self.turned_away = Refusals(self.clock, self.told.append)
        self.addCleanup(self.turned_away.stop)

    def test_a_few_at_once_and_then_once_a_minute(self) -> None:
        """However many come, from wherever: so a log grows by a bounded number of lines."""
        self.patch(limits, "MAX_PLACES", 100)
        for number in range(5000):
            host = f"192.0.2.{number % 250}"
            self.turned_away.add(
                f"tcp:{host}:{number}", host, WrongProtocolError("the other side speaks HTTP")
            )
        self.assertEqual([type(notice) for notice in self.told], [PeerRejected] * TOLD_ONE_BY_ONE)
        self.assertLessEqual(len(self.turned_away._places), 100)
        self.clock.advance(TOLD_SECONDS)
        [notice] = self.told[TOLD_ONE_BY_ONE:]
        self.assertEqual(notice.count, 5000 - TOLD_ONE_BY_ONE)
        self.assertIn("4,996 more strangers", describe(notice) or "")
        self.assertIn("HTTP", describe(notice) or "")
        self.clock.advance(10 * TOLD_SECONDS)
        self.assertEqual(len(self.told), TOLD_ONE_BY_ONE + 1)
        self.turned_away.add("tcp:192.0.2.1:1", "192.0.2.1", WrongProtocolError(""))
        self.assertIsInstance(self.told[-1], PeerRejected)

    def test_bytes_a_day(self) -> None:
        """Of the longest lines that there are: below 2 MB."""
        long = "fe80:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        error = LimitExceededError(f"more than {limits.MAX_STRANGERS} connections that said nothing")
        for minute in range(10):
            for number in range(100):
                self.turned_away.add(f"tcp:{long}:{number}", f"2001:db8:{minute:x}:{number:x}::1", error)
            self.clock.advance(TOLD_SECONDS)
        size = sum(len(describe(notice) or "") + 1 for notice in self.told)
        self.assertLess(size / (10 * TOLD_SECONDS) * 86_400, 2e6)

    def test_the_place_with_the_most(self) -> None:
        """Is named, as what is counted: of IPv6 the network."""
        for _ in range(TOLD_ONE_BY_ONE):
            self.turned_away.add("", "192.0.2.9", WrongProtocolError(""))
        for number in range(7):
            self.turned_away.add("", f"2001:db8::{number}", WrongProtocolError(""))
        self.turned_away.add("", "192.0.2.9", WrongProtocolError("x"))
        self.clock.advance(TOLD_SECONDS)
        self.assertEqual(self.told[-1], StrangersTurnedAway(8, 2, "2001:db8::/64", 7, "x"))


class FakeChannel:
    """What the door looks at of a channel."""

    def __init__(self, first: bytes) -> None:
        self.first = first


class FakeLink:
    """A connection as the door sees it."""

    numbers = 0

    def __init__(self, door: Admission, host: str, initiator: bool = False) -> None:
        FakeLink.numbers += 1
        self.door = door
        self.host = self.behind = host
        self.address = f"tcp:{host}:4000"
        self.initiator = initiator
        self.channel = FakeChannel(FakeLink.numbers.to_bytes(48, "big"))
        self.error: GossiplogError | None = None
        self.answered = False

    def refuse(self, error: Any) -> None:
        """It has to go."""
        self.error = error
        self.door.refused(self, error)  # type: ignore[arg-type]
        self.door.lost(self)  # type: ignore[arg-type]

    def locate(self) -> bool:
        """A proxy may have said that it is for somebody else."""
        known, self.host = self.host, self.behind
        return known != self.host

    def answer(self) -> None:
        """Its turn has come."""
        self.answered = True


class DoorCase(SynchronousTestCase):
    """A door without a node behind it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[Any] = []
        self.door = Admission(self.clock, self.told.append)
        self.addCleanup(self.door.stop)

    def come(self, host: str) -> Any:
        """A stranger."""
        link = FakeLink(self.door, host)
        self.door.made(link)  # type: ignore[arg-type]
        return link

    def ask(self, host: str) -> Any:
        """An applicant."""
        link = self.come(host)
        self.door.asked(link)
        return link

    def enter(self, host: str, peer: bytes | None = None, **options: bool) -> Any:
        """A node that is let in; returns why not as well."""
        self.clock.advance(1.0)
        link = self.ask(host)
        self.assertTrue(link.answered)
        return link, self.door.shaken(link, FakeLink.numbers.to_bytes(32, "big") if peer is None else peer)


class StrangerTests(DoorCase):
    """MAX_STRANGERS: connections that say nothing."""

    def test_the_place_with_the_most_goes_first(self) -> None:
        """Whoever comes from elsewhere stays, however many come from there."""
        lone = self.come("192.0.2.1")
        for _ in range(10 * limits.MAX_STRANGERS):
            self.come(HOST)
        self.assertIsNone(lone.error)
        self.assertEqual(len(self.door._strangers) + len(self.door._crowding), limits.MAX_STRANGERS)

    def test_the_oldest_goes_first(self) -> None:
        """Of one place: who comes behind the same address has the time that it takes for so many to come."""
        for _ in range(limits.MAX_STRANGERS):
            self.come(HOST)
        member = self.come(HOST)
        for _ in range(limits.MAX_STRANGERS - 1):
            self.come(HOST)
        self.assertIsNone(member.error)
        self.come(HOST)
        self.assertIsInstance(member.error, LimitExceededError)

    def test_who_was_turned_out_goes_first(self) -> None:
        """Also when there are more places than room, each with no more connections than a member's: while they come."""
        self.patch(limits, "MAX_STRANGERS", 8)
        for _ in range(3):
            for number in range(20):
                self.come(f"192.0.2.{number}")
        member = self.come("198.51.100.1")
        for _ in range(3):
            for number in range(20):
                self.come(f"192.0.2.{number}")
        self.assertIsNone(member.error)
        self.assertEqual(len(self.door._strangers) + len(self.door._crowding), 8)
        self.clock.advance(admission.CROWDING_SECONDS)
        self.come("192.0.2.1")
        self.assertEqual(self.door._strangers.at("192.0.2.1"), 1)

    def test_half_of_the_room(self) -> None:
        """Is for who comes from where others crowd: many strangers from elsewhere do not take it."""
        self.patch(limits, "MAX_STRANGERS", 8)
        for _ in range(20):
            self.come(HOST)
        for number in range(20):
            self.come(f"198.51.100.{number}")
        member = self.come(HOST)
        for number in range(20):
            self.come(f"203.0.113.{number}")
        self.assertIsNone(member.error)
        self.assertEqual((len(self.door._strangers), len(self.door._crowding)), (4, 4))

    def test_behind_a_proxy(self) -> None:
        """Who the proxy says are many make room; also those that say nothing, for whom it alone spoke."""
        member = self.come("127.0.0.1")
        member.behind = "192.0.2.1"
        for number in range(3 * limits.MAX_STRANGERS):
            link = self.come("127.0.0.1")
            link.behind = HOST
            if number % 2:
                self.assertTrue(link.locate())
                self.door.located(link)  # something came
        self.assertIsNone(member.error)
        for _ in range(3 * limits.MAX_STRANGERS):  # of these the proxy did not say anything yet
            self.come("127.0.0.1")
        self.assertIsNone(member.error)
        self.assertEqual(len(self.door._strangers) + len(self.door._crowding), limits.MAX_STRANGERS)

    def test_moves_only_while_it_is_a_stranger(self) -> None:
        link = self.ask("127.0.0.1")
        link.host = HOST
        self.door.located(link)
        self.assertEqual((len(self.door._strangers), len(self.door._crowding)), (0, 0))

    def test_who_showed_the_key_is_no_stranger(self) -> None:
        """And is not in the way of strangers, nor they in its own."""
        member = self.ask(HOST)
        for _ in range(2 * limits.MAX_STRANGERS):
            self.come(HOST)
        self.assertIsNone(member.error)
        self.assertIsNone(self.door.shaken(member, KEY))
        for _ in range(2 * limits.MAX_STRANGERS):
            self.come(HOST)
        self.assertIsNone(member.error)

    def test_descriptors(self) -> None:
        """A process that may have few open files keeps some for everybody."""
        with patch.object(admission, "descriptors", lambda: 40):
            self.door = Admission(self.clock, self.told.append)
        for _ in range(100):
            self.come(HOST)
        self.assertEqual(len(self.door._strangers) + len(self.door._crowding), 10)
        for _ in range(100):
            self.ask(f"192.0.2.{_}")
        self.assertEqual(len(self.door._applicants), 10)
        self.assertEqual(
            [self.enter(f"198.51.100.{_}")[1] is None for _ in range(22)], [True] * 20 + [False] * 2
        )

    def test_too_many_a_second(self) -> None:
        """ACCEPTS_PER_SECOND: then only from where nobody waits; a second later it is as before."""
        for number in range(limits.ACCEPTS_PER_SECOND):
            self.assertTrue(self.door.admits(f"192.0.2.{number % 200}"))
        self.come(HOST)
        self.assertFalse(self.door.admits(HOST))
        self.assertTrue(self.door.admits("198.51.100.1"))
        self.clock.advance(1.0)
        self.assertTrue(self.door.admits(HOST))


class ApplicantTests(DoorCase):
    """Who knows the network key, or recorded what somebody said who does."""

    def test_repeated(self) -> None:
        """Is closed without an answer, from wherever it comes."""
        first = self.ask(HOST)
        self.assertTrue(first.answered)
        for host in (HOST, "192.0.2.8", "127.0.0.1"):
            again = self.come(host)
            again.channel.first = first.channel.first
            self.door.asked(again)
            self.assertFalse(again.answered)
            self.assertIsInstance(again.error, ReplayError)
        self.assertIsNone(first.error)

    def test_rate_in_all(self) -> None:
        """HANDSHAKES_PER_SECOND; whoever has to wait is answered later, each place in turn."""
        self.patch(limits, "MAX_HANDSHAKES", 10_000)
        asked = [self.ask("127.0.0.1") for _ in range(3 * limits.HANDSHAKES_PER_SECOND)]
        self.assertEqual(sum(link.answered for link in asked), limits.HANDSHAKES_PER_SECOND)
        lone = self.ask(HOST)
        self.assertFalse(lone.answered)
        self.clock.pump([0.001] * 20)
        self.assertTrue(lone.answered)
        self.clock.pump([0.01] * 100)
        answered = sum(link.answered for link in asked)
        self.assertLess(abs(answered - 2 * limits.HANDSHAKES_PER_SECOND), 6)

    def test_rate_of_a_place(self) -> None:
        """HANDSHAKES_PER_HOST, and what nobody else needs; others are not held up.

        While others need all, HOST_HANDSHAKES_PER_SECOND.
        """
        self.patch(limits, "MAX_HANDSHAKES", 10_000)
        half = limits.HANDSHAKES_PER_SECOND // 2
        asked = [self.ask(HOST) for _ in range(2 * half)]
        self.assertEqual(sum(link.answered for link in asked), half)
        others = [self.ask(f"198.51.100.{number}") for number in range(half)]
        self.assertEqual([link.answered for link in others], [True] * half)
        seconds = 1.5
        for step in range(int(seconds * 100)):
            self.ask(f"203.0.113.{step % 200}"), self.ask(f"203.0.114.{step % 200}")
            self.clock.advance(0.01)
        held_up = sum(link.answered for link in asked) - half
        self.assertEqual(held_up, seconds * limits.HOST_HANDSHAKES_PER_SECOND)

    def test_finished_at_a_place(self) -> None:
        """Who comes in often is let in HOST_HANDSHAKES_PER_SECOND in the end, whoever else comes."""
        for number in range(limits.HANDSHAKES_PER_HOST):
            link = self.ask(HOST)
            self.door.shaken(link, number.to_bytes(32, "big"))
            self.door.lost(link)
        member = self.ask(HOST)
        self.assertFalse(member.answered)
        self.clock.advance(1.0 / limits.HOST_HANDSHAKES_PER_SECOND)
        self.assertTrue(member.answered)

    def test_recordings_behind_the_address_of_a_member(self) -> None:
        """A thousand that did not come before, a few hundred a second: a member there is answered in a moment."""
        self.patch(limits, "HANDSHAKES_PER_SECOND", 200)
        late = []
        for number in range(1000):
            self.ask(HOST)
            if number % 100 == 99:
                member = self.ask(HOST)
                self.clock.pump([0.01] * 3)
                late.append(member.answered and member.error is None)
            self.clock.advance(0.004)
        self.assertEqual(late, [True] * 10)

    def test_strangers_cost_their_place_nothing(self) -> None:
        """Garbage and silence from there leave a member all handshakes that it would have had."""
        for _ in range(2 * limits.HANDSHAKES_PER_HOST):
            self.come(HOST).refuse(WrongProtocolError("HTTP"))
        asked = [self.ask(HOST) for _ in range(limits.HANDSHAKES_PER_HOST)]
        self.assertTrue(all(link.answered for link in asked))

    def test_one_network_is_one_place(self) -> None:
        """Of IPv6; of 2^64 addresses each is as good as another."""
        self.door._answers.take(limits.HANDSHAKES_PER_SECOND / 2)  # which others need
        asked = [self.ask(f"2001:db8::{number:x}") for number in range(limits.HANDSHAKES_PER_HOST + 1)]
        self.assertFalse(asked[-1].answered)
        self.assertTrue(self.ask("2001:db8:0:1::1").answered)

    def test_costs_of_the_specification(self) -> None:
        """A handshake that leads to nothing counts three times, an offence sixteen; who crowds does for a minute."""
        self.assertEqual((1 + UNFINISHED_COST, OFFENCE_COST, admission.CROWDING_SECONDS), (3.0, 16.0, 60.0))

    def test_unfinished(self) -> None:
        """Who goes without the third message has less of them; no more than that."""
        allowed = int(limits.HANDSHAKES_PER_HOST / (1 + UNFINISHED_COST))
        self.door._answers.take(limits.HANDSHAKES_PER_SECOND / 2)  # which others need
        for _ in range(allowed):
            link = self.ask(HOST)
            self.assertTrue(link.answered)
            self.door.lost(link)
        self.ask(HOST)
        self.assertFalse(self.ask(HOST).answered)
        self.clock.pump([0.1] * 10)
        self.assertTrue(self.ask(HOST).answered)

    def test_offences(self) -> None:
        """A node key costs nothing; an address that brings many offenders is let in more slowly, and never kept out."""
        for number in range(int(limits.HANDSHAKES_PER_HOST / (1 + OFFENCE_COST)) + 1):
            link = self.ask(HOST)
            self.assertTrue(link.answered, number)
            peer = bytes([number + 9]) * 32
            self.door.shaken(link, peer)
            self.door.offence(link, peer, WORST)
            self.door.lost(link)
        self.assertEqual(len(self.told), len(self.door.bans.all(0.0)))
        self.assertIsInstance(self.told[0], Banned)
        member = self.ask(HOST)
        self.assertFalse(member.answered)
        self.clock.advance(1.0 / limits.HOST_HANDSHAKES_PER_SECOND)
        self.assertTrue(member.answered)

    def test_behind_a_tunnel(self) -> None:
        """All come from a loopback address: whatever some do, others are answered at once."""
        for _ in range(limits.HANDSHAKES_PER_HOST):
            self.door.lost(self.ask("127.0.0.1"))
            link = self.ask("127.0.0.1")
            self.door.shaken(link, KEY)
            self.door.offence(link, KEY, WORST)
            self.door.lost(link)
        self.assertTrue(self.ask("127.0.0.1").answered)

    def test_too_many(self) -> None:
        """MAX_HANDSHAKES: the place with the most goes first."""
        lone = self.ask("192.0.2.1")
        for _ in range(2 * limits.MAX_HANDSHAKES):
            self.ask(HOST)
        self.assertIsNone(lone.error)
        self.assertEqual(len(self.door._applicants), limits.MAX_HANDSHAKES)
        self.assertLessEqual(len(self.door._unanswered), limits.MAX_HANDSHAKES)

    def test_nothing_is_left(self) -> None:
        """Of those that are gone, nor a timer when nobody waits."""
        links = [self.ask(HOST) for _ in range(limits.HANDSHAKES_PER_HOST + 9)]
        links += [self.come(HOST) for _ in range(9)]
        for link in links:
            self.door.lost(link)
        for crowd in (
            self.door._strangers,
            self.door._crowding,
            self.door._applicants,
            self.door._unanswered,
        ):
            self.assertEqual(len(crowd), 0)
        self.clock.advance(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class GuestTests(DoorCase):
    """How many may be connected, handshake done."""

    def test_from_one_host(self) -> None:
        """At the limit and above; others still come in."""
        links = [self.enter(HOST) for _ in range(limits.MAX_CONNECTIONS_PER_HOST)]
        self.assertEqual({refusal for _, refusal in links}, {None})
        _, refusal = self.enter(HOST)
        self.assertEqual(refusal[0], ByeCode.LIMIT)
        self.assertIsNone(self.enter("192.0.2.8")[1])
        self.door.lost(links[0][0])
        self.assertIsNone(self.enter(HOST)[1])

    def test_from_one_network(self) -> None:
        """Of 2^64 addresses each is as good as another; the next network is somebody else's."""
        for number in range(limits.MAX_CONNECTIONS_PER_HOST):
            self.assertIsNone(self.enter(f"2001:db8::{number:x}")[1])
        self.assertIsNotNone(self.enter("2001:db8::ffff")[1])
        self.assertIsNone(self.enter("2001:db8:0:1::1")[1])

    def test_behind_a_tunnel(self) -> None:
        """From a loopback address half of all: who comes from elsewhere has room."""
        most = limits.MAX_CONNECTIONS // 2
        for _ in range(most):
            self.assertIsNone(self.enter("127.0.0.1")[1])
        self.assertIsNotNone(self.enter("127.0.0.1")[1])
        self.assertIsNone(self.enter(HOST)[1])

    def test_in_all(self) -> None:
        """At the limit and above; what we dial ourselves does not count."""
        for number in range(limits.MAX_CONNECTIONS):
            link, refusal = self.enter(f"198.51.{number // 250}.{number % 250}")
            self.assertIsNone(refusal)
        self.assertIsNotNone(self.enter(HOST)[1])
        self.assertIsNone(self.door.shaken(FakeLink(self.door, HOST, initiator=True), OTHER))  # type: ignore[arg-type]
        self.door.lost(link)
        self.assertIsNone(self.enter(HOST)[1])

    def test_the_same_node_again(self) -> None:
        """Has room where others have none: one of its connections is dead.  Not for many."""
        self.enter(HOST, KEY)
        for _ in range(limits.MAX_CONNECTIONS_PER_HOST - 1):
            self.enter(HOST)
        self.assertIsNotNone(self.enter(HOST)[1])
        self.assertIsNone(self.enter(HOST, KEY)[1])
        self.assertIsNotNone(self.enter(HOST, KEY)[1])

    def test_strangers_take_no_place_of_theirs(self) -> None:
        """However many wait."""
        with patch.object(limits, "MAX_CONNECTIONS", 3), patch.object(limits, "MAX_CONNECTIONS_PER_HOST", 3):
            for _ in range(100):
                self.come(HOST)
                self.ask("192.0.2.8")
            self.assertIsNone(self.enter(HOST)[1])


class NodeTests(OneNode):
    """A node between strangers and members."""

    def test_strangers_behind_the_address_of_a_member(self) -> None:
        """A member comes in at once, whatever came before and comes meanwhile."""
        for number in range(300):
            self.come(Raw([HTTP, b"", b"\x16\x03\x01" + bytes(100), b"\x01" + bytes(48)][number % 4]))
        member = self.come(Peer(True))
        self.world.run(0.1)
        self.assertTrue(member.channel.established)
        self.assertEqual(self.site.node.bans, [])

    def test_an_answer_costs_nothing_before_its_turn(self) -> None:
        """The exchange of keys begins when the door says so."""
        self.patch(limits, "HANDSHAKES_PER_SECOND", 1)
        self.site.node._driver.admission._answers = Bucket(1, 1, self.world.reactor.seconds())
        peers = [Peer(True, bytes([number + 1]) * 32) for number in range(3)]
        for peer in peers:
            self.come(peer)
        self.world.run(0.2)
        self.assertEqual([peer.channel.established for peer in peers], [True, False, False])
        self.world.run(2.0)
        self.assertEqual([peer.channel.established for peer in peers], [True, True, True])

    def test_who_goes_on_unanswered(self) -> None:
        """Cannot know what to say."""
        self.site.node._driver.admission._answers = Bucket(1, 1e-9, self.world.reactor.seconds())
        self.come(Peer(True))
        stranger = self.come(Raw(Channel(True, b"\x01" * 32, NETWORK.key).start()))
        self.world.run(0.2)
        stranger.transport.write(bytes(64))
        self.world.run(0.2)
        self.assertIsNotNone(stranger.reason)
        self.assertEqual(stranger.raw, b"")

    def test_waiting_ends(self) -> None:
        """With the time for the handshake."""
        self.site.node._driver.admission._answers = Bucket(1, 1e-9, self.world.reactor.seconds())
        self.come(Peer(True))
        late = self.come(Peer(True, b"\x01" * 32))
        self.world.run(limits.HANDSHAKE_SECONDS + 1)
        self.assertIsNotNone(late.reason)

    def test_full(self) -> None:
        """A node that has no room says so, once it knows that it speaks to a member."""
        self.patch(limits, "MAX_CONNECTIONS", 2)
        first = self.come(Peer(True))
        self.world.run(0.1)
        first.hello()
        other = self.come(Peer(True, b"\x08" * 32))
        self.world.run(0.1)
        assert other.bye is not None
        self.assertEqual(other.bye.code, ByeCode.LIMIT)
        self.assertIsNone(first.bye)
        first.transport.loseConnection()
        self.world.run(0.1)
        third = self.come(Peer(True, b"\x08" * 32))
        self.world.run(0.1)
        self.assertIsNone(third.bye)

    def test_not_worth_a_look(self) -> None:
        """Is closed before anything is made for it, or at once where something is wrapped around the connection."""
        driver = self.site.node._driver
        self.patch(driver.admission, "admits", lambda host: host != "192.0.2.7")
        factory = LinkFactory(driver)
        self.assertIsInstance(factory.buildProtocol(IPv4Address("TCP", "192.0.2.8", 1)), Link)
        wrapped = factory.buildProtocol(IPv4Address("TCP", HOST, 1))
        assert wrapped is not None
        transport = StringTransportWithDisconnection()
        transport.protocol = wrapped
        wrapped.makeConnection(transport)
        self.assertTrue(transport.disconnected)
        factory.port = object()
        self.assertIsNone(factory.buildProtocol(IPv4Address("TCP", HOST, 1)))
        self.assertIsInstance(LinkFactory(driver, "tcp:x:1").buildProtocol(IPv4Address("TCP", HOST, 1)), Link)

    def test_told_in_one_line(self) -> None:
        """Hundreds of strangers are a few notices, and one more at the end of the minute."""
        for _ in range(300):
            self.come(Raw(HTTP))
        self.world.run(turned_away.TOLD_SECONDS + 1)
        self.assertEqual(len(self.site.of(PeerRejected)), TOLD_ONE_BY_ONE)
        [notice] = self.site.of(StrangersTurnedAway)
        self.assertEqual((notice.count, notice.place), (300 - TOLD_ONE_BY_ONE, "127.0.0.1"))
