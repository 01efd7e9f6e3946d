"""The training loop and its state. Knows no stage, no data and no tracking."""
