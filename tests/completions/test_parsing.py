"""The served endpoint takes what clients send, and names the field of whatever it does not take."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.apierrors import ApiError
from completions.encoding import Form, encode_request
from completions.messages import MOST_MESSAGES
from completions.parsing import ServedRequest, parse_request
from completions.server import error_body
from completions.types import PASSED_ON, ChatMessage, CompletionRequest, ToolCall

HELLO = {"role": "user", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
TEXT = {"type": "text", "text": "Hello"}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [HELLO]} | fields).encode()


def parsed(**fields: Any) -> ServedRequest:
    return parse_request(body(**fields))


def tool(**function: Any) -> list[Any]:
    return [{"type": "function", "function": function}]


def refused(posted: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_request(posted)
    error = caught.value
    assert (error.status, error.type) == (400, "invalid_request_error")
    assert error.headers == {"x-should-retry": "false"}
    assert json.loads(error_body(error))["error"]["param"] == error.param
    return error


def answered(posted: bytes) -> int:
    """The status of the answer, as far as it depends on the body."""
    try:
        parse_request(posted)
    except ApiError as error:
        return error.status
    return 200


def test_the_published_example() -> None:
    served = parsed(
        messages=[{"role": "system", "content": "Be brief."}],
        max_tokens=100,
        n=1,
        stop=["\n"],
        stream=False,
        temperature=1,
        top_p=1,
    )
    assert served == ServedRequest(
        CompletionRequest(
            "m",
            (ChatMessage("system", "Be brief."),),
            temperature=1.0,
            top_p=1.0,
            max_tokens=100,
            stop=("\n",),
        )
    )


def test_little_is_required_and_nulls_mean_unset() -> None:
    names = (
        *("max_tokens", "max_completion_tokens", "n", "stop", "stream", "stream_options"),
        *("temperature", "top_p", "store", "user", *sorted(PASSED_ON)),
    )
    least = ServedRequest(CompletionRequest("m", (ChatMessage("user", "Hello"),)))
    assert parsed() == parsed(**dict.fromkeys(names)) == least


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        pytest.param({"stop": "END"}, "stop", ("END",), id="stop is a string"),
        pytest.param({"stop": []}, "stop", (), id="stop is an empty list"),
        pytest.param({"stop": ["a", "b", "c", "d"]}, "stop", ("a", "b", "c", "d"), id="four stops"),
        pytest.param({"max_completion_tokens": 7}, "max_tokens", 7, id="the newer name"),
        pytest.param({"max_tokens": 9, "max_completion_tokens": 7}, "max_tokens", 7, id="it wins"),
        pytest.param({"max_tokens": 9, "max_completion_tokens": None}, "max_tokens", 9, id="null"),
        pytest.param({"temperature": 0}, "temperature", 0.0, id="temperature 0"),
        pytest.param({"temperature": 2.0}, "temperature", 2.0, id="temperature 2"),
        pytest.param({"top_p": 0}, "top_p", 0.0, id="top_p 0"),
        pytest.param({"n": 128}, "n", 128, id="n 128"),
        pytest.param({"seed": 5, "logprobs": True}, "options", {"seed": 5}, id="seed"),
        pytest.param({"metadata": {"a": [1]}, "x": 1}, "options", {}, id="unknown fields"),
        pytest.param({"tools": [TOOL]}, "options", {"tools": [TOOL]}, id="tools"),
        pytest.param(
            {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "verbosity": "low"},
            "options",
            {"verbosity": "low"},
            id="an empty list of tools",
        ),
        pytest.param({"logit_bias": {"50256": -100}}, "options", {"logit_bias": {"50256": -100}}),
        pytest.param(
            {"tool_choice": {"type": "function", "function": {"name": "add"}}},
            "options",
            {"tool_choice": {"type": "function", "function": {"name": "add"}}},
            id="tool_choice names a function",
        ),
        pytest.param(
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "options",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            id="response_format",
        ),
    ],
)
def test_fields(fields: dict[str, Any], name: str, value: object) -> None:
    assert getattr(parsed(**fields).request, name) == value


@pytest.mark.parametrize(
    ("fields", "stream", "include_usage", "store"),
    [
        ({"stream": True}, True, False, True),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True, True),
        ({"stream": True, "stream_options": {"include_usage": None}}, True, False, True),
        ({"stream_options": {"include_usage": True, "include_obfuscation": 1}}, False, True, True),
        ({"store": True}, False, False, True),
        ({"store": False}, False, False, False),
    ],
)
def test_how_the_answer_is_wanted(
    fields: dict[str, Any], stream: bool, include_usage: bool, store: bool
) -> None:
    served = parsed(**fields)
    assert (served.stream, served.include_usage, served.store) == (stream, include_usage, store)


ADD = ToolCall("c1", "add", '{"a": 1}')


@pytest.mark.parametrize(
    ("message", "read"),
    [
        pytest.param({"role": "user", "content": ""}, ChatMessage("user", ""), id="empty"),
        pytest.param(
            {"role": "developer", "content": "x", "name": "Ann"},
            ChatMessage("developer", "x", name="Ann"),
            id="developer, named",
        ),
        pytest.param(
            {"role": "user", "content": [TEXT, {"type": "input_text", "text": "!"}]},
            ChatMessage("user", "Hello!"),
            id="text parts",
        ),
        pytest.param(
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            ChatMessage("assistant", "No."),
            id="a refusal",
        ),
        pytest.param(
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm"}, TEXT]},
            ChatMessage("assistant", "Hello"),
            id="thoughts sent back",
        ),
        pytest.param(
            {"role": "assistant", "content": "x", "reasoning_content": "Hm", "refusal": None},
            ChatMessage("assistant", "x"),
            id="a whole message sent back",
        ),
        pytest.param(
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            ChatMessage("assistant", "", (ADD,)),
            id="tool calls",
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": [CALL], "content": []},
            ChatMessage("assistant", "", (ADD,)),
            id="tool calls beside an empty list",
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": None}, ChatMessage("assistant", ""), id="nothing"
        ),
        pytest.param(
            {"role": "tool", "content": "2", "tool_call_id": "c1"},
            ChatMessage("tool", "2", tool_call_id="c1"),
            id="a tool's result",
        ),
        pytest.param(
            {"role": "assistant", "content": None, "function_call": CALL["function"]},
            ChatMessage("assistant", "", (ToolCall("call_add", "add", '{"a": 1}'),)),
            id="an old function call",
        ),
        pytest.param(
            {"role": "function", "name": "add", "content": "2"},
            ChatMessage("tool", "2", tool_call_id="call_add", name="add"),
            id="an old function's result",
        ),
        pytest.param(
            {"role": "user", "content": "\U0001f600\u2028é"},
            ChatMessage("user", "\U0001f600\u2028é"),
            id="text is left as it is",
        ),
    ],
)
def test_messages(message: dict[str, Any], read: ChatMessage) -> None:
    assert parsed(messages=[HELLO, message]).request.messages == (
        ChatMessage("user", "Hello"),
        read,
    )


NOT_TAKEN: dict[str, tuple[Any, ...]] = {
    "model": (None, "", 1, ["m"], "m" * 201),
    "messages": (None, [], {}, "Hello", HELLO),
    "temperature": (-0.1, 2.1, "1", True, [1], {}),
    "top_p": (-0.1, 1.01, "1", False),
    "n": (0, -1, 129, 1.0, "1", True, 2**64 - 1),
    "max_tokens": (0, -1, 2**31, 1.5, "9", True),
    "max_completion_tokens": (0, {}),
    "stop": (1, {}, "", ["a"] * 5, True),
    "stream": (1, "true", []),
    "stream_options": (True, []),
    "store": (0, "no"),
    "seed": (1.5, True, "1", 2**63),
    "presence_penalty": (-2.1, "0"),
    "frequency_penalty": (2.1, True),
    "logit_bias": ([1], "7"),
    "reasoning_effort": (1, "", "x" * 41),
    "parallel_tool_calls": ("yes",),
    "response_format": ("json_object",),
    "tools": ({}, "add"),
    "tool_choice": ("any", 1, []),
}


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        *((name, {name: value}) for name, values in NOT_TAKEN.items() for value in values),
        ("messages.0", {"messages": [None]}),
        ("messages.0", {"messages": ["Hello"]}),
        ("max_tokens", {"max_tokens": 0, "max_completion_tokens": 1}),
        ("stop.1", {"stop": ["a", ""]}),
        ("stop.0", {"stop": [None]}),
        ("stream_options.include_usage", {"stream_options": {"include_usage": 1}}),
        ("logit_bias.7", {"logit_bias": {"7": 101}}),
        ("response_format.type", {"response_format": {"type": "xml"}}),
        ("response_format.json_schema", {"response_format": {"type": "json_schema"}}),
        (
            "response_format.json_schema.schema",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 1}}},
        ),
        ("tools.0", {"tools": ["add"]}),
        ("tools.1.type", {"tools": [TOOL, {"type": "web_search"}]}),
        ("tools.0.function", {"tools": [{"type": "function"}]}),
        ("tools.0.function.name", {"tools": tool()}),
        ("tools.0.function.name", {"tools": tool(name="a b")}),
        ("tools.0.function.name", {"tools": tool(name="a" * 65)}),
        ("tools.0.function.name", {"tools": tool(name="é")}),
        ("tools.0.function.name", {"tools": tool(name="a\n")}),
        ("tools.0.function.description", {"tools": tool(name="a", description=1)}),
        ("tools.0.function.parameters", {"tools": tool(name="a", parameters=[])}),
        ("tools.0.function.strict", {"tools": tool(name="a", strict=1)}),
        ("tool_choice.type", {"tool_choice": {"function": {"name": "a"}}}),
        ("tool_choice.function", {"tool_choice": {"type": "function"}}),
        ("tool_choice.function.name", {"tool_choice": {"type": "function", "function": {}}}),
        ("tool_choice.allowed_tools", {"tool_choice": {"type": "allowed_tools"}}),
    ],
)
def test_faulty_fields_are_named(param: str, fields: dict[str, Any]) -> None:
    error = refused(body(**fields))
    assert (error.param, error.code) == (param, "invalid_value")
    assert param in error.message


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("role", {"content": "x"}),
        ("role", {"role": "", "content": "x"}),
        ("role", {"role": "bot", "content": "x"}),
        ("role", {"role": ["user"], "content": "x"}),
        ("role", {"role": {}, "content": "x"}),
        ("content", {"role": "user", "content": None}),
        ("content", {"role": "user", "content": []}),
        ("content", {"role": "user", "content": {}}),
        ("content", {"role": "user", "content": True}),
        ("content", {"role": "system"}),
        ("content", {"role": "tool", "content": None, "tool_call_id": "c1"}),
        ("content", {"role": "assistant", "content": 1}),
        ("content.0", {"role": "user", "content": ["Hello"]}),
        ("content.0.type", {"role": "user", "content": [{"text": "Hello"}]}),
        ("content.1.text", {"role": "user", "content": [TEXT, {"type": "text", "text": None}]}),
        ("tool_call_id", {"role": "tool", "content": "2"}),
        ("tool_call_id", {"role": "tool", "content": "2", "tool_call_id": 1}),
        ("name", {"role": "user", "content": "x", "name": 1}),
        ("name", {"role": "function", "content": "x"}),
        ("tool_calls", {"role": "assistant", "tool_calls": {}}),
        ("tool_calls.0", {"role": "assistant", "tool_calls": ["add"]}),
        ("tool_calls.0.id", {"role": "assistant", "tool_calls": [CALL | {"id": ""}]}),
        ("tool_calls.0.type", {"role": "assistant", "tool_calls": [CALL | {"type": "custom"}]}),
        ("tool_calls.0.function", {"role": "assistant", "tool_calls": [{"id": "c1"}]}),
        (
            "tool_calls.0.function.arguments",
            {"role": "assistant", "tool_calls": [CALL | {"function": {"name": "a"}}]},
        ),
        ("function_call.name", {"role": "assistant", "function_call": {"arguments": ""}}),
    ],
)
def test_faulty_messages_are_named(param: str, message: dict[str, Any]) -> None:
    error = refused(body(messages=[HELLO, message]))
    assert (error.param, error.code) == (f"messages.1.{param}", "invalid_value")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("image_url", "Images are not supported"),
        ("input_image", "Images are not supported"),
        ("input_audio", "Audio parts are not supported"),
        ("file", "Files are not supported"),
        ("thinking", 'of type "thinking"'),
        ("\ufffd" * 1000, "Such parts are not supported"),
    ],
)
def test_only_text_is_supported(kind: str, words: str) -> None:
    error = refused(body(messages=[{"role": "user", "content": [TEXT, {"type": kind}]}]))
    assert (error.param, error.code) == ("messages.0.content.1", "unsupported_content")
    assert words in error.message
    assert len(error.message) < 200


DIGITS = b"9" * 5000


@pytest.mark.parametrize(
    ("param", "posted"),
    [
        pytest.param(None, b"", id="empty"),
        pytest.param(None, b" \r\n", id="blank"),
        pytest.param(None, b"model=m", id="a form"),
        pytest.param(None, b'{"model": "m"', id="cut"),
        pytest.param(None, b'{"model": "m"} {}', id="two"),
        pytest.param(None, b'{"model": "\x00"}', id="a raw NUL"),
        pytest.param(None, b"[]", id="a list"),
        pytest.param(None, b"null", id="null"),
        pytest.param(None, DIGITS, id="5,000 digits alone"),
        pytest.param(None, b"NaN", id="NaN alone"),
        pytest.param(None, b'{"model": "\xff"}', id="not UTF-8"),
        pytest.param(None, '{"model": "m"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(None, b"[" * 100_000, id="100,000 brackets"),
        pytest.param(None, b'{"\\ud800": 1}', id="half a pair in a name"),
        pytest.param("messages", b'{"a": "}", "messages": ' + b"[" * 100_000, id="brackets within"),
        pytest.param("x", b'{"x": ' + b'{"a":' * 100_000, id="braces within"),
        pytest.param("x" + ".0" * 63, b'{"x": %b}' % (b"[" * 64 + b"]" * 64), id="65 levels"),
        pytest.param("x.y", b'{"x": {"y": NaN}}', id="NaN"),
        pytest.param("temperature", b'{"temperature": -Infinity}', id="infinity"),
        pytest.param("temperature", b'{"temperature": 1e999}', id="1e999"),
        pytest.param("n", b'{"n": %b}' % DIGITS, id="5,000 digits"),
        pytest.param("n", b'{"n": -%b}' % DIGITS, id="5,000 negative digits"),
        pytest.param("seed", b'{"seed": 18446744073709551616}', id="65 bits"),
        pytest.param(
            "messages.0.content", b'{"messages":[{"content":"\\ud800"}]}', id="half a pair"
        ),
        pytest.param("messages.0.content", b'{"messages":[{"content":"a\\u0000"}]}', id="NUL"),
        pytest.param("tools.0", b'{"tools": [{"\\u0000": 1}]}', id="NUL in a name"),
        pytest.param("y" * 39 + "…", b'{"%b": NaN}' % (b"y" * 5000), id="a long name"),
    ],
)
def test_hostile_bodies(param: str | None, posted: bytes) -> None:
    error = refused(posted)
    assert error.param == (param if param is None else param[:200])
    assert len(error.message) < 300


def test_a_message_says_what_is_wanted_and_what_was_got() -> None:
    assert refused(body(temperature=3)).message == (
        "temperature must be a number between 0 and 2, not 3."
    )
    assert refused(body(n=True)).message == (
        "n must be a whole number between 1 and 128, not true."
    )
    assert refused(b"{}").message.startswith("model is required")
    assert refused(b'{"n": %b}' % DIGITS).message.endswith("not a number of 5000 digits.")


def test_a_byte_order_mark_and_repeated_names_do_no_harm() -> None:
    posted = (
        b'\xef\xbb\xbf{"model": 1, "messages": [{"role": "user", "content": "x"}], "model": "m"}'
    )
    assert parse_request(posted).request.model == "m"


def test_62_levels_are_taken() -> None:
    schema = json.loads('{"a":' * 58 + "1" + "}" * 58)
    tools = tool(name="a", parameters=schema)
    assert parsed(tools=tools).request.options == {"tools": tools}


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0e9\\u d8model', max_size=60))
def test_any_bytes_are_a_request_or_a_400(posted: bytes | str) -> None:
    assert answered(posted if isinstance(posted, bytes) else posted.encode()) in (200, 400)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
names = (
    *("model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "n"),
    *("stop", "stream", "stream_options", "store", *sorted(PASSED_ON)),
)


@given(st.dictionaries(st.sampled_from(names), json_values), json_values)
def test_any_values_are_a_request_or_a_400(fields: dict[str, Any], part: Any) -> None:
    messages = [HELLO, {"role": "assistant", "content": part, "tool_calls": part}]
    for posted in (fields, {"model": "m", "messages": messages} | fields):
        assert answered(json.dumps(posted).encode()) in (200, 400)


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
word = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
calls = st.lists(st.builds(ToolCall, word, word, text), max_size=3).map(tuple)
messages = (
    st.builds(ChatMessage, st.sampled_from(["system", "user"]), text, name=st.just("") | word)
    | st.builds(ChatMessage, st.just("assistant"), text, calls)
    | st.builds(ChatMessage, st.just("tool"), text, tool_call_id=word)
)
requests = st.builds(
    CompletionRequest,
    model=word,
    messages=st.lists(messages, min_size=1, max_size=4).map(tuple),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    max_tokens=st.none() | st.integers(1, 2**31 - 1),
    stop=st.lists(text.filter(bool), max_size=4).map(tuple),
    n=st.integers(1, 128),
    options=st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(-(2**63), 2**63 - 1),
            "tools": st.just([TOOL]),
            "tool_choice": st.sampled_from(["none", "auto", "required"]),
            "presence_penalty": st.floats(-2, 2),
            "response_format": st.just({"type": "json_object"}),
            "verbosity": word,
        },
    ),
)


@given(requests, st.builds(Form, st.booleans(), st.booleans()))
def test_what_our_own_client_sends_is_read_as_it_was_meant(
    request: CompletionRequest, form: Form
) -> None:
    served = parse_request(encode_request(request, form))
    assert served == ServedRequest(request, stream=True, include_usage=form.include_usage)


def test_there_are_only_so_many_messages() -> None:
    message = {"role": "user", "content": "x"}

    def body(count: int) -> bytes:
        return json.dumps({"model": "m", "messages": [message] * count}).encode()

    assert len(parse_request(body(MOST_MESSAGES)).request.messages) == MOST_MESSAGES
    with pytest.raises(ApiError) as caught:
        parse_request(body(MOST_MESSAGES + 1))
    assert (caught.value.status, caught.value.param) == (400, "messages")
