"""Published results: their tables and their reproduction."""
