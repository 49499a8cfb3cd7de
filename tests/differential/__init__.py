"""Bytes that two decoders have to understand alike: ours, and one in JavaScript that knows only the specification.

``tests/test_differential.py`` gives them some hundred inputs where there is Node; a long run is ``python -m
tests.differential --inputs 1000000`` (CONTRIBUTING, "Fuzzing").

Reading order: ``inputs.py``, ``verdicts.py``, ``second/main.js``.
"""
