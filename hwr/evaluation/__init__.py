"""Evaluations: score weights on data, compare and tune decoders."""
