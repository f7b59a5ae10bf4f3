"""Each way to fail has its class, its stable code, and the provider's words made harmless."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from completions import errors
from completions.errors import (
    CompletionError,
    ProviderBusy,
    ProviderFailed,
    ProviderMisconfigured,
    ProviderRefused,
    StreamBroken,
    StreamStalled,
)
from completions.refusals import (
    failure,
    find_complaint,
    plain_text,
    read_body,
    refusal,
    retry_after,
)
from tests.completions.dialects.errors import BODIES


def test_codes_are_stable_and_unique() -> None:
    found = {
        kind.__name__: kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, CompletionError)
    }
    assert found == {
        "CompletionError": "failed",
        "ProviderUnreachable": "unreachable",
        "ProviderRefused": "refused",
        "ProviderMisconfigured": "misconfigured",
        "AddressForbidden": "address_forbidden",
        "ModelNotFound": "model_not_found",
        "ProviderBusy": "busy",
        "PromptTooLong": "prompt_too_long",
        "ProviderFailed": "provider_failed",
        "ProviderPaused": "paused",
        "ProviderProtocolError": "protocol",
        "FirstTokenTimeout": "first_token_timeout",
        "StreamBroken": "broken",
        "StreamStalled": "stalled",
        "TotalTimeout": "total_timeout",
    }
    assert len(set(found.values())) == len(found)


def test_the_tree() -> None:
    assert issubclass(StreamStalled, StreamBroken)
    assert issubclass(ProviderBusy, ProviderRefused)
    assert issubclass(ProviderMisconfigured, ProviderRefused)
    assert not issubclass(ProviderFailed, ProviderRefused)


def test_words_are_one_printable_line_of_limited_length() -> None:
    error = CompletionError("Ours.", detail=" a\x00b\n\tc\u2028d\ud800e\x1b[31m " + "z" * 9000)
    assert error.provider_words.startswith("a b c d e [31m zzz")
    assert len(error.provider_words) == 500
    assert error.provider_words.endswith("z…")
    assert error.provider_words.isprintable()
    assert str(error) == "Ours."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no", "type": "t", "code": None}}, "no"),
        ({"error": "no"}, "no"),
        ({"object": "error", "message": "no", "code": 400}, "no"),
        ([{"error": {"code": 400, "message": "no"}}], "no"),
        ({"detail": "no"}, "no"),
        ({"detail": [{"loc": ["body", "n"], "msg": "no"}, {"msg": "nor"}]}, "no (body.n); nor"),
        ({"message": "no"}, "no"),
        ({"errors": [{"message": "no"}, {"message": "nor"}]}, "no; nor"),
        ({"error": {"message": "no", "metadata": {"raw": "why"}}}, "no: why"),
        ({"error": {"code": "odd"}}, "odd"),
        ({"error": {"message": {"text": 1}}}, ""),
        ("no", "no"),
        ([], ""),
        (5, ""),
    ],
)
def test_words_are_found_in_every_known_shape(body: Any, words: str) -> None:
    assert read_body(json.dumps(body).encode()).words == words


@pytest.mark.parametrize(
    ("body", "words"), [shape[1:] for shape in BODIES], ids=[shape[0] for shape in BODIES]
)
@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
def test_each_shape_of_error_is_understood_by_any_status(
    status: int, body: bytes, words: str
) -> None:
    error = refusal(status, {"retry-after": "7"}, body)
    assert error.provider_words == words
    assert error.status == status
    assert error.retry_after == (7.0 if status in (429, 500, 503) else None)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"error": {"message": "x", "param": "n"}}, "n"),
        ({"object": "error", "message": "x", "param": "top_p"}, "top_p"),
        ({"error": {"message": "x", "param": None}}, ""),
        ({"error": "x", "param": 5}, ""),
        ({"error": {"message": "x", "param": "a\n" * 200}}, ("a " * 50).strip() + " "),
    ],
)
def test_the_field_that_is_blamed_is_known(body: Any, param: str) -> None:
    assert refusal(400, {}, json.dumps(body).encode()).param == param


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b"404 page not found", "404 page not found"),
        (b"<html><head><title>502 Bad &amp; Gateway</title></head><h1>x</h1>", "502 Bad & Gateway"),
        (b"<p>Sorry<script>alert(1)</script>, <b>no</b>", "Sorry , no"),
        (b"<p>Half <b", "Half"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_pages_and_plain_text_become_words(body: bytes, words: str) -> None:
    assert " ".join(plain_text(body).split()) == words


def test_deep_nesting_is_no_trouble() -> None:
    value: Any = "no"
    for _ in range(100):
        value = {"error": value}
    assert find_complaint(value) is not None
    assert read_body(b'{"error":' * 100_000).words.startswith('{"error":')


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (302, "", "misconfigured"),
        (400, {"error": {"message": "n must be 1"}}, "refused"),
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, "prompt_too_long"),
        (400, {"error": {"type": "exceed_context_size_error"}}, "prompt_too_long"),
        (400, {"message": "This model's maximum context length is 10"}, "prompt_too_long"),
        (413, {"error": {"message": "prompt is too long"}}, "prompt_too_long"),
        (413, "too large", "refused"),
        (400, {"error": {"message": "x", "code": "model_not_found"}}, "model_not_found"),
        (401, "", "misconfigured"),
        (402, "", "misconfigured"),
        (405, "", "misconfigured"),
        (406, "", "misconfigured"),
        (411, "", "misconfigured"),
        (415, "", "misconfigured"),
        (407, "", "misconfigured"),
        (408, "", "provider_failed"),
        (403, "", "misconfigured"),
        (404, "404 page not found", "model_not_found"),
        (422, {"detail": "no"}, "refused"),
        (429, "", "busy"),
        (500, "context window", "provider_failed"),
        (503, "", "provider_failed"),
        (204, "", "provider_failed"),
        (999, "", "provider_failed"),
    ],
)
def test_each_status_has_its_class(status: int, body: Any, code: str) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = refusal(status, {}, raw)
    assert (error.code, error.status) == (code, status)


def test_too_long_a_prompt_is_told_from_other_failures_in_the_stream_too() -> None:
    told = find_complaint({"error": {"message": "x", "code": "context_length_exceeded"}})
    other = find_complaint({"error": {"message": "x", "code": 500}})
    assert told is not None
    assert other is not None
    assert failure(told).code == "prompt_too_long"
    assert failure(other).code == "provider_failed"


@pytest.mark.parametrize(
    "value",
    [
        *(None, {}, {"error": None}, {"error": ""}, {"choices": []}, [], "error", {"type": "x"}),
        {"choices": [], "detail": "x"},
        {"usage": {}, "detail": "x"},
        {"metrics": {"detail": "x", "error": "x"}},
        {"detail": ""},
        {"detail": {"x": 1}},
        [{"id": "m", "detail": "a model"}],  # a list of models
        {"x_groq": {"detail": "x"}},
    ],
)
def test_what_is_no_error(value: Any) -> None:
    assert find_complaint(value) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e12"}, 86_400.0),
        ({"retry-after": "Fri, 01 Jan 1999 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 99 Foo 1999"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"llm_provider-retry-after": "3"}, 3.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_an_error_within_the_stream_has_the_status_that_is_its_code() -> None:
    for code, status in ((429, 429), ("503", 503), (1301, None), ("rate_limit", None)):
        complaint = find_complaint({"code": 500, "error": {"message": "x", "code": code}})
        assert complaint is not None
        assert failure(complaint).status == (status or 500)


def test_retry_after_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    wait = retry_after({"retry-after": date})
    assert wait is not None
    assert 3500 < wait <= 3600
