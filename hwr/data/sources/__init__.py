"""Data sources: one module for each format; all yield the same records."""
