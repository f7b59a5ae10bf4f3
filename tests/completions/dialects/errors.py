"""The bodies of errors in every known shape: by a status, at 200, and within the stream."""

import json
import re
from typing import Any

from tests.completions.dialects import Case, event, said

# Shape, body, its words.
JSON_SHAPES: list[tuple[str, Any, str]] = [
    (
        "openai nested",
        {"error": {"message": "no more", "type": "t", "param": None, "code": "c"}},
        "no more",
    ),
    ("nested with a code in numbers", {"error": {"message": "no more", "code": 503}}, "no more"),
    ("a string", {"error": "no more"}, "no more"),
    (
        "old vllm flat",
        {"object": "error", "message": "no more", "type": "X", "param": None, "code": 400},
        "no more",
    ),
    ("anthropic flat", {"type": "error", "error": {"type": "x", "message": "no more"}}, "no more"),
    ("gemini array", [{"error": {"code": 400, "message": "no more", "status": "S"}}], "no more"),
    ("lm studio twice", {"error": {"message": "no more"}, "message": "other"}, "no more"),
    (
        "azure with an inner error",
        {"error": {"message": "no more", "code": "content_filter", "innererror": {"code": "R"}}},
        "no more",
    ),
    (
        "openrouter with its upstream's words",
        {
            "error": {
                "code": 502,
                "message": "no",
                "metadata": {"raw": "more", "provider_name": "X"},
            }
        },
        "no: more",
    ),
    ("only a code", {"error": {"message": None, "code": "overloaded"}}, "overloaded"),
]
# Errors by their status only: at 200 they are an answer without choices.
BARE_SHAPES: list[tuple[str, Any, str]] = [
    ("fastapi string", {"detail": "no more"}, "no more"),
    (
        "fastapi list",
        {"detail": [{"loc": ["body", "n"], "msg": "no more", "type": "value_error"}]},
        "no more (body.n)",
    ),
    ("kong", {"message": "no more"}, "no more"),
    ("a list of errors", {"errors": [{"message": "no"}, {"message": "more"}]}, "no; more"),
    ("a code and msg", {"code": 1301, "msg": "no more"}, "no more"),
    ("problem details", {"type": "about:blank", "title": "no more", "status": 400}, "no more"),
]
TEXT_SHAPES: list[tuple[str, bytes, str]] = [
    ("go text", b"404 page not found\n", "404 page not found"),
    (
        "nginx page",
        b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body></html>",
        "502 Bad Gateway",
    ),
    ("page without a title", b"<p>no <b>more</b></p>", "no more"),
    ("empty", b"", ""),
]

BODIES: list[tuple[str, bytes, str]] = [
    *((name, json.dumps(body).encode(), words) for name, body, words in JSON_SHAPES + BARE_SHAPES),
    *TEXT_SHAPES,
]


def _failed(name: str, body: bytes, words: str, text: str = "") -> Case:
    # A code that is a status counts as one.
    error = "refused" if re.search(rb'"code": 400\b', body) else "provider_failed"
    return Case(name, body, text=text, finish=None, error=error, words=words)


# The code of an error at 200 or within the stream, its words, and what it comes to.
LONG = "prompt is too long"
CODES: list[tuple[Any, str, str]] = [
    (400, "no more", "refused"),
    (400, LONG, "prompt_too_long"),
    ("401", "no more", "misconfigured"),
    (402, "no more", "misconfigured"),
    (403, "no more", "misconfigured"),
    (404, "no more", "model_not_found"),
    (408, "no more", "provider_failed"),
    ("422", "no more", "refused"),
    (429, "no more", "busy"),
    ("429", LONG, "busy"),
    (500, LONG, "prompt_too_long"),
    ("503", "no more", "provider_failed"),
    (529, "no more", "provider_failed"),
    (200, "no more", "provider_failed"),
    (399, "no more", "provider_failed"),
    (600, "no more", "provider_failed"),
    (429.5, "no more", "provider_failed"),
    ("4290", "no more", "provider_failed"),
    ("\uff14\uff12\uff19", "no more", "provider_failed"),
    ([429], "no more", "provider_failed"),
]


def _coded(place: str, code: Any, words: str, error: str) -> Case:
    body = {"error": {"message": words, "code": code}}
    name = f"code {code!r}, {words}, {place}"
    if place == "at 200":
        return Case(name, json.dumps(body).encode(), "", finish=None, error=error, words=words)
    return Case(name, said("Hello") + event(body), "Hello", finish=None, error=error, words=words)


CASES = [
    *(_coded(place, *row) for place in ("at 200", "in the stream") for row in CODES),
    *(_failed(f"{name} at 200", body, words) for name, body, words in BODIES),
    *(
        _failed(f"{name} in the stream", said("Hello") + event(body), words, "Hello")
        for name, body, words in JSON_SHAPES
    ),
    *(
        _failed(f"{name} as the only event", event(body), words)
        for name, body, words in JSON_SHAPES + BARE_SHAPES
    ),
    *(
        _failed(
            f"{name} as event: error",
            said("Hello") + b"event: error\n" + event(body),
            words,
            "Hello",
        )
        for name, body, words in JSON_SHAPES + BARE_SHAPES
    ),
]
