"""Public test support: a simulator of whole networks, and a conformance suite for stores.

The simulator runs the real replication core, codec and store logic in virtual time, from one seed.  Start reading with
``cluster`` (put nodes together, let time pass, see that they agree), then ``node``, ``pipes`` and ``disk``; ``faults``
is what goes wrong, ``invariants`` what must hold all the same, ``scenario`` and ``simulator`` draw and run random ones,
``stranger`` is a peer that says whatever a test wants.  A store of your own has to pass ``conformance``.
"""
