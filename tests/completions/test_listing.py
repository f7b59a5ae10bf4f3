"""The list of models is read in every shape that servers have for it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import CompletionError
from completions.listing import ListedModel, read_models
from tests.upstream import Answer, Upstream

KEY = "sk-secret-0123456789"


@pytest.mark.parametrize(
    ("value", "models"),
    [
        pytest.param(
            {"object": "list", "data": [{"id": "a", "object": "model", "owned_by": "x"}]},
            [ListedModel("a")],
            id="openai",
        ),
        pytest.param(
            {"data": [{"id": "a", "max_model_len": 4096, "permission": [{}]}]},
            [ListedModel("a", "", 4096)],
            id="vllm",
        ),
        pytest.param(
            {
                "data": [
                    {"id": "a", "mode": "chat", "max_input_tokens": 8000, "max_tokens": 10},
                    {"id": "b", "mode": "embedding"},
                    {"id": "c", "model_info": {"max_input_tokens": 9000}},
                ]
            },
            [ListedModel("a", "", 8000), ListedModel("c", "", 9000)],
            id="litellm",
        ),
        pytest.param(
            {
                "models": [{"name": "a", "model": "a", "capabilities": ["completion"]}],
                "object": "list",
                "data": [{"id": "a", "meta": {"n_ctx_train": 8192, "n_vocab": 5}}],
            },
            [ListedModel("a", "", 8192)],
            id="llama.cpp",
        ),
        pytest.param(
            {"data": [{"id": "x/a", "name": "X: A", "context_length": 128000, "pricing": {}}]},
            [ListedModel("x/a", "X: A", 128000)],
            id="openrouter",
        ),
        pytest.param(
            {
                "data": [
                    {"id": "x/a", "context_length": None, "top_provider": {"context_length": 9}}
                ]
            },
            [ListedModel("x/a", "", 9)],
            id="openrouter by its upstream",
        ),
        pytest.param(
            {"object": "list", "data": [{"id": "a:latest", "owned_by": "library"}]},
            [ListedModel("a:latest")],
            id="ollama",
        ),
        pytest.param(
            {"models": [{"name": "a:latest", "model": "a:latest", "details": {}}]},
            [ListedModel("a:latest")],
            id="ollama's own",
        ),
        pytest.param(
            {
                "data": [
                    {"id": "a", "capabilities": {"chat_completion": True}, "status": "succeeded"},
                    {"id": "b", "capabilities": {"chat_completion": False, "embeddings": True}},
                ]
            },
            [ListedModel("a")],
            id="azure",
        ),
        pytest.param(
            {
                "data": [
                    {"id": "a", "max_context_length": 9, "capabilities": {"completion_chat": True}},
                    {"id": "b", "capabilities": {"completion_chat": False}},
                ]
            },
            [ListedModel("a", "", 9)],
            id="mistral",
        ),
        pytest.param(
            {"data": [{"id": "a", "context_window": 131072, "active": True}]},
            [ListedModel("a", "", 131072)],
            id="groq",
        ),
        pytest.param(
            [{"id": "a", "type": "chat", "display_name": "A", "context_length": 5}],
            [ListedModel("a", "A", 5)],
            id="together, a bare list",
        ),
        pytest.param(
            {"models": [{"name": "models/a", "displayName": "A", "inputTokenLimit": 7}]},
            [ListedModel("models/a", "A", 7)],
            id="gemini's own",
        ),
        pytest.param(
            {"content": [{"id": "a"}], "first": True, "totalElements": 1},
            [ListedModel("a")],
            id="a page of them",
        ),
        pytest.param(["a", "b", "a"], [ListedModel("a"), ListedModel("b")], id="names, one twice"),
        pytest.param({"data": []}, [], id="none"),
        pytest.param(
            {"data": [None, 5, {}, {"id": 5}, {"id": " "}, {"id": "a\nb"}, {"id": "x" * 201}, []]},
            [],
            id="odd items",
        ),
        pytest.param(
            {"data": [{"id": "a", "name": 5, "max_model_len": True, "meta": {"n_ctx": -1}}]},
            [ListedModel("a")],
            id="odd fields",
        ),
        pytest.param({"data": None}, None, id="null"),
        pytest.param({"object": "list"}, None, id="no list"),
        pytest.param("a", None, id="a word"),
    ],
)
def test_each_shape(value: Any, models: list[ListedModel] | None) -> None:
    assert read_models(value) == (None if models is None else tuple(models))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "id", "name", "meta", "type"]), inner)
    ),
    max_leaves=10,
)


@given(json_values)
def test_no_json_is_too_odd(value: Any) -> None:
    for model in read_models(value) or ():
        assert model.id


def test_a_list_without_end_is_cut() -> None:
    models = read_models({"data": [{"id": str(number)} for number in range(9_000)]})
    assert models is not None
    assert len(models) == 2_000


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://host/v1", "https://host/v1/models"),
        ("https://host/v1/chat/completions/", "https://host/v1/models"),
        ("https://host/x?api-version=2", "https://host/x/models?api-version=2"),
        (
            "https://r.example/openai/deployments/gpt/chat/completions?api-version=2",
            "https://r.example/openai/models?api-version=2",
        ),
    ],
)
def test_where_the_list_is(base: str, url: str) -> None:
    assert Endpoint(base, "", "none").models_url() == url


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(key=KEY, models=("a", "b")) as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[CompletionClient]:
    client = CompletionClient(Endpoint(upstream.url, KEY, "bearer"))
    yield client
    await client.aclose()


async def test_the_client_reads_the_list(upstream: Upstream, client: CompletionClient) -> None:
    assert await client.list_models() == (ListedModel("a"), ListedModel("b"))


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Answer(status=404, body=b"404 page not found"), "model_not_found", "404 page not found"),
        (Answer(status=500, body={"error": f"bad {KEY}"}), "provider_failed", "bad [key]"),
        (Answer(status=302, headers={"Location": "http://h/"}), "misconfigured", ""),
        (Answer(body=b"<title>Log in</title>"), "provider_failed", "Log in"),
        (Answer(body={"error": {"message": "no"}}), "provider_failed", "no"),
        (Answer(body={"object": "list"}), "protocol", ""),
        (Answer(body=b"no json"), "protocol", "no json"),
        (Answer(body=b"[" + b" " * (5 << 20) + b"]"), "protocol", ""),
        (Answer(body=b"[]", headers={"Content-Encoding": "gzip"}), "protocol", ""),
        (Answer(wire=[], end="reset"), "unreachable", ""),
        (Answer(wire=[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["]), "broken", ""),
    ],
)
async def test_what_is_no_list(
    upstream: Upstream, client: CompletionClient, answer: Answer, code: str, words: str
) -> None:
    upstream.listing = answer
    with pytest.raises(CompletionError) as caught:
        await client.list_models()
    assert caught.value.code == code
    assert (caught.value.provider_words == words) or not words


async def test_a_wrong_key_is_said(upstream: Upstream) -> None:
    client = CompletionClient(Endpoint(upstream.url, "sk-other", "bearer"))
    with pytest.raises(CompletionError) as caught:
        await client.list_models()
    assert caught.value.code == "misconfigured"
    await client.aclose()


async def test_a_list_that_never_comes_is_given_up(
    upstream: Upstream, client: CompletionClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("completions.client.LIST_SECONDS", 0.3)
    upstream.listing = Answer(wire=[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["], end="hang")
    with pytest.raises(CompletionError) as caught:
        await client.list_models()
    assert caught.value.code == "total_timeout"
