"""Configuration: compose it with Hydra, check it against typed roots, construct the objects it names."""
