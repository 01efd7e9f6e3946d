"""Configuration: compose it with Hydra, check it against typed roots, construct what it names."""
