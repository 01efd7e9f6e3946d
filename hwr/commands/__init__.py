"""The commands of python -m hwr, a module each with `run(arguments)`; they import what takes seconds late."""
