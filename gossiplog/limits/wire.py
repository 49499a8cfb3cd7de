"""Limits of messages and frames."""

from __future__ import annotations

from typing import Final

from gossiplog.limits.values import MAX_BODY_BYTES

MAX_FRAME_BYTES: Final = MAX_BODY_BYTES + 1024
"""One entry of full size with its segment header."""

MAX_ELEMENTS: Final = 64
"""Top-level elements of one message: room for later versions, and skipping what we do not read stays cheap."""

MAX_ITEM_ELEMENTS: Final = 8
"""Elements of an item about an author of a reserved length: a list of such items costs no more than of others."""

MAX_NESTING: Final = 1024
"""Arrays and maps in one another, in what is passed over: what msgpack skips without building it."""

MAX_VERSION: Final = 65_535
"""Protocol versions in HELLO."""

MAX_CODE: Final = 65_535
"""Codes in BYE; 64 and up are free for applications."""

MAX_EXCEPTIONS: Final = 1024
"""Authors named in HELLO's interest."""

MAX_NAMED_AUTHORS: Final = 65_536
"""Authors that a peer may name one by one to say what it wants, in HELLO and afterwards; above it the session ends."""

MAX_CHOSEN_AUTHORS: Final = MAX_NAMED_AUTHORS // 2
"""Authors that the owner of a node may name; as many more may be refused by a quota, and peers are told of all."""

MAX_RANGES: Final = 320
"""Ranges in one RANGES message: 7 ms if all are fingerprints, as long again to list what is in them, and nothing else
is done meanwhile."""

MAX_LIST_ITEMS: Final = 2048
"""Items of all lists in one RANGES message together: 20 ms, and about 96 KB."""

MAX_WANT_ITEMS: Final = 1024
"""Authors in one WANT, LAZY or REFUSE."""

MAX_HAVE_ITEMS: Final = 2048
"""Announcements in one HAVE: 20 ms."""

MAX_FILL_RANGES: Final = 256
MAX_PEERS: Final = 64
MAX_CONTACT_ADDRESSES: Final = 8
"""Of one node in a PEERS."""

MAX_TEXT_BYTES: Final = 256
"""Agent, reason and address strings."""

MAX_FEATURES: Final = 32
