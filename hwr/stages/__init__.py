"""Stages: the steps that are trained, with their networks, losses and metrics."""
