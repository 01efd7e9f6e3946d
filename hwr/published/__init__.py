"""Published results: their tables, and making them again."""
