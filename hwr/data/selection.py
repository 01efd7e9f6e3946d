"""Lines left out by their type or their text; pages stay, for a page without lines is still a page."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hwr.data.records import Page
from hwr.errors import InputError


def exclude(pages: Iterable[Page], types: Sequence[str] = (), pattern: str = "") -> list[Page]:
    """Return the pages without lines of one of the `types` and without lines whose text holds `pattern`.

    An empty `pattern` excludes nothing. Raise InputError when it is not a regular expression.
    """
    try:
        marks = re.compile(pattern) if pattern else None
    except re.error as error:
        raise InputError(f"data.exclude.pattern={pattern!r} is not a regular expression ({error})") from None
    return [
        replace(
            page,
            lines=tuple(
                line
                for line in page.lines
                if line.kind not in types and not (marks is not None and marks.search(line.text))
            ),
        )
        for page in pages
    ]
