"""The training loop and its state; knows no stage, no data, no tracking."""
