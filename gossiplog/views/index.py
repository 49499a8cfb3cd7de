"""The index of places of one store, whoever does its work.

Responsible for: opening its file, anew if it is damaged; what it can be asked for.
Must not know: threads, where logs are, what of a page is shown.
Invariant: an index that did not finish what it began is closed without it: opened again it is as it was before.
"""

from __future__ import annotations

from gossiplog.views.indexing import Indexing
from gossiplog.views.pages import Pages
from gossiplog.views.place import Place as Room
from gossiplog.views.runs import Runs
from gossiplog.views.zones import NAME, SCHEMA, Zones


class Index:
    """I am an open index: ``zones`` are its tables, ``indexing`` brings it up to the logs, ``pages`` reads
    ``runs`` of entries."""

    def __init__(self, room: Room) -> None:
        """Open the file in ``room``."""
        self._derived = room.open(NAME, SCHEMA)
        try:
            self.runs = Runs()
            self.zones = Zones(self._derived)
            self.indexing = Indexing(self.zones, self.runs)
            self.pages = Pages(self.zones, self.runs)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._derived.close()
