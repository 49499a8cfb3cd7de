"""Limits of the control socket, through which other processes of the same user use a store that a node has."""

from __future__ import annotations

from typing import Final

CONTROL_VERSION: Final = 1
"""Of what is said over a control socket; who speaks another one is told so."""

MAX_CONTROL_LINE_BYTES: Final = 8 << 20
"""One message: 320 appends that are written together, or four entries of the largest size, in base64."""

MAX_CONTROL_ITEMS: Final = 1 << 19
"""Values in one message: as many as bodies of the smallest size that a line has room for."""

CONTROL_ITEM_BYTES: Final = 64
"""Of memory for each value in a message, beside the bytes of the line."""

MAX_CONTROL_CLIENTS: Final = 512
"""Connections at once; who comes beyond that takes the place of one that asks nothing, or is told to come again, and
does so as long as it has patience."""

CONTROL_BUFFER_BYTES: Final = 64 << 20
"""Of all clients together: what they sent and is not done, and what they were sent and do not read."""

CONTROL_UNREAD_SECONDS: Final = 30.0
"""That a client takes to read an answer.  One that was stopped (Ctrl-Z) is let go then."""

CONTROL_SILENT_SECONDS: Final = 10.0
"""That a node takes to say what it is, and a client the rest of a line that it began.  Where clients
are many it is what they take to ask for anything."""

CONTROL_PAGE: Final = 4096
"""Heads in one answer about a clock."""

CONTROL_HITS: Final = 256
"""Entries in one answer to a search; their snippets are short, but nothing says so."""

MAX_TROUBLES: Final = 32
"""Kept of what went wrong in a node: a screen of them."""
