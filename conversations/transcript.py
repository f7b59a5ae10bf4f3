"""What stands in a message beside its text: tool calls, and which texts are long. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from completions.types import ToolCall
from conversations.growing import GrowingCall

# What is shown folded: more than so many lines, or so many characters.
FOLDED_LINES = 12
FOLDED_CHARS = 1200
# Beyond these, JSON is shown as it came.
INDENTED_CHARS = 20_000
INDENTED_DEPTH = 32

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True, slots=True)
class ToolCallView:
    """A function that the model wanted called; `arguments` is indented where it is JSON."""

    name: str
    arguments: str


def stored_calls(calls: Iterable[ToolCall | GrowingCall]) -> list[dict[str, str]]:
    """What a message's extras keep of its calls."""
    return [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in calls]


def tool_calls(extras: Mapping[str, Any]) -> tuple[ToolCallView, ...]:
    """The calls of an assistant's message."""
    calls = extras.get("tool_calls", ())
    return tuple(ToolCallView(call["name"], indented(call["arguments"])) for call in calls)


def call_names(extras: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The functions that a conversation's messages call, by the calls' ids."""
    calls = (call for each in extras for call in each.get("tool_calls", ()))
    return {call["id"]: call["name"] for call in calls}


def is_long(text: str) -> bool:
    return len(text) > FOLDED_CHARS or text.count("\n") >= FOLDED_LINES


def indented(source: str) -> str:
    """JSON with line feeds and indentation; anything else as it is.

    Numbers, escapes and repeated keys stay as they were written.
    """
    if len(source) > INDENTED_CHARS:
        return source
    try:
        json.loads(source)
    except (ValueError, RecursionError):
        return source
    lines, depth, before = [""], 0, ""
    for piece in _TOKEN.findall(source):
        closes, opens = piece in ("}", "]"), piece in ("{", "[")
        depth -= closes
        if before == "," or closes != (before in ("{", "[")):
            lines.append("  " * depth)
        lines[-1] += ": " if piece == ":" else piece
        depth += opens
        if depth > INDENTED_DEPTH:
            return source
        before = piece
    return "\n".join(lines)
