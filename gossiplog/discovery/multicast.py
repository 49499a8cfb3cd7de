"""Multicast DNS, spoken by zeroconf in a thread of its own.

Responsible for: services that are announced and heard, names that are claimed and looked up.
Must not know: what a service means to a node, beyond whether it ``is_ours``.
Invariant: nothing blocks the reactor, and what others send costs it nothing unless it ``is_ours``; what is remembered
of others is bounded, whatever they send.

Everything here but the constructor runs on the thread's loop.  zeroconf is imported there, when it is first used.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gossiplog import limits

SERVICE: Final = "_gossiplog._tcp.local."
NAMES: Final = "_gossiplog-name._tcp.local."
"""A name is a record of its own, that has to belong to some service."""

GATHER_SECONDS: Final = 0.02
"""What is heard within this is told together."""

FAMILY_SECONDS: Final = 0.15
"""A responder may say a host's addresses of the two families apart, and shared ones up to 120 ms late."""


class Heard(NamedTuple):
    """A service of ours: where it says it is."""

    hosts: tuple[str, ...]
    port: int


class Said(NamedTuple):
    """A service to announce, at these hosts of this machine."""

    hosts: tuple[str, ...]
    port: int
    properties: dict[str, bytes]


class Multicast:
    """I am one opening of the port for multicast DNS: what was announced and heard since.

    ``told`` takes what changed of services that are ours, by name: where they are, or None when they are gone.
    ``flooded`` is called once, when so many services were announced that I listen no more.
    """

    def __init__(
        self,
        is_ours: Callable[[Mapping[bytes, bytes | None]], bool],
        told: Callable[[dict[str, Heard | None]], None],
        flooded: Callable[[], None],
    ) -> None:
        self._is_ours = is_ours
        self._told = told
        self._flooded = flooded
        self._changed: dict[str, Heard | None] = {}
        self._known: dict[str, Heard] = {}
        self._own: set[str] = set()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._events = self._total = 0
        self._dns: Any = None
        self._browser: Any = None
        self._name: Any = None
        self._tried = asyncio.Event()
        self._browses = True
        self._is_deaf = False

    @property
    def is_worn(self) -> bool:
        """Whether I listen no more, or zeroconf remembers a lot of who is gone."""
        return self._is_deaf or self._total > limits.MAX_LAN_EVENTS * 4

    def rest(self) -> None:
        """Some time is over; from any thread."""
        self._events = 0

    async def open(self, services: Sequence[Said] | None) -> None:
        """Listen, and announce these; None: for names alone.

        Raises OSError when the port cannot be had, or there is no network at all.
        """
        from zeroconf import NotRunningException

        try:
            try:
                await self._listen()
            finally:
                self._tried.set()
            self._browses = services is not None
            self.look()
            await self._announce(services or ())
        except NotRunningException:
            if self._dns is not None:  # else it was closed meanwhile
                raise

    async def _announce(self, services: Sequence[Said]) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        for said in services:
            if self._dns is None:
                return
            instance = os.urandom(8).hex()
            info = AsyncServiceInfo(
                SERVICE,
                f"{instance}.{SERVICE}",
                said.port,
                properties=said.properties,
                server=f"{os.urandom(8).hex()}.local.",
                parsed_addresses=list(said.hosts),
                host_ttl=limits.LAN_HOST_TTL,
                other_ttl=limits.LAN_HOST_TTL,
            )
            self._own.add(info.name)
            # nobody has the same random name: there is nothing to probe for
            self._keep(await self._dns.async_register_service(info, cooperating_responders=True))

    async def _listen(self) -> None:
        import zeroconf
        from zeroconf.asyncio import AsyncZeroconf

        try:
            self._dns = AsyncZeroconf(ip_version=zeroconf.IPVersion.All)
        except OSError:  # the system has no IPv6, or something else is wrong
            self._dns = AsyncZeroconf(ip_version=zeroconf.IPVersion.V4Only)
        except RuntimeError as error:
            raise OSError("this machine has no network interface") from error
        await self._dns.zeroconf.async_wait_for_start()

    def look(self) -> None:
        """Ask who is there; an old browser asks on a new link only after minutes."""
        if self._dns is None or not self._browses:
            return
        from zeroconf.asyncio import AsyncServiceBrowser

        if self._browser is not None:
            self._keep(asyncio.ensure_future(self._browser.async_cancel()))
        self._browser = AsyncServiceBrowser(self._dns.zeroconf, SERVICE, handlers=[self._noticed])

    async def claim(self, name: str, said: Said) -> str:
        """Be ``name``.local, if nobody else is; return who is, "" if we are."""
        from zeroconf.asyncio import AsyncServiceInfo

        taken = [
            host for host in await self.resolve(name, limits.LAN_PROBE_SECONDS) if host not in said.hosts
        ]
        if taken or self._dns is None:
            return ", ".join(taken)
        self._name = AsyncServiceInfo(
            NAMES,
            f"{os.urandom(8).hex()}.{NAMES}",
            said.port,
            server=f"{name}.local.",
            parsed_addresses=list(said.hosts),
            host_ttl=limits.LAN_HOST_TTL,
            other_ttl=limits.LAN_HOST_TTL,
        )
        self._keep(await self._dns.async_register_service(self._name, cooperating_responders=True))
        return ""

    async def give_way(self, name: str, hosts: Sequence[str]) -> str:
        """Be ``name``.local no longer if somebody else is too who comes first; return who."""
        if self._name is None:
            return ""
        others = sorted(set(await self.resolve(name, limits.LAN_PROBE_SECONDS)) - set(hosts))
        if not others or sorted(hosts) < others:
            return ""
        info, self._name = self._name, None
        self._keep(await self._dns.async_unregister_service(info))
        return ", ".join(others)

    async def resolve(self, name: str, seconds: float) -> list[str]:
        """The addresses of ``name``.local, within ``seconds``; none if nobody answers."""
        await self._tried.wait()
        if self._dns is None:
            return []
        from zeroconf import AddressResolver, IPVersion

        asked = AddressResolver(f"{name}.local.")
        if await asked.async_request(self._dns.zeroconf, seconds * 1000):
            await asyncio.sleep(FAMILY_SECONDS)  # for addresses of the other family
            if self._dns is not None:
                asked.load_from_cache(self._dns.zeroconf)
        return list(asked.parsed_scoped_addresses(IPVersion.All))[: limits.MAX_ADDRESSES]

    async def close(self) -> None:
        """Say goodbye, and let go of the port."""
        dns, self._dns = self._dns, None
        for task in (*self._asking.values(), *self._tasks):
            task.cancel()
        if self._browser is not None:
            await self._browser.async_cancel()
        if dns is not None:
            await dns.async_close()

    # -- zeroconf calls

    def _noticed(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        """A service came, went, or is another one."""
        from zeroconf import ServiceStateChange
        from zeroconf.asyncio import AsyncServiceInfo

        self._events += 1
        self._total += 1
        if self._events > limits.MAX_LAN_EVENTS:
            if self._browser is not None:
                self._keep(asyncio.ensure_future(self._browser.async_cancel()))
                self._browser = None
                self._is_deaf = True
                self._flooded()
            return
        if self._dns is None or name in self._own:
            return
        if state_change is ServiceStateChange.Removed:
            if (asking := self._asking.pop(name, None)) is not None:
                asking.cancel()
            if self._known.pop(name, None) is not None:
                self._tell(name, None)
            return
        info = AsyncServiceInfo(service_type, name)
        if info.load_from_cache(zeroconf):
            self._learn(name, info)
        elif name not in self._asking and len(self._asking) < limits.MAX_LAN_QUESTIONS:
            self._asking[name] = asyncio.ensure_future(self._ask(name, info))

    async def _ask(self, name: str, info: Any) -> None:
        try:
            if await info.async_request(self._dns.zeroconf, limits.LAN_ANSWER_SECONDS * 1000):
                self._learn(name, info)
        finally:
            self._asking.pop(name, None)

    def _learn(self, name: str, info: Any) -> None:
        from zeroconf import IPVersion

        if not self._is_ours(info.properties) or not 0 < (info.port or 0) < 65536:
            return
        heard = Heard(tuple(info.parsed_scoped_addresses(IPVersion.All))[: limits.MAX_ADDRESSES], info.port)
        if self._known.get(name) == heard:
            return
        if name not in self._known and len(self._known) >= limits.MAX_LAN_SERVICES:
            return
        self._known[name] = heard
        self._tell(name, heard)

    def _tell(self, name: str, heard: Heard | None) -> None:
        if not self._changed:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._tell_all)
        self._changed[name] = heard

    def _tell_all(self) -> None:
        changed, self._changed = self._changed, {}
        if self._dns is not None:
            self._told(changed)

    def _keep(self, task: Any) -> None:
        """A task that nobody holds may be collected before it is through."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
