"""What should not stand on a command line, where every user of the machine can see it: keys, from files.

Responsible for: :func:`said`, which takes ``@FILE`` in the place of a text, :func:`network` for networks, and
:func:`passphrase` for what protects seeds.
Must not know: which option or variable it came from.
Invariant: a file that others may read or change is refused; what is in a file is in no error.
"""

from __future__ import annotations

import os
import stat
from select import POLLIN, poll
from time import monotonic
from typing import TYPE_CHECKING, Final

from gossiplog import limits
from gossiplog.errors import InvalidValueError, KeyFileError
from gossiplog.log.network import Network
from gossiplog.log.passphrase import check_passphrase
from gossiplog.log.ticket_text import is_ticket
from gossiplog.paths import typed

if TYPE_CHECKING:
    from gossiplog.ticket import Ticket

MARK: Final = "@"

_MOST_BYTES: Final = 4096
"""A key or a name, and what an editor puts around it."""

_OF_OTHERS: Final = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP
"""A group may read: so does systemd hand a service its credentials."""


def said(text: str) -> str:
    """Return ``text``, or for ``@FILE`` what the file holds, without the space around it; KeyFileError says why not."""
    if not text.startswith(MARK):
        return text
    path = text.removeprefix(MARK)
    content = _content(path)
    try:
        found = content.decode().strip()
    except UnicodeDecodeError:
        found = ""
    if not found or len(content) > _MOST_BYTES:
        raise KeyFileError(f"{path} does not hold a key or a name, and nothing else")
    return found


def passphrase(path: str) -> str:
    """Return the passphrase that a file holds: its one line, of which only the end is left out."""
    content = _content(path)
    try:
        found = content.removesuffix(b"\n").removesuffix(b"\r").decode()
        check_passphrase(found)
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} holds no passphrase: it is no text in UTF-8") from None
    except InvalidValueError as error:
        raise KeyFileError(f"{path} holds no passphrase: {error}") from None
    if "\n" in found:
        raise KeyFileError(f"{path} holds no passphrase: that is one line")
    return found


def _content(path: str) -> bytes:
    """Return the first bytes of a file that is for nobody else; of a pipe, what its writer writes, if there is one.

    It may take its time, but for ``KEY_PIPE_SECONDS`` together: whoever reads may have more to do.
    """
    try:
        with open(os.open(typed(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = _read(file.fileno(), path)
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if mode & _OF_OTHERS:
        raise KeyFileError(f"{path} may be read or changed by other users: chmod 600 {path}")
    if stat.S_ISFIFO(mode) and not content:
        raise KeyFileError(f"{path} is a pipe into which nobody writes")
    return content


def _read(descriptor: int, path: str) -> bytes:
    """Return what comes of a descriptor that does not block, until its end or more than a key has."""
    content, deadline, waiting = b"", monotonic() + limits.KEY_PIPE_SECONDS, poll()
    waiting.register(descriptor, POLLIN)
    while len(content) <= _MOST_BYTES:
        try:
            some = os.read(descriptor, _MOST_BYTES + 1 - len(content))
        except BlockingIOError:
            left = deadline - monotonic()
            if left <= 0 or not waiting.poll(left * 1000):
                raise KeyFileError(
                    f"{path} is a pipe, and who writes into it did not end within {limits.KEY_PIPE_SECONDS:g} s"
                ) from None
        else:
            if not some:
                break
            content += some
    return content


def within(text: str, directory: str) -> str:
    """Return ``text`` with the path of an ``@FILE`` from ``directory`` on."""
    path = text.removeprefix(MARK)
    return f"{MARK}{os.path.join(directory, path)}" if path and path != text else text


def network(text: str) -> Network | Ticket:
    """Return the network, or the ticket, that a person named or a file holds; InvalidValueError for what is none."""
    found = said(text)
    if is_ticket(found):
        from gossiplog.ticket import Ticket  # which knows endpoints, and with them Twisted

        return Ticket.parse(found)
    return Network.parse(found)
