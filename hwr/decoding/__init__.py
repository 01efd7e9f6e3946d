"""Decoders: turn the class probabilities of a line into text."""
