"""Error counts, rates, intervals and significance tests."""
