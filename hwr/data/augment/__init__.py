"""Random changes to samples, seeded a sample."""
