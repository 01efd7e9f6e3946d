"""Decoders: class probabilities of a line become text."""
