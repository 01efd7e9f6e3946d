"""The training loop and its state, independent of stages, data and tracking."""
