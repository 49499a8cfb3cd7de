"""The simulator: whole networks of real replicas, in virtual time."""
