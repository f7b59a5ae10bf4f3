"""Requests are sent strictly, JSON is read leniently."""

import json
import math
from typing import Any

import pytest

from completions.codec import MalformedJson, decode_chunk, decode_json
from completions.encoding import Form, encode_request
from completions.endpoint import Endpoint
from completions.errors import CompletionError, ProviderMisconfigured, ProviderRefused
from completions.types import ChatMessage, CompletionRequest, Delta, ToolCall, Usage

HELLO = (ChatMessage("user", "Hello"),)


def encoded(**fields: Any) -> Any:
    request = CompletionRequest(**({"model": "m", "messages": HELLO} | fields))
    return json.loads(encode_request(request))


def test_only_what_is_set_is_sent() -> None:
    assert encoded() == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_everything_that_is_set_is_sent() -> None:
    body = encoded(temperature=0.0, top_p=0.5, max_tokens=9, stop=("a", "b"), n=3)
    assert body.items() >= {"temperature": 0.0, "top_p": 0.5, "max_tokens": 9, "n": 3}.items()
    assert body["stop"] == ["a", "b"]


def test_stream_options_can_be_left_out() -> None:
    body = encode_request(CompletionRequest("m", HELLO), Form(include_usage=False))
    assert "stream_options" not in json.loads(body)


def test_the_limit_can_have_its_newer_name() -> None:
    request = CompletionRequest("m", HELLO, max_tokens=9)
    body = json.loads(encode_request(request, Form(renamed_limit=True)))
    assert (body["max_completion_tokens"], "max_tokens" in body) == (9, False)


def test_roles_pass_through_but_developer_becomes_system() -> None:
    roles = ("developer", "system", "user", "assistant")
    body = encoded(messages=tuple(ChatMessage(role, "x") for role in roles))
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "system",
        "user",
        "assistant",
    ]


def test_a_prefill_ends_with_the_assistants_message_and_adds_nothing() -> None:
    messages = (*HELLO, ChatMessage("assistant", "Well"))
    body = encoded(messages=messages, prefill=True)
    assert body["messages"][-1] == {"role": "assistant", "content": "Well"}
    assert body == encoded(messages=messages)


def test_tool_calls_and_their_answers_are_sent() -> None:
    call = ToolCall("c1", "weather", '{"city":"Rome"}')
    body = encoded(
        messages=(
            ChatMessage("user", "Rain?", name="ann"),
            ChatMessage("assistant", "", tool_calls=(call,)),
            ChatMessage("tool", "No.", tool_call_id="c1"),
            ChatMessage("assistant", "Let me see.", tool_calls=(call,)),
        )
    )
    function = {"name": "weather", "arguments": '{"city":"Rome"}'}
    calls = [{"id": "c1", "type": "function", "function": function}]
    assert body["messages"] == [
        {"role": "user", "content": "Rain?", "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "No.", "tool_call_id": "c1"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
    ]


def test_options_are_passed_on_but_replace_nothing() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"a": [1, None]}}}]
    body = encoded(
        options={"tools": tools, "seed": 7, "model": "x", "stream": False, "n": 5, "store": True}
    )
    own = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    messages = {"messages": [{"role": "user", "content": "Hello"}]}
    assert body == {"tools": tools, "seed": 7} | own | messages


@pytest.mark.parametrize(
    ("seed", "sent"), [(10**30, 10**30), ("a\ud800", "a?"), ({"\ud800": ["\ud800"]}, {"?": ["?"]})]
)
def test_odd_options_do_not_stop_a_request(seed: Any, sent: Any) -> None:
    assert encoded(options={"seed": seed})["seed"] == sent


def test_options_nested_without_end_are_refused() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    try:
        with pytest.raises(ProviderRefused):
            encoded(options={"tools": nested})
    finally:
        while nested:  # its own end would be as deep
            (nested,) = nested


def test_a_lone_surrogate_does_not_stop_a_request() -> None:
    body = encoded(messages=(ChatMessage("user", "a\ud800b\x00"),))
    assert body["messages"][0]["content"] == "a?b\x00"


def test_json_is_read_as_python_would() -> None:
    assert math.isnan(decode_json(b"NaN"))
    assert decode_json(b'"\\ud800"') == "\ud800"
    assert decode_json(b'"a\xffb"') == "a\ufffdb"
    assert decode_json(b' {"a": 1} ') == {"a": 1}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[DONE]", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000 + b"x"]
)
def test_malformed_json_has_one_error(data: bytes) -> None:
    with pytest.raises(MalformedJson):
        decode_json(data)


