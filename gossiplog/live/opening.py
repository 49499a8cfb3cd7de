"""Opening a store on a reactor.

Responsible for: :func:`open_store`.
Must not know: what a store does.
Invariant: it blocks until the store is open, or raises and leaves nothing open.
"""

from __future__ import annotations

from typing import Any

from gossiplog.arguments import wrong
from gossiplog.live.machine import machine_of
from gossiplog.live.store import Store
from gossiplog.log.passphrase import check_passphrase
from gossiplog.log.signer import Signer
from gossiplog.paths import AnyPath
from gossiplog.store.door import place_of
from gossiplog.store.logs import Logs


def open_store(
    path: AnyPath,
    reactor: Any,
    *,
    init: bool = True,
    read_only: bool = False,
    wait: float = 0.0,
    state: AnyPath | None = None,
    passphrase: str | None = None,
    signer: Signer | None = None,
) -> Store:
    """Open the store in the directory ``path``, created (mode 0700) unless ``init`` is false.

    ``"sqlite:PATH"`` is the same; ``"memory:"`` is a new store, which ends with the process, ``"postgresql:..."`` one
    that relays share, with the directory ``state`` for what is this one's, and ``"KIND:PLACE"`` of another package.

    With ``read_only`` not a byte is changed there, and it may be anybody's.  Blocks for up to ``wait`` seconds while
    one other process has it open.  With ``passphrase``, writers sign whose seeds are protected, and seeds that are made
    from now on are.  ``signer`` signs for writers whose seeds are not in the store, else the ssh-agent does.  Raises
    :class:`StoreError`, of which the subclass says why, or InvalidValueError.
    """
    place, machine = place_of(path), machine_of(reactor)
    if passphrase is not None:
        check_passphrase(passphrase)
    if signer is not None and not callable(getattr(signer, "sign", None)):
        raise wrong("signer", "a Signer, which has a method sign, or None", signer)

    def opened() -> Logs:
        logs = _unlocked(machine.open_logs(place, init, read_only, wait, state), passphrase)
        if signer is not None:
            logs.keys.use(signer)
        return logs

    return Store(opened, reactor, place, machine.thread)


def _unlocked(logs: Logs, passphrase: str | None) -> Logs:
    """Return ``logs`` with their passphrase, if one is given; closed, if it is the wrong one."""
    try:
        if passphrase is not None:
            logs.keys.unlock(passphrase)
    except BaseException:
        logs.close()
        raise
    return logs
