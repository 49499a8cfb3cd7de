"""Public test support: the simulator and the store conformance suite."""
