"""Read whole pages, and export what was read."""
