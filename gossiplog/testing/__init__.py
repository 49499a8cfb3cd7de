"""Public test support: networks for the tests of applications, a simulator, a conformance suite for stores.

A :class:`Network` has machines on which real stores and nodes run, in virtual time, over lines that are cut and healed:
``docs/howto/testing.rst`` shows it.  A :class:`Chain` is an author who is at no node.

The simulator runs the real replication core, codec and store logic in virtual time, from one seed.  Start reading with
``cluster`` (put nodes together, let time pass, see that they agree), then ``node``, ``pipes`` and ``disk``; ``faults``
is what goes wrong, ``byzantine`` who does not mean well, ``invariants`` what must hold all the same, ``scenario`` and
``simulator`` draw and run random ones, ``steady`` measures what gossip costs, ``stranger`` is a peer that says whatever
a test wants.  A store of your own has to pass ``conformance``.

Public, with names that stay, is what can be imported from here, of ``SimNode`` its ``append``, ``crash``, ``start``,
``freeze`` and ``jump``; ``simulator.run``, ``check`` and ``shrink``, ``saving.save`` and ``load``, and the suites of
``conformance``.  What else the modules hold may change.
"""

from gossiplog.testing.chain import Chain
from gossiplog.testing.network import Machine, Network, StuckError
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.faults import KINDS, Fault, Faults
from gossiplog.testing.sim.figures import Figures
from gossiplog.testing.sim.invariants import InvariantError
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.scenario import Scenario, draw, draw_large
from gossiplog.testing.sim.spread import Spread
from gossiplog.testing.sim.steady import Steady, measure
from gossiplog.testing.sim.stranger import Stranger

__all__ = [
    "KINDS",
    "Chain",
    "Cluster",
    "Fault",
    "Faults",
    "Figures",
    "InvariantError",
    "Machine",
    "Network",
    "Quality",
    "SimNode",
    "Scenario",
    "Speed",
    "Spread",
    "Steady",
    "Stranger",
    "StuckError",
    "draw",
    "draw_large",
    "measure",
]
