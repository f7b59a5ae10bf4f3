"""The OpenAPI document says what the endpoint does: its schemas agree with parsing and answers."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions.apierrors import ApiError, api_error_of_code
from completions.messages import MOST_MESSAGES
from completions.openapi import document
from completions.parsing import parse_request
from completions.schemas import SCHEMAS
from completions.server import (
    AnswerEncoder,
    FinishedChoice,
    ModelEntry,
    completion_body,
    error_body,
    model_body,
    models_body,
)
from completions.types import PASSED_ON, ToolCall, ToolCallDelta, Usage

BASE = "https://chat.example.org"
METHODS = {"get", "post"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
# What conforms() knows, so that no schema says more than is checked.
KEYWORDS = {
    *("$ref", "anyOf", "type", "const", "enum", "required", "properties", "items"),
    *("additionalProperties", "minItems", "maxItems", "minLength", "maxLength", "pattern"),
    *("minimum", "maximum", "description", "deprecated"),
}


def is_of_type(value: object, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def conforms(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value is as a JSON Schema has it, of which this knows what the document uses."""
    assert schema.keys() <= KEYWORDS
    if "$ref" in schema:
        return conforms(value, SCHEMAS[schema["$ref"].rpartition("/")[2]])
    types = schema.get("type", list(TYPES))
    if not any(is_of_type(value, name) for name in ([types] if isinstance(types, str) else types)):
        return False
    if "anyOf" in schema and not any(conforms(value, one) for one in schema["anyOf"]):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str):
        return (
            schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
            and re.search(schema.get("pattern", ""), value) is not None
        )
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", {})
        return value.keys() >= set(schema.get("required", ())) and all(
            conforms(item, known.get(name, other)) for name, item in value.items()
        )
    if isinstance(value, list):
        return schema.get("minItems", 0) <= len(value) <= schema.get(
            "maxItems", len(value)
        ) and all(conforms(item, schema.get("items", {})) for item in value)
    if is_of_type(value, "number"):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every object anywhere in the document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from parts(inner)


def operations() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    return [
        (path, item, operation)
        for path, item in document(BASE, "1.2")["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def test_it_is_json_with_the_sites_address_and_version() -> None:
    whole = json.loads(json.dumps(document(BASE, "1.2")))
    assert whole["openapi"] == "3.1.0"
    assert whole["info"]["version"] == "1.2"
    assert whole["servers"] == [{"url": BASE}]
    assert f"{BASE}/api/organizations/{{orgId}}/ai" in whole["info"]["description"]


def test_every_reference_leads_somewhere_and_everything_is_used() -> None:
    whole = document(BASE, "1.2")
    used = {part["$ref"] for part in parts(whole) if "$ref" in part}
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "parameters", "headers", "responses")
        for name in whole["components"][kind]
    }
    assert there == used
    assert used <= there


def test_operations_are_named_and_their_paths_parameters_declared() -> None:
    whole = document(BASE, "1.2")
    names = [operation["operationId"] for _path, _item, operation in operations()]
    assert names == ["createChatCompletion", "getChatCompletion", "listModels", "getModel"]
    for path, item, _operation in operations():
        refs = [parameter["$ref"].rpartition("/")[2] for parameter in item["parameters"]]
        declared = {whole["components"]["parameters"][ref]["name"] for ref in refs}
        assert declared == set(re.findall(r"{(\w+)}", path))


def test_every_answer_is_described_and_every_error_is_json() -> None:
    whole = document(BASE, "1.2")
    for _path, _item, operation in operations():
        assert {"200", "401", "403", "404", "405", "500", "503"} <= operation["responses"].keys()
        assert operation["summary"]
    for response in whole["components"]["responses"].values():
        assert response["description"]
        assert "x-request-id" in response["headers"]
        (media,) = response["content"].values()
        assert conforms(media["example"], media["schema"])
        assert (
            error_body(ApiError(400, **media["example"]["error"]))
            == json.dumps(media["example"], separators=(",", ":")).encode()
        )


@pytest.mark.parametrize(
    "code", ["refused", "model_gone", "busy", "misconfigured", "stopped", "paused", "stalled"]
)
def test_every_status_that_a_failed_answer_has_is_documented(code: str) -> None:
    status = str(api_error_of_code(code).status)
    for operation in ("createChatCompletion", "getChatCompletion"):
        (found,) = [o for _path, _item, o in operations() if o["operationId"] == operation]
        assert status in found["responses"]


def test_the_examples_are_right() -> None:
    media = operations()[0][2]["requestBody"]["content"]["application/json"]
    for example in media["examples"].values():
        assert conforms(example["value"], media["schema"])
        parse_request(json.dumps(example["value"]).encode())
    for _path, _item, operation in operations():
        media = operation["responses"]["200"]["content"]["application/json"]
        assert conforms(media["example"], media["schema"])


