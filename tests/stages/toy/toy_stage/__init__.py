"""A stage that an installed package adds: how dark a page is."""
