"""Batches of samples."""
