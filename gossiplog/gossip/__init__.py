"""How logs replicate: messages, sessions and the replica, as pure state machines."""
