"""Benchmarks: ``python -m bench --help``.  Speed and memory live here, never in a timed test."""
