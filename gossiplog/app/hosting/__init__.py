"""Many networks in one process, from one file."""
