"""Is on disk what the authors signed, and what can be done if it is not."""
