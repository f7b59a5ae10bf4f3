"""Halves of characters: Python's texts may have them alone, JSON and UTF-8 may not."""

from collections.abc import Mapping
from typing import Any


def without_surrogates(value: Any) -> Any:
    """Return the JSON value with "?" for each lone surrogate, in names and in texts."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [without_surrogates(item) for item in value]
    if isinstance(value, Mapping):
        return {without_surrogates(name): without_surrogates(v) for name, v in value.items()}
    return value
