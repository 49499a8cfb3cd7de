"""Limits of finding peers: who is remembered, dialled, and connected unasked."""

from __future__ import annotations

from typing import Final

LINKS_WANTED: Final = 8
"""Sessions that a node that joined tries to have: of 1,000 nodes with 8 each, half can die and the rest is one network;
with 4 a twentieth is cut off."""

LINKS_DIALLED: Final = 7
"""Of them, those it chose itself: who fills all places of a node from outside is not alone with it.  With half of all
lying, from 16 address groups, 4 leave one of a hundred with a single honest link, 8 are more than 16 links each."""

MAX_FOUND_LINKS: Final = 64
"""Sessions with peers that nobody named: dialled unasked by us or by them."""

LAN_LINKS: Final = 8
"""Wanted on the local network beside the others: an office must survive its uplink, and not hang on one remote."""

ROTATION_FIRST_SECONDS: Final = 30.0
ROTATION_SECONDS: Final = 1800.0
"""One of the sessions that were dialled unasked goes for a new one: at first as often as there are links of our own
choice, each after the first, then after times doubled to the second.  A node that just came chose among few: with half
of all lying, from 16 groups, doubling from the beginning leaves one of forty with a single honest link after five
minutes, and this all with five or more.  And two networks that met by one link grow together."""

FEELER_FIRST_SECONDS: Final = 30.0
FEELER_SECONDS: Final = 300.0
"""An address group where nobody was met is tried, after times doubled from the first to the second, so that the book
knows more of the network than the node is connected with."""

FEELER_STAY_SECONDS: Final = 10.0
"""Such a session stays so long, and brings both up to date; one that ends sooner counts as a failure to reach."""

FIND_DIAL_SECONDS: Final = 15.0
"""For a connection to an address that was found; one that swallows packets takes a place of eight for so long."""

DIALS_AT_ONCE: Final = 8
DIALS_PER_SECOND: Final = 2.0
"""Of addresses found: nobody's router takes it for a scan."""

GROUP_DIALS_PER_MINUTE: Final = 4.0
"""To one address group: who tells many nodes of many ports of one victim reaches little."""

MAX_BOOK: Final = 1024
"""Addresses remembered: 100 KB."""

MAX_BOOK_PER_SOURCE: Final = 64
"""Of them, unverified ones that one peer told of."""

MAX_BOOK_PER_GROUP: Final = 8
"""Addresses of one group: with half of all peers lying from 16 groups, 3 to 12 of 100 addresses are bad, not 97."""

FIND_FIRST_SECONDS: Final = 5.0
FIND_MOST_SECONDS: Final = 3600.0
"""Wait after failing to reach an address that was found, doubled from the first to the second."""

UNVERIFIED_FAILURES: Final = 3
"""After so many an address that never answered is forgotten."""

VERIFIED_FAILURES: Final = 10
VERIFIED_SECONDS: Final = 7 * 86_400.0
"""One that answered once is forgotten after so many failures over so long; it is passed on for so long."""

FORGOTTEN_SECONDS: Final = 30 * 86_400.0
"""And after so long without a session in any case."""

BOOK_SECONDS: Final = 60.0
"""Between two writes of the address book, 100 KB at most, to the disk."""

PEERS_FIRST_SECONDS: Final = 30.0
PEERS_SECONDS: Final = 600.0
"""Between two PEERS to one peer, doubled from the first to the second: a network that begins learns fast.  What comes
sooner is passed over."""

MAX_SEEN: Final = 64
"""Addresses of our own, as peers see them, that are remembered."""

NEWS_SECONDS: Final = 600.0
"""A peer that brought something new so lately is not turned out for others of its address group."""

ROAMING_SECONDS: Final = 1.0
"""Between two looks at the addresses of this machine, each a fraction of a millisecond."""

SLEEP_SECONDS: Final = 15.0
"""A clock that went on so much further than it should have: the machine slept."""

