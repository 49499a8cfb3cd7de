"""Rooms: where nodes that nobody can dial meet, and that carries what they say to each other without reading it."""
