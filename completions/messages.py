"""Reads the messages of a served request, in all the shapes that clients send."""

from typing import Any

from completions.fields import (
    described,
    fault,
    mismatch,
    read_string,
    require_object,
    require_string,
    within,
)
from completions.types import ChatMessage, ToolCall

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
LONGEST_NAME = 256
# Each is stored: 20,000 of one character took 9 s, in which nobody else could write.
MOST_MESSAGES = 4096

_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
# What an assistant thought, sent back by clients that keep whole messages: not to be read again.
THOUGHT_PARTS = ("thinking", "redacted_thinking", "reasoning")
_MEDIA = {
    "image_url": "Images",
    "input_image": "Images",
    "image": "Images",
    "input_audio": "Audio parts",
    "audio": "Audio parts",
    "file": "Files",
    "input_file": "Files",
    "video_url": "Videos",
}


def read_messages(value: object) -> tuple[ChatMessage, ...]:
    """Return the messages of a request's "messages". Raises ApiError with status 400."""
    if not isinstance(value, list) or not value:
        raise mismatch("messages", "a list of at least one message", value)
    if len(value) > MOST_MESSAGES:
        raise fault("messages", f"messages: at most {MOST_MESSAGES:,}, not {len(value):,}.")
    return tuple(_read_message(message, f"messages.{n}") for n, message in enumerate(value))


def _read_message(message: object, param: str) -> ChatMessage:
    if not isinstance(message, dict):
        raise mismatch(param, "an object with role and content", message)
    role = message.get("role")
    if role not in ROLES:
        raise mismatch(within(param, "role"), "one of " + ", ".join(ROLES), role)
    calls = _read_calls(message, param) if role == "assistant" else ()
    content = _read_content(message.get("content"), role, within(param, "content"))
    name = read_string(message, "name", param, longest=LONGEST_NAME) or ""
    if role == "function":  # what "tool" was called before there were ids
        name = require_string(message, "name", param, longest=LONGEST_NAME)
        return ChatMessage("tool", content, (), _id_by_name(name), name)
    answered = ""
    if role == "tool":
        answered = require_string(message, "tool_call_id", param, longest=LONGEST_NAME)
    return ChatMessage(role, content, calls, answered, name)


def _read_content(content: object, role: str, param: str) -> str:
    if isinstance(content, str):
        return content
    if role == "assistant" and content in (None, []):
        return ""  # it called tools, or was cut before its first word
    if not isinstance(content, list) or not content:
        raise mismatch(param, "a string or a list of parts", content)
    return "".join(_read_part(part, role, f"{param}.{n}") for n, part in enumerate(content))


def _read_part(part: object, role: str, param: str) -> str:
    if not isinstance(part, dict):
        raise mismatch(param, "an object with type and text", part)
    kind = require_string(part, "type", param)
    if kind in _TEXT_PARTS:
        text = part.get(_TEXT_PARTS[kind])
        if not isinstance(text, str):
            raise mismatch(within(param, _TEXT_PARTS[kind]), "a string", text)
        return text
    if role == "assistant" and kind in THOUGHT_PARTS:
        return ""
    what = f"{_MEDIA.get(kind, 'Such parts')} are not supported"
    place = f"{param} is of type {described(kind)}"
    raise fault(param, f"{what}: messages take text only ({place}).", code="unsupported_content")


def _read_calls(message: dict[str, Any], param: str) -> tuple[ToolCall, ...]:
    calls = message.get("tool_calls")
    param = within(param, "tool_calls")
    if calls is None:
        return _read_function_call(message, param)
    if not isinstance(calls, list):
        raise mismatch(param, "a list of tool calls", calls)
    return tuple(_read_call(call, f"{param}.{n}") for n, call in enumerate(calls))


def _read_call(call: object, param: str) -> ToolCall:
    if not isinstance(call, dict):
        raise mismatch(param, "an object with id, type and function", call)
    if call.get("type") not in (None, "function"):
        raise mismatch(within(param, "type"), '"function"', call["type"])
    id = require_string(call, "id", param, longest=LONGEST_NAME)
    return _read_function(require_object(call, "function", param), id, within(param, "function"))


def _read_function_call(message: dict[str, Any], param: str) -> tuple[ToolCall, ...]:
    """Read what tool_calls was before there could be several."""
    call = message.get("function_call")
    if not isinstance(call, dict):
        return ()
    param = param.replace("tool_calls", "function_call")
    function = _read_function(call, "", param)
    return (ToolCall(_id_by_name(function.name), function.name, function.arguments),)


def _read_function(function: dict[str, Any], id: str, param: str) -> ToolCall:
    name = require_string(function, "name", param, longest=LONGEST_NAME)
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        raise mismatch(within(param, "arguments"), "JSON in a string", arguments)
    return ToolCall(id, name, arguments)


def _id_by_name(name: str) -> str:
    """The id that ties an old function call to the message with its result."""
    return f"call_{name}"
