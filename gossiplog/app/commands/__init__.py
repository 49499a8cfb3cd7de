"""What the verbs of the command ``gossiplog`` do; ``gossiplog.app.cli`` is how they are said."""
