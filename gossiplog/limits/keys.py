"""Limits of what protects the seeds of writers."""

from __future__ import annotations

from typing import Final

PASSPHRASE_PASSES: Final = 3
"""Argon2id's passes over its memory for a new passphrase, and:"""

PASSPHRASE_BYTES: Final = 64 * 1024 * 1024
"""What it fills: the second recommendation of RFC 9106, a quarter of a second, and a small computer has it."""

MAX_PASSPHRASE_PASSES: Final = 8
"""That a file of a seed may ask for.  With the next, somebody's file costs two or three seconds at most."""

MAX_PASSPHRASE_BYTES: Final = 256 * 1024 * 1024
"""That a file of a seed may ask for: it may come from elsewhere, and this machine has to find it."""

MAX_PASSPHRASE_SALTS: Final = 4
"""Of all seeds of a store together, each of which costs as much again: those protected at once share one, and while a
passphrase is changed there are two."""

MAX_PASSPHRASE_CHARS: Final = 1024
"""Longer than any that is typed; what is longer is a wrong file."""

KEY_PIPE_SECONDS: Final = 30.0
"""For what writes a key into a pipe: a person may have to unlock it first, and a host that reads its file again has one
thread less meanwhile."""

AGENT_SECONDS: Final = 3.0
"""For an ssh-agent to sign or to list its keys: the store's thread waits for it, and with it whatever else is written.
One on this machine takes a millisecond."""

AGENT_REST_SECONDS: Final = 30.0
"""After one that did not answer, until it is asked again: so it costs a store a tenth of its time at most."""

MAX_AGENT_BYTES: Final = 256 * 1024
"""Of an answer of an ssh-agent, as OpenSSH has it."""
