"""A store on a reactor: the store, its readers and writers, its thread.  Knows no peer."""
