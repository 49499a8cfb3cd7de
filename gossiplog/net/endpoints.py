"""Endpoints, as people write them.

Responsible for: what Twisted makes of a string, and what is wrong with one of which it makes nothing.
Must not know: what goes over a connection.
Invariant: whatever is wrong with an endpoint is an :class:`EndpointError` that names it and says what.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final, NamedTuple, TypeAlias

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, quoteStringArgument, serverFromString
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import getPlugins
from zope.interface import implementer

from gossiplog.arguments import check_type
from gossiplog.errors import EndpointError
from gossiplog.log.keys import KeyKind
from gossiplog.log.ticket_text import is_ticket

ClientEndpoint: TypeAlias = str | IStreamClientEndpoint
ServerEndpoint: TypeAlias = str | IStreamServerEndpoint

_BUILT_IN: Final = frozenset({"tcp", "unix", "ssl"})
"""Kinds that Twisted parses without a plugin, and without starting anything."""

_TO_DIAL: Final = "to dial, such as tcp:HOST:PORT or tcp:[::1]:4000"
_TO_LISTEN: Final = "to listen on, such as tcp:4000 or tcp:4000:interface=127.0.0.1"

_PORT_MOST: Final = 65535
_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
"""Of a unix socket, so much fits into what systems take."""

_NUMBER: Final = re.compile("-?[0-9]{1,9}")
_HOST: Final = re.compile(rb"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_HOST_CHARS: Final = 253

_PATHS: Final = {
    "unix": frozenset({"address", "path"}),
    "ssl": frozenset({"privateKey", "certKey", "extraCertChain", "dhParameters", "caCertsDir"}),
    "tls": frozenset({"certificate", "privateKey", "trustRoots"}),
}
"""Of a kind, the names of values that are paths; the first of a unix socket is one without a name."""

_FIELD: Final = re.compile(r"((?:\\.|[^:\\])*)(?::|\Z)", re.DOTALL)
_NAMED: Final = re.compile(r"((?:\\.|[^=\\])*)=(.*)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_BRACKETS: Final = re.compile(r"(?<=[:=])\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?)\](?=:|\Z)")


class Parts(NamedTuple):
    """The kind of an endpoint, its values without a name, and those with one."""

    kind: str
    values: list[str]
    named: dict[str, str]

    def get(self, name: str, place: int) -> str | None:
        """A value that may have a name, or a place."""
        return self.named.get(name, self.values[place] if place < len(self.values) else None)


def parts(endpoint: str) -> Parts:
    r"""Take an endpoint's string apart.

    >>> parts(r"tcp:\:\:1:4000:timeout=5")
    Parts(kind='tcp', values=['::1', '4000'], named={'timeout': '5'})
    """
    kind, *fields = _fields(endpoint)
    values, named = [], {}
    for field in fields:
        found = _NAMED.fullmatch(field)
        if found is None:
            values.append(_ESCAPED.sub(r"\1", field))
        else:
            named[_ESCAPED.sub(r"\1", found[1])] = _ESCAPED.sub(r"\1", found[2])
    return Parts(kind.lower(), values, named)


def _fields(endpoint: str) -> list[str]:
    """What is between the colons."""
    return _FIELD.findall(f"{endpoint}:")[:-1]


def unbracketed(endpoint: str) -> str:
    r"""Write IPv6 addresses in brackets as Twisted takes them.

    >>> print(unbracketed("tcp:[::1]:4000"), unbracketed("tcp:0:interface=[fe80::1%eth0]"))
    tcp:\:\:1:4000 tcp:0:interface=fe80\:\:1%eth0
    """
    return _BRACKETS.sub(lambda found: quoteStringArgument(found[1]), endpoint)


def client(reactor: Any, endpoint: ClientEndpoint) -> Any:
    """Return the endpoint that dials ``endpoint``, a string or an object that does so already."""
    if IStreamClientEndpoint.providedBy(endpoint):
        return endpoint
    text = _text(endpoint, _TO_DIAL, "IStreamClientEndpoint")
    return _made(text, _TO_DIAL, lambda: clientFromString(reactor, _checked(text, 1)))


def server(reactor: Any, endpoint: ServerEndpoint) -> Any:
    """Return the endpoint that listens on ``endpoint``, a string or an object that does so already."""
    if IStreamServerEndpoint.providedBy(endpoint):
        return endpoint
    text = _text(endpoint, _TO_LISTEN, "IStreamServerEndpoint")
    return _made(text, _TO_LISTEN, lambda: _server(reactor, private(_checked(text, 0))))


def name(endpoint: ClientEndpoint | ServerEndpoint) -> str:
    """Return what an endpoint is called where it is told of."""
    return endpoint if isinstance(endpoint, str) else repr(endpoint)


def describe(address: Any) -> str:
    """Return an address as the string of a client endpoint, where it is one: ``tcp:127.0.0.1:4000``.

    An IPv4 address is one also where it came to a port for IPv6 too.
    """
    if isinstance(address, IPv4Address | IPv6Address):
        bare = address.host.removeprefix("::ffff:")
        return f"tcp:{quoteStringArgument(bare if '.' in bare else address.host)}:{address.port}"
    if isinstance(address, UNIXAddress):
        name = address.name or b""
        return f"unix:{quoteStringArgument(os.fsdecode(name))}"
    return str(address)


def check_client(endpoint: str) -> str:
    """Return ``endpoint`` if it names something to dial, else raise :class:`EndpointError`."""
    return _look_at(endpoint, client, IStreamClientEndpointStringParserWithReactor, _TO_DIAL)


def check_server(endpoint: str) -> str:
    """Return ``endpoint`` if it names something to listen on, else raise :class:`EndpointError`."""
    return _look_at(endpoint, server, IStreamServerEndpointStringParser, _TO_LISTEN)


def private(endpoint: str) -> str:
    """Return a server's endpoint string in which a unix socket is for its owner alone, unless it says a mode.

    Twisted's mode is 666: every user of the machine.

    >>> private("unix:/run/node"), private("unix:/run/node:mode=660"), private("tcp:4000")
    ('unix:mode=600:/run/node', 'unix:/run/node:mode=660', 'tcp:4000')
    """
    kind, values, named = parts(endpoint)
    if kind != "unix" or len(values) > 1 or "mode" in named or not (values or named):
        return endpoint
    return f"unix:mode=600:{endpoint.partition(':')[2]}"


def within(endpoint: str, directory: str) -> str:
    """Return an endpoint string with the paths in it from ``directory`` on.

    >>> within("unix:node:mode=660", "/run"), within("tcp:4000", "/run"), within("ssl:4000:privateKey=key", "/etc")
    ('unix:/run/node:mode=660', 'tcp:4000', 'ssl:4000:privateKey=/etc/key')
    """
    kind, *fields = _fields(endpoint)
    named = _PATHS.get(kind.lower(), frozenset())
    for place, field in enumerate(fields):
        found = _NAMED.fullmatch(field)
        if found is not None and found[1] in named:
            name, path = f"{found[1]}=", found[2]
        elif found is None and place == 0 and kind.lower() == "unix":
            name, path = "", field
        else:
            continue
        path = os.path.join(directory, _ESCAPED.sub(r"\1", path))
        fields[place] = f"{name}{quoteStringArgument(path)}"
    return ":".join([kind, *fields])


def _look_at(endpoint: str, make: Callable[[Any, str], Any], plugin: Any, use: str) -> str:
    """Endpoints of plugins are only looked up: parsing some starts what they need."""
    check_type("endpoint", endpoint, str, f"text {use}")
    kind = parts(endpoint).kind
    if kind in _BUILT_IN:
        make(None, endpoint)
    elif kind not in {found.prefix.lower() for found in getPlugins(plugin)}:
        if is_ticket(endpoint) or endpoint.strip().startswith(KeyKind.NETWORK.value):  # which is not shown
            raise EndpointError(f"a ticket or a key is said as the network; it is no endpoint {use}")
        raise EndpointError(f"{_shown(endpoint)} is no endpoint {use}")
    return endpoint


def _text(endpoint: Any, use: str, interface: str) -> str:
    if isinstance(endpoint, str):
        return endpoint
    raise EndpointError(
        f"an endpoint is text {use}, or an object that provides {interface}; not {type(endpoint).__name__}"
    )


def _shown(endpoint: str) -> str:
    """An endpoint in an error, which has to say what is wrong too."""
    return f"{endpoint!r:.200}"


def _made(endpoint: str, use: str, make: Callable[[], Any]) -> Any:
    """Make an endpoint; what is raised depends on its kind, and is mostly in words about Python."""
    try:
        return make()
    except EndpointError:
        raise
    except OSError as error:
        cause = getattr(error, "originalException", error)  # Twisted's, of a directory
        about = f"{cause.filename}: {cause.strerror}" if cause.filename else str(cause)
        raise EndpointError(f"{_shown(endpoint)}: cannot read {about}") from error
    except ImportError as error:
        raise EndpointError(f"{_shown(endpoint)} needs {error.name}, which is not installed") from error
    except Exception as error:
        if type(error).__module__.startswith("OpenSSL"):
            raise EndpointError(
                f"{_shown(endpoint)}: its file holds no key or no certificate: {error}"
            ) from error
        if parts(endpoint).kind == "systemd" and isinstance(error, LookupError):
            raise EndpointError(
                f"{_shown(endpoint)}: systemd passed no such socket (LISTEN_FDS is "
                f"{os.environ.get('LISTEN_FDS', 'not set')}); start this by its .socket unit"
            ) from error
        because = f": {error}" if parts(endpoint).kind not in _BUILT_IN else ""
        raise EndpointError(f"{_shown(endpoint)} is no endpoint {use}{because}") from error


def _checked(endpoint: str, least_port: int) -> str:
    """Return the string for Twisted; raise for what it would find out too late, or in the middle of something."""
    kind, *_ = found = parts(endpoint)
    if kind in ("ssl", "tls") and find_spec("OpenSSL") is None:
        raise EndpointError(f"{_shown(endpoint)} needs pyOpenSSL: pip install 'twisted[tls]'")
    text = endpoint if kind == "unix" else unbracketed(endpoint)
    dials = least_port > 0
    if kind in ("tcp", "ssl", "tls", "tcp6"):
        port = parts(text).get("port", 1 if dials or kind == "tls" else 0)
        if port is not None and _NUMBER.fullmatch(port) and not least_port <= int(port) <= _PORT_MOST:
            raise EndpointError(f"{_shown(endpoint)}: a port is from {least_port} to {_PORT_MOST}")
        host = parts(text).get("host", 0) if dials else parts(text).named.get("interface") or None
        if host is not None:
            _require_host(endpoint, host)
        local = parts(text).named.get("bindAddress")
        if local is not None and not (isIPAddress(local) or isIPv6Address(local)):
            raise EndpointError(f"{_shown(endpoint)}: bindAddress is an IP address of this machine")
    if kind == "unix":
        path = found.get("path" if dials else "address", 0) or ""
        if (
            len(os.fsencode(path)) > _PATH_BYTES or "\0" in path[1:]
        ):  # in front it is one of Linux, without a file
            raise EndpointError(
                f"{_shown(endpoint)}: the path of a unix socket has at most {_PATH_BYTES} bytes, of which none is 0"
            )
    return text


def _require_host(endpoint: str, host: str) -> None:
    """Raise for what can be no host: it would be looked up in vain, again and again."""
    if isIPAddress(host) or isIPv6Address(host):
        return
    if not host:
        raise ValueError("no host")
    try:
        name = host.encode("idna").removesuffix(b".")
    except UnicodeError:
        name = b""
    if not _HOST.fullmatch(name) or len(name) > _HOST_CHARS:
        raise EndpointError(
            f"{_shown(endpoint)}: {host!r:.80} is no address, and no name of a host either: labels of 1 to 63 letters, "
            f"digits and dashes, with dots between, at most {_HOST_CHARS} in all"
        )


# -- listening at a name


def _server(reactor: Any, endpoint: str) -> Any:
    at = parts(endpoint).named.get("interface", "")
    made = serverFromString(reactor, endpoint)
    known = not at or isIPAddress(at) or isIPv6Address(at)
    return made if known or reactor is None else AtName(reactor, endpoint, at)


@implementer(IStreamServerEndpoint)
class AtName:
    """I listen at the address of a name; the system would let everything wait while it looks that up."""

    def __init__(self, reactor: Any, endpoint: str, name: str) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._name = name

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        """Look the name up, then listen."""

        def found(address: str) -> Any:
            fields = [
                f"interface={address}" if field.startswith("interface=") else field
                for field in _fields(self._endpoint)
            ]
            return serverFromString(self._reactor, ":".join(fields)).listen(protocolFactory)

        looking_up: Deferred[Any] = self._reactor.resolve(self._name)
        return looking_up.addCallback(found)
