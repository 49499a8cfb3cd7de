"""The store on disk: one SQLite file in one directory."""
