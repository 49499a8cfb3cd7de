"""Limits of what peers may do, and how long anything may take."""

from __future__ import annotations

from typing import Final

HANDSHAKE_SECONDS: Final = 10.0
"""From the connection to the end of the handshake, and once more until HELLO; a slow loris gets no longer."""

MAX_STRANGERS: Final = 512
"""Inbound connections that did not show yet that they know the network key: at 2,000 a second from one address somebody
else behind it has a quarter of a second to do so.  No more than a quarter of the descriptors of the process."""

MAX_HANDSHAKES: Final = 256
"""Inbound connections in their handshake at once that did.  No more than a quarter of the descriptors either."""

MAX_CONNECTIONS: Final = 1024
"""Connections that others dialled: 10 KB each when idle.  No more than half of the descriptors."""

MAX_CONNECTIONS_PER_HOST: Final = 32
"""The same from one address, or /64 of IPv6: behind it may be an office, not a city.  From a loopback address half of
``MAX_CONNECTIONS``: behind it may be a tunnel or a proxy, and everybody."""

ACCEPTS_PER_SECOND: Final = 2500
"""Connections that come up, of strangers too, and as many at once; about half of a core.  Above it those from addresses
where others wait already are closed at once, which costs a tenth."""

HANDSHAKES_PER_SECOND: Final = 200
"""First messages that are answered, and as many at once: 5 % of a core."""

HANDSHAKES_PER_HOST: Final = 64
HOST_HANDSHAKES_PER_SECOND: Final = 4
"""The same to one address that is no loopback address, if others need the rest: the former at once, then the latter.
And of handshakes that are finished, whoever else comes."""

FIRST_MESSAGE_SECONDS: Final = 600.0
MAX_FIRST_MESSAGES: Final = 16_384
"""First messages of handshakes are remembered for so long, and so many; at most twice as many, 100 bytes each."""

MAX_PLACES: Final = 4096
"""Addresses whose rates are remembered."""

LISTEN_BACKLOG: Final = 1024
"""Connections that the kernel holds for us: half a second of 2,000 a second.  When they are too many, it makes those
that come wait for a second, then for three."""

RESERVED_DESCRIPTORS: Final = 128
"""For the store, for connections that we dial, for the application."""

MAX_SCORES: Final = 4096
"""Node keys whose offences are remembered; then the one that was quiet for longest is forgotten, one that is not banned
if there is one."""

BAN_FIRST_SECONDS: Final = 60.0
BAN_MOST_SECONDS: Final = 6 * 3600.0
"""How long an offender is kept out: doubled each time from the first to the most."""

BAN_FORGIVEN_SECONDS: Final = 24 * 3600.0
"""After so long without an offence the next ban is a first one again."""

PING_SECONDS: Final = 30.0
"""Silence after which we ask whether the peer is there."""

PING_DEADLINE_SECONDS: Final = 20.0
"""How long a PING may stay unanswered while nothing else arrives."""

MISMATCH_SECONDS: Final = 1.0
MISMATCH_MOST_SECONDS: Final = 600.0
"""Between two quiet PINGs that find different root fingerprints, at least, before a reconcile is started; doubled, up
to the latter, after each that brought nothing.  A quota may keep two nodes different for good, and to reconcile a
million authors takes half a minute."""

SURVIVOR_SECONDS: Final = 5.0
"""How long a connection that was preferred to a newer one may take to show that it is alive."""

STALL_SECONDS: Final = 5.0
"""A peer that serves none of its open authors for so long loses them to another."""

STALL_MOST_SECONDS: Final = 80.0
"""The same for a peer that let us wait again and again: on a slow link each question repeated is a copy more."""

OWN_ENTRIES_SECONDS: Final = 30.0
"""How long a local writer's appends wait for an entry of its own log that a peer says it has.  Entries of other logs
that were asked for before may come first; and a log that forked stays forked."""

OWN_REST_SECONDS: Final = 300.0
"""After a claim that nothing backed: for so long the author's appends wait for no other."""

OPEN_WANTS_PER_PEER: Final = 128
"""Authors pulled from one peer at once: with 32, catching up with many short logs waited for round trips a third of the
time."""

ANNOUNCE_SECONDS: Final = 0.05
"""Announcements are batched for so long: one HAVE for many authors, little delay for one."""

LAZY_ANNOUNCE_SECONDS: Final = 0.4
"""The same where the peer is served by another one: many in a message cost a quarter of what single ones do."""

GRAFT_SECONDS: Final = 0.3
"""How long what a peer announced may take to come from the one that sends that author's news, which had the time of the
announcement already."""

PUSHING_SECONDS: Final = 5.0
"""How long two nodes push each other what nobody asked for, duplicates or not, once one has asked for that again:
others that come and go, or say LAZY for all and take it back, must not make honest ones say so all the time."""

MAX_PARENTS: Final = 65_536
"""Authors of which we remember who sends their news; one that is forgotten may cost a duplicate."""

RETRY_WRITE_SECONDS: Final = 5.0
"""After a full disk: when we ask for entries again."""

QUOTA_BURST_SECONDS: Final = 10.0
"""An author may be so far ahead of its entry rate: who writes now and then does so in bursts."""

ALLOWANCE_POINTS: Final = 30_000
"""What a peer may cost without bringing anything new, in points of up to a millisecond: a reconcile of a million
authors that all differ costs each side 28,000, the list of three million 27,000."""

ALLOWANCE_POINTS_PER_SECOND: Final = 500
"""How fast that grows again: PINGs without end take a twentieth of a core, lists half of one."""

MAX_ECHO_POINTS: Final = 30_000
"""What a peer may cost besides because others brought something new: two nodes that are fed alike tell each other of it
all.  So much is on its way at once where a thousand full segments are."""

