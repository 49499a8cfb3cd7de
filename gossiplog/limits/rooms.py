"""Limits of a room, which its operator may choose otherwise, and of what a member takes from one."""

from __future__ import annotations

from typing import Final

ROOM_SEATS: Final = 1024
"""Members that sit in a room at once; whoever does harm makes it keep 150 KB.  No more than half of the descriptors."""

ROOM_SEATS_PER_PLACE: Final = 32
"""Of them from one address, or /64 of IPv6; from a loopback address half of ``ROOM_SEATS``."""

ROOM_SEATS_PER_TAG: Final = 64
"""Of one network; who comes when it is full takes the seat of whoever sits longest at the place with the most."""

ROOM_PAIRS: Final = 256
"""Pairs of connections that are carried or about to be, 256 KB each at most."""

ROOM_PAIRS_PER_SEAT: Final = 8
"""Of them of one member: the links that a node wants."""

ROOM_PAIRS_PER_PLACE: Final = 16
"""Of them with a side at one address; at a loopback address half of ``ROOM_PAIRS``."""

ROOM_BYTES_PER_SECOND: Final = 16 * 1024 * 1024
"""Carried for all pairs together: half of a Gbit/s line, in and out."""

ROOM_PAIR_BYTES_PER_SECOND: Final = 1024 * 1024
"""Carried for one pair, both directions together."""

ROOM_PAIR_BURST_BYTES: Final = 8 * 1024 * 1024
"""And so much at once after a rest: most news and small catch-ups never wait."""

ROOM_DAY_BYTES: Final = 10_000_000_000
"""Carried for one network in a day."""

ROOM_IDLE_SECONDS: Final = 120.0
"""A pair that says nothing for so long is over, and a member that does not show that it lives; nodes ask every 30
seconds."""

ROOM_LIFE_SECONDS: Final = 7200.0
"""A pair is over after so long: those who still need the room meet again, behind who waits."""

ROOM_TICKET_SECONDS: Final = 15.0
"""In which both sides of a pair have to come: the time to try the direct way first, twice over."""

ROOM_FRAME_BYTES: Final = 16 * 1024
"""The longest frame between a room and a member: who sits there, of 64."""

ROOM_CARD_BYTES: Final = 128
"""What a member has a room show to others: 72 bytes today."""

ROOM_MESSAGES: Final = 128
ROOM_MESSAGES_PER_SECOND: Final = 4.0
"""Of one member: the former at once, then the latter, and 256 bytes count as one too; it says a few in a minute."""

ROOM_TOLD_MESSAGES: Final = 2048
ROOM_TOLD_MESSAGES_PER_SECOND: Final = 64.0
"""Of a room, counted alike: the former at once, then the latter; thirty members that come and go in a second."""

ROOM_UNSENT_BYTES: Final = 64 * 1024
"""What waits for a member that does not read, beside as much in its transport; above it the member has to go."""

ROOM_DAYS: Final = 4096
"""Networks whose bytes of the day are counted; then the one that came first is forgotten."""

ROOM_PUNCH_SECONDS: Final = 3.0
"""In which two connections that are made towards each other come up, or do not: the second SYN goes after one."""

ROOM_MEETINGS_AT_ONCE: Final = 4
"""Members that one tries to meet at the same time."""

ROOM_MEETING_SECONDS: Final = 10.0
"""Until a member that was asked has to answer, or it is another one's turn."""

ROOM_KNOWN: Final = 256
"""Members that a room may name at once: four times as many as share it, so that an operator may raise that."""

ROOM_LOOK_SECONDS: Final = 5.0
"""Between two looks whether there are enough links: also the first look of a node that joined takes no longer."""
