"""Ring 1 and 8: tickets, their text, and the commands that make and take them."""

from __future__ import annotations

import random
from importlib.util import find_spec

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gossiplog import EndpointError, InvalidKeyError, InvalidValueError, Network, Node, Ticket
from gossiplog.app import keyfile
from gossiplog.log import ticket_text
from gossiplog.log.ticket_text import MAX_ADDRESS_BYTES, MAX_ADDRESSES
from tests.netcase import World
from tests.processes import ProcessTestCase

NETWORK = Network(bytes(range(32)))
NODE = bytes(range(1, 33))
ADDRESS = "tcp:relay.example.org:4000"


class TextTests(SynchronousTestCase):
    """One text for one ticket."""

    def test_round_trip(self) -> None:
        for addresses in (
            [],
            [ADDRESS],
            ["tcp:[2001:db8::7]:4000", "tcp:192.0.2.1:1"],
            [ADDRESS] * MAX_ADDRESSES,
        ):
            for node in (None, NODE):
                ticket = Ticket(NETWORK, addresses, node)
                for text in (ticket.text, ticket.text.upper(), f" {ticket.text}\n"):
                    self.assertEqual(Ticket.parse(text), ticket)
                self.assertEqual(Network.parse(ticket.text), NETWORK)
                self.assertEqual(len({ticket, Ticket.parse(ticket.text)}), 1)
        self.assertEqual(len(Ticket(NETWORK, [ADDRESS]).text), 111)

    def test_mistyped(self) -> None:
        """Any one character changed, left out or doubled; anything cut off; anything at all."""
        text = Ticket(NETWORK, [ADDRESS], NODE).text
        start = len(ticket_text.MARK)
        wrong = {
            text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :] for at in range(start, len(text))
        }
        wrong |= {text[:at] + text[at + 1 :] for at in range(start, len(text))} - {text}
        wrong |= {text[:at] for at in range(start, len(text))} | {
            text + "a",
            text + "=",
            text.replace("g", "\u0261"),
        }
        chance = random.Random(1)
        wrong |= {ticket_text.MARK + "".join(chance.choices("abcz2789", k=size)) for size in range(200)}
        for each in wrong:
            with self.assertRaises(InvalidKeyError) as caught:
                Ticket.parse(each)
            self.assertNotIn(text[start : start + 20], str(caught.exception))
            if ticket_text.is_ticket(each):
                self.assertRaises(InvalidKeyError, Network.parse, each)

    def test_malformed_behind_a_good_checksum(self) -> None:
        """Each part that is not as it has to be."""
        good = b"\1" + NETWORK.key + b"\0"
        bodies = [
            b"",
            b"\2" + good[1:],
            good[:20],
            good[:-1],
            good[:-1] + b"\2",
            good[:-1] + b"\1" + NODE[:31],
        ]
        bodies += [good + b"\0", good + b"\5tcp:", good + b"\2\xff\xff", good + b"\1x" * (MAX_ADDRESSES + 1)]
        for body in bodies:
            raw = ticket_text._base32(body + ticket_text._check(body))
            self.assertRaises(InvalidKeyError, Ticket.parse, ticket_text.MARK + raw)

    def test_addresses_that_lead_elsewhere(self) -> None:
        """A ticket is from somebody else: it names hosts, no file, no plugin, no certificate."""
        for address in ("unix:/tmp/x", "tls:example.org:4000", "ssl:example.org:4000", "haproxy:tcp\\:x\\:1"):
            self.assertRaises((InvalidValueError, EndpointError), Ticket, NETWORK, [address])
            text = ticket_text.encode(NETWORK.key, [address], None)
            self.assertRaises((InvalidValueError, EndpointError), Ticket.parse, text)

    def test_arguments(self) -> None:
        for arguments in (
            ("garden",),
            (None,),
            (NETWORK, ADDRESS),
            (NETWORK, [ADDRESS] * (MAX_ADDRESSES + 1)),
            (NETWORK, ["tcp:" + "a." * (MAX_ADDRESS_BYTES // 2) + ":4000"]),
            (NETWORK, [ADDRESS], b"short"),
            (NETWORK, [ADDRESS], b"\xff" * 32),
        ):
            self.assertRaises((InvalidValueError, EndpointError), Ticket, *arguments)
        for text in (None, 5, b"gossip-"):
            self.assertRaises(InvalidValueError, Ticket.parse, text)
        self.assertRaises((InvalidValueError, EndpointError), Ticket, NETWORK, ["nonsense"])

    def test_repr(self) -> None:
        """Nothing of the key is in it, and it does not change."""
        ticket = Ticket(NETWORK, [ADDRESS], NODE)
        self.assertNotIn(NETWORK.text[8:20], repr(ticket))
        self.assertNotIn(ticket.text[7:20], repr(ticket))
        self.assertRaises(AttributeError, setattr, ticket, "network", None)

    def test_in_a_file(self) -> None:
        self.assertEqual(keyfile.network(Ticket(NETWORK, [ADDRESS]).text), Ticket(NETWORK, [ADDRESS]))


class NodeTests(SynchronousTestCase):
    """A node that is given a ticket."""

    def test_addresses_are_dialled(self) -> None:
        """It is a node of the network, and keeps connections to the addresses."""
        world = World()
        ann, bob = world.site("ann"), world.site("bob")
        ticket = Ticket(ann.node.network, [ann.listen()])
        world.result(bob.node.stop())
        node = Node(world.reactor, bob.store, network=ticket.text)
        world.run()
        self.assertEqual([peer.id for peer in ann.node.peers], [node.id])
        self.assertEqual(node.network, ticket.network)
        world.result(node.stop())
        self.assertEqual(world.close(), [])


class CommandTests(ProcessTestCase):
    """``invite``, ``join`` and ``sync``."""

    def test_invite(self) -> None:
        text = self.run_gossiplog("invite", "--network", "garden", ADDRESS).strip()
        self.assertEqual(Ticket.parse(text), Ticket(Network.from_name("garden"), [ADDRESS]))
        again = self.run_gossiplog("invite", "--network", text, "tcp:b:1").strip()
        self.assertEqual(Ticket.parse(again).addresses, (ADDRESS, "tcp:b:1"))
        first, second = (self.run_gossiplog("invite").strip() for _ in range(2))
        self.assertNotEqual(Ticket.parse(first).network, Ticket.parse(second).network)

    def test_qr(self) -> None:
        if find_spec("segno") is None:
            raise SkipTest("needs the extra qr")
        *code, text = self.run_gossiplog("invite", "--qr", "--network", "garden", ADDRESS).splitlines()
        self.assertEqual({len(line) for line in code}, {len(code[0])})
        self.assertLessEqual(len(code), 24)
        self.assertEqual(Ticket.parse(text).addresses, (ADDRESS,))
