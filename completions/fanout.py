"""Gives several answers to one prompt, also where the provider gives one per call."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace

from completions.client import CompletionClient
from completions.errors import CompletionError, TotalTimeout
from completions.types import CompletionChunk, CompletionRequest, Delta, Usage

CALLS_AT_ONCE = 8
# Chunks that wait for a slow reader; then the connections are read no further.
WAITING_CHUNKS = 64
TOGETHER = -1  # on the bill: the call for all choices

# "n" as a word of its own: "n must be 1", "'n' : number must be at most 1", "body.n".
_NAMES_N = re.compile(r"(?<![\w\\])n(?!\w)")
_SAYS_ONE = re.compile(
    r"only (one|1|a single)\b.{0,40}\b(choice|completion|response|candidate)|"
    r"multiple (choices|completions|responses|candidates)",
    re.IGNORECASE,
)


async def stream_choices(
    client: CompletionClient, request: CompletionRequest
) -> AsyncGenerator[CompletionChunk, None]:
    """As client.stream(), but with request.n choices from any provider.

    It is asked once for all of them. A provider that refuses that is asked for each by a call of
    its own, one that gives fewer for those missing; for a model that gave only one, the next time
    starts so at once. Then the usage is the prompt's tokens once and the completions' summed, in
    one chunk at the end. If a call fails the others are closed, and the error is raised after what
    had come and its usage; TotalTimeout comes when they took too long together. Closing the
    generator closes all connections.
    """
    if request.n == 1:
        async with contextlib.aclosing(client.stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk
        return
    # Each call has its own limits; this one is for all of them together.
    deadline = asyncio.get_running_loop().time() + client.total_seconds
    bill = _Bill()
    missing = set(range(request.n))
    try:
        if not client.gives_one_choice(request.model):
            try:
                async with contextlib.aclosing(client.stream(request)) as chunks:
                    async for chunk in chunks:
                        missing -= {delta.index for delta in chunk.deltas}
                        if shown := bill.take(TOGETHER, chunk):
                            yield shown
            except CompletionError as error:
                if len(missing) < request.n or not _is_about_n(error):
                    raise
            if len(missing) >= request.n - 1:
                client.one_choice_models.add(request.model)
        if missing:
            one = replace(request, n=1)
            each = _stream_each(client, one, sorted(missing), deadline)
            async with contextlib.aclosing(each) as pairs:
                async for index, chunk in pairs:
                    if shown := bill.take(index, chunk):
                        yield shown
    except CompletionError:
        if usage := bill.total():
            yield CompletionChunk(usage=usage)
        raise
    if usage := bill.total():
        yield CompletionChunk(usage=usage)


class _Bill:
    """What several calls for the same prompt have used."""

    def __init__(self) -> None:
        self._usages: dict[int, Usage] = {}

    def take(self, call: int, chunk: CompletionChunk) -> CompletionChunk | None:
        """Note the usage of a call, the last counts; return the chunk without it."""
        if chunk.usage is None:
            return chunk
        self._usages[call] = chunk.usage
        return replace(chunk, usage=None) if chunk.deltas else None

    def total(self) -> Usage | None:
        if not self._usages:
            return None
        return Usage(
            max(usage.prompt_tokens for usage in self._usages.values()),
            sum(usage.completion_tokens for usage in self._usages.values()),
        )


async def _stream_each(
    client: CompletionClient, request: CompletionRequest, indexes: list[int], deadline: float
) -> AsyncGenerator[tuple[int, CompletionChunk], None]:
    """Ask for each choice by a call of its own, several at a time; raises the first error."""
    queue: asyncio.Queue[tuple[int, CompletionChunk] | BaseException | None]
    queue = asyncio.Queue(WAITING_CHUNKS)
    waiting = iter(indexes)

    async def call() -> None:
        try:
            async with asyncio.timeout_at(deadline):
                for index in waiting:
                    own = _with_own_seed(request, index)
                    async with contextlib.aclosing(client.stream(own)) as chunks:
                        async for chunk in chunks:
                            await queue.put((index, _renumbered(chunk, index)))
        except TimeoutError:
            await queue.put(TotalTimeout("The answer took too long."))
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.create_task(call()) for _ in indexes[:CALLS_AT_ONCE]]
    try:
        running = len(tasks)
        while running:
            got = await queue.get()
            if isinstance(got, BaseException):
                raise got
            if got is None:
                running -= 1
            else:
                yield got
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _with_own_seed(request: CompletionRequest, index: int) -> CompletionRequest:
    """With one seed for all, the answers would be the same."""
    seed = request.options.get("seed")
    if not isinstance(seed, int) or not index:
        return request
    return replace(request, options={**request.options, "seed": seed + index})


def _renumbered(chunk: CompletionChunk, index: int) -> CompletionChunk:
    deltas: Iterator[Delta] = (replace(delta, index=index) for delta in chunk.deltas)
    return replace(chunk, deltas=tuple(deltas))


def _is_about_n(error: CompletionError) -> bool:
    """Whether a provider refused to give several choices."""
    if error.param == "n" or _SAYS_ONE.search(error.detail):
        return True
    return error.status in (400, 422) and bool(_NAMES_N.search(error.detail))
