"""The web page of a node."""
