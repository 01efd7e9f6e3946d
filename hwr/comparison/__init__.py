"""Compare runs: what differs between them, and whether one reads better."""
