"""The exceptions for what a user gave wrong: their message is one line that names thing and remedy."""


class InputError(ValueError):
    """Report bad input (a file, a key, an image, weights); entry points print it and exit with status 2."""


class NoRoomError(InputError):
    """A file cannot be written, the disk is full say; with room the same works."""
