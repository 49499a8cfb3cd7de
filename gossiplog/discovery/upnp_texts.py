"""UPnP, as far as a router is asked to pass connections on: its texts.

Responsible for: what is said and understood in SSDP, in a router's description of itself, and in SOAP.
Must not know: sockets.
Invariant: what a router says leads nowhere but to that router: every URL has its address; whatever else it says is
refused with an :class:`EndpointError`.

(UPnP Device Architecture 1.1, WANIPConnection:1 and :2.)
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from gossiplog.errors import EndpointError, InvalidValueError

GROUP: Final = ("239.255.255.250", 1900)
KINDS: Final = tuple(f"urn:schemas-upnp-org:device:InternetGatewayDevice:{version}" for version in (1, 2))

CONFLICT: Final = 718
"""Somebody else has the port."""

ONLY_PERMANENT: Final = 725
"""The router takes no time after which to forget."""

MAX_URL_CHARS: Final = 512

_TYPE: Final = re.compile(
    r"<serviceType>\s*(urn:schemas-upnp-org:service:WAN(?:IP|PPP)Connection:\d)\s*<", re.IGNORECASE
)
_CONTROL: Final = re.compile(r"<controlURL>([^<]{1,512})<", re.IGNORECASE)
_STATUS: Final = re.compile(rb"HTTP/1\.\d (\d{3})")
_LENGTH: Final = re.compile(rb"^content-length:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class Url(NamedTuple):
    """Where a router is asked: ``path`` begins with a slash."""

    host: str
    port: int
    path: str


class Service(NamedTuple):
    """What of a router passes connections on."""

    url: Url
    kind: str


class RouterError(EndpointError):
    """A router refused; ``code`` is a number of UPnP."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the router refuses with code {code}")
        self.code = code


def search(kind: str) -> bytes:
    """What is sent to all: a router of this kind is to say where it is."""
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST: {GROUP[0]}:{GROUP[1]}",
        'MAN: "ssdp:discover"',
        "MX: 1",
        f"ST: {kind}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def location(answer: bytes, host: str) -> Url:
    """Where the one at ``host`` who answered describes itself."""
    if _status(answer) != 200:
        raise EndpointError("that is no answer")
    match = re.search(rb"^location:[ \t]*(\S{1,512})[ \t]*\r?$", answer, re.IGNORECASE | re.MULTILINE)
    if match is None:
        raise EndpointError("a router does not say where")
    return _url(match[1].decode("latin-1"), host)


def service(description: bytes, at: Url) -> Service:
    """What in a router's description of itself passes connections on."""
    text = description.decode("utf-8", "replace")
    for rest in text.split("<service>")[1:]:
        block = rest.partition("</service>")[0]
        kind, control = _TYPE.search(block), _CONTROL.search(block)
        if kind and control:
            base = f"http://{at.host}:{at.port}{at.path}"
            return Service(_url(urljoin(base, unescape(control[1].strip())), at.host), kind[1])
    raise EndpointError("the router passes nothing on")


def get(url: Url) -> bytes:
    """Ask for a description."""
    return f"GET {url.path} HTTP/1.0\r\nHost: {url.host}:{url.port}\r\nConnection: close\r\n\r\n".encode()


def call(service: Service, action: str, **arguments: object) -> bytes:
    """Ask for something to be done."""
    told = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in arguments.items())
    body = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{service.kind}">{told}</u:{action}></s:Body></s:Envelope>'
    ).encode()
    url = service.url
    head = (
        f"POST {url.path} HTTP/1.0\r\nHost: {url.host}:{url.port}\r\nConnection: close\r\n"
        f'Content-Type: text/xml; charset="utf-8"\r\nContent-Length: {len(body)}\r\n'
        f'SOAPAction: "{service.kind}#{action}"\r\n\r\n'
    )
    return head.encode() + body


def is_whole(answer: bytes) -> bool:
    """Whether an answer that says how long it is has come to its end."""
    head, found, content = answer.partition(b"\r\n\r\n")
    match = _LENGTH.search(head)
    return bool(found) and match is not None and len(content) >= int(match[1])


def body(answer: bytes) -> bytes:
    """What a router answered; :class:`RouterError` if it refused."""
    status = _status(answer)
    content = answer.partition(b"\r\n\r\n")[2]
    if status == 200:
        return content
    match = re.search(rb"<errorCode>\s*(\d{1,5})\s*<", content)
    raise RouterError(int(match[1]) if match else status)


def external(content: bytes) -> str:
    """The address of the router on its other side, as text."""
    match = re.search(rb"<NewExternalIPAddress>\s*([0-9.]{7,15})\s*<", content)
    if match is None:
        raise EndpointError("the router does not say its address")
    return match[1].decode()


def _status(answer: bytes) -> int:
    match = _STATUS.match(answer)
    return int(match[1]) if match else 0


def _url(text: str, host: str) -> Url:
    """A URL of the router at ``host``."""
    try:
        parts = urlsplit(text)
        port = parts.port or 80
    except ValueError as error:
        raise EndpointError(f"a router names {text!r:.80}: {error}") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or parts.hostname != host or parts.username is not None:
        raise EndpointError(f"a router at {host} leads to {text!r:.80}")
    if len(path) > MAX_URL_CHARS or not re.fullmatch(r"/[!-~]*", path):
        raise InvalidValueError(f"a router names a path that is none: {path!r:.80}")
    return Url(host, port, path)
