"""What the served endpoint says, our own client understands: provider → site → client."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import pytest

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import (
    CompletionError,
    ModelNotFound,
    PromptTooLong,
    ProviderBusy,
    ProviderFailed,
    ProviderMisconfigured,
    ProviderRefused,
    StreamBroken,
)
from completions.types import ChatMessage, CompletionRequest, Limits, Usage
from tests.gathering import Got, gather
from tests.sites import MODELS, Site
from tests.upstream import Answer

TEXT = "Grüße,\u2028世界! 🙂 And so on."
ASKED = ChatMessage("user", "Hello you there")
TOOL = {"type": "function", "function": {"name": "weather"}}
# The provider of the site is asked again; the site is not, so that each failure is seen.
ONCE = Limits(connect=60, first_token=60, stall=60, total=90, retries=0)
AuthStyle = Literal["x-api-key", "bearer"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture(scope="module")
def token(site: Site) -> str:
    return site.make_token()


@pytest.fixture(params=["x-api-key", "bearer"])
def auth(request: pytest.FixtureRequest) -> AuthStyle:
    return request.param  # type: ignore[no-any-return]


Connect = Callable[..., CompletionClient]


@pytest.fixture
async def connect(site: Site, token: str) -> AsyncIterator[Connect]:
    """Make clients of the site, which are closed at the end."""
    site.upstream.reset()
    clients = []

    def make(auth: AuthStyle = "x-api-key", key: str = token) -> CompletionClient:
        clients.append(CompletionClient(Endpoint(site.api_url, key, auth), ONCE))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


async def ask(client: CompletionClient, model: str = MODELS[0], **more: Any) -> Got:
    return await gather(client, CompletionRequest(model, (ASKED,), **more))


async def test_an_answer(site: Site, connect: Connect, auth: AuthStyle) -> None:
    site.upstream.default = Answer(TEXT, reasoning="First think. ", chunk=3)

    got = await ask(connect(auth), temperature=0.5, max_tokens=99, stop=("#",))

    assert got == Got({0: TEXT}, {0: "First think. "}, {}, {0: "stop"}, got.usage, MODELS[0])
    assert got.usage == Usage(3, 13)  # words of the prompt, deltas of the answer
    sent = site.upstream.requests[0].json
    assert (sent["temperature"], sent["max_tokens"], sent["stop"]) == (0.5, 99, ["#"])
    assert sent["messages"] == [{"role": "user", "content": ASKED.content}]


async def test_two_answers_and_their_usage(site: Site, connect: Connect) -> None:
    site.upstream.default = Answer(texts=["One.", "The other."], chunk=100)

    got = await ask(connect(), n=2)

    assert got.texts == {0: "One.", 1: "The other."}
    assert got.ends == {0: "stop", 1: "stop"}
    assert got.usage == Usage(3, 2)


async def test_tool_calls(site: Site, connect: Connect) -> None:
    calls = [("call_a", "weather", '{"city": "Zürich"}'), ("call_b", "weather", "{}")]
    site.upstream.default = Answer("", tool_calls=calls, finish_reason="tool_calls")

    got = await ask(connect(), options={"tools": [TOOL], "tool_choice": "required"})

    assert got.calls == {0: list(calls[0]), 1: list(calls[1])}
    assert got.ends == {0: "tool_calls"}
    assert site.upstream.requests[0].json["tools"] == [TOOL]
    assert site.upstream.requests[0].json["tool_choice"] == "required"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_why_it_ended(reason: str, site: Site, connect: Connect) -> None:
    site.upstream.default = Answer(TEXT, finish_reason=reason)

    assert (await ask(connect())).ends == {0: reason}


async def test_the_list_of_models(connect: Connect, auth: AuthStyle) -> None:
    listed = await connect(auth).list_models()

    assert [model.id for model in listed] == list(MODELS)


TOO_LONG = {"error": {"message": "Too many tokens.", "code": "context_length_exceeded"}}


@pytest.mark.parametrize(
    ("answer", "kind", "status", "words"),
    [
        pytest.param(Answer(status=400), ProviderRefused, 400, "The provider says 400.", id="400"),
        # The site's key is not the caller's: they are not told that theirs is wrong.
        pytest.param(Answer(status=401), ProviderFailed, 502, "administrator", id="401"),
        pytest.param(Answer(status=403), ProviderFailed, 502, "administrator", id="403"),
        pytest.param(Answer(status=404), ModelNotFound, 404, "test-model", id="404"),
        pytest.param(
            Answer(status=429, headers={"Retry-After": "77"}),
            *(ProviderBusy, 429, "The provider says 429."),
            id="429",
        ),
        pytest.param(Answer(status=500), ProviderFailed, 502, "The provider says 500.", id="500"),
        pytest.param(Answer(status=503), ProviderFailed, 503, "The provider says 503.", id="503"),
        pytest.param(Answer(status=400, body=TOO_LONG), PromptTooLong, 400, "longer", id="length"),
        pytest.param(Answer(raw=[b"<html>"]), ProviderFailed, 502, "", id="html"),
        pytest.param(Answer(raw=[b"data: {\n\n"]), ProviderFailed, 502, "be read", id="nonsense"),
    ],
)
async def test_a_refusal_keeps_its_class(
    answer: Answer,
    kind: type[CompletionError],
    status: int,
    words: str,
    site: Site,
    connect: Connect,
) -> None:
    site.upstream.default = answer

    error = (await ask(connect(), MODELS[0])).error

    assert type(error) is kind
    assert error.status == status
    assert words in error.provider_words
    assert error.retry_after == (77 if kind is ProviderBusy else error.retry_after)


async def test_a_wrong_token_and_an_unknown_model(connect: Connect, auth: AuthStyle) -> None:
    assert type((await ask(connect(auth, key="cs_wrong"))).error) is ProviderMisconfigured
    assert type((await ask(connect(auth), "unknown")).error) is ModelNotFound


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(TEXT, end="eof"), id="a clean end without the words for it"),
        pytest.param(Answer(TEXT + "never sent", cut_after=len(TEXT)), id="a reset"),
    ],
)
async def test_half_an_answer_is_never_taken_for_whole(
    answer: Answer, site: Site, connect: Connect
) -> None:
    site.upstream.default = answer

    got = await ask(connect())

    assert type(got.error) is StreamBroken
    assert got.texts == {0: TEXT}
    assert got.ends == {}


async def test_the_providers_own_words_in_the_middle_of_an_answer(
    site: Site, connect: Connect
) -> None:
    site.upstream.default = Answer(TEXT, end="error:The model fell over.")

    got = await ask(connect())

    assert type(got.error) is ProviderFailed
    assert "The model fell over." in got.error.provider_words
    assert got.texts == {0: TEXT}
