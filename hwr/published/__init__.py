"""Published results: kept, tabulated, made again."""
