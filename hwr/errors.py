"""The one exception for what a user gave wrong: its message is one line that names thing and remedy."""


class InputError(ValueError):
    """Report bad input (a file, a key, an image, weights); entry points print it and exit with status 2."""
