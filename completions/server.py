"""What a caller of the served endpoint is sent: answers, streams and errors, as bytes.

The shapes are those of OpenAI's chat completions, at https://platform.openai.com/docs/api-reference;
where its clients trip over something allowed, the comment at the place says which and why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from completions.apierrors import ApiError
from completions.surrogates import without_surrogates
from completions.types import ToolCall, ToolCallDelta, Usage

PING = b": ping\n\n"  # a comment: every client skips it
DONE = b"data: [DONE]\n\n"

# Legal in JSON, but clients that read by str.splitlines() (httpx's iter_lines) cut the line there.
_LINE_ENDS = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)


def error_body(error: ApiError) -> bytes:
    """Return the JSON body that goes with error.status and error.headers."""
    return _encode(
        {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
            }
        }
    )


def error_event(error: ApiError) -> bytes:
    """Return the event that ends a stream which has begun; nothing but DONE may follow it.

    It has no "event:" line: openai-python and openai-node raise their APIError on a data line with
    an "error" object, and know no named events here.
    """
    return b"data: %b\n\n" % error_body(error)


class AnswerEncoder:
    """Writes one streamed answer; every method returns whole events, ready to be sent.

    id, created (Unix time in seconds) and model are the same in every event. No texts are cut:
    a character must not be spread over two of them, which str cannot do but for surrogates.
    """

    def __init__(self, id: str, created: int, model: str, *, include_usage: bool) -> None:
        self._id = id
        self._include_usage = include_usage
        self._calls: set[tuple[int, int]] = set()  # those whose id and name are sent
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: %b," % _encode(head)[:-1]
        # Asked for, it is in every event; never where it was not: clients that take choices[0]
        # of each event crash on the one without choices.
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"

    def begin(self, index: int) -> bytes:
        """The first event of a choice."""
        return self._event(index, {"role": "assistant", "content": ""})

    def delta(
        self,
        index: int,
        *,
        text: str = "",
        reasoning: str = "",
        tool_calls: Sequence[ToolCallDelta] = (),
    ) -> bytes:
        """What a choice gained; no event at all if that is nothing."""
        gained: dict[str, Any] = {}
        if reasoning:
            gained["reasoning_content"] = reasoning
        if text:
            gained["content"] = text
        if tool_calls:
            gained["tool_calls"] = [self._call(index, call) for call in tool_calls]
        return self._event(index, gained) if gained else b""

    def finish(self, index: int, reason: str) -> bytes:
        """The last event of a choice; reason is a finish_reason as in types.Delta."""
        return self._event(index, {}, reason)

    def usage(self, usage: Usage) -> bytes:
        """The event after all choices have ended; b"" if the caller did not ask for it."""
        if not self._include_usage:
            return b""
        return b'%b"choices":[],"usage":%b}\n\n' % (self._head, _encode(_usage(usage)))

    def _event(self, index: int, delta: dict[str, Any], reason: str | None = None) -> bytes:
        return b'%b"choices":[{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}]%b' % (
            self._head,
            index,
            _encode(delta),
            _encode(reason),
            self._tail,
        )

    def _call(self, choice: int, call: ToolCallDelta) -> dict[str, Any]:
        function = {"arguments": call.arguments}
        key = (choice, call.index)
        if key in self._calls and not (call.id or call.name):
            return {"index": call.index, "function": function}
        self._calls.add(key)
        return {
            "index": call.index,
            # The AI SDK refuses a call whose first delta lacks one of these.
            "id": call.id or _call_id(self._id, choice, call.index),
            "type": "function",
            "function": {"name": call.name} | function,
        }


@dataclass(frozen=True, slots=True)
class FinishedChoice:
    """One whole answer; finish_reason is as in types.Delta."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model as the list shows it; created is Unix time in seconds."""

    id: str
    created: int
    owned_by: str


def completion_body(
    id: str, created: int, model: str, choices: Sequence[FinishedChoice], usage: Usage
) -> bytes:
    """Return the body of an answer that is not streamed."""
    return _encode(
        {
            "id": id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [
                {
                    "index": choice.index,
                    "message": _message(id, choice),
                    "logprobs": None,
                    "finish_reason": choice.finish_reason,
                }
                for choice in choices
            ],
            "usage": _usage(usage),
        }
    )


def models_body(models: Sequence[ModelEntry]) -> bytes:
    return _encode({"object": "list", "data": [_model(model) for model in models]})


def model_body(model: ModelEntry) -> bytes:
    return _encode(_model(model))


def _message(id: str, choice: FinishedChoice) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if choice.tool_calls and not choice.text else choice.text,
        "refusal": None,
    }
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id or _call_id(id, choice.index, position),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for position, call in enumerate(choice.tool_calls)
        ]
    return message


def _call_id(id: str, choice: int, call: int) -> str:
    """A name for a tool call that has none; the same whether the answer is streamed or fetched."""
    return f"call_{id.removeprefix('chatcmpl-')}_{choice}_{call}"


def _model(model: ModelEntry) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _encode(value: Any) -> bytes:
    """Return JSON on one line, whichever way a client cuts lines; lone surrogates become "?"."""
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(without_surrogates(value))
    for raw, escaped in _LINE_ENDS:
        # Rarely there: looking is cheaper than a copy. UTF-8 has these bytes nowhere else.
        if raw in encoded:
            encoded = encoded.replace(raw, escaped)
    return encoded
