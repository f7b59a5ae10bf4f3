"""What other people's client libraries make of the served endpoint."""

import json
from typing import Any

import pytest

from tests.clients.conftest import MODEL, Served
from tests.clients.scenes import CITY, CONCLUSION, LETTERS, TEXT, THOUGHT, TWO, USAGE
from tests.sites import MODELS

pytestmark = pytest.mark.timeout(500)
CALL = ["weather", CITY, "tool_calls"]

# What each program prints, in the words that they have in common.
SEEN: dict[str, dict[str, Any]] = {
    "openai_sync.py": {
        "models": list(MODELS),
        "model": MODEL,
        "whole": {"text": TEXT, "finish": "stop"},
        "streamed": {"text": TEXT, "finish": "stop"},
        "letters": LETTERS,
        "letters streamed": LETTERS,
        "length": "length",
        "length streamed": "length",
        "filtered": "content_filter",
        "all parameters": TEXT,
        "usage": USAGE,
        "usage streamed": USAGE,
        "one answer": True,
        "two": TWO,
        "two streamed": TWO,
        "reasoning": [THOUGHT, CONCLUSION],
        "reasoning streamed": [THOUGHT, CONCLUSION],
        "tool call": CALL,
        "tool call streamed": CALL,
        "after the tool call": TEXT,
        "asked twice": [True, True],
        "in a form": TEXT,
        "request id": True,
        "own header": TEXT,
        "wrong key": ["AuthenticationError", 401, "invalid_api_key"],
        "wrong key streamed": ["AuthenticationError", 401, "invalid_api_key"],
        "no such model": ["NotFoundError", 404, "model_not_found"],
        "no such model listed": ["NotFoundError", 404, "model_not_found"],
        "bad temperature": ["BadRequestError", 400, "invalid_value"],
        "image": ["BadRequestError", 400, "unsupported_content"],
        "provider busy": ["RateLimitError", 429, "rate_limit_exceeded"],
        "provider refuses key": ["InternalServerError", 502, "misconfigured"],
        "not repeated": ["InternalServerError", 502, "misconfigured"],
        "cut": [TEXT, "APIError"],
        "reset": [TEXT[:12], "APIError"],
        "fault": [TEXT, "APIError"],
        "left": "left",
    },
    "openai_async.py": {
        "models": list(MODELS),
        "whole": TEXT,
        "many": sorted([TEXT, LETTERS]),
        "cut": [TEXT, "APIError"],
        "left before the first token": "left",
        "left midway": "left",
        "left unstreamed": "left",
    },
    "litellm_sdk.py": {
        "whole": TEXT,
        "streamed": TEXT,
        "streamed async": LETTERS,
        "letters streamed": LETTERS,
        "usage": USAGE,
        "usage streamed": USAGE,
        "reasoning": [THOUGHT, CONCLUSION],
        "reasoning streamed": [THOUGHT, CONCLUSION],
        "tool call": CALL,
        "tool call streamed": CALL,
        "own header": TEXT,
        "wrong key": ["AuthenticationError", 401],
        "no such model": ["NotFoundError", 404],
        "provider busy": ["RateLimitError", 429],
        "cut": "MidStreamFallbackError",
        "fault": "MidStreamFallbackError",
    },
    "langchain_openai_program.py": {
        "whole": TEXT,
        "streamed": TEXT,
        "streamed async": LETTERS,
        "with limits": TEXT,
        "usage": USAGE,
        "usage streamed": USAGE,
        "two": TWO,
        "batch": [TEXT, TEXT],
        "tool call": ["weather", json.loads(CITY)],
        "tool call streamed": ["weather", json.loads(CITY)],
        "own header": TEXT,
        "wrong key": "AuthenticationError",
        "no such model": "NotFoundError",
        "cut": "APIError",
    },
    "openai_node.mjs": {
        "models": list(MODELS),
        "model": MODEL,
        "whole": TEXT,
        "streamed": TEXT,
        "letters": LETTERS,
        "letters streamed": LETTERS,
        "usage": USAGE,
        "usage streamed": USAGE,
        "two": TWO,
        "reasoning": [THOUGHT, CONCLUSION],
        "reasoning streamed": [THOUGHT, CONCLUSION],
        "tool call": CALL,
        "tool call streamed": CALL,
        "own header": TEXT,
        "wrong key": ["AuthenticationError", 401, "invalid_api_key"],
        "no such model": ["NotFoundError", 404, "model_not_found"],
        "bad temperature": ["BadRequestError", 400, "invalid_value"],
        "provider busy": ["RateLimitError", 429, "rate_limit_exceeded"],
        "cut": [TEXT, "APIError"],
        "fault": [TEXT, "APIError"],
        "left": "left",
    },
    "ai_sdk.mjs": {
        "whole": TEXT,
        "streamed": TEXT,
        "finish": "stop",
        "letters streamed": LETTERS,
        "usage": USAGE,
        "usage streamed": USAGE,
        "reasoning": [THOUGHT, CONCLUSION],
        "reasoning streamed": [THOUGHT, CONCLUSION],
        "tool call": ["weather", json.loads(CITY), TEXT],
        "tool call streamed": ["weather", json.loads(CITY), TEXT],
        "wrong key": [True, 401],
        "no such model": [True, 404],
        "cut": [TEXT, "an error"],
        "fault": [TEXT, "an error"],
    },
}
# The scenes that a program leaves, and whose answers must not go on without it.
LEFT = {
    "openai_sync.py": {"endless"},
    "openai_async.py": {"silent", "endless", "endless unstreamed"},
    "openai_node.mjs": {"endless"},
}


@pytest.mark.parametrize("program", SEEN)
def test_a_client_library_sees_what_the_provider_said(program: str, scenes: Served) -> None:
    seen = scenes.run(program)

    assert seen == SEEN[program]
    asked = [(r.messages[-1]["content"], r) for r in scenes.site.upstream.requests]
    assert [scene for scene, _ in asked].count("hopeless") == ("not repeated" in seen)
    left = {scene: request for scene, request in asked if scene in LEFT.get(program, ())}
    assert left.keys() == LEFT.get(program, set())
    assert all(request.closed.wait(60) for request in left.values())
    assert not any(request.finished.is_set() for request in left.values())


def test_curl_as_the_published_page_prints_it(scenes: Served) -> None:
    seen = scenes.run("curl.sh")

    whole = seen["whole"]
    assert whole == {
        "id": whole["id"],
        "object": "chat.completion",
        "created": whole["created"],
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": dict(
            zip(("prompt_tokens", "completion_tokens", "total_tokens"), USAGE, strict=True)
        ),
    }
    *events, end = seen["streamed"].split("\n\n")
    assert end == "data: [DONE]"
    assert all(event.startswith(("data: {", ": ")) for event in events)
    [asked] = {
        json.dumps(request.json, sort_keys=True) for request in scenes.site.upstream.requests
    }
    assert (
        json.loads(asked).items()
        >= {
            "messages": [{"role": "system", "content": "plain"}],
            "model": MODEL,
            "max_tokens": 123,
            "stop": ["<string>"],
            "temperature": 1,
            "top_p": 0.5,
        }.items()
    )
