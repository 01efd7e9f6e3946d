"""Exceptions for bad input: a one-line message that names the key, file or value and the remedy."""


class InputError(ValueError):
    """Report bad input (a file, a key, an image, weights); entry points print it and exit with status 2."""


class NoRoomError(InputError):
    """Report a file that cannot be written, because the disk is full for example."""
