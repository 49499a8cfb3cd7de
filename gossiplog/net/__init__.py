"""The Twisted side: connections, the store thread, readers and writers."""