def test_a_huge_number_is_no_trouble() -> None:
    huge = b"1" + b"0" * 400
    usage = b'{"usage": {"prompt_tokens": %b, "completion_tokens": -%b}}' % (huge, huge)
    assert decode_chunk(decode_json(usage)).usage == Usage(2**31 - 1, 0)


def test_an_ordinary_chunk() -> None:
    chunk = decode_chunk(
        {
            "model": "m-1",
            "choices": [{"index": 1, "delta": {"content": "Hi"}, "finish_reason": None}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        }
    )
    assert chunk.deltas == (Delta(1, "Hi"),)
    assert chunk.usage == Usage(1, 2)
    assert chunk.usage.total_tokens == 3
    assert chunk.model == "m-1"


@pytest.mark.parametrize(
    ("index", "read"), [(3, 3), (None, 0), ("2", 0), (True, 0), (-4, 0), (10**30, 127), (1.0, 0)]
)
def test_indexes_are_clamped_and_default_to_the_position(index: Any, read: int) -> None:
    assert decode_chunk({"choices": [{"index": index, "delta": {}}]}).deltas == (Delta(read),)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 1.7, "completion_tokens": "5"}, Usage(1, 5)),
        ({"prompt_tokens": None, "completion_tokens": None}, None),
        ({"input_tokens": 4, "output_tokens": 5}, Usage(4, 5)),
        ({"prompt_tokens": math.nan, "completion_tokens": math.inf}, Usage(0, 2**31 - 1)),
        ({"prompt_tokens": True, "completion_tokens": 1}, Usage(0, 1)),
        ({}, None),
        ([1], None),
    ],
)
def test_usage(usage: Any, read: Usage | None) -> None:
    assert decode_chunk({"usage": usage}).usage == read


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://host/v1", "https://host/v1/chat/completions"),
        ("https://host/v1/", "https://host/v1/chat/completions"),
        ("https://host/v1/chat/completions", "https://host/v1/chat/completions"),
        (" https://host/v1/chat/completions/ ", "https://host/v1/chat/completions"),
        ("http://[::1]:80", "http://[::1]:80/chat/completions"),
        ("https://host/x?api-version=2", "https://host/x/chat/completions?api-version=2"),
    ],
)
def test_the_url_to_post_to(base: str, url: str) -> None:
    assert Endpoint(base, "", "none").completions_url() == url


@pytest.mark.parametrize(
    "base", ["", "host/v1", "ftp://host", "https://", "http://h:x", "http://[", "http://a:b@h"]
)
def test_no_url_is_a_misconfiguration(base: str) -> None:
    with pytest.raises(ProviderMisconfigured):
        Endpoint(base, "", "none").completions_url()


def test_the_key_goes_where_the_provider_wants_it() -> None:
    assert Endpoint("http://h", "k1", "bearer").headers()["Authorization"] == "Bearer k1"
    assert Endpoint("http://h", "k1", "x-api-key").headers()["x-api-key"] == "k1"
    for endpoint in (Endpoint("http://h", "k1", "none"), Endpoint("http://h", "", "bearer")):
        assert not {"Authorization", "x-api-key"} & endpoint.headers().keys()


@pytest.mark.parametrize(
    "key", ["sk-top\nsecret", "sk-top\rsecret", "sk-topsécret", "sk-top secret"]
)
def test_a_key_that_cannot_be_sent_is_named_in_no_text(key: str) -> None:
    endpoint = Endpoint("http://h", key, "bearer")
    with pytest.raises(ProviderMisconfigured) as caught:
        endpoint.headers()
    shown = f"{caught.value!r} {caught.value} {caught.value.detail} {endpoint!r}"
    assert "sk-top" not in shown


def test_the_key_is_taken_out_of_the_providers_words() -> None:
    endpoint = Endpoint("http://h", "sk-secret", "bearer")
    error = CompletionError("x", detail="bad key sk-secret, I said sk-secret", param="sk-secret")
    endpoint.redact(error)
    assert error.param == "[key]"
    assert error.provider_words == "bad key [key], I said [key]"
    cut_off = CompletionError("x", detail="z" * 493 + " sk-secret and more")
    endpoint.redact(cut_off)
    assert "sk-s" not in cut_off.provider_words
