"""Repairing an open store.

Responsible for: keeping nodes off it meanwhile, and telling who holds something of what was cut.
Must not know: how a log is repaired.
Invariant: the clock goes back only here, and never under a node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import succeed

from gossiplog.errors import StoreInUseError
from gossiplog.live.core import StoreCore
from gossiplog.live.results import Result

if TYPE_CHECKING:
    from gossiplog.store.repair.repair import RepairReport


def repair_under(core: StoreCore) -> Result[RepairReport]:
    """As :meth:`gossiplog.Store.repair`."""
    core.check_open()
    if core.is_attached:
        raise StoreInUseError(f"stop the node before store {core.path} is repaired")

    def cut(report: RepairReport) -> RepairReport:
        core.held.repaired(report.heads)
        core.timeline.start_anew()
        core.views.repaired(report.heads)
        return report

    detach = core.attach(lambda: succeed(None))

    def over(value: Any) -> Any:
        detach()
        return value

    return core.run(lambda logs: logs.repair()).addCallback(cut).addBoth(over)  # type: ignore[return-value]
