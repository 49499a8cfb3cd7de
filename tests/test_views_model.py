"""Ring 5: views against a model: whatever comes, goes, fails, is filled and closed, in whatever order."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import LiveView, Store
from gossiplog.log.encodings import encoding
from gossiplog.log.entry import read_entries
from gossiplog.log.segment import Segment, drop_payloads
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept, FillRow, Forget
from gossiplog.testing.network import VirtualThread
from tests.netcase import Author, World
from tests.viewcase import Birds, Counts

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "25"))
PAYLOADS = st.sampled_from([b'{"bird":"heron"}', b'{"bird":"swan"}', b'{"fish":"pike"}', b"no json", b"[]"])


class ViewMachine(RuleBasedStateMachine):
    """A store with two views, and what should be in them."""

    def __init__(self) -> None:
        super().__init__()
        self.path = (
            Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)) / "store"
        )
        self.world = World()
        self.authors = [Author(seed) for seed in (1, 2, 3)]
        self.held: dict[bytes, dict[int, bytes | None]] = {}
        self.segments: list[Segment] = []
        self.version = 1
        self.views: dict[str, LiveView] = {}
        self.open()

    def open(self) -> None:
        self.store = Store(lambda: open_logs(self.path), self.world.reactor, str(self.path), VirtualThread)
        self.views = {}

    def write(self, request: Any) -> None:
        self.world.result(self.store._core.write(request, lambda _: None))

    @rule(which=st.integers(0, 2), payloads=st.lists(PAYLOADS, min_size=1, max_size=6), holes=st.booleans())
    def receive(self, which: int, payloads: list[bytes], holes: bool) -> None:
        author = self.authors[which]
        [segment] = author.write(*payloads)
        self.segments.append(segment)
        gone = range(segment.first, segment.last + 1, 2) if holes else ()
        self.write(Accept(drop_payloads(segment, [*gone]) if holes else segment, author.head))
        held = self.held.setdefault(author.key, {})
        for seq, payload in enumerate(payloads, segment.first):
            held[seq] = None if seq in gone else payload

    @precondition(lambda self: self.segments)
    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        segment = data.draw(st.sampled_from(self.segments))
        held = self.held.get(segment.author)
        if held is None:
            return
        self.write(FillRow(segment))
        self.note(segment)

    def note(self, segment: Segment) -> None:
        held = self.held[segment.author]
        for entry in read_entries(segment, encoding("bytes")):
            held[entry.seq] = entry.payload

    @rule(which=st.integers(0, 2), other=st.booleans())
    def forget(self, which: int, other: bool) -> None:
        """Delete an author, which begins again: with the same entries, or with others."""
        author = self.authors[which]
        self.write(Forget(author.key))
        self.held.pop(author.key, None)
        self.segments = [segment for segment in self.segments if segment.author != author.key]
        self.authors[which] = Author(which + 1)
        if other:
            self.receive(which, [b'{"bird":"coot"}'], False)

    @rule(name=st.sampled_from(["birds", "counts"]))
    def open_view(self, name: str) -> None:
        if name not in self.views:
            view = Birds() if name == "birds" else Counts()
            view.version = self.version
            self.views[name] = self.world.result(self.store.view(view))

    @rule(name=st.sampled_from(["birds", "counts"]))
    def close_view(self, name: str) -> None:
        if name in self.views:
            self.world.result(self.views.pop(name).close())

    @rule(newer=st.booleans())
    def restart(self, newer: bool) -> None:
        self.world.result(self.store.close())
        self.version += newer
        self.open()

    @rule()
    def delete_the_files(self) -> None:
        self.world.result(self.store.close())
        shutil.rmtree(self.path / "views", ignore_errors=True)
        self.open()

    @rule()
    def compare(self) -> None:
        expected: list[tuple[bytes, int, str]] = []
        for author, entries in self.held.items():
            for seq, payload in entries.items():
                try:
                    expected.append((author, seq, json.loads(payload or b"")["bird"]))
                except (ValueError, KeyError, TypeError):
                    pass
        for name, live in self.views.items():
            self.world.result(live.ready())
            self.world.run(1.0)
            assert live.error is None
            if name == "birds":
                found = self.world.result(
                    live.query("SELECT author, seq, bird FROM seen ORDER BY author, seq")
                )
                assert found == sorted(expected), (found, sorted(expected))
            else:
                rows = self.world.result(live.query("SELECT bird, n FROM counts ORDER BY bird"))
                birds = [bird for _, _, bird in expected]
                assert rows == sorted((bird, birds.count(bird)) for bird in set(birds)), (rows, birds)

    def teardown(self) -> None:
        self.compare()
        self.world.result(self.store.close())
        shutil.rmtree(self.path.parent)


class ModelTests(SynchronousTestCase):
    """In whatever order."""

    def test_views_are_what_the_store_is(self) -> None:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            ViewMachine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=25,
                deadline=None,
                derandomize="HYPOTHESIS_EXAMPLES" not in os.environ,
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
