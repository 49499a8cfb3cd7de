"""Signing by the ssh-agent of whoever runs the program.

Responsible for: the part of the agent's protocol that lists Ed25519 keys and signs with one (draft-miller-ssh-agent).
Must not know: what is signed; writers.
Invariant: whatever the agent says or does not say, the result is a signature of 64 bytes or :class:`SignerError`, after
``AGENT_SECONDS`` at most; one that did not answer costs that once in ``AGENT_REST_SECONDS``.

An agent signs the bytes as they are for ``ssh-ed25519``, so that the public key of such an SSH key is an author.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gossiplog.arguments import check_type
from gossiplog.errors import SignerError
from gossiplog.limits import AGENT_REST_SECONDS, AGENT_SECONDS, MAX_AGENT_BYTES
from gossiplog.log.keys import KEY_BYTES, SIGNATURE_BYTES, check_author, short_key
from gossiplog.paths import AnyPath, absolute
from gossiplog.printable import brief

if TYPE_CHECKING:
    from socket import socket

_LIST: Final = 11
_LISTED: Final = 12
_SIGN: Final = 13
_SIGNED: Final = 14
_ED25519: Final = b"ssh-ed25519"
VARIABLE: Final = "SSH_AUTH_SOCK"


class SSHAgent:
    """I am the agent at ``path``, a unix socket; without one, that of ``SSH_AUTH_SOCK`` when it is asked."""

    def __init__(self, path: AnyPath | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = None if path is None else absolute(path)
        self._clock = clock
        self._rests_until = float("-inf")

    def authors(self) -> dict[bytes, str]:
        """The authors whose keys it has, each with the comment of its key; raises :class:`SignerError`."""
        answer = _Answer(self._ask(bytes([_LIST]), _LISTED, "lists no keys"))
        found: dict[bytes, str] = {}
        for _ in range(answer.number()):
            blob, comment = answer.string(), answer.string()
            kind = _Answer(blob)
            if kind.string() == _ED25519:
                author = kind.string()
                if len(author) == KEY_BYTES:
                    found[author] = brief(comment.decode(errors="replace"))
        return found

    def sign(self, author: bytes, message: bytes) -> bytes:
        """Return the signature of ``author`` over ``message``; raises :class:`SignerError`."""
        check_author("author", author)
        check_type("message", message, bytes, "bytes")
        blob = _string(_ED25519) + _string(author)
        request = bytes([_SIGN]) + _string(blob) + _string(message) + bytes(4)
        refused = f"does not sign with the key {short_key(author)}: it is locked, or has that key no more (ssh-add -l)"
        answer = _Answer(_Answer(self._ask(request, _SIGNED, refused)).string())
        if answer.string() != _ED25519 or len(signature := answer.string()) != SIGNATURE_BYTES:
            raise _garbage()
        return signature

    def _ask(self, request: bytes, wanted: int, refused: str) -> bytes:
        import socket as sockets  # most stores have no such writer

        path = self._path or os.environ.get(VARIABLE)
        if not path:
            raise SignerError(f"there is no ssh-agent: {VARIABLE} is not set")
        ends_at = self._clock() + AGENT_SECONDS
        if ends_at - AGENT_SECONDS < self._rests_until:
            raise SignerError(
                f"the ssh-agent at {path} did not answer lately; it is asked again in some seconds"
            )
        try:
            with sockets.socket(sockets.AF_UNIX) as line:
                line.settimeout(AGENT_SECONDS)
                line.connect(path)
                line.settimeout(self._left(ends_at))
                line.sendall(_string(request))
                size = int.from_bytes(self._read(line, 4, ends_at))
                if not 1 <= size <= MAX_AGENT_BYTES:
                    raise _garbage()
                answer = self._read(line, size, ends_at)
        except TimeoutError:
            self._rests_until = self._clock() + AGENT_REST_SECONDS
            raise SignerError(f"the ssh-agent at {path} does not answer") from None
        except (OSError, ValueError) as error:
            raise SignerError(
                f"there is no ssh-agent at {path}: {getattr(error, 'strerror', None) or error}"
            ) from None
        if answer[0] != wanted:
            raise SignerError(f"the ssh-agent at {path} {refused}")
        return answer[1:]

    def _read(self, line: socket, size: int, ends_at: float) -> bytes:
        """Return so many bytes, however they come."""
        got = b""
        while len(got) < size:
            line.settimeout(self._left(ends_at))
            some = line.recv(size - len(got))
            if not some:
                raise SignerError("the ssh-agent ended in the middle of an answer")
            got += some
        return got

    def _left(self, ends_at: float) -> float:
        left = ends_at - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def __repr__(self) -> str:
        return f"<SSHAgent {self._path or VARIABLE}>"


class _Answer:
    """I read what an agent said."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    def number(self) -> int:
        """Return the next number."""
        if len(self._said) < 4:
            raise _garbage()
        number, self._said = int.from_bytes(self._said[:4]), self._said[4:]
        return number

    def string(self) -> bytes:
        """Return the next bytes."""
        size = self.number()
        if size > len(self._said):
            raise _garbage()
        found, self._said = self._said[:size], self._said[size:]
        return found


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _garbage() -> SignerError:
    return SignerError("what the ssh-agent says is no answer to what it was asked")
