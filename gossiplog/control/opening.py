"""Opening a store, or, while a node has it, what that node shows of it.

Responsible for: which of the two; waiting while neither can be had.
Must not know: what is done with the logs.
Invariant: who waits for a store gets it from whoever has it first: its files, or a node.
"""

from __future__ import annotations

import time
from typing import Final

from nacl.bindings import crypto_scalarmult_base

from gossiplog.control.line import dial
from gossiplog.control.logs import NodeLogs
from gossiplog.errors import InvalidValueError, StoreLockedError, StoreUnsafeError
from gossiplog.paths import AnyPath
from gossiplog.store.door import directory_of, place_of
from gossiplog.store.lock import Patience
from gossiplog.store.logs import Logs
from gossiplog.store.opened_here import open_here

LOOK_SECONDS: Final = 0.25
"""Between two looks at whether a node has the store by now, of who waits for it."""


def open_here_or_there(
    path: AnyPath, wait: float, *, read_only: bool = False, init: bool = False
) -> Logs | NodeLogs:
    """Open the store at ``path`` as :func:`gossiplog.store.logs.open_logs` does, or what the node shows that has it."""
    patience, left = Patience(wait), wait
    while True:
        if (logs := shown(path, left)) is not None:
            return logs
        began = time.monotonic()
        try:
            return open_here(path, init=init, read_only=read_only, wait=min(left, LOOK_SECONDS))
        except StoreLockedError as error:
            if (logs := shown(path, left)) is not None:  # a node that was just starting
                return logs
            left = patience.bear(error, began)


def is_shown(path: AnyPath) -> bool:
    """Tell whether a node of ours has the store."""
    logs = shown(path, 0.0)
    if logs is not None:
        logs.close()
    return logs is not None


def shown(path: AnyPath, wait: float) -> NodeLogs | None:
    """Return the logs of the store that a node of ours has, None if none has it, or it is not ours alone."""
    try:
        directory_of(path)
    except InvalidValueError:
        return None  # it is in no directory
    try:
        line = dial(path, place_of(path), wait)
    except StoreUnsafeError:
        return None  # opening says what is wrong, and reading may be allowed all the same
    return None if line is None else NodeLogs(line)


def node_id(logs: Logs | NodeLogs) -> bytes:
    """Return the id of the node of a store; its secret stays where it is."""
    return logs.node_id() if isinstance(logs, NodeLogs) else crypto_scalarmult_base(logs.node_key())
