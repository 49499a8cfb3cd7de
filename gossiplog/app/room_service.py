"""A room as a service: the room and the addresses it listens on.

Responsible for: starting and stopping it, the ready line.
Must not know: who runs it (twistd, ``gossiplog room``).
Invariant: a start that fails leaves nothing open; the key of the room is in nothing that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gossiplog.app.happenings import Happenings
from gossiplog.app.printing import as_json
from gossiplog.discovery.room.bounds import RoomBounds
from gossiplog.discovery.room.key import RoomKey
from gossiplog.discovery.room.server import RoomServer
from gossiplog.net.sockets import take_descriptors


class RoomServing:
    """I run one room; what happens is logged."""

    def __init__(
        self,
        reactor: Any,
        listen: Sequence[str],
        key: RoomKey,
        bounds: RoomBounds,
    ) -> None:
        self._reactor = reactor
        self._listen = listen
        self._key = key
        self._bounds = bounds
        self._room: RoomServer | None = None

    async def start(self) -> str:
        """Listen; return the ready line.  Raises EndpointError."""
        take_descriptors()
        room = self._room = RoomServer(self._reactor, self._key, self._bounds, Happenings().tell)
        try:
            bound = [await room.listen(endpoint) for endpoint in self._listen]
        except BaseException:
            await self.stop()
            raise
        return f"gossiplog room ready {as_json({'listening': bound}, sort_keys=True)}"

    async def stop(self) -> None:
        """Close everything."""
        room, self._room = self._room, None
        if room is not None:
            await room.stop()
