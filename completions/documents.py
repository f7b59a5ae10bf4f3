"""Reads posted bytes as a JSON object in which nothing is left that would fail further on."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from completions.apierrors import ApiError
from completions.fields import fault, within

DEEPEST = 64  # levels of objects and lists; JSON Schemas in tools reach about 20
BOM = "\ufeff"

# NUL: PostgreSQL refuses it. Lone surrogates: neither UTF-8 nor a provider's JSON can hold them.
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_TOKENS = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"|[\[{]|[\]}]', re.DOTALL)
_MANY_DIGITS = re.compile(r"[0-9]{19}")
_TOO_DEEP = f"nested more than {DEEPEST} levels deep"


class _Unusable:
    """Stands for a number that Python reads and nothing else would; words say what it was."""

    def __init__(self, words: str) -> None:
        self.words = words


def read_document(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    In it are only finite numbers and integers of 64 bits, text that can be encoded and stored, and
    at most DEEPEST levels. A byte order mark is skipped; of duplicate names the last counts. Raises
    ApiError with status 400, naming the field where one is at fault, and nothing else.
    """
    try:
        text = body.decode().removeprefix(BOM)
    except UnicodeDecodeError:
        raise fault("", "The body must be JSON in UTF-8.") from None
    if not text.strip(" \t\r\n"):
        raise fault("", "The body is empty; it must be a JSON object.")
    try:
        # Reading every integer in Python costs ten times as much: only where one may be too long.
        parse_int = _read_int if _MANY_DIGITS.search(text) else None
        document = json.loads(text, parse_constant=_Unusable, parse_int=parse_int)
    except json.JSONDecodeError as error:
        raise fault(
            "", f"The body is not valid JSON: {error.msg} at character {error.pos}."
        ) from None
    except RecursionError:
        raise _too_deep(text) from None
    if not isinstance(document, dict):
        raise fault("", "The body must be a JSON object.")
    _check(document)
    return document


def _read_int(digits: str) -> int | _Unusable:
    # Not int() at once: it raises ValueError above 4,300 digits, and takes quadratic time below.
    if len(digits) <= 20 and -(2**63) <= (number := int(digits)) < 2**64:
        return number
    return _Unusable(f"a number of {len(digits.lstrip('-'))} digits")


def _check(document: dict[str, Any]) -> None:
    """Walk the document without recursion, keeping only the path to where it is."""
    levels = [_enter(document, [])]
    path: list[Any] = []
    while levels:
        for name, value in levels[-1]:
            kind = type(value)
            if kind is str:
                if _UNSTORABLE.search(value):
                    raise _unstorable([*path, name])
            elif kind is dict or kind is list:
                path.append(name)
                if len(path) >= DEEPEST:
                    raise fault(_place(path), f"{path[0]} is {_TOO_DEEP}.")
                levels.append(_enter(value, path))
                break
            elif kind is float:
                if math.isinf(value):
                    raise _not_finite([*path, name], "a number too large")
            elif kind is _Unusable:
                raise _not_finite([*path, name], value.words)
        else:
            levels.pop()
            if path:
                path.pop()


def _enter(value: Any, path: list[Any]) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, list):
        return enumerate(value)
    if _UNSTORABLE.search("".join(value)):
        raise _unstorable(path, "A field's name in ")
    return iter(value.items())


def _not_finite(path: list[Any], words: str) -> ApiError:
    place = _place(path)
    return fault(place, f"{place} must be a finite number of 64 bits, not {words}.")


def _place(path: list[Any]) -> str:
    place = ""
    for step in path:
        place = within(place, step)
    return place


def _unstorable(path: list[Any], prefix: str = "") -> ApiError:
    place = _place(path)
    where = f"{prefix}{place or 'the body'}"
    return fault(place, f"{where} holds a NUL or half of a surrogate pair, which no text may.")


def _too_deep(text: str) -> ApiError:
    """Find the top-level field that json could not follow into its depth."""
    depth, name = 0, ""
    for token in _TOKENS.finditer(text):
        if token[0][0] == '"':
            name = token[1] if depth == 1 else name
        else:
            depth += 1 if token[0] in "[{" else -1
        if depth > DEEPEST:
            break
    place = within("", name) if text.lstrip().startswith("{") else ""
    return fault(place, f"{place or 'The body'} is {_TOO_DEEP}.")
