"""What the verbs of the command ``gossiplog`` do; ``gossiplog.cli`` is how they are said."""
