"""Checks one field of a posted document at a time; every fault names the field.

A field that is absent and one that is null are the same everywhere: unset.
"""

import json
from collections.abc import Mapping
from typing import Any

from completions.apierrors import NO_RETRY, ApiError

SHOWN_CHARS = 40  # of a faulty value, in the message about it
LONGEST_PARAM_CHARS = 200


def fault(param: str, message: str, *, code: str = "invalid_value") -> ApiError:
    """The error about a field; param is its place, as "messages.0.content", "" for the body."""
    return ApiError(
        400,
        message,
        param=param[:LONGEST_PARAM_CHARS] or None,
        code=code,
        headers=NO_RETRY,
    )


def mismatch(param: str, wanted: str, value: object) -> ApiError:
    """The error about a field that is not what is wanted, or that is missing."""
    if value is None:
        return fault(param, f"{param} is required: {wanted}.")
    return fault(param, f"{param} must be {wanted}, not {described(value)}.")


def described(value: object) -> str:
    """A JSON value in a few words."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    # Cut first: the value may be megabytes long.
    shown = json.dumps(value[: SHOWN_CHARS + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= SHOWN_CHARS else shown[: SHOWN_CHARS - 1] + "…"


def within(param: str, name: object) -> str:
    """The place of a field inside another; names are the caller's, of any length."""
    step = str(name)
    if len(step) > SHOWN_CHARS:
        step = step[: SHOWN_CHARS - 1] + "…"
    return f"{param}.{step}" if param else step


def read_number(
    fields: Mapping[str, Any], name: str, least: float, most: float, param: str = ""
) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise mismatch(within(param, name), f"a number between {least:g} and {most:g}", value)
    return float(value)


def read_integer(fields: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """Read a whole number; 1.0 and true are none."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise mismatch(name, f"a whole number between {least} and {most}", value)
    return value


def read_flag(fields: Mapping[str, Any], name: str, param: str = "") -> bool | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise mismatch(within(param, name), "true or false", value)
    return value


def read_string(
    fields: Mapping[str, Any], name: str, param: str = "", *, longest: int | None = None
) -> str | None:
    """Read a string that is not empty, of at most so many characters."""
    value = fields.get(name)
    if value is None:
        return None
    wanted = "a string that is not empty"
    if longest:
        wanted += f", of at most {longest} characters"
    if not isinstance(value, str) or not value or len(value) > (longest or len(value)):
        raise mismatch(within(param, name), wanted, value)
    return value


def require_string(
    fields: Mapping[str, Any], name: str, param: str = "", *, longest: int | None = None
) -> str:
    value = read_string(fields, name, param, longest=longest)
    if value is None:
        raise mismatch(within(param, name), "a string that is not empty", None)
    return value


def read_object(fields: Mapping[str, Any], name: str, param: str = "") -> dict[str, Any] | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise mismatch(within(param, name), "an object", value)
    return value


def require_object(fields: Mapping[str, Any], name: str, param: str = "") -> dict[str, Any]:
    value = read_object(fields, name, param)
    if value is None:
        raise mismatch(within(param, name), "an object", None)
    return value
