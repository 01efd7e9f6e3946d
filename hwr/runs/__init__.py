"""Trainings as runs: train, resume, sweep, search."""
