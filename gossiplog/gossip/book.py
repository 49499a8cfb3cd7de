"""The address book: where other nodes were seen, by whom, and whether they answered.

Responsible for: what is remembered and forgotten, which address is dialled next, what is passed on to peers.
Must not know: connections, how addresses are found, which links are wanted.
Invariant: at most ``MAX_BOOK`` addresses, ``MAX_BOOK_PER_GROUP`` of one group, ``MAX_BOOK_PER_SOURCE`` that one source
told of and nobody verified; an address is passed on only by who had a session there itself.

Half of all choices fall on verified addresses, if there are any, the others on groups where nobody was met yet, if
there are any, and each choice on a group first: so who lies a lot, or has many addresses in few groups, is chosen
little (Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", 2015).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator
from random import Random

from gossiplog import limits
from gossiplog.addresses import Address, is_private
from gossiplog.back_off import back_off
from gossiplog.gossip.messages import Contact


class Known:
    """One address: ``node`` is who is said to be there, or, once ``verified_at`` is set, was.

    ``source`` is who told of it; ``way`` how it was found, ``""`` by peers.  Addresses with one ``label`` are of one
    node.
    """

    __slots__ = (
        "address",
        "failed_at",
        "failures",
        "group",
        "heard_at",
        "is_gone",
        "is_shared",
        "label",
        "node",
        "retry_at",
        "source",
        "verified_at",
        "way",
    )

    def __init__(
        self, address: Address, node: bytes | None, source: bytes | None, way: str, now: float
    ) -> None:
        self.address = address
        self.group = address.group
        self.node = node
        self.source = source
        self.way = way
        self.heard_at = now
        self.verified_at: float | None = None
        self.is_shared = False
        self.is_gone = False
        self.label = b""
        self.failures = 0
        self.failed_at = 0.0
        self.retry_at = now


class Book:
    """I remember addresses.  ``random`` chooses; times are seconds of one clock, which may jump when loaded."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._known: dict[Address, Known] = {}
        self._groups: defaultdict[bytes, dict[Address, Known]] = defaultdict(dict)
        self._met: Counter[bytes] = Counter()
        self._near: dict[bytes, None] = {}
        self._sources: Counter[bytes] = Counter()
        self._old_at = float("inf")

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Known]:
        return iter(tuple(self._known.values()))

    def get(self, address: Address) -> Known | None:
        """What is known of ``address``."""
        return self._known.get(address)

    @property
    def is_near(self) -> bool:
        """Whether an address of a local network is among them."""
        return bool(self._near)

    def of(self, node: bytes) -> list[Known]:
        """Where ``node`` is said to be, verified addresses first."""
        found = [known for known in self._known.values() if known.node == node]
        return sorted(found, key=lambda known: (known.verified_at is None, -(known.verified_at or 0.0)))

    def heard(
        self,
        address: Address,
        node: bytes | None,
        source: bytes | None,
        now: float,
        way: str = "",
        label: bytes = b"",
    ) -> bool:
        """``source`` (None is a way of finding, or the owner) says that ``node`` can be dialled there.

        Returns whether that is new, or it was gone.  What was verified is not changed by hearsay.
        """
        known = self._known.get(address)
        if known is not None:
            if known.verified_at is None:
                known.node = known.node or node
                known.way = known.way or way
            known.heard_at = now
            known.label = label or known.label
            if known.is_gone and way:
                known.is_gone, known.retry_at = False, now
                return True
            return False
        if self._is_full(address.group) and not self._make_room(address.group):
            return False
        if source is not None and self._sources[source] >= limits.MAX_BOOK_PER_SOURCE:
            return False
        if len(self._known) >= limits.MAX_BOOK and not self._make_room():
            return False
        known = Known(address, node, source, way, now)
        known.label = label
        self._add(known)
        return True

    def verified(self, address: Address, node: bytes, now: float, *, is_shared: bool, way: str = "") -> None:
        """We dialled ``address``, and ``node`` proved to be there; ``is_shared``: it wants to be passed on.

        Failures count until it :meth:`stayed`: whoever opens sessions and ends them is dialled less and less.
        """
        known = self._known.get(address)
        if known is None:
            if self._is_full(address.group) and not self._make_room(address.group):
                self._forget_oldest(self._groups[address.group])
            if len(self._known) >= limits.MAX_BOOK and not self._make_room():
                self._forget_oldest(self._known)
            known = Known(address, node, None, way, now)
            self._add(known)
        else:
            self._uncount(known)
        self._met[known.group] += 1
        self._old_at = min(self._old_at, now + limits.FORGOTTEN_SECONDS)
        known.node, known.verified_at, known.retry_at = node, now, now
        known.is_shared = is_shared

    def stayed(self, address: Address) -> None:
        """A session with who is there lasted."""
        known = self._known.get(address)
        if known is not None:
            known.failures = 0

    def failed(self, address: Address, now: float, chance: float) -> None:
        """Nobody of our network answered there, or went at once; ``chance`` in [0, 1) is the jitter."""
        known = self._known.get(address)
        if known is None:
            return
        if not known.failures:
            known.failed_at = now
        known.failures += 1
        first, most = limits.FIND_FIRST_SECONDS, limits.FIND_MOST_SECONDS
        known.retry_at = now + back_off(known.failures - 1, first, most, lambda: chance)
        if self._is_hopeless(known, now):
            self.forget(address)

    def lost(self, address: Address) -> None:
        """A way of finding says that nobody is there any more; one that was met there may come back."""
        known = self._known.get(address)
        if known is None:
            return
        if known.verified_at is None:
            self.forget(address)
        else:
            known.is_gone = True

    def put_off(self, address: Address, until: float) -> None:
        """Do not choose ``address`` before."""
        known = self._known.get(address)
        if known is not None:
            known.retry_at = max(known.retry_at, until)

    def forgive(self) -> None:
        """The network is another one: what failed may be tried at once."""
        for known in self._known.values():
            known.retry_at = 0.0

    def forget(self, address: Address) -> None:
        """Know nothing of ``address`` any more."""
        known = self._known.pop(address, None)
        if known is None:
            return
        group = self._groups[known.group]
        del group[address]
        if not group:
            del self._groups[known.group]
            self._near.pop(known.group, None)
        self._uncount(known)

    def forget_old(self, now: float) -> None:
        """Forget where nobody was met for a month, and what never answered and is no longer told of for as long."""
        if now < self._old_at:
            return
        self._old_at = float("inf")
        for known in tuple(self._known.values()):
            last = known.heard_at if known.verified_at is None else known.verified_at
            if now - last > limits.FORGOTTEN_SECONDS:
                self.forget(known.address)
            else:
                self._old_at = min(self._old_at, last + limits.FORGOTTEN_SECONDS)

    def choose(
        self,
        now: float,
        may: Callable[[Known], bool],
        *,
        near: bool | None = None,
        but: Container[bytes] = (),
        is_new: bool = False,
    ) -> Known | None:
        """One of the addresses that are due and that ``may`` be dialled, None if there is none.

        ``near``: only on a local network, or only beyond; ``but``: not in these groups; ``is_new``: of a group where
        nobody was met.  O(groups), and each address is looked at until one is found.
        """
        groups = self._among(near, but)
        new = [group for group in groups if group not in self._met]
        if is_new:
            return self._any_of(new, now, may)
        met = [group for group in groups if group in self._met]
        if self._random.random() < 0.5:
            chosen = self._any_of(met, now, may, is_verified=True)
            return chosen or self._any_of(new, now, may) or self._any_of(met, now, may)
        chosen = self._any_of(new, now, may) or self._any_of(met, now, may)
        return chosen or self._any_of(met, now, may, is_verified=True)

    def next_due(
        self, may: Callable[[Known], bool], *, near: bool | None = None, but: Container[bytes] = ()
    ) -> float | None:
        """When the next address that ``may`` be dialled is due, None without any.  O(book)."""
        return min(
            (
                known.retry_at
                for group in self._among(near, but)
                for known in self._groups[group].values()
                if may(known)
            ),
            default=None,
        )

    def contacts(self, now: float, but: bytes) -> list[Contact]:
        """What to tell the node ``but``: up to ``MAX_PEERS`` nodes we had sessions with in the last seven days."""
        nodes: dict[bytes, list[Known]] = {}
        for known in [each for group in self._met for each in self._groups[group].values()]:
            at, node = known.verified_at, known.node
            if (
                at is not None
                and node is not None
                and node != but
                and known.is_shared
                and now - at <= limits.VERIFIED_SECONDS
            ):
                nodes.setdefault(node, []).append(known)
        chosen = self._random.sample(list(nodes), min(limits.MAX_PEERS, len(nodes)))
        found = []
        for node in chosen:
            newest = sorted(nodes[node], key=lambda known: -(known.verified_at or 0.0))
            age = max(0, int(now - (newest[0].verified_at or 0.0)) // 60)
            found.append(
                Contact(node, age, tuple([k.address for k in newest[: limits.MAX_CONTACT_ADDRESSES]]))
            )
        return found

    # --

    def _among(self, near: bool | None, but: Container[bytes]) -> list[bytes]:
        if near:
            return [group for group in self._near if group not in but]
        return [
            group for group in self._groups if group not in but and (near is None or group not in self._near)
        ]

    def _any_of(
        self, groups: list[bytes], now: float, may: Callable[[Known], bool], *, is_verified: bool = False
    ) -> Known | None:
        """One that is due, of a group chosen among those with one."""
        rest = list(groups)
        while rest:
            number = self._random.randrange(len(rest))
            rest[number], rest[-1] = rest[-1], rest[number]
            found = [
                known
                for known in self._groups[rest.pop()].values()
                if known.retry_at <= now and (known.verified_at is not None) == is_verified and may(known)
            ]
            if found:
                return self._random.choice(found)
        return None

    def _is_full(self, group: bytes) -> bool:
        return len(self._groups.get(group, ())) >= limits.MAX_BOOK_PER_GROUP

    def _add(self, known: Known) -> None:
        self._known[known.address] = known
        self._groups[known.group][known.address] = known
        if is_private(known.address.ip):
            self._near[known.group] = None
        self._old_at = min(self._old_at, known.heard_at + limits.FORGOTTEN_SECONDS)
        if known.source is not None:
            self._sources[known.source] += 1

    def _uncount(self, known: Known) -> None:
        """It counts for nobody any more, until it is added or verified again."""
        if known.verified_at is not None:
            self._met[known.group] -= 1
            if not self._met[known.group]:
                del self._met[known.group]
        if known.source is not None:
            self._sources[known.source] -= 1
            if not self._sources[known.source]:
                del self._sources[known.source]
            known.source = None

    def _make_room(self, group: bytes | None = None) -> bool:
        """Forget one that nobody verified, of ``group`` or of the fullest one; False when all are verified."""
        if group is None:
            sizes = Counter(k.group for k in self._known.values() if k.verified_at is None)
            if not sizes:
                return False
            most = max(sizes.values())
            group = self._random.choice(sorted(group for group, size in sizes.items() if size == most))
        unverified = [known for known in self._groups[group].values() if known.verified_at is None]
        tried = [known for known in unverified if known.failures]
        if not unverified:
            return False
        self.forget(self._random.choice(tried or unverified).address)
        return True

    def _forget_oldest(self, among: dict[Address, Known]) -> None:
        self.forget(min(among.values(), key=lambda known: known.verified_at or 0.0).address)

    def _is_hopeless(self, known: Known, now: float) -> bool:
        if known.verified_at is None:
            return known.failures >= limits.UNVERIFIED_FAILURES
        return known.failures >= limits.VERIFIED_FAILURES and now - known.failed_at >= limits.VERIFIED_SECONDS
