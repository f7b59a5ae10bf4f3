"""A provider that is down is left alone, and found again by one call at a time."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from completions.breaker import Breaker, is_failure
from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import (
    CompletionError,
    FirstTokenTimeout,
    ModelNotFound,
    ProviderBusy,
    ProviderFailed,
    ProviderPaused,
    ProviderProtocolError,
    ProviderRefused,
    ProviderUnreachable,
    StreamBroken,
    StreamStalled,
    TotalTimeout,
)
from completions.types import ChatMessage, CompletionRequest, Limits
from tests.upstream import Answer, Upstream

DOWN = ProviderUnreachable("down")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Caller:
    """Makes calls through a breaker, by a clock that only tests move."""

    def __init__(self, failures: int = 3) -> None:
        self.clock = Clock()
        self.breaker = Breaker(failures, self.clock)

    def call(self, error: BaseException | None = None) -> float | None:
        """Make a call that ends so; return for how long it is paused, if it is."""
        with contextlib.suppress(*[type(error)] if error else ()):
            try:
                with self.breaker.call():
                    if error:
                        raise error
                    self.breaker.succeed()
            except ProviderPaused as paused:
                return paused.retry_after
        return None

    def open(self) -> None:
        for _ in range(3):
            self.call(DOWN)


def test_it_opens_after_failures_in_a_row_and_closes_by_a_success() -> None:
    caller = Caller()
    caller.open()
    assert caller.call() == 5
    caller.clock.now += 3
    assert caller.call() == 2
    caller.clock.now += 2
    assert caller.call() is None
    assert caller.call(DOWN) is None
    assert caller.call(DOWN) is None
    assert caller.call() is None, "two failures are not three"


def test_each_failed_probe_doubles_the_pause() -> None:
    caller = Caller()
    caller.open()
    pauses = []
    for _ in range(7):
        pause = caller.call()
        assert pause is not None
        pauses.append(pause)
        caller.clock.now += pause
        assert caller.call(DOWN) is None
    assert pauses == [5, 10, 20, 40, 80, 120, 120]
    caller.clock.now += 120
    caller.call()
    caller.open()
    assert caller.call() == 5, "after a success it begins anew"


def test_only_one_call_tries_at_a_time() -> None:
    caller = Caller()
    caller.open()
    caller.clock.now += 5
    with caller.breaker.call():
        assert caller.call() == 1, "another is trying"
    assert caller.call() is None, "that one proved nothing: the next tries"


def test_a_probe_that_is_cancelled_leaves_it_to_the_next() -> None:
    caller = Caller()
    caller.open()
    caller.clock.now += 5
    assert caller.call(GeneratorExit()) is None
    assert caller.call(DOWN) is None
    assert caller.call() == 10


def test_an_answer_that_has_begun_lets_the_others_in() -> None:
    caller = Caller()
    caller.open()
    caller.clock.now += 5
    with caller.breaker.call():
        caller.breaker.succeed()
        assert caller.call() is None


def test_failures_far_apart_do_not_open_it() -> None:
    caller = Caller()
    for _ in range(9):
        caller.call(DOWN)
        caller.clock.now += 5.1
    assert caller.call() is None


def test_calls_from_before_it_opened_do_not_prolong_it() -> None:
    caller = Caller()
    with contextlib.suppress(ProviderUnreachable), caller.breaker.call():
        caller.open()
        caller.clock.now += 2
        raise DOWN
    assert caller.call() == 3


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ProviderUnreachable("x"), True),
        (FirstTokenTimeout("x"), True),
        (ProviderFailed("x", status=502), True),
        (ProviderFailed("x", status=503), True),
        (ProviderFailed("x", status=504), True),
        (ProviderFailed("x", status=500), False),
        (ProviderFailed("an error in a 200"), False),
        (ProviderRefused("x", status=400), False),
        (ModelNotFound("x", status=404), False),
        (ProviderBusy("x", status=429), False),
        (ProviderProtocolError("x"), False),
        (StreamBroken("x"), False),
        (StreamStalled("x"), False),
        (TotalTimeout("x"), False),
    ],
)
def test_what_counts(error: CompletionError, counts: bool) -> None:
    assert is_failure(error) is counts
    caller = Caller()
    for _ in range(3):
        caller.call(error)
    assert (caller.call() is not None) is counts


def test_a_refusal_proves_that_the_provider_is_back() -> None:
    caller = Caller()
    caller.open()
    caller.clock.now += 5
    caller.call(ProviderRefused("no such field", status=400))
    assert caller.call() is None


def test_0_turns_it_off() -> None:
    caller = Caller(failures=0)
    for _ in range(20):
        assert caller.call(DOWN) is None


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
async def client(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CompletionClient]:
    monkeypatch.setattr("completions.breaker.FIRST_PAUSE_SECONDS", 600.0)
    monkeypatch.setattr("completions.breaker.WITHIN_SECONDS", 600.0)
    limits = Limits(retries=0, breaker_failures=2)
    client = CompletionClient(Endpoint(upstream.url, "", "none"), limits)
    yield client
    await client.aclose()


async def code_of(client: CompletionClient, model: str = "m") -> str | None:
    request = CompletionRequest(model, (ChatMessage("user", "Hello"),))
    try:
        async for _ in client.stream(request):
            pass
    except CompletionError as error:
        return error.code
    return None


async def test_the_client_asks_a_failing_provider_no_more(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.default = Answer(status=503)
    codes = [await code_of(client) for _ in range(4)]
    assert codes == ["provider_failed", "provider_failed", "paused", "paused"]
    assert len(upstream.requests) == 2


async def test_another_model_of_the_same_gateway_is_asked(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.answer_with(lambda r: Answer(status=503 if r.json["model"] == "m" else 200))
    assert [await code_of(client) for _ in range(3)][-1] == "paused"
    assert await code_of(client, "other") is None


async def test_an_answer_between_two_failures_keeps_it_closed(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.enqueue(Answer(status=503), Answer(), Answer(status=503), Answer())
    codes = [await code_of(client) for _ in range(4)]
    assert codes == ["provider_failed", None, "provider_failed", None]


async def test_a_reader_that_leaves_at_the_first_words_has_had_an_answer(
    upstream: Upstream, client: CompletionClient
) -> None:
    upstream.enqueue(Answer(status=503), Answer(end="hang"), Answer(status=503), Answer())
    assert await code_of(client) == "provider_failed"
    chunks = client.stream(CompletionRequest("m", (ChatMessage("user", "Hello"),)))
    await anext(chunks)
    await chunks.aclose()
    assert [await code_of(client) for _ in range(2)] == ["provider_failed", None]
