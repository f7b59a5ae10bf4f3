"""Several answers to one prompt, whatever the provider knows of n."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import CompletionError
from completions.fanout import stream_choices
from completions.types import ChatMessage, CompletionRequest, Limits, Usage
from tests.completions.clock import forward
from tests.upstream import Answer, Received, Upstream

LIMITS = Limits(connect=60, first_token=60, stall=60, total=90, retries=0)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[CompletionClient]:
    client = CompletionClient(Endpoint(upstream.url, "", "none"), LIMITS)
    yield client
    await client.aclose()


def asking(n: int, **more: Any) -> CompletionRequest:
    return CompletionRequest("m", (ChatMessage("user", "Hello you there"),), n=n, **more)


@dataclass
class Result:
    texts: dict[int, str] = field(default_factory=dict)
    finishes: dict[int, str] = field(default_factory=dict)
    usages: list[Usage] = field(default_factory=list)
    error: CompletionError | None = None


async def ask(client: CompletionClient, request: CompletionRequest) -> Result:
    result = Result()
    try:
        async with contextlib.aclosing(stream_choices(client, request)) as chunks:
            async for chunk in chunks:
                for delta in chunk.deltas:
                    index = delta.index
                    result.texts[index] = result.texts.get(index, "") + delta.text
                    if delta.finish_reason:
                        result.finishes[index] = delta.finish_reason
                if chunk.usage:
                    result.usages.append(chunk.usage)
    except CompletionError as error:
        result.error = error
    return result


def asked_n(upstream: Upstream) -> list[int]:
    return [request.json.get("n", 1) for request in upstream.requests]


def one_only(request: Received) -> Answer:
    """Ollama: n is ignored."""
    return Answer(text="Hello", n=1)


def refusing(status: int, body: Any) -> Callable[[Received], Answer]:
    def answer(request: Received) -> Answer:
        if "n" in request.json:
            return Answer(status=status, body=body)
        return Answer(text="Hello")

    return answer


ALL = {0: "Hello", 1: "Hello", 2: "Hello"}
STOPPED = dict.fromkeys(range(3), "stop")


async def test_one_choice_is_asked_for_as_ever(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.default = Answer(text="Hello")
    result = await ask(client, asking(1))
    assert (result.texts, result.usages) == ({0: "Hello"}, [Usage(3, 2)])
    assert asked_n(upstream) == [1]


async def test_a_provider_that_knows_n_is_asked_once(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.default = Answer(texts=["Good", "Day", "Sir"])
    for _ in range(2):
        result = await ask(client, asking(3))
        assert result == Result({0: "Good", 1: "Day", 2: "Sir"}, STOPPED, [Usage(3, 3)])
    assert asked_n(upstream) == [3, 3]


async def test_what_a_provider_leaves_out_is_asked_for_and_remembered(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.answer_with(one_only)
    first = await ask(client, asking(3))
    assert first == Result(ALL, STOPPED, [Usage(3, 6)])
    assert asked_n(upstream) == [3, 1, 1]
    assert await ask(client, asking(3)) == first
    assert asked_n(upstream) == [3, 1, 1, 1, 1, 1]


async def test_a_server_that_waits_after_its_only_choice_is_not_waited_for(
    upstream: Upstream,
) -> None:
    stop = b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\n'
    upstream.answer_with(lambda r: Answer(raw=[stop], end="hang" if "n" in r.json else "done"))
    client = CompletionClient(Endpoint(upstream.url, "", "none"), replace(LIMITS, stall=0.3))
    result = await ask(client, asking(2))
    await client.aclose()
    assert (result.texts, result.error) == ({0: "Hello", 1: "Hello"}, None)


async def test_two_of_three_are_filled_up_but_prove_nothing(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.answer_with(lambda r: Answer(text="Hello", n=min(2, r.json.get("n", 1))))
    for _ in range(2):
        assert (await ask(client, asking(3))).texts == ALL
    assert asked_n(upstream) == [3, 1, 3, 1]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "n must be 1", "type": "invalid_request_error"}}),
        (400, {"error": {"message": "'n' : number must be at most 1"}}),
        (400, {"error": {"message": "unsupported parameter: n"}}),
        (400, {"error": {"message": "Not allowed.", "param": "n"}}),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "Extra inputs are not permitted"}]}),
        (500, {"error": {"message": "Only one completion choice is allowed", "code": 500}}),
        (400, "multiple choices are not supported"),
    ],
)
async def test_a_provider_that_refuses_n_is_asked_for_each(
    upstream: Upstream, client: CompletionClient, status: int, body: Any
) -> None:
    upstream.answer_with(refusing(status, body))
    assert await ask(client, asking(3)) == Result(ALL, STOPPED, [Usage(3, 6)])
    assert await ask(client, asking(3)) == Result(ALL, STOPPED, [Usage(3, 6)])
    assert len(upstream.requests) == 1 + 3 + 3


@pytest.mark.parametrize(
    ("status", "words"), [(400, "No such model."), (401, "n"), (429, "n"), (500, "n failed")]
)
async def test_another_refusal_is_the_answer(
    upstream: Upstream, client: CompletionClient, status: int, words: str
) -> None:
    upstream.default = Answer(status=status, body={"error": {"message": words}})
    result = await ask(client, asking(3))
    assert result.error is not None
    assert result.error.status == status
    assert len(upstream.requests) == 1


async def test_no_more_than_eight_calls_run_at_once(
    upstream: Upstream, client: CompletionClient
) -> None:
    client.one_choice_models.add("m")
    held = [upstream.hold() for _ in range(12)]
    task = asyncio.create_task(ask(client, asking(12)))
    await upstream.await_for_request(8)
    assert upstream.open_connections == 8
    for number, each in enumerate(held):
        await each.arequest()
        assert len(upstream.requests) <= number + 8
        each.send("x")
        each.finish()
    result = await task
    assert result.texts == dict.fromkeys(range(12), "x")
    assert result.usages == [Usage(3, 12)]


async def test_calls_run_side_by_side_and_are_told_apart(
    upstream: Upstream, client: CompletionClient
) -> None:
    client.one_choice_models.add("m")
    held = [upstream.hold(), upstream.hold()]
    async with contextlib.aclosing(stream_choices(client, asking(2))) as chunks:
        first = asyncio.ensure_future(anext(chunks))
        for each in held:
            await each.arequest()
        held[1].send("b")
        (one,) = (await first).deltas
        held[0].send("a")
        (other,) = (await anext(chunks)).deltas
        assert {one.index, other.index} == {0, 1}
        assert (one.text, other.text) == ("b", "a")


async def test_a_call_that_fails_ends_the_others_after_what_came(
    upstream: Upstream, client: CompletionClient
) -> None:
    client.one_choice_models.add("m")
    held = [upstream.hold(), upstream.hold()]
    async with contextlib.aclosing(stream_choices(client, asking(2))) as chunks:
        first = asyncio.ensure_future(anext(chunks))
        requests = [await each.arequest() for each in held]
        held[0].send("a")
        assert (await first).deltas[0].text == "a"
        held[1].error("out of memory")
        with pytest.raises(CompletionError) as caught:
            await anext(chunks)
    assert caught.value.provider_words == "out of memory"
    assert await requests[0].aclosed()


async def test_what_was_used_before_an_error_is_still_told(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.enqueue(Answer(text="Hello", n=1), Answer(end="error:no more", text="Hi"))
    result = await ask(client, asking(2))
    assert result.error is not None
    assert result.texts == {0: "Hello", 1: "Hi"}
    assert result.usages == [Usage(3, 2)]


@pytest.mark.parametrize("in_parallel", [False, True])
async def test_closing_it_closes_all_connections(
    upstream: Upstream, client: CompletionClient, in_parallel: bool
) -> None:
    if in_parallel:
        client.one_choice_models.add("m")
    held = [upstream.hold() for _ in range(3 if in_parallel else 1)]
    chunks = stream_choices(client, asking(3))
    first = asyncio.ensure_future(anext(chunks))
    requests = [await each.arequest() for each in held]
    held[0].send("a")
    await first
    await chunks.aclose()
    for request in requests:
        assert await request.aclosed()


async def test_cancelling_the_reader_closes_all_connections(
    upstream: Upstream, client: CompletionClient
) -> None:
    client.one_choice_models.add("m")
    held = [upstream.hold() for _ in range(3)]
    task = asyncio.create_task(ask(client, asking(3)))
    requests = [await each.arequest() for each in held]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for request in requests:
        assert await request.aclosed()


async def test_a_seed_is_another_for_each_call(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.answer_with(one_only)
    await ask(client, asking(3, options={"seed": 5}))
    assert sorted(request.json["seed"] for request in upstream.requests) == [5, 6, 7]


async def test_a_provider_that_counts_nothing_has_no_usage(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.default = Answer(text="Hello", n=1, usage=False)
    assert (await ask(client, asking(2))).usages == []


async def test_a_server_known_to_count_one_choice_is_asked_for_each(upstream: Upstream) -> None:
    upstream.answer_with(lambda request: Answer(text="Hello", n=1))
    endpoint = Endpoint(upstream.url, "", "none", one_choice=True)
    client = CompletionClient(endpoint, LIMITS)
    assert (await ask(client, asking(3))).texts == ALL
    assert asked_n(upstream) == [1, 1, 1]
    await client.aclose()


@pytest.mark.parametrize(
    ("first", "n", "one_choice"),
    # More than run at once, each well within the limit; and the call for all before the others.
    [(8, 9, True), (1, 2, False)],
    ids=["rounds", "all, then each"],
)
async def test_one_total_holds_for_all_the_calls(
    upstream: Upstream, first: int, n: int, one_choice: bool
) -> None:
    held = [upstream.hold(n=1) for _ in range(first + 1)]
    client = CompletionClient(
        Endpoint(upstream.url, "", "none", one_choice=one_choice), replace(LIMITS, total=100)
    )
    task = asyncio.create_task(ask(client, asking(n)))
    for each in held[:first]:
        await each.arequest()
    forward(50)
    for each in held[:first]:
        each.send("Hello")
        each.finish()
    await held[first].arequest()
    forward(55)
    result = await task
    await client.aclose()
    assert result.error is not None
    assert result.error.code == "total_timeout"
    assert result.texts == dict.fromkeys(range(first), "Hello")
    assert len(upstream.requests) == first + 1
    assert await upstream.requests[first].aclosed()
