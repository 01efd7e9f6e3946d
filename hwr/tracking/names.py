"""Names and values as MLflow takes them."""

import json
from collections.abc import Mapping
from typing import Any

LONGEST_VALUE = 6000  # MLflow cuts longer parameter values without a word
LONGEST_TAG = 5000


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as `a.b.c` names with texts: lists as JSON, too long ones cut visibly."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = prefix + safe(str(key))
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, name + ".")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[name] = cut(text, LONGEST_VALUE)
    return flat


def safe(name: str) -> str:
    """Return a name with what MLflow does not take replaced by `_`."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)


def cut(text: str, longest: int) -> str:
    """Return a text of at most so many characters, cut visibly."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
