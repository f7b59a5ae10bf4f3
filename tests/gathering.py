"""Reads a streamed answer to its end, for tests that look at the whole of it."""

from contextlib import aclosing
from dataclasses import dataclass, field

from completions.client import CompletionClient
from completions.errors import CompletionError
from completions.types import CompletionRequest, Usage


@dataclass
class Got:
    """What came of each choice, and the end; a tool call is its id, name and arguments."""

    texts: dict[int, str] = field(default_factory=dict)
    reasoning: dict[int, str] = field(default_factory=dict)
    calls: dict[int, list[str]] = field(default_factory=dict)
    ends: dict[int, str] = field(default_factory=dict)
    usage: Usage | None = None
    model: str | None = None
    error: CompletionError | None = None


async def gather(client: CompletionClient, request: CompletionRequest) -> Got:
    """Ask, and read to the end or to the error."""
    got = Got()
    try:
        async with aclosing(client.stream(request)) as chunks:
            async for chunk in chunks:
                got.usage = chunk.usage or got.usage
                got.model = chunk.model or got.model
                for delta in chunk.deltas:
                    index = delta.index
                    got.texts[index] = got.texts.get(index, "") + delta.text
                    got.reasoning[index] = got.reasoning.get(index, "") + delta.reasoning
                    for call in delta.tool_calls:
                        known = got.calls.setdefault(call.index, ["", "", ""])
                        gained = (call.id, call.name, call.arguments)
                        got.calls[call.index] = [a + b for a, b in zip(known, gained, strict=True)]
                    if delta.finish_reason:
                        got.ends[index] = delta.finish_reason
    except CompletionError as error:
        got.error = error
    return got
