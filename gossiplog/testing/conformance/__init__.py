"""What every store backend has to do, as tests."""