CHOICES = (
    FinishedChoice(0, "Hi", "Hm"),
    FinishedChoice(1, tool_calls=(ToolCall("c1", "add", "{}"),), finish_reason="tool_calls"),
)
USAGE = Usage(1, 2)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Error", error_body(api_error_of_code("busy"))),
        ("Model", model_body(ModelEntry("m", 1, "x"))),
        ("ModelList", models_body([ModelEntry("m", 1, "x")])),
        ("ModelList", models_body([])),
        (
            "ChatCompletion",
            completion_body("i", 1, "m", CHOICES, USAGE),
        ),
    ],
)
def test_answers_conform(name: str, sent: bytes) -> None:
    assert conforms(json.loads(sent), SCHEMAS[name])


def test_events_conform() -> None:
    answer = AnswerEncoder("i", 1, "m", include_usage=True)
    events = answer.begin(0)
    events += answer.delta(0, text="Hi", reasoning="Hm", tool_calls=[ToolCallDelta(0, "c", "add")])
    events += answer.delta(0, tool_calls=[ToolCallDelta(0, arguments="{}")])
    events += answer.finish(0, "length") + answer.usage(USAGE)
    chunks = [json.loads(line[6:]) for line in events.split(b"\n") if line]
    assert [conforms(chunk, SCHEMAS["ChatCompletionChunk"]) for chunk in chunks] == [True] * 5
    assert not conforms(chunks[0] | {"usage": {}}, SCHEMAS["ChatCompletionChunk"])


odd = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, -1, 2, 3, 128, 129, 2**31 - 1, 2**31, 2**63, 0.5, 2.5, -2.5, 1e9])
    | st.sampled_from(["", "a", "a b", "auto", "low", "m" * 65, "m" * 201, "m" * 257])
    | st.sampled_from([[], {}, [[]], ["a"], ["a", ""], ["a"] * 5, {"7": 101}, {"7": 3, "8": None}])
)


def often(*values: object) -> st.SearchStrategy[Any]:
    """One of the values, which may be strategies, or else something odd."""
    right = st.one_of(*(v if isinstance(v, st.SearchStrategy) else st.just(v) for v in values))
    return st.integers(0, 7).flatmap(lambda chance: right if chance else odd)


def objects(required: dict[str, Any], **others: Any) -> st.SearchStrategy[Any]:
    """Objects that may lack anything, the required seldom."""
    full = st.fixed_dictionaries(required, optional=others)
    return often(full, full, full, st.fixed_dictionaries({}, optional=required | others))


calls = objects(
    {"id": often("c1"), "function": objects({"name": often("add"), "arguments": often("{}")})},
    type=often("function", "custom"),
)
text_parts = objects(
    {"type": often("text", "input_text", "refusal", "thinking", "image_url"), "text": often("x")},
    refusal=often("No."),
)
message_values = objects(
    {
        "role": often("system", "developer", "user", "assistant", "tool", "function", "bot"),
        "content": often("x", "", st.lists(text_parts, max_size=2)),
    },
    name=often("Ann"),
    tool_call_id=often("c1"),
    tool_calls=often(st.lists(calls, max_size=2)),
)
functions = objects(
    {"name": often("add", "a.b")},
    description=often("Adds."),
    parameters=often({"type": "object"}),
    strict=often(True),
)
tools = objects({"type": often("function", "custom"), "function": functions})
formats = objects(
    {"type": often("text", "json_object", "json_schema", "xml")},
    json_schema=objects({"name": often("x")}, schema=often({})),
)
choices = objects(
    {"type": often("function", "allowed_tools", "custom"), "function": functions},
    allowed_tools=often({}),
)
OPTIONAL = sorted(
    {"temperature", "top_p", "max_tokens", "max_completion_tokens", "n", "stop", "stream"}
    | {"stream_options", "store"}
    | PASSED_ON
)
HELLO = {"role": "user", "content": "Hello"}


SHAPES = {
    "stop": often("END", ["a", "b"]),
    "stream_options": objects({"include_usage": often(True)}),
    "response_format": formats,
    "tools": often(st.lists(tools, max_size=2)),
    "tool_choice": often("none", choices),
    "messages": often(st.lists(message_values, max_size=2)),
}


def is_taken(request: dict[str, Any]) -> bool:
    try:
        parse_request(json.dumps(request).encode())
    except ApiError:
        return False
    return True


@given(st.data(), st.sampled_from(["model", "messages", *OPTIONAL, *SHAPES]))
def test_the_schema_and_the_endpoint_agree(data: st.DataObject, name: str) -> None:
    value = data.draw(SHAPES.get(name, odd))
    request = {"model": "m", "messages": [HELLO]} | {name: value}
    assert is_taken(request) == conforms(request, SCHEMAS["ChatCompletionRequest"])


def test_the_schema_knows_all_fields() -> None:
    known = SCHEMAS["ChatCompletionRequest"]["properties"]
    assert known.keys() == {"model", "messages", *OPTIONAL}


def test_the_document_says_how_many_messages_there_may_be() -> None:
    for count, is_fine in ((MOST_MESSAGES, True), (MOST_MESSAGES + 1, False)):
        request = {"model": "m", "messages": [HELLO] * count}
        assert conforms(request, SCHEMAS["ChatCompletionRequest"]) is is_fine
        assert is_taken(request) is is_fine
