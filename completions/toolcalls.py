"""Reads tool calls as servers stream them, and gives those of one choice their numbers.

OpenAI numbers each part of a call and names the call in its first part only. Gemini leaves the
number out or says 0 for all, LM Studio repeats the name (or sends "") in each part, vLLM's older
versions made up a new id for each, Ollama and others send the arguments as an object.
"""

import json
import uuid
from typing import Any

from completions.types import ToolCall, ToolCallDelta

UNNUMBERED = -1
LARGEST_NUMBER = 2**31 - 1
MOST_LOOKS = 100


def read_tool_calls(delta: dict[Any, Any]) -> tuple[ToolCallDelta, ...]:
    """Return the parts of tool calls in a delta or message, with the server's own numbers.

    A part without one has UNNUMBERED; a function_call of the older protocol is number 0.
    """
    parts = delta.get("tool_calls")
    if isinstance(parts, dict):
        parts = [parts]
    if isinstance(parts, list) and parts:
        return tuple(_read_part(part) for part in parts if isinstance(part, dict))
    legacy = delta.get("function_call")
    if isinstance(legacy, dict) and legacy:
        return (_read_part({"index": 0, "function": legacy}),)
    return ()


def _read_part(part: dict[Any, Any]) -> ToolCallDelta:
    function = part.get("function")
    if not isinstance(function, dict):
        function = part  # flat, as some gateways have it
    index = part.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= LARGEST_NUMBER:
        index = UNNUMBERED
    return ToolCallDelta(
        index, read_text(part.get("id")), read_text(function.get("name")), _arguments(function)
    )


def _arguments(function: dict[Any, Any]) -> str:
    value = function.get("arguments")
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_text(value: object) -> str:
    """The value if it is a text, else none."""
    return value if isinstance(value, str) else ""


class CallNumbers:
    """Numbers the tool calls of one choice from 0, in the order in which they begin.

    A part belongs to the call with its number or id. Where it has neither, it goes on with the
    last one, or begins another if it has a name and the last one is of another function or whole.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, int] = {}
        self._by_id: dict[str, int] = {}

    @property
    def has_any(self) -> bool:
        return bool(self._calls)

    def take(self, parts: tuple[ToolCallDelta, ...]) -> tuple[ToolCallDelta, ...]:
        """Return what is new in the parts; each call's id and name once."""
        several = len(parts) > 1
        news = []
        for position, part in enumerate(parts):
            if new := self._take(part, position if several else None):
                news.append(new)
        return tuple(news)

    def _take(self, part: ToolCallDelta, position: int | None) -> ToolCallDelta | None:
        if not (part.id or part.name or part.arguments):
            return None
        number = self._find(part, position)
        if number is None:
            number = len(self._calls)
            self._calls.append(_Call(part))
            if part.index != UNNUMBERED:
                self._by_index[part.index] = number
            if part.id:
                self._by_id[part.id] = number
            # Whoever answers a call has to say which.
            name = part.id or f"call_{uuid.uuid4().hex[:24]}"
            return ToolCallDelta(number, name, part.name, part.arguments)
        name = self._calls[number].go_on(part)
        return ToolCallDelta(number, "", name, part.arguments) if name or part.arguments else None

    def _find(self, part: ToolCallDelta, position: int | None) -> int | None:
        """Return the number of the call that a part belongs to; None if it begins one."""
        if part.index != UNNUMBERED:
            number = self._by_index.get(part.index)
            is_other = (
                number is not None and part.id and self._calls[number].id not in ("", part.id)
            )
            return None if is_other and self._begins(part, number) else number
        if part.id:
            return self._by_id.get(part.id)
        if not self._calls:
            return None
        if part.name:
            last = len(self._calls) - 1
            return None if self._begins(part, last) else last
        return min(len(self._calls) - 1 if position is None else position, len(self._calls) - 1)

    def _begins(self, part: ToolCallDelta, number: int | None) -> bool:
        """Whether a part begins a call of its own rather than going on with that one."""
        if number is None:
            return True
        call = self._calls[number]
        return bool(part.name) and (part.name != call.name or call.is_whole)


class _Call:
    """What has come of one call."""

    def __init__(self, part: ToolCallDelta) -> None:
        self.id = part.id  # the server's
        self.name = part.name
        self._arguments = [part.arguments]
        self._looks = 0

    def go_on(self, part: ToolCallDelta) -> str:
        """Take a further part; return the name if it is told only now."""
        self._arguments.append(part.arguments)
        self.id = self.id or part.id
        name = "" if self.name else part.name
        self.name = self.name or part.name
        return name

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are a JSON document."""
        self._looks += 1
        if self._looks > MOST_LOOKS:  # each reads all that has come
            return False
        try:
            json.loads("".join(self._arguments))
        except (ValueError, RecursionError):
            return False
        return True


def encode_tool_call(call: ToolCall) -> dict[str, Any]:
    """Return a call as a message of the request has it."""
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
