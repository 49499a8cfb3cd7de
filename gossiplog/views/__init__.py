"""Derived state: what is computed from the entries of a store, and can be computed again."""
