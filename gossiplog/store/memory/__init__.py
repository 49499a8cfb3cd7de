"""A store in memory: for tests, simulations and nodes that need no disk."""
