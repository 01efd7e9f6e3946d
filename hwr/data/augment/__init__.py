"""Augmentation: random changes to samples, seeded by sample."""
