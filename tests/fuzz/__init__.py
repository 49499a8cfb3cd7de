"""Fuzzing: any bytes at every place where bytes come in that somebody else, or a bad disk, has made.

Not run by trial: ``tests/test_fuzz_targets.py`` gives each target some seconds of what is known, and a long run is
``python -m tests.fuzz all --seconds 3600`` (CONTRIBUTING, "Fuzzing").

Reading order: ``target.py``, one module of targets, ``running.py``.
"""
