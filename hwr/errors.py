"""The one exception for what a user typed or gave: its message is a single line that names the thing and the remedy."""


class InputError(ValueError):
    """Report bad input (a file, a key, an image, weights); entry points print it and exit with status 2."""
