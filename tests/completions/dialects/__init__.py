"""What real servers send, by dialect, and what is to be read from it.

The shapes are those of servers and gateways as they were met; ids and texts are made up. A case
is named after its dialect and its quirk.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from completions.types import Limits, Usage

DONE = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(*choices: Any, **more: Any) -> bytes:
    return event({"object": "chat.completion.chunk", "choices": list(choices)} | more)


def delta(content: Any = None, *, index: int = 0, finish: Any = None, **more: Any) -> Any:
    fields = more if content is None else {"content": content} | more
    return {"index": index, "delta": fields, "finish_reason": finish}


def said(*texts: str) -> bytes:
    return b"".join(chunk(delta(text)) for text in texts)


def usage(prompt: Any, completion: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 99}


def part(
    index: Any = None, id: Any = None, name: Any = None, arguments: Any = None, **more: Any
) -> Any:
    """A part of a tool call; None leaves a field out."""
    function = {"name": name, "arguments": arguments}
    fields = {"index": index, "id": id} | more
    known = {key: value for key, value in fields.items() if value is not None}
    return known | {"function": {k: v for k, v in function.items() if v is not None}}


def calls(*parts: Any, finish: Any = None, index: int = 0, **more: Any) -> bytes:
    """An event with parts of tool calls."""
    return chunk(delta(tool_calls=list(parts), finish=finish, index=index, **more))


def whole(message: Any, finish: Any = "stop", **more: Any) -> bytes:
    """An answer that is one JSON document."""
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    return json.dumps({"object": "chat.completion", "choices": [choice]} | more).encode()


STOP = chunk(delta(finish="stop"))
TOOLS = chunk(delta(finish="tool_calls"))

# A tool call as read: id, name, arguments. The id ANY stands for one that the reader makes up.
Call = tuple[str, str, str]
ANY = "call_"


@dataclass(frozen=True)
class Case:
    """What is sent, and what is to be read of it; a dict is by choice, else choice 0 is meant."""

    name: str
    body: bytes
    text: str | dict[int, str] = "Hello there"
    reasoning: str | dict[int, str] = ""
    tools: tuple[Call, ...] | dict[int, tuple[Call, ...]] = ()
    finish: str | dict[int, str | None] | None = "stop"
    usage: Usage | None = None
    error: str | None = None
    words: str = ""
    n: int = 1
    limits: Limits = field(default_factory=Limits)