ROAMING_PING_SECONDS: Final = 2.0
"""After either, in which a peer has to answer; else its connection is made anew."""

REACHABLE_SECONDS: Final = 60.0
"""After which a peer that was told where we listen has tried: it may dial four of an address group in a minute."""

REACHABLE_PLACES: Final = 2
"""Address groups with such a peer: one alone may be unable, or unwilling, to dial anybody."""

LAN_HOST_TTL: Final = 120
"""Seconds that neighbours believe what we announced: one that was killed is forgotten after so long."""

LAN_LOOK_SECONDS: Final = 1.5
"""For answers on the local network, of which the first may be lost: a second question is asked after a second."""

LAN_AGAIN_SECONDS: Final = 30.0
"""After which who is there is said to the node once more, and the port is tried again that could not be had."""

LAN_ANSWER_SECONDS: Final = 3.0
"""For a name, or for the rest of what a service says: who is there answers in milliseconds."""

LAN_PROBE_SECONDS: Final = 0.75
"""Before a name is taken, somebody who has it may say so (RFC 6762, section 8.1)."""

LAN_CLOSE_SECONDS: Final = 3.0
"""For goodbyes, of which three are sent within half a second."""

LAN_NO_PORT: Final = 9
"""The port in the record of a name whose node listens nowhere: discard, as nobody dials it."""

MAX_LAN_PORTS: Final = 4
"""Announced: more endpoints than that are for other networks."""

MAX_LAN_SERVICES: Final = 256
"""Of our network that are remembered: an office with more members has enough of them."""

MAX_LAN_QUESTIONS: Final = 16
"""Asked at once about services that did not say everything."""

MAX_LAN_EVENTS: Final = 4096
"""Services that come, change or go in ``LAN_AGAIN_SECONDS``; above it somebody floods, and we listen no more until
that is over."""

MAX_DHT_BOOTSTRAP: Final = 32
"""Bootstrap nodes that may be named."""

MAX_DHT_ANSWER: Final = 8
"""Addresses taken from one answer of a DHT, by chance: a node there that lies names thousands."""

MAX_DHT_FOUND: Final = 64
"""Addresses taken in one look: as many as the book takes from one source."""

DHT_LOOK_SECONDS: Final = 15.0
"""A look is over then, answers or not."""

DHT_FIRST_SECONDS: Final = 5.0
DHT_SECOND_SECONDS: Final = 60.0
DHT_SECONDS: Final = 900.0
"""Between looks: who began at the same time was not there yet the first time; tables forget after half an hour."""

DHT_BYTES_PER_SECOND: Final = 8000
"""Sent at most: a node of the table answers strangers too."""

MAX_DHT_ALERTS: Final = 1000
"""What a DHT says between two looks at it; more is dropped."""

MAX_DHT_KEPT: Final = 256
"""Keys, and other things, that a node of the table keeps for others: with 500 addresses each some megabytes."""

DHT_PACKETS_OF_ONE: Final = 1000
"""From one address in a second, in a table of one's own, where many nodes may share one; else libtorrent's 5."""

MAPPING_LEASE_SECONDS: Final = 3600
"""That a router passes connections on for; asked again after half of it.  Who was killed is forgotten by then."""

MAPPING_SECONDS: Final = 5.0
"""For a router to answer: those that pass connections on do in a tenth of a second."""

MAPPING_RETRY_SECONDS: Final = 900.0
"""Until a router that did not is asked again."""

MAPPING_CLOSE_SECONDS: Final = 2.0
"""For a router to stop it, when a node leaves."""

MAX_MAPPED_PORTS: Final = 4
"""Ports that a router is to pass on: more endpoints than that are for other networks."""

MAX_ROUTERS: Final = 4
"""Routers near by that are asked what they are."""

MAX_ROUTER_BYTES: Final = 65_536
"""Of an answer of a router: descriptions of themselves have 5 to 20 KB."""
