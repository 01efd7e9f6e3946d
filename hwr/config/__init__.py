"""The configuration: typed roots, composed by Hydra, bound to what it constructs."""
