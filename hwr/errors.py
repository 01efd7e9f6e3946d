"""Exceptions for bad input: a one-line message that names the key, file or value and the remedy."""


class InputError(ValueError):
    """Report bad input (a file, a key, an image, weights); entry points print it and exit with status 2.

    Its message is one line: a character of a user's text or file name that is not printable is escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


class NoRoomError(InputError):
    """Report a file that cannot be written, because the disk is full for example."""
