"""The disk: one directory per store; see :mod:`gossiplog.store.logs`, then ``interface``."""
