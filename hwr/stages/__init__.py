"""Stages: what each step of the pipeline does with a batch."""
