"""Ring 6: what a node that serves says, and how often."""

from __future__ import annotations

import json
from typing import Any, get_args

from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.app import happenings
from gossiplog.app.happenings import KINDS, Happenings, facts, name_of
from gossiplog.app.log_options import PARTS
from gossiplog.app.logs import json_line
from gossiplog.errors import BadSegmentError, StoreError, StoreUnreachableError
from gossiplog.live.logger import Said, set_levels
from gossiplog.log.keys import KeyKind, format_key
from gossiplog.notices import (
    CaughtUp,
    DialFailed,
    NewEntries,
    Notice,
    Peer,
    PeerRejected,
    PeerUp,
    Progress,
    StoreFailing,
    StoreReachable,
    WayFailed,
)

ANN = Peer(bytes([1]) * 32, "tcp:a:1", "x", True)
BOB = Peer(bytes([2]) * 32, "tcp:b:1", "x", True)


class SaidTests(SynchronousTestCase):
    """What is tried again and again is said once."""

    def setUp(self) -> None:
        self.happenings = Happenings()
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.addCleanup(set_levels, LogLevel.info, {})

    def told(self, *notices: Notice) -> list[str]:
        """The events of these, but peers that are up."""
        self.events.clear()
        for notice in notices:
            self.happenings.tell(notice)
        return [event["event"] for event in self.events if event.get("event", "peer_up") != "peer_up"]

    def test_once(self) -> None:
        """For each reason, also when they take turns."""
        refused, gone = DialFailed("tcp:a:1", "refused"), DialFailed("tcp:a:1", "no route")
        self.assertEqual(self.told(refused, refused, refused), ["dial_failed"])
        self.assertEqual(self.told(gone, refused, gone, refused), ["dial_failed"])
        self.assertEqual(self.told(DialFailed("tcp:b:1", "refused")), ["dial_failed"])

    def test_a_database_that_is_away(self) -> None:
        """Is said once, whatever the reason is each time, until it is back."""
        away = [
            StoreFailing(StoreUnreachableError(why), False) for why in ("refused", "no route", "in recovery")
        ]
        self.assertEqual(self.told(*away), ["store_failing"])
        self.assertEqual(self.told(StoreReachable(1.0), *away), ["store_reachable", "store_failing"])

    def test_again_after_that_one_was_up(self) -> None:
        """And not because another one is."""
        refused = DialFailed("tcp:a:1", "refused")
        self.told(refused)
        for _ in range(3):
            self.assertEqual(self.told(PeerUp(BOB), refused), [])
        self.assertEqual(self.told(PeerUp(ANN), refused), ["dial_failed"])

    def test_everything_that_is_tried_again(self) -> None:
        """A peer that is dialled and rejected, a disk that is full, a way of finding peers."""
        for notice in (
            PeerRejected("tcp:a:1", BadSegmentError("forged")),
            StoreFailing(StoreError("no room"), False),
            WayFailed("dht", "no answer"),
        ):
            self.assertEqual(len(self.told(notice, notice, notice)), 1)
            self.assertEqual(self.told(notice), [])

    def test_again_after_the_disk_took_something(self) -> None:
        """Whoever wrote it."""
        full = StoreFailing(StoreError("no room"), False)
        self.told(full)
        self.assertEqual(self.told(NewEntries(bytes(32), 1, 1), full), ["store_failing"])

    def test_bounded(self) -> None:
        """However many addresses fail in whatever ways, little is remembered."""
        said = Said()
        for number in range(3 * limits.MAX_SAID):
            self.assertTrue(said.is_new(number, "no"))
            self.assertLessEqual(sum(map(len, said._said.values())), limits.MAX_SAID)

    # -- events

    def test_every_notice_has_a_part_and_a_level(self) -> None:
        self.assertEqual(set(KINDS), set(get_args(Notice)))
        self.assertLessEqual({part for part, _ in KINDS.values()}, set(PARTS))

    def test_fields(self) -> None:
        """As they are looked for; keys as people write them."""
        self.told(PeerUp(ANN))
        event = self.events[0]
        self.assertEqual(event["log_namespace"], "gossiplog.net")
        said = json.loads(json_line(event))
        self.assertEqual(said.pop("text"), "peer aeaqcaib is up at tcp:a:1 (x)")
        self.assertEqual((said.pop("part"), said.pop("level")), ("net", "info"))
        said.pop("time")
        peer = format_key(KeyKind.NODE, ANN.id)
        expected = {"peer": peer, "address": "tcp:a:1", "agent": "x", "dialled": True, "mode": "both"}
        self.assertEqual(said, {"event": "peer_up", **expected})

    def test_no_field_takes_the_name_of_another(self) -> None:
        """Of a line of JSON."""
        for kind in KINDS:
            names = set(kind.__dataclass_fields__) | {"peer", "address", "agent", "dialled", "mode", "error"}
            self.assertFalse(names & {"time", "level", "part", "event", "text", "words", "frames", "format"})
            self.assertRegex(name_of(kind), r"\A[a-z]+(_[a-z]+)*\Z")

    def test_levels_of_parts(self) -> None:
        """What happens all the time is said when it is asked for, and only of that part."""
        progress = Progress(1, 2, 3.0, None, ())
        self.assertEqual(self.told(CaughtUp(ANN), progress), [])
        set_levels(LogLevel.error, {"gossip": LogLevel.debug})
        self.assertEqual(self.told(CaughtUp(ANN), progress), ["caught_up", "progress"])
        self.assertEqual(self.told(DialFailed("tcp:a:1", "refused")), [])
        self.assertEqual(self.told(StoreFailing(StoreError("no room"), False)), ["store_failing"])

    def test_nothing_is_built_that_is_not_logged(self) -> None:
        """A notice of each segment, to nobody, costs no more than to look whether somebody wants it."""
        self.patch(happenings, "facts", lambda notice: self.fail(f"built for {notice}"))
        self.assertEqual(self.told(NewEntries(bytes(32), 1, 9)), [])

    def test_foreign_text(self) -> None:
        """An agent that steers terminals does not, in words or fields, as text or as JSON."""
        set_levels(LogLevel.debug, {})
        self.told(PeerUp(Peer(bytes(32), "tcp:a:1", '\x1b[2J\n{"event": "forged"}\u202e', True)))
        event = self.events[0]
        for value in (event["words"], event["agent"], json_line(event)):
            self.assertTrue(value.isprintable(), value)
        self.assertIn("agent", facts(PeerUp(ANN)))
