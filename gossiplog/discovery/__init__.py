"""Where peers come from: ways of finding them beyond addresses that somebody names."""
