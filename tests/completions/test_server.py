"""What the served endpoint sends is what clients read: ours at every cut, and by the letter."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.apierrors import ApiError, api_error, api_error_of_code
from completions.errors import (
    CompletionError,
    ModelNotFound,
    PromptTooLong,
    ProviderBusy,
    ProviderFailed,
    ProviderMisconfigured,
    ProviderPaused,
    ProviderRefused,
    ProviderUnreachable,
    StreamStalled,
    TotalTimeout,
)
from completions.reader import AnswerReader
from completions.server import (
    DONE,
    PING,
    AnswerEncoder,
    FinishedChoice,
    ModelEntry,
    completion_body,
    error_body,
    error_event,
    model_body,
    models_body,
)
from completions.types import Delta, Limits, ToolCall, ToolCallDelta, Usage
from conversations.upstream import BuiltInUnavailable

USAGE = Usage(5, 7)


def encoder(*, include_usage: bool = False) -> AnswerEncoder:
    return AnswerEncoder("chatcmpl-1", 1700000000, "m", include_usage=include_usage)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def read_event(event: bytes) -> Any:
    assert event.startswith(b"data: ")
    assert event.endswith(b"}\n\n")
    assert event.count(b"\n") == 2
    return json.loads(event.removeprefix(b"data: "))


def wait(seconds: int) -> dict[str, str]:
    return {"retry-after": str(seconds)}


def test_a_stream_to_the_letter() -> None:
    answer = encoder()
    head = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000'
    head += b',"model":"m","choices":[{"index":0,"delta":'
    assert answer.begin(0) == (
        head + b'{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n'
    )
    assert answer.delta(0, text="Hi") == (
        head + b'{"content":"Hi"},"logprobs":null,"finish_reason":null}]}\n\n'
    )
    assert answer.delta(0, reasoning="Hm") == (
        head + b'{"reasoning_content":"Hm"},"logprobs":null,"finish_reason":null}]}\n\n'
    )
    assert answer.finish(0, "stop") == (head + b'{},"logprobs":null,"finish_reason":"stop"}]}\n\n')
    assert answer.usage(USAGE) == b""
    assert (PING, DONE) == (b": ping\n\n", b"data: [DONE]\n\n")


def test_usage_is_in_every_event_if_it_was_asked_for() -> None:
    answer = encoder(include_usage=True)
    events = [answer.begin(0), answer.delta(0, text="Hi"), answer.finish(0, "stop")]
    assert [read_event(event)["usage"] for event in events] == [None, None, None]
    last = read_event(answer.usage(USAGE))
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def test_nothing_new_is_no_event() -> None:
    assert encoder().delta(0) == b""


def test_a_tool_call_is_named_once() -> None:
    answer = encoder()
    first = answer.delta(1, tool_calls=[ToolCallDelta(0, "c1", "add", "")])
    second = answer.delta(1, tool_calls=[ToolCallDelta(0, arguments="{}")])
    assert read_event(first)["choices"][0]["delta"]["tool_calls"] == [
        {
            "index": 0,
            "id": "c1",
            "type": "function",
            "function": {"name": "add", "arguments": ""},
        }
    ]
    assert read_event(second)["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "function": {"arguments": "{}"}}
    ]


def test_a_call_without_an_id_gets_the_same_one_streamed_and_whole() -> None:
    streamed = read_event(encoder().delta(1, tool_calls=[ToolCallDelta(0, name="add")]))
    whole = completion_body(
        "chatcmpl-1", 0, "m", [FinishedChoice(1, tool_calls=(ToolCall("", "add", ""),))], USAGE
    )
    (call,) = json.loads(whole)["choices"][0]["message"]["tool_calls"]
    assert call["id"] == streamed["choices"][0]["delta"]["tool_calls"][0]["id"] == "call_1_1_0"


HARD_TEXT = "a\u2028b\u2029c\x85d\ne\rf\x0bg\x1ch\x00\ud800\ufeff😀"
AS_READ = HARD_TEXT.replace("\ud800", "?")
ENDING = ApiError(502, HARD_TEXT, "upstream_error", code="broken")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(encoder().delta(0, text=HARD_TEXT), id="text"),
        pytest.param(encoder().delta(0, reasoning=HARD_TEXT), id="reasoning"),
        pytest.param(
            encoder().delta(0, tool_calls=[ToolCallDelta(0, "c", HARD_TEXT, HARD_TEXT)]), id="call"
        ),
        pytest.param(
            AnswerEncoder("i", 0, HARD_TEXT, include_usage=True).finish(0, "stop"), id="model"
        ),
        pytest.param(error_event(ENDING), id="error"),
    ],
)
def test_every_event_is_one_line_however_lines_are_cut(sent: bytes) -> None:
    lines = sent.decode().splitlines()  # cuts at U+2028, U+2029, U+0085, U+000B and U+001C too
    assert [line[:7] for line in lines] == ["data: {", ""]
    assert AS_READ in list(strings(read_event(sent)))


def test_a_whole_answer() -> None:
    choices = [
        FinishedChoice(0, "Hi", "Hm"),
        FinishedChoice(1, tool_calls=(ToolCall("c1", "add", "{}"),), finish_reason="tool_calls"),
        FinishedChoice(2, finish_reason="length"),
    ]
    whole = json.loads(completion_body("chatcmpl-1", 1700000000, "m", choices, USAGE))
    messages = [choice.pop("message") for choice in whole["choices"]]
    assert messages == [
        {"role": "assistant", "content": "Hi", "refusal": None, "reasoning_content": "Hm"},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
            ],
        },
        {"role": "assistant", "content": "", "refusal": None},
    ]
    assert whole == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [
            {"index": 0, "logprobs": None, "finish_reason": "stop"},
            {"index": 1, "logprobs": None, "finish_reason": "tool_calls"},
            {"index": 2, "logprobs": None, "finish_reason": "length"},
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }


def test_models() -> None:
    entry = {"id": "a/b", "object": "model", "created": 3, "owned_by": "x"}
    assert json.loads(model_body(ModelEntry("a/b", 3, "x"))) == entry
    assert json.loads(models_body([ModelEntry("a/b", 3, "x")])) == {
        "object": "list",
        "data": [entry],
    }


def test_an_error_to_the_letter() -> None:
    error = ApiError(400, "No.", param="n", code="invalid_value")
    body = b'{"error":{"message":"No.","type":"invalid_request_error","param":"n"'
    body += b',"code":"invalid_value"}}'
    assert error_body(error) == body
    assert error_event(error) == b"data: " + body + b"\n\n"
    nothing = json.loads(error_body(ApiError(500, "No.")))["error"]
    assert (nothing["param"], nothing["code"]) == (None, None)  # present


def codes(kind: type[CompletionError] = CompletionError) -> set[str]:
    """All that there are, wherever the class is defined."""
    return {kind.code}.union(*map(codes, kind.__subclasses__()))


@pytest.mark.parametrize(
    "code",
    [
        *sorted(codes() | {BuiltInUnavailable.code}),
        *("server_stopped", "server_killed", "lost", "model_gone", "key_lost", "stopped"),
        "abandoned",
    ],
)
def test_every_way_to_fail_has_words(code: str) -> None:
    error = api_error_of_code(code, "words", model="m")
    assert error.code != "internal"
    assert error.status >= 400
    assert error.message.strip().endswith((".", "words"))


def test_an_unknown_code_is_our_fault() -> None:
    error = api_error_of_code("?", "secret")
    assert (error.status, error.type, error.code) == (500, "server_error", "internal")
    assert "secret" not in error.message


NO_RETRY = {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("error", "status", "code", "headers"),
    [
        (ProviderRefused("", status=422), 400, "provider_refused", NO_RETRY),
        (PromptTooLong("", status=400), 400, "context_length_exceeded", NO_RETRY),
        (ModelNotFound("", status=404), 404, "model_not_found", NO_RETRY),
        (ProviderBusy("", status=429, retry_after=7.2), 429, "rate_limit_exceeded", wait(8)),
        (ProviderBusy("", status=429, retry_after=0.0), 429, "rate_limit_exceeded", wait(0)),
        (ProviderBusy("", status=429), 429, "rate_limit_exceeded", wait(2)),
        (ProviderMisconfigured("", status=401), 502, "misconfigured", NO_RETRY),
        (ProviderMisconfigured("", status=403), 502, "misconfigured", NO_RETRY),
        (ProviderUnreachable(""), 502, "unreachable", {}),
        (ProviderFailed("", status=500), 502, "provider_failed", {}),
        (ProviderFailed("", status=503, retry_after=30.0), 503, "overloaded", wait(30)),
        (ProviderFailed("", status=529), 503, "overloaded", wait(5)),
        (ProviderFailed("", detail="Overloaded"), 503, "overloaded", wait(5)),
        (ProviderPaused("", retry_after=3.2), 503, "paused", wait(4)),
        (StreamStalled(""), 504, "stalled", {}),
        (TotalTimeout(""), 504, "total_timeout", NO_RETRY),
    ],
)
def test_what_a_callers_client_is_told(
    error: CompletionError, status: int, code: str, headers: dict[str, str]
) -> None:
    told = api_error(error)
    assert (told.status, told.code, told.headers) == (status, code, headers)


def test_what_ended_without_an_error_of_the_provider() -> None:
    restarted, stopped = api_error_of_code("server_killed"), api_error_of_code("stopped")
    assert (restarted.status, restarted.headers) == (503, wait(5))
    assert (stopped.status, stopped.headers) == (409, NO_RETRY)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ProviderRefused("", detail="n must be 1", status=400),
            "The provider refused the request: n must be 1",
        ),
        (ProviderRefused("", status=400), "The provider refused the request."),
        (ModelNotFound("", detail="nope", status=404), "The model 'a\\n' does not exist."),
        (
            ProviderMisconfigured("", detail="Incorrect API key: sk-1", status=401),
            "The provider refused this site's key or address. Tell an administrator.",
        ),
    ],
)
def test_the_providers_words_are_told_unless_they_are_about_its_key(
    error: CompletionError, message: str
) -> None:
    assert api_error(error, model="a\n").message == message


# What was said of each choice: its text, reasoning, tool calls, and how it ended.
Told = dict[int, tuple[str, str, dict[int, tuple[str, str, str]], str | None]]


def joined(deltas: Iterable[Delta]) -> Told:
    told: Told = {}
    for delta in deltas:
        text, reasoning, calls, reason = told.get(delta.index, ("", "", {}, None))
        for call in delta.tool_calls:
            id, name, arguments = calls.get(call.index, ("", "", ""))
            calls[call.index] = (id + call.id, name + call.name, arguments + call.arguments)
        told[delta.index] = (
            text + delta.text,
            reasoning + delta.reasoning,
            calls,
            delta.finish_reason or reason,
        )
    return told


def named(deltas: Iterable[Delta]) -> Iterator[Delta]:
    """The same with calls counted from 0 as they begin, named in their first deltas; and ends."""
    order: dict[int, list[int]] = {choice: [] for choice in range(CHOICES)}
    for delta in deltas:
        known, calls = order[delta.index], []
        for call in delta.tool_calls:
            if call.index not in known:
                known.append(call.index)
                call = replace(call, id=f"c{delta.index}.{call.index}", name="add")
            calls.append(replace(call, index=known.index(call.index)))
        yield replace(delta, tool_calls=tuple(calls))
    for choice, calling in order.items():
        yield Delta(choice, finish_reason="tool_calls" if calling else "length")


CHOICES = 3
# "<" might begin a <think>, which readers take for reasoning.
plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=9)
calls = st.lists(st.builds(ToolCallDelta, st.integers(0, 1), arguments=plain), max_size=2)
deltas = st.builds(Delta, st.integers(0, CHOICES - 1), plain, plain, tool_calls=calls.map(tuple))


@given(st.lists(deltas, max_size=6).map(named).map(list), st.booleans(), st.integers(1, 50))
def test_our_own_reader_gets_back_what_was_sent_at_every_cut(
    meant: list[Delta], include_usage: bool, size: int
) -> None:
    answer = encoder(include_usage=include_usage)
    sent = b"".join(map(answer.begin, range(CHOICES))) + PING
    for delta in meant:
        if delta.finish_reason:
            sent += answer.finish(delta.index, delta.finish_reason)
        else:
            sent += answer.delta(
                delta.index,
                text=delta.text,
                reasoning=delta.reasoning,
                tool_calls=delta.tool_calls,
            )
    sent += answer.usage(USAGE) + DONE
    for length in (1, size, len(sent)):
        reader = AnswerReader(CHOICES, Limits())
        pieces = [sent[start : start + length] for start in range(0, len(sent), length)]
        chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
        chunks += reader.finish()
        assert joined(delta for chunk in chunks for delta in chunk.deltas) == joined(meant)
        usages = [chunk.usage for chunk in chunks if chunk.usage]
        assert usages == ([USAGE] if include_usage else [])


def test_a_stream_that_fails_fails_for_our_own_reader() -> None:
    answer = encoder()
    reader = AnswerReader(1, Limits())
    got = list(reader.feed(answer.begin(0) + answer.delta(0, text="Half")))
    with pytest.raises(ProviderFailed) as caught:
        list(reader.feed(error_event(ApiError(502, "It broke off.", "upstream_error"))))
    assert [delta.text for chunk in got for delta in chunk.deltas] == ["Half"]
    assert caught.value.detail == "It broke off."
