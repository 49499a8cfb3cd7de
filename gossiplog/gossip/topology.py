"""Which peers a node that joined its network keeps links with.

Responsible for: whom to dial, whom to turn out when there are too many, what is told of others, and to whom.
Must not know: how addresses are found, how a connection is made, what is replicated.
Invariant: what the owner connects by itself is never turned out, and counts for what is wanted; nobody's word makes us
dial more than the budget, and of what is dialled unasked at least ``LINKS_DIALLED`` is our own choice.

A peer that dialled us says where it listens.  Before that is passed on it is *checked*: dialled once, to see whether
the handshake shows the same node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random

from gossiplog import limits
from gossiplog.addresses import Address, is_private, may_dial
from gossiplog.gossip.book import Book, Known
from gossiplog.gossip.dial_budget import DialBudget
from gossiplog.gossip.links import Action, Dial, Drop, Tell
from gossiplog.gossip.messages import Contact, Peers
from gossiplog.gossip.neighbour import Neighbour, links_with, of_fullest, turned_out

_DIALLED, _CHECKED = "dialled", "checked"


class Topology:
    """I decide for ``node``, once it has joined; until then I only keep the book.

    ``own`` is where others may reach us, as far as we know, ``ours`` what else leads back to us, and until when that is
    believed; ``subnets`` are the networks of this machine; ``random`` makes every choice.
    """

    def __init__(self, node: bytes, random: Random) -> None:
        self.node = node
        self.book = Book(random)
        self.wanted = 0
        self.most = limits.MAX_FOUND_LINKS
        self.own: tuple[Address, ...] = ()
        self.ours: dict[Address, float] = {}
        self.subnets: tuple[str, ...] = ()
        self.tells = True
        self._random = random
        self._neighbours: dict[int, Neighbour] = {}
        self._dialling: dict[Address, str] = {}
        self._feelers: set[Address] = set()
        self._to_check: dict[Address, bytes] = {}
        self._budget = DialBudget()
        self._seen: dict[bytes, set[bytes]] = {}
        self._feeler_at = self._rotation_at = 0.0
        self._rotations = 0
        self._feeler_wait = limits.FEELER_FIRST_SECONDS
        self._rotates = False

    # -- what happened

    def join(self, wanted: int, now: float, most: int = limits.MAX_FOUND_LINKS) -> None:
        """Look for peers until there are ``wanted`` links; of those that nobody named, ``most`` are kept."""
        self.wanted = wanted
        self.most = most
        self._feeler_wait = limits.FEELER_FIRST_SECONDS
        self._feeler_at = now + self._feeler_wait
        self._rotations = 0
        self._rotation_at = now + limits.ROTATION_FIRST_SECONDS

    def leave(self) -> None:
        """Look for no more; links stay."""
        self.wanted = 0

    @property
    def neighbours(self) -> Iterable[Neighbour]:
        """Who there is a session with."""
        return self._neighbours.values()

    def found(self, way: str, address: Address, node: bytes | None, now: float, label: bytes = b"") -> bool:
        """A way of finding peers says that a node is there; returns whether that is new.

        Of the addresses with one ``label`` one is dialled, and another only once that failed.
        """
        if self._is_ours(address) or node == self.node:
            return False
        return self.book.heard(address, node, way.encode(), now, way, label)

    def lost(self, address: Address) -> None:
        """A way of finding peers says that nobody is there any more."""
        self.book.lost(address)

    def opened(self, neighbour: Neighbour, now: float) -> None:
        """A session is open."""
        self._neighbours[neighbour.session] = neighbour
        address = neighbour.address
        if address is None:
            return
        self._dialling.pop(address, None)
        self.book.verified(address, neighbour.node, now, is_shared=neighbour.takes_peers)
        if address in self._feelers:
            self._feelers.discard(address)
            neighbour.drop_at = now + limits.FEELER_STAY_SECONDS

    def closed(self, session: int, now: float, *, is_full: bool = False) -> None:
        """A session is over; ``is_full``: the peer had no room.  It is not dialled again at once."""
        neighbour = self._neighbours.pop(session, None)
        if neighbour is not None and neighbour.address is not None:
            if now - neighbour.since >= limits.FEELER_STAY_SECONDS:
                self.book.stayed(neighbour.address)
            elif not is_full:
                self.book.failed(neighbour.address, now, self._random.random())
            rest = limits.ROTATION_SECONDS if is_full else limits.FIND_FIRST_SECONDS
            self.book.put_off(neighbour.address, now + rest)

    def dialled(self, address: Address, node: bytes | None, now: float) -> None:
        """A dial came to its end: ``node`` is who is there, None nobody of our network.  Before :meth:`opened`."""
        was = self._dialling.pop(address, None)
        if node is None:
            self._feelers.discard(address)
            self.book.failed(address, now, self._random.random())
        elif was == _CHECKED:
            known = self.book.get(address)
            if known is not None and known.node not in (None, node):
                self.book.forget(address)  # somebody pretends to be there
            else:
                self.book.verified(address, node, now, is_shared=self._takes_peers(node))
        elif node == self.node:
            self.ours[address] = (
                now + limits.FIND_MOST_SECONDS
            )  # not for good: whoever is on the path can do that
            self.book.forget(address)
        elif links_with(node, self.neighbours):
            # another address of a peer: not dialled again while there is a session
            self._feelers.discard(address)
            self.book.verified(address, node, now, is_shared=self._takes_peers(node))

    def heard(self, session: int, peers: Peers, now: float) -> list[Contact]:
        """A peer tells of others; returns what is new of that."""
        neighbour = self._neighbours.get(session)
        if neighbour is None or not self.wanted or not self.tells:
            return []
        if now < neighbour.heard_next:
            return []
        neighbour.hear(now)
        at = None if neighbour.at is None else neighbour.at.ip
        if peers.seen is not None and neighbour.address is not None:
            if len(self._seen) >= limits.MAX_SEEN and peers.seen.ip not in self._seen:
                del self._seen[next(iter(self._seen))]
            self._seen.setdefault(peers.seen.ip, set()).add(neighbour.group)
        new = []
        for contact in peers.contacts:
            if contact.node == self.node:
                continue
            fresh = []
            for address in contact.addresses:
                if self._is_ours(address) or not may_dial(address, at, self.subnets):
                    continue
                if self.book.heard(address, contact.node, neighbour.node, now):
                    fresh.append(address)
                if contact.node == neighbour.node and neighbour.address is None:
                    self._to_check.setdefault(address, contact.node)
            if fresh:
                new.append(contact._replace(addresses=tuple(fresh)))
        return new

    def moved(self, now: float) -> None:
        """This machine has other addresses, or slept: what failed before may be reached now."""
        self.book.forgive()
        self._seen.clear()
        self.ours.clear()
        self._budget.refill(now)

    @property
    def public(self) -> bytes | None:
        """Our address as at least two peers in different places see it."""
        agreed = [ip for ip, groups in self._seen.items() if len(groups) >= 2]
        return agreed[-1] if agreed else None

    # -- what others do for us

    def wants(self, node: bytes, pending: int) -> bool:
        """Whether a session with ``node`` is wanted, beside so many that are being made without us."""
        links = sum(not n.is_near and n.drop_at is None for n in self._neighbours.values())
        return self.takes(node) and links + len(self._dialling) + pending < self.wanted

    def takes(self, node: bytes) -> bool:
        """Whether a session that ``node`` wants is taken."""
        if not self.wanted or node == self.node or links_with(node, self.neighbours):
            return False
        return sum(not n.is_chosen for n in self._neighbours.values()) < self.most

    def may_try(self, address: Address, teller: bytes | None, now: float) -> bool:
        """Whether to dial ``address`` because somebody at ``teller`` said so; that counts as done."""
        if self._is_ours(address) or not may_dial(address, teller, self.subnets):
            return False
        if self._budget.ready_at(now) > now or self._budget.wait(address.group, now) > 0.0:
            return False
        self._budget.take(address.group, now)
        return True

    # -- what to do

    def step(self, now: float) -> list[Action]:
        """What is to be done now; come back at :meth:`deadline` at the latest."""
        actions: list[Action] = []
        if not self.wanted:
            return actions
        self.book.forget_old(now)
        self.ours = {address: until for address, until in self.ours.items() if until > now}
        full = turned_out(self.neighbours, self.most, now, self._random)
        if self.tells:
            actions += self._tells(now, full)
        actions += [Drop(neighbour.session, True) for neighbour in full]
        actions += self._ended_feelers(now)
        actions += self._rotate(now)
        actions += self._dials(now)
        return actions

    def deadline(self, now: float) -> float | None:
        """When :meth:`step` may have something to do, if nothing happens before; None when it never has."""
        if not self.wanted:
            return None
        times = [self._rotation_at]
        for neighbour in self._neighbours.values():
            if neighbour.drop_at is not None:
                times.append(neighbour.drop_at)
            if neighbour.takes_peers and self.tells:
                times.append(neighbour.tell_next)
        if len(self._dialling) < limits.DIALS_AT_ONCE:  # else when one of them is through
            times += [max(due, self._budget.ready_at(now)) for due in self._due(now)]
        return max(min(times), now)

    # --

    def _due(self, now: float) -> Iterator[float]:
        """When there may be somebody to dial."""
        yield self._feeler_at
        for group in _groups(self._to_check):
            yield now + self._budget.wait(group, now)
        for near in self._sides:
            due = None
            if self._lacks(near):
                due = self.book.next_due(self._may(), near=near)
            elif self._lacks_groups(near):
                due = self.book.next_due(self._may(), near=near, but=self._taken())
            if due is not None:
                yield due

    def _is_ours(self, address: Address) -> bool:
        return address in self.own or address in self.ours

    def _takes_peers(self, node: bytes) -> bool:
        return any(n.takes_peers for n in links_with(node, self.neighbours))

    @property
    def _sides(self) -> tuple[bool, ...]:
        """Where there may be somebody to dial: on the local network (True), and beyond."""
        return (True, False) if self.book.is_near else (False,)

    def _lacks(self, near: bool) -> bool:
        """Whether more links are wanted, on the local network or beyond."""
        return self._fewer(near, len)

    def _lacks_groups(self, near: bool) -> bool:
        """The same, if all links in one address group are one: whoever has them all may be one."""
        return self._fewer(near, lambda groups: len(set(groups) - {b""}))

    def _fewer(self, near: bool, size: Callable[[list[bytes]], int]) -> bool:
        links = [n for n in self._neighbours.values() if n.is_near == near and n.drop_at is None]
        under_way = [
            address.group
            for address, why in self._dialling.items()
            if why == _DIALLED and is_private(address.ip) == near and address not in self._feelers
        ]
        every = size([*(link.group for link in links), *under_way])
        if near:
            return every < limits.LAN_LINKS
        if every < self.wanted:
            return True
        own = size([*(link.address.group for link in links if link.address is not None), *under_way])
        return own < min(limits.LINKS_DIALLED, self.wanted)

    def _may(self) -> Callable[[Known], bool]:
        """Which addresses may be dialled: of nobody there is a link with, and not where one is made."""
        linked = {n.node for n in self._neighbours.values()}
        places = {n.address for n in self._neighbours.values() if n.address is not None} | set(self._dialling)
        labels = {known.label for place in places if (known := self.book.get(place)) is not None} - {b""}

        def may(known: Known) -> bool:
            if known.node in linked or known.label in labels:
                return False
            return known.address not in places and not self._is_ours(known.address)

        return may

    def _taken(self) -> set[bytes]:
        """The address groups where there is a link."""
        return {n.group for n in self._neighbours.values()} | _groups(self._dialling)

    def _dials(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for near in self._sides:
            while self._is_room(now) and self._lacks_groups(near):
                may, taken, known = self._may(), self._taken(), None
                if self._rotates:
                    known = self.book.choose(now, may, near=near, but=taken, is_new=True)
                known = known or self.book.choose(now, may, near=near, but=taken)
                if known is None and self._lacks(near):
                    known = self.book.choose(now, may, near=near)
                if known is None:
                    break
                if not self._begin(known.address, _DIALLED, now):
                    continue
                self._rotates = False
                actions.append(Dial(known.address))
        for address, node in tuple(self._to_check.items()):
            if not self._is_room(now):
                break
            del self._to_check[address]
            known = self.book.get(address)
            if known is None or known.verified_at is not None or known.node != node:
                continue
            if self._begin(address, _CHECKED, now):
                actions.append(Dial(address, is_check=True))
            else:
                self._to_check[address] = node
        if now >= self._feeler_at and self._is_room(now):
            self._feeler_wait = min(2 * self._feeler_wait, limits.FEELER_SECONDS)
            self._feeler_at = now + self._feeler_wait
            known = self.book.choose(now, self._may(), is_new=True)
            if known is not None and self._begin(known.address, _DIALLED, now):
                self._feelers.add(known.address)
                actions.append(Dial(known.address))
        return actions

    def _is_room(self, now: float) -> bool:
        return len(self._dialling) < limits.DIALS_AT_ONCE and self._budget.ready_at(now) <= now

    def _begin(self, address: Address, why: str, now: float) -> bool:
        """Take ``address`` in hand; False when its group has had its share, and it has to wait."""
        wait = self._budget.wait(address.group, now)
        if wait > 0.0:
            self.book.put_off(address, now + max(wait, 0.1))  # a rest of a rounding error would never be over
            return False
        self._budget.take(address.group, now)
        self._dialling[address] = why
        return True

    def _ended_feelers(self, now: float) -> list[Action]:
        over = [n for n in self._neighbours.values() if n.drop_at is not None and n.drop_at <= now]
        for neighbour in over:
            neighbour.drop_at = None
        if not over or self._lacks(near=False):
            return []
        return [Drop(neighbour.session, False) for neighbour in over]

    def _rotate(self, now: float) -> list[Action]:
        """Let one of those dialled unasked go, when there are enough and others to be had."""
        if now < self._rotation_at:
            return []
        self._rotations += 1
        doubled = min(max(0, self._rotations - limits.LINKS_DIALLED), 20)
        self._rotation_at = now + min(limits.ROTATION_FIRST_SECONDS * 2.0**doubled, limits.ROTATION_SECONDS)
        if self._lacks(near=False):
            return []
        may = self._may()
        others = any(known.retry_at <= now and may(known) for known in self.book)
        going = [
            n
            for n in self._neighbours.values()
            if n.address is not None and not (n.is_chosen or n.is_near) and n.drop_at is None
        ]
        if not (going and others):
            return []
        self._rotates = True
        gone = of_fullest(going, self._neighbours.values(), self._random)
        if gone.address is not None:
            self.book.put_off(gone.address, now + limits.ROTATION_SECONDS)
        return [Drop(gone.session, False)]

    def _tells(self, now: float, full: Iterable[Neighbour]) -> list[Action]:
        """PEERS for those whose time has come, and for those who have to go."""
        told: list[Action] = []
        leaving = set(full)
        for neighbour in self._neighbours.values():
            if not neighbour.takes_peers:
                continue
            if neighbour in leaving or now >= neighbour.tell_next:
                neighbour.tell(now)
                told.append(Tell(neighbour.session, self._peers_for(neighbour, now)))
        return told

    def _peers_for(self, neighbour: Neighbour, now: float) -> Peers:
        contacts = self.book.contacts(now, neighbour.node)
        own = self.own[: limits.MAX_CONTACT_ADDRESSES]
        if own:
            contacts = [Contact(self.node, 0, own), *contacts[: limits.MAX_PEERS - 1]]
        return Peers(tuple(contacts), neighbour.at)


def _groups(addresses: Iterable[Address]) -> set[bytes]:
    return {address.group for address in addresses}
