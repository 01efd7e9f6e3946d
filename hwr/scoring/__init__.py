"""Scores as integer counts, and how certain they are."""
