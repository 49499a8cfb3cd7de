"""Ring 6: what a node says of itself, against what is so."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.commands.operate import in_words
from gossiplog.app.commands.top import lines
from gossiplog.errors import InvalidKeyError, InvalidValueError
from gossiplog.log.keys import KeyKind, format_key
from gossiplog.notices import Banned
from gossiplog.status import Status
from tests.netcase import NETWORK, World

ENTRIES = 20_000


class StatusTests(SynchronousTestCase):
    """Two nodes, one of which has all."""

    def setUp(self) -> None:
        self.world = World()
        self.ann, self.bob = self.world.site("ann"), self.world.site("bob")
        self.addCleanup(self.world.close)
        self.address = self.ann.listen()

    def test_alone(self) -> None:
        """Nothing is to come, nothing to send."""
        self.ann.append(b"x" * 100, name="carl")
        said = self.ann.node.status()
        self.assertEqual((said.node, said.network), (self.ann.node.id, NETWORK.discovery_id))
        self.assertEqual((said.entries, said.log_count, said.fork_count), (1, 1, 0))
        self.assertEqual((said.to_come, said.to_send, said.peers, said.bans), (0, 0, (), ()))
        self.assertEqual((said.commits.count, said.commits.entries), (1, 1))
        self.assertEqual(len(said.listening), 1)
        [author] = said.authors
        self.assertEqual((author.author, author.entries, author.local), (self.ann.author("carl"), 1, True))
        self.assertEqual(author.bytes, said.log_bytes)
        self.assertEqual(self.ann.node.status(authors=False).authors, ())

    def test_lag_in_both_directions(self) -> None:
        """At each moment of a catch-up: what is missing, on both sides, is what one has and the other has not."""
        for _ in range(20):
            self.ann.append(*[b"x" * 100] * (ENTRIES // 20))
        self.bob.node.connect(self.address)
        seen = set()
        for _ in range(3000):
            self.world.run(0.001)
            theirs, ours = self.ann.node.status(authors=False), self.bob.node.status(authors=False)
            if ours.to_come:
                self.assertEqual(ours.to_come, ENTRIES - ours.entries)
                self.assertEqual(ours.peers[0].entries_to_come, ours.to_come)
                self.assertLessEqual(theirs.to_send, ENTRIES)
                self.assertEqual(theirs.to_send, theirs.peers[0].entries_to_send)
                seen.add((ours.entries > 0, theirs.to_send > 0))
            if ours.entries == ENTRIES and not ours.to_come:
                break
        self.assertIn((True, True), seen)
        self.world.run(1)
        theirs, ours = self.ann.node.status(), self.bob.node.status()
        self.assertEqual((ours.entries, ours.to_come, ours.to_send), (ENTRIES, 0, 0))
        self.assertEqual((theirs.to_come, theirs.to_send), (0, 0))
        self.assertEqual(theirs.peers[0].entries_out, ENTRIES)
        self.assertEqual(theirs.peers[0].bytes_out, ours.peers[0].bytes_in)
        self.assertEqual(ours.commits.entries, ENTRIES)
        self.assertTrue(ours.caught_up)
        self.assertEqual([each.entries for each in ours.authors], [each.entries for each in theirs.authors])

    def test_as_json(self) -> None:
        """Keys as text, and no number that JSON has not."""
        self.ann.node.ban(bytes(32))
        self.bob.node.connect("tcp:127.0.0.1:9")
        self.world.run(1)
        said = json.loads(json.dumps(self.ann.node.status().as_json(), allow_nan=False))
        self.assertEqual(said["version"], 1)
        self.assertEqual(said["node"], format_key(KeyKind.NODE, self.ann.node.id))
        self.assertEqual(said["bans"][0]["seconds"], None)
        [dialled] = self.bob.node.status().dialled
        self.assertEqual((dialled.peer, dialled.connected), (None, False))
        [trouble] = self.bob.node.status().troubles
        self.assertEqual(trouble.event, "DialFailed")


class OperatorTests(SynchronousTestCase):
    """Disconnecting and banning by hand."""

    def setUp(self) -> None:
        self.world = World()
        self.ann, self.bob = self.world.site("ann"), self.world.site("bob")
        self.addCleanup(self.world.close)
        self.dialer = self.bob.node.connect(self.ann.listen())
        self.world.run(1)
        self.assertEqual(len(self.ann.node.peers), 1)

    def test_disconnect(self) -> None:
        """The session ends; who dialled on our side does not again, who dialled us may."""
        self.assertTrue(self.bob.node.disconnect(self.ann.node.id))
        self.world.run(60)
        self.assertEqual((self.bob.node.peers, self.dialer.stopped), ([], True))
        self.assertFalse(self.bob.node.disconnect(self.ann.node.id))
        self.bob.node.connect(self.dialer.endpoint)
        self.world.run(1)
        self.assertTrue(self.ann.node.disconnect(self.bob.node.id))
        self.world.run(60)
        self.assertEqual(len(self.ann.node.peers), 1)

    def test_ban(self) -> None:
        """It does not come back until its time is over, or it is let in; it is told."""
        self.ann.node.ban(self.bob.node.id, seconds=100, reason="too loud")
        self.world.run(90)
        self.assertEqual(self.ann.node.peers, [])
        [ban] = self.ann.node.bans
        self.assertEqual((ban.peer, ban.reason), (self.bob.node.id, "too loud"))
        self.assertEqual(self.ann.of(Banned)[-1].seconds, 100)
        self.world.run(4000)
        self.assertEqual(len(self.ann.node.peers), 1)
        self.ann.node.ban(self.bob.node.id)
        self.world.run(100_000)
        self.assertEqual(self.ann.node.peers, [])
        self.assertTrue(self.ann.node.unban(self.bob.node.id))
        self.dialer.dial()
        self.world.run(10)
        self.assertEqual(len(self.ann.node.peers), 1)

    def test_what_is_no_node(self) -> None:
        """Is refused."""
        for wrong in (b"", bytes(31), b"\xff" * 32, "node", None):
            self.assertRaises(InvalidKeyError, self.ann.node.disconnect, wrong)
            self.assertRaises(InvalidKeyError, self.ann.node.ban, wrong)
        self.assertRaises(InvalidValueError, self.ann.node.ban, bytes(32), seconds=-1)


class LockedTests(SynchronousTestCase):
    """Seeds that wait for their passphrase."""

    def test_said_and_read(self) -> None:
        """As it is in the store; a node that does not say so, as one of before, is read all the same."""
        world = World()
        self.addCleanup(world.close)
        site = world.site("ann")
        said = site.node.status().as_json()
        self.assertIs(said["locked"], False)
        site.store._core.held.signing(True)
        said = site.node.status().as_json()
        self.assertIs(said["locked"], True)
        self.assertEqual(
            [line for line in in_words(said) if "locked: gossiplog key unlock" in line][:1],
            [*in_words(said)][1:2],
        )
        self.assertIn("locked: gossiplog key unlock", [*lines(said, None)][1])
        self.assertTrue(Status.of_json(said).locked)
        del said["locked"]
        self.assertFalse(Status.of_json(said).locked)
        self.assertNotIn("locked", "".join([*in_words(said), *lines(said, None)]))
