"""Evaluations: weights and data to scores."""
