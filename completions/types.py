"""The values that cross the completions boundary: what is asked, and what streams back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model wants called; arguments is JSON as text, and may be malformed."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the prompt.

    role is "system", "developer", "user", "assistant" or "tool". tool_calls are an assistant's;
    tool_call_id says which of them a "tool" message answers; name is the author's, where given.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""


# What a caller may say to the model's server beyond the fields that we understand ourselves.
PASSED_ON = frozenset(
    {
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "reasoning_effort",
        "verbosity",
    }
)


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """What to ask a provider for. It is always streamed; None means "the provider's default"."""

    model: str
    messages: tuple[ChatMessage, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    # The last message is an assistant's, to be continued in place. llama.cpp does that for any
    # request that ends so; the flag says that the caller means it.
    prefill: bool = False
    # Sent on as they are: tools, tool_choice, response_format and whatever else PASSED_ON names.
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them; both are between 0 and 2**31 - 1."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """What a choice's tool call number `index` gained.

    id and name come whole and once, with the call's first delta or soon after it; arguments is
    added to what came before. Calls are numbered from 0 in the order in which they began, and
    each has an id, also where the provider gave none.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one choice gained: text, reasoning, tool calls, or the word that it ended.

    finish_reason is None or one of "stop", "length", "content_filter", "tool_calls". The texts
    are the provider's, uncleaned: NUL and lone surrogates may occur.
    """

    index: int
    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()


@dataclass(frozen=True, slots=True)
class CompletionChunk:
    """One event of the stream. Of several usages the last counts; they are never summed."""

    deltas: tuple[Delta, ...] = ()
    usage: Usage | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """For how long, and for how much, to go on reading; times in seconds.

    connect is for one attempt to connect; first_token from the request to the first text,
    reasoning or tool call; stall is the longest time in which the answer may not grow (comments
    and empty deltas are no growth); total is for everything, retries included. Of the sizes,
    answer_chars ends the answer with "length"; the others are ProviderProtocolError. After
    breaker_failures failures in a row a model is left alone for a while (completions.breaker);
    0 never does that.
    """

    connect: float = 5.0
    first_token: float = 120.0
    stall: float = 60.0
    total: float = 900.0
    line_bytes: int = 1 << 20
    answer_chars: int = 400_000
    events: int = 200_000
    body_bytes: int = 8 << 20  # without anything new; of an answer that is one JSON document
    retries: int = 2
    breaker_failures: int = 20
