"""Limits of this machine, and of what programs and people see."""

from __future__ import annotations

from typing import Final

FORK_WAIT_SECONDS: Final = 1.0
"""That a fork waits for what a store's thread does just now: a commit, or a look through a large table.  If it did not,
SQLite might hang in the child."""

MAX_PRINTED_CHARS: Final = 2048
"""Of a text of others in an error, a notice or a line of a log: a path of 255 bytes that are all escaped still fits."""

MAX_SAID: Final = 1024
"""Things that are tried again and again of which a log remembers that it said them: a node dials far fewer addresses,
and 2 MiB of texts are not much."""

STATUS_SECONDS: Final = 5.0
"""Between two looks at how a service is, for systemd's status: nobody looks more often, and it is little work."""

MAX_HOST_FILE_BYTES: Final = 1 << 20
"""Of a file of hosted networks: some thousand of them."""

MIN_HOSTED_BYTES: Final = 2 << 20
"""Of the memory for peers, what each hosted network has in any case: one large entry on its way, with more."""

HOST_FIRST_SECONDS: Final = 1.0
HOST_MOST_SECONDS: Final = 60.0
"""Until a hosted network that cannot run is tried again, doubled with jitter from the first to the most: it runs within
a minute after somebody saw to its disk or its port, and a try that fails costs some milliseconds."""

HOST_STEADY_SECONDS: Final = 60.0
"""A hosted network that ran so long is tried again soon after it failed."""

HOST_TRY_SECONDS: Final = 10.0
"""That others wait until one hosted network runs: a store that is read from a slow disk takes some seconds."""

HOST_STOP_SECONDS: Final = 30.0
"""That the end of one hosted network is waited for: a disk that hangs is not to hold up the others."""

HOST_OPENED_AT_ONCE: Final = 8
"""Stores of hosted networks that are opened at the same time: each waits for the disk most of it."""

MAX_WEB_CONNECTIONS: Final = 64
"""To a page or to metrics of a node: a browser opens six, Prometheus one."""

WEB_CONNECTION_RATE: Final = 32.0
"""Connections to a page in a second, after the first 64: one request takes a millisecond or two of a node with peers,
and a page is made of nine."""

MAX_WEB_WATCHERS: Final = 16
"""Pages of a node that are open at once: its owner has some, and each costs an answer every second."""

WEB_REQUEST_BYTES: Final = 64 * 1024
"""Of the body of a request: an entry that a person typed, and more; it is kept in memory."""

WEB_IDLE_SECONDS: Final = 60
"""That a connection to a page may say nothing."""

WEB_STALLED_TURNS: Final = 60
"""Looks in a row that a page takes nothing of, until it is let go: what it does not take is not kept for it."""

WEB_TURN_SECONDS: Final = 1.0
"""Between two looks at a node whose page is open: people do not read faster."""

WEB_POINT_TURNS: Final = 5
"""Looks between two points of a page's curves."""

WEB_POINTS: Final = 720
"""Points of a curve: an hour, and more than a screen has room for."""

WEB_ROWS: Final = 50
"""Of a table or a list of a page: who looks for one of ten thousand types how it begins."""

WEB_ENTRIES: Final = 20
"""Entries that a page shows in a second: each is read from the disk, and nobody reads more."""

WEB_ENTRY_BYTES: Final = 2000
"""Of an entry on a page."""

WEB_QUESTIONS: Final = 10
"""That a page answers in a second, of those that cost something: to sort 20,000 logs takes some ten milliseconds."""

WEB_LOGS_SECONDS: Final = 2.0
"""That a list of logs is shown again before they are looked at anew: for each log it takes some microseconds."""

MAX_WEB_LOGS: Final = 20_000
"""Logs of which a page shows a list: with more, a look takes longer than a node can be held up."""

MAX_MARKS: Final = 8
"""Combining marks on one letter: more than any script stacks; hundreds of them reach over the lines above and below."""

MAX_SKIPPED: Final = 10_000
"""Entries that a view's ``apply`` fails on, until the view stops: so many are no accident, and each is a row."""

MAX_REASON_CHARS: Final = 200
"""Of what was raised, beside an entry that a view skipped: who wrote the entry may have chosen the text."""

VIEW_QUERY_SECONDS: Final = 30.0
"""For a query of a view, if nothing else was said: all views of a store, and their queries, have one thread."""

MAX_SEARCH_CHARS: Final = 1000
"""Of what people search for: more is no search, and SQLite's parser takes time for it."""

VIEWS_END_SECONDS: Final = 5.0
"""That the closing of a store waits for a view in the middle of something: of a query what it has found so far is lost,
of entries they are applied again.  A view that hangs keeps its thread until the program ends, and nothing else."""

TIMELINE_FOLLOW_SECONDS: Final = 0.5
"""From a commit until the index of a timeline follows, together with what came meanwhile: who asks for a page does not
have to wait for much, and a busy log is not indexed entry by entry."""

PATIENCE_SECONDS: Final = 30.0
"""How long an entry waits, from when it came, for one that it names: a peer that has it needs a second, and whoever
names what does not exist waits himself."""

MAX_AHEAD_MS: Final = 10 * 60 * 1000
"""How far ahead of our clock an entry may be and have its place: clocks are off by minutes, and one that is off by a
year would be the last one for a year."""

MAX_OFFENDERS: Final = 1024
"""Authors of whom an export has something that is wrong, until no more of it is read: to find that costs a signature
check each, and names the reasons for people.  A session ends at the first one."""
