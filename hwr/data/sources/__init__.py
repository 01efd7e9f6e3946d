"""Data sets as records, a module a format."""
