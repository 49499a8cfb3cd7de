"""Public test support: a simulator of whole networks, and a conformance suite for stores.

The simulator runs the real replication core, codec and store logic in virtual time, from one seed.  Start reading with
``cluster`` (put nodes together, let time pass, see that they agree), then ``node``, ``pipes`` and ``disk``; ``faults``
is what goes wrong, ``byzantine`` who does not mean well, ``invariants`` what must hold all the same, ``scenario`` and
``simulator`` draw and run random ones, ``steady`` measures what gossip costs, ``stranger`` is a peer that says whatever
a test wants.  A store of your own has to pass ``conformance``.

Public, with names that stay: ``Cluster``, ``Node.append``, ``crash``, ``start``, ``freeze`` and ``jump``, ``Quality``,
``Speed``, ``Fault`` and ``Faults.plan``, ``KINDS``, ``InvariantError``, ``Figures``, ``Spread``, ``Stranger``,
``Scenario``, ``draw``, ``draw_large``, ``simulator.run``, ``check`` and ``shrink``, ``saving.save`` and ``load``,
``Steady`` and ``measure``, and the suites of ``conformance``.  What else the modules hold may change.
"""
