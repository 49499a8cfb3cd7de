"""Values and rules: what a log is, whoever moves or keeps it.

Reading order: ``clock`` (who holds what), ``keys`` (who signs), ``body`` and ``segment`` (what is signed), ``fork``
(when an author signed two things), ``fingerprint`` (comparing large clocks), ``network`` (who may connect), ``place``
and ``placer`` (the order of the entries of all).
``items`` is the byte format inside a segment, ``entry`` what an application reads.

Nothing here does input or output, keeps time or knows a peer; every function is deterministic but key generation.
"""
