"""Target: connections to a whole node, over Twisted in virtual time."""

from __future__ import annotations

from typing import Any

from twisted.logger import globalLogPublisher

from gossiplog.gossip.messages import Hello, Want, WantItem
from gossiplog.log.segment import Segment
from tests.fuzz.speech import Speech
from tests.fuzz.target import Consumer, Target
from tests.netcase import LOCAL, Peer, Raw, Site, World, dial

MOST_STEPS = 20
WAITS = (0.01, 0.5, 11.0)


class _Member(Peer):
    """I know the network key, and say anything."""

    def say(self, consumer: Consumer) -> None:
        """A frame, whole or in pieces, or bytes that are none."""
        if self.reason is not None or not self.channel.established:
            return
        kind = consumer.number(6)
        if kind == 0:
            self.transport.write(consumer.some(60))
        elif kind == 1:
            self.hello()
        else:
            encrypted = self.channel.send(Speech(consumer, self.channel.handshake_hash).frame())
            pieces = consumer.cut(encrypted) if kind == 2 else [encrypted]
            for piece in pieces:
                self.transport.write(piece)


def _visit(consumer: Consumer, world: World, site: Site, number: int) -> None:
    """Somebody comes, and does something until there are no bytes left, or it has gone."""
    if consumer.chance(4):
        world.result(dial(world.reactor, LOCAL.format(site.port), Raw(consumer.some(255))))
        world.run(consumer.choose(WAITS))
        return
    member = _Member(True, secret=bytes((number + 1,)) * 32)
    world.result(dial(world.reactor, LOCAL.format(site.port), member))
    world.run(0.1)
    if not consumer.chance(5):
        member.hello()
    for _ in range(MOST_STEPS):
        if not consumer.left or member.reason is not None:
            break
        kind = consumer.number(12)
        if kind == 0:
            world.run(consumer.choose(WAITS))
        elif kind == 1 and consumer.chance(3):
            member.transport.loseConnection()
        elif kind == 2:
            site.append(consumer.some(9))
        else:
            member.say(consumer)
    world.run(0.1)


def check_connection(data: bytes) -> None:
    """Whoever comes and whatever it says: nothing is logged as a failure, and an honest peer is served afterwards."""
    consumer = Consumer(data)
    failures: list[Any] = []

    def observe(event: Any) -> None:
        if event.get("log_failure") is not None or event.get("isError"):
            failures.append(event)

    world = World()
    globalLogPublisher.addObserver(observe)
    try:
        site = world.site("node")
        site.listen()
        site.append(b"one")
        for number in range(1 + consumer.number(3)):
            _visit(consumer, world, site, number)
        site.append(b"last")
        guest = _Member(True, secret=b"\x77" * 32)
        world.result(dial(world.reactor, LOCAL.format(site.port), guest))
        world.run(0.1)
        guest.send(Hello(1, 1, (), "guest", b"g" * 16))
        guest.reconcile()
        guest.send(Want((WantItem(site.author(), 1),)))
        world.run(5.0)
        own = [segment for segment in guest.of(Segment) if segment.author == site.author()]
        assert own and own[-1].last == site.store.clock.seq(site.author()), "an honest peer is not served"
        held = site.payloads(site.author())
        assert held[0] == b"one" and held[-1] == b"last", "the own log is another one"
        assert world.close() == [], "something is left behind"
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not failures, failures


_VISITS = [bytes((2, 1, 1)) + bytes((5, 5, 2, kind)) * 6 for kind in range(12)]

TARGETS = [Target("connection", check_connection, [*_VISITS, bytes(40), bytes(range(3, 200, 2))], slow=True)]
