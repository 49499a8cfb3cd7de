"""A soak with real processes: everything that can go wrong does, and in the end all hold what was acknowledged.

``plan`` is what happens, drawn from a seed; ``wires`` the network between the processes, itself a process;
``embedded`` a program with a node in it; ``party`` one node of whatever kind, with its store; ``soak`` plays a plan,
and ``settling`` looks at what is left.
"""