PAUSE_SECONDS: Final = 0.1
"""A peer that cost more than time has brought is not read for so long at least, and until time has brought as much
again; an honest one, of which a third party makes too much, waits so long now and then."""

MAX_ALLOWANCES: Final = 16_384
"""Peers without a session whose allowance is remembered until it is whole again, which takes a minute: more come only
in more than a minute, at ``HANDSHAKES_PER_SECOND``.  And peers that are remembered since what we dialled ended without
HELLO."""

TURN_SECONDS: Final = 0.005
"""Of what one peer makes us do, before it is another one's turn: an honest peer waits for two of them, whoever floods
us; a catch-up does not notice."""

LIGHT_SECONDS: Final = 0.001
"""What a peer may make us do at once without waiting for its turn: a few PINGs.  Of 24 that all do so, that is as long
as one turn with a message that takes long."""

LIGHT_SHARE: Final = 0.02
"""Who takes less of the time than this needs not wait for its turn; fifty such peers are one core."""

LIGHT_BYTES: Final = 1024
"""A message or a record that is larger waits for its turn: 40 fingerprints take 2 ms, and nothing else takes longer for
its size."""

TOGETHER_MILLISECONDS: Final = 2.5
"""What messages that are dealt with at once may cost: some tens of small segments, which two cores check."""

RECORDS_AT_ONCE: Final = 4
"""Decrypted before we look at what it cost; each may have ten thousand frames."""

MAX_UNFROZEN_AUTHORS: Final = 50_000
"""Authors that are new before Python's search for cycles is kept away from all that are held: with so many it takes 15
ms, with a million 300."""

MAX_CLAIMS: Final = 1_000_000
"""Authors a peer may be ahead in that are remembered; when these are done, another reconcile finds the rest."""

MIN_CLAIMS: Final = 2 * OPEN_WANTS_PER_PEER
"""The same however little memory is left: enough to go on asking."""

MAX_STEPS: Final = 8
"""Steps of a peer's reconciles that are unfinished or unanswered: two of each, and more than two at once are rare."""

MAX_WAITING_ITEMS: Final = 16_384
"""Ranges and list items whose answers wait for a peer that does not read; beyond, it is asked to say them again."""

MAX_HANDLES: Final = 65_536
"""Authors that have a handle in one session and direction; then the oldest handles are used again."""

MAX_OWED_AUTHORS: Final = 65_536
"""Authors with news remembered for a peer that does not read; above it one bit says "reconcile owed".  As many that it
asked for; then the one that waited for longest is forgotten."""

MAX_HOLED_AUTHORS: Final = 65_536
"""Authors whose missing payloads are taken from segments that go by; those of others are asked for all the same."""

FILL_ROWS: Final = 1024
"""Rows with holes that one peer is asked to fill before it is another one's turn."""

MAX_ASKED_RANGES: Final = 2 * FILL_ROWS
"""Ranges of all FILLs of one peer that wait until they are read: more than it has a reason to ask for at once."""

MAX_HOPES: Final = 4096
"""Authors of whom a peer lacked payloads when it was asked, or was asked for, and says so when it gets them."""

GIVE_SECONDS: Final = 1.0
"""Until payloads are read on for a peer that asked for more than half its allowance."""

MAX_AGENT_CHARS: Final = 64

OUTPUT_WINDOW_BYTES: Final = 128 * 1024
"""Queued in one transport before we stop writing to it."""

NEWS_WINDOW_BYTES: Final = 64 * 1024
"""News that may be queued behind a full window: it must not wait for a catch-up to be read from disk."""

CONTROL_WINDOW_BYTES: Final = 32 * 1024
"""Announcements, names and the like given to a transport before it has taken them: half a second of 64 KB/s.  The rest
waits as one bit per author."""

MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024
"""What waits for a transport that takes nothing; above it the session ends.  All windows together are half of it."""

SOCKET_BUFFER_BYTES: Final = 64 * 1024
"""What waits unsent in the kernel, and its buffers in each direction when the peer is near: what news waits behind
while a catch-up runs."""

NEAR_SECONDS: Final = 0.001
"""A round trip below this is near: 64 KiB in each of them are 64 MB/s.  Farther away Linux makes the buffers as large
as the way is long."""

READ_AHEAD_BYTES: Final = 512 * 1024
"""Backlog read from disk ahead of one transport."""

PENDING_WRITE_BYTES: Final = 2560 * 1024
"""Accepted but not yet committed bytes; above it nothing more is read from any peer.  Four commits: with two, disk and
network waited for each other at 64 KiB an entry."""

PENDING_WRITE_LOW_BYTES: Final = 1280 * 1024
"""Reading goes on again below this."""

RECONNECT_FIRST_SECONDS: Final = 0.25
RECONNECT_MOST_SECONDS: Final = 60.0
"""Back-off of a dialler, doubled with jitter from the first to the most."""

DIAL_SECONDS: Final = 120.0
"""For one attempt to connect, whatever kind of endpoint: some, behind a proxy, would wait for ever."""

ATTEMPT_SECONDS: Final = 0.25
"""Of the addresses of a name, one more is dialled after so long without an answer (RFC 8305)."""

MAX_ADDRESSES: Final = 16
"""Of a name, so many are dialled: who answers for a name server could name thousands."""

BIND_SECONDS: Final = 300.0
"""For an endpoint to listen, whatever its kind: some start a program first, that of Tor for instance."""

RECHECK_FIRST_SECONDS: Final = 60.0
RECHECK_SECONDS: Final = 900.0
"""An address is dialled rarely while the node that answered there last is connected another way or banned: after the
former, then ever more rarely up to the latter, for whoever led us there may be gone."""

CLOSE_SECONDS: Final = 5.0
"""How long a closing connection may take to send what is queued."""
