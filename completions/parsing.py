"""Reads what a caller of the served endpoint posts; every fault is named by its field.

Strict about what is understood, deaf to what is not: clients add fields of their own servers, and
many send null for whatever they have not set.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from completions.documents import read_document
from completions.fields import (
    fault,
    mismatch,
    read_flag,
    read_integer,
    read_number,
    read_object,
    read_string,
    require_object,
    require_string,
    within,
)
from completions.messages import read_messages
from completions.types import CompletionRequest

# OpenAI's limits, but for the length of a model's name and the largest number of tokens.
MOST_CHOICES = 128
MOST_STOPS = 4
MOST_TOKENS = 2**31 - 1
LONGEST_MODEL = 200
LONGEST_WORD = 40
FUNCTION_NAME = r"^[a-zA-Z0-9_-]{1,64}$"
TOOL_CHOICES = ("none", "auto", "required")
RESPONSE_FORMATS = ("text", "json_object", "json_schema")


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request, checked: what to ask a provider for, and how the caller wants the answer.

    store is False only where the caller sent false.
    """

    request: CompletionRequest
    stream: bool = False
    include_usage: bool = False
    store: bool = True


def parse_request(body: bytes) -> ServedRequest:
    """Return the request that a body holds. Raises ApiError with status 400, and nothing else."""
    fields = read_document(body)
    model = require_string(fields, "model", longest=LONGEST_MODEL)
    max_tokens = read_integer(fields, "max_tokens", 1, MOST_TOKENS)
    newer = read_integer(fields, "max_completion_tokens", 1, MOST_TOKENS)
    request = CompletionRequest(
        model=model,
        messages=read_messages(fields.get("messages")),
        temperature=read_number(fields, "temperature", 0, 2),
        top_p=read_number(fields, "top_p", 0, 1),
        max_tokens=max_tokens if newer is None else newer,
        stop=_read_stop(fields.get("stop")),
        n=read_integer(fields, "n", 1, MOST_CHOICES) or 1,
        options=_read_options(fields),
    )
    # OpenAI refuses stream_options without stream; here they do no harm.
    stream_options = read_object(fields, "stream_options") or {}
    return ServedRequest(
        request,
        stream=read_flag(fields, "stream") or False,
        include_usage=read_flag(stream_options, "include_usage", "stream_options") or False,
        store=read_flag(fields, "store") is not False,
    )


def _read_stop(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MOST_STOPS:
        raise mismatch("stop", f"a string or a list of at most {MOST_STOPS} strings", value)
    for position, stop in enumerate(stops):
        if not isinstance(stop, str) or not stop:
            place = "stop" if isinstance(value, str) else f"stop.{position}"
            raise fault(place, f"{place} must be a string that is not empty.")
    return tuple(stops)


def _read_options(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes on to the provider as it came, after a look at its shape."""
    options = {}
    for name, check in _CHECKS.items():
        if fields.get(name) is not None:
            check(fields, name)
            options[name] = fields[name]
    if options.get("tools") == []:
        # "No tools", which OpenAI refuses, and refuses the other two without any.
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            options.pop(name, None)
    return options


def _check_tools(fields: Mapping[str, Any], name: str) -> None:
    tools = fields[name]
    if not isinstance(tools, list):
        raise mismatch(name, "a list of tools", tools)
    for position, tool in enumerate(tools):
        place = within(name, position)
        if not isinstance(tool, dict):
            raise mismatch(place, "an object with type and function", tool)
        if tool.get("type") != "function":
            raise mismatch(within(place, "type"), '"function"', tool.get("type"))
        function = require_object(tool, "function", place)
        place = within(place, "function")
        _check_function_name(function, place)
        description = function.get("description")
        if description is not None and not isinstance(description, str):
            raise mismatch(within(place, "description"), "a string", description)
        read_object(function, "parameters", place)
        read_flag(function, "strict", place)


def _check_function_name(function: Mapping[str, Any], place: str) -> None:
    name = require_string(function, "name", place)
    if not re.fullmatch(FUNCTION_NAME, name, re.ASCII):
        wanted = "1 to 64 letters, digits, underscores or dashes"
        raise mismatch(within(place, "name"), wanted, name)


def _check_tool_choice(fields: Mapping[str, Any], name: str) -> None:
    choice = fields[name]
    if not isinstance(choice, dict):
        if choice not in TOOL_CHOICES:
            raise mismatch(name, f"an object, or one of {', '.join(TOOL_CHOICES)}", choice)
    elif choice.get("type") == "function":
        _check_function_name(require_object(choice, "function", name), f"{name}.function")
    elif choice.get("type") == "allowed_tools":
        require_object(choice, "allowed_tools", name)
    else:
        raise mismatch(f"{name}.type", '"function" or "allowed_tools"', choice.get("type"))


def _check_response_format(fields: Mapping[str, Any], name: str) -> None:
    chosen = require_object(fields, name)
    kind = chosen.get("type")
    if kind not in RESPONSE_FORMATS:
        raise mismatch(f"{name}.type", f"one of {', '.join(RESPONSE_FORMATS)}", kind)
    if kind == "json_schema":
        schema = require_object(chosen, "json_schema", name)
        require_string(schema, "name", f"{name}.json_schema")
        read_object(schema, "schema", f"{name}.json_schema")


def _check_logit_bias(fields: Mapping[str, Any], name: str) -> None:
    biases = require_object(fields, name)
    for token in biases:
        read_number(biases, token, -100, 100, name)


def _check_word(fields: Mapping[str, Any], name: str) -> None:
    read_string(fields, name, longest=LONGEST_WORD)


def _check_penalty(fields: Mapping[str, Any], name: str) -> None:
    read_number(fields, name, -2, 2)


def _check_seed(fields: Mapping[str, Any], name: str) -> None:
    read_integer(fields, name, -(2**63), 2**63 - 1)


# One for each name in types.PASSED_ON.
_CHECKS: dict[str, Callable[[Mapping[str, Any], str], object]] = {
    "tools": _check_tools,
    "tool_choice": _check_tool_choice,
    "parallel_tool_calls": read_flag,
    "response_format": _check_response_format,
    "seed": _check_seed,
    "presence_penalty": _check_penalty,
    "frequency_penalty": _check_penalty,
    "logit_bias": _check_logit_bias,
    "reasoning_effort": _check_word,
    "verbosity": _check_word,
}
