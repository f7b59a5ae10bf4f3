"""Turns JSON into chunks, and is lenient about it.

Nothing is certain: choices, delta, index, content and usage may each be missing, null or
of another type, and every known server does some of it (tests/completions/test_dialects.py).
"""

import json
import math
from collections.abc import Collection, Iterator
from typing import Annotated, Any

import msgspec

from completions.toolcalls import read_text, read_tool_calls
from completions.types import CompletionChunk, Delta, Usage

LARGEST_COUNT = 2**31 - 1  # what PostgreSQL's integer holds
LARGEST_INDEX = 127  # OpenAI's n goes to 128

# The words for "it ended" of servers that translate another protocol. A word not listed here is
# still an end: "stop". "error" never reaches a caller, who gets ProviderFailed instead.
FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "refusal": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
    "spii": "content_filter",
    "sensitive": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "error": "error",
    "insufficient_system_resource": "error",
    "network_error": "error",
}


_Nothing = Annotated[list[Any], msgspec.Meta(max_length=0)] | None


class _UsualDelta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: None = None
    tool_calls: _Nothing = None  # [] in every event of some servers
    function_call: None = None
    reasoning_details: _Nothing = None


class _UsualChoice(msgspec.Struct):
    delta: _UsualDelta
    index: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_INDEX)] = 0
    finish_reason: None = None
    usage: None = None


class _UsualEvent(msgspec.Struct):
    choices: tuple[_UsualChoice]
    model: str = ""
    usage: None = None
    error: None = None
    object: str = ""
    type: str = ""
    x_groq: None = None


_decoder = msgspec.json.Decoder()
_usual_decoder = msgspec.json.Decoder(_UsualEvent)


class MalformedJson(ValueError):
    """The bytes are no JSON, however leniently read."""


def decode_json(data: bytes) -> Any:
    """Return the JSON value, with Python's leniency: NaN, lone surrogates, bytes not UTF-8.

    Raises MalformedJson, also for 100,000 brackets.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise MalformedJson from None


def decode_usual(data: bytes) -> CompletionChunk | None:
    """Read an event that is a delta of one choice and nothing else; None if it is anything more.

    A shortcut for all but a few events of an answer: what it returns is what decode_json() and
    decode_chunk() would, in a third of their time.
    """
    try:
        event = _usual_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if event.object == "error" or event.type == "error":
        return None
    choice = event.choices[0]
    delta = choice.delta
    reasoning = delta.reasoning_content or delta.reasoning or ""
    new = Delta(choice.index, delta.content or "", reasoning)
    return CompletionChunk((new,), None, event.model or None)


def decode_chunk(
    value: object, *, whole: bool = False, started: Collection[int] = ()
) -> CompletionChunk:
    """Read one event, or a whole answer, into a chunk with one delta a choice, empty ones too.

    A choice without a delta may carry a whole message instead; not so if its index is among the
    started ones, where the message would repeat what has come. Tool calls have the server's own
    numbers (completions.toolcalls).
    """
    if not isinstance(value, dict):
        return CompletionChunk()
    model = value.get("model")
    usage = _read_usage(value.get("usage")) or _read_usage(read_field(value.get("x_groq"), "usage"))
    deltas = []
    choices = value.get("choices")
    for position, choice in enumerate(choices if isinstance(choices, list) else ()):
        if not isinstance(choice, dict):
            continue
        usage = usage or _read_usage(choice.get("usage"))
        index = _read_index(choice.get("index"), position)
        content = choice.get("message") if whole else choice.get("delta")
        if content is None and index not in started:
            content = choice.get("delta") if whole else choice.get("message")
            if content is None and isinstance(choice.get("text"), str):
                content = {"content": choice["text"]}
        text, reasoning = _read_content(content)
        calls = read_tool_calls(content) if isinstance(content, dict) else ()
        finish = _read_finish(choice.get("finish_reason"))
        deltas.append(Delta(index, text, reasoning, finish, calls))
    return CompletionChunk(
        tuple(deltas), usage, model if isinstance(model, str) and model else None
    )


def read_field(value: object, name: str) -> Any:
    """The field of an object; None where there is none, or no object."""
    return value.get(name) if isinstance(value, dict) else None


def _read_index(value: object, position: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        value = position
    return min(max(value, 0), LARGEST_INDEX)


def _read_finish(value: object) -> str | None:
    if not value:  # null, and "" in every event of some servers
        return None
    if not isinstance(value, str):
        return "stop"
    return FINISH_REASONS.get(value.lower(), "stop")


def _read_content(delta: object) -> tuple[str, str]:
    """Return the text and the reasoning of a delta or message."""
    if not isinstance(delta, dict):
        return "", ""
    content = delta.get("content")
    text, thought = (content, "") if isinstance(content, str) else _read_parts(content)
    refusal = delta.get("refusal")
    if not text and isinstance(refusal, str):
        text = refusal
    return text, thought or _read_reasoning(delta)


def _read_reasoning(delta: dict[Any, Any]) -> str:
    """Return the reasoning from the first field that has it: some servers send it in several."""
    for name in ("reasoning_content", "reasoning"):
        reasoning = delta.get(name)
        if isinstance(reasoning, str) and reasoning:
            return reasoning
        if isinstance(reasoning, list | dict) and (words := _join_parts(reasoning)):
            return words
    return _join_parts(delta.get("reasoning_details"))


def _join_parts(parts: object) -> str:
    return "".join(
        _part_text(part)
        or read_text(read_field(part, "summary"))
        or read_text(read_field(part, "content"))
        for part in _parts(parts)
    )


def _read_parts(content: object) -> tuple[str, str]:
    """Return the text and the reasoning of content in parts, as Mistral sends it."""
    text: list[str] = []
    thought: list[str] = []
    for part in _parts(content):
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict):
            if "thinking" in part:
                thought += [_part_text(inner) for inner in _parts(part["thinking"])]
            elif part.get("type") in ("reasoning", "thinking"):
                thought.append(_join_parts(part))
            else:
                text.append(_part_text(part))
    return "".join(text), "".join(thought)


def _parts(content: object) -> Iterator[object]:
    if isinstance(content, list):
        yield from content
    elif isinstance(content, dict | str):
        yield content


def _part_text(part: object) -> str:
    return read_text(part if isinstance(part, str) else read_field(part, "text"))


def _read_usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    counts = [
        value.get(name, value.get(other))
        for name, other in (
            ("prompt_tokens", "input_tokens"),
            ("completion_tokens", "output_tokens"),
        )
    ]
    if all(count is None for count in counts):
        return None
    return Usage(*(_read_count(count) for count in counts))


def _read_count(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])  # more are more than fit, and int() takes long over thousands
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if isinstance(value, float) and math.isnan(value):
        return 0
    return int(min(max(value, 0), LARGEST_COUNT))
