"""Providers on the internet."""

import json

from completions.types import Usage
from tests.completions.dialects import DONE, STOP, Case, chunk, delta, event, said, usage, whole

CASES = [
    Case(
        "openai with usage",
        chunk(delta("", role="assistant", refusal=None), usage=None, obfuscation="xY")
        + chunk(delta("Hello"), usage=None, system_fingerprint="fp_1", service_tier="default")
        + chunk(delta(" there"), usage=None)
        + chunk(delta(finish="stop"), usage=None)
        + chunk(usage=usage(9, 2) | {"prompt_tokens_details": {"cached_tokens": 0}})
        + DONE,
        usage=Usage(9, 2),
    ),
    Case("openai refusal", chunk(delta(refusal="Hello"), delta(refusal=" there")) + STOP + DONE),
    Case("openai length", said("Hello there") + chunk(delta(finish="length")), finish="length"),
    Case(
        "azure filter results first and last",
        event({"choices": [], "id": "", "model": "", "prompt_filter_results": [{}]})
        + said("Hello there")
        + STOP
        + chunk({"index": 0, "finish_reason": None, "content_filter_offsets": {"start": 1}})
        + DONE,
    ),
    Case(
        "azure content filter",
        said("Hello there") + chunk(delta(finish="content_filter")) + DONE,
        finish="content_filter",
    ),
    Case(
        "two choices that alternate",
        chunk(delta("Hel"))
        + chunk(delta("Good", index=1))
        + chunk(delta("lo"))
        + chunk(delta(" day", index=1), delta(finish="stop"))
        + chunk(delta(index=1, finish="length"))
        + DONE,
        text={0: "Hello", 1: "Good day"},
        finish={0: "stop", 1: "length"},
        n=2,
    ),
    Case(
        "gemini usage on every chunk and the finish on the last text",
        chunk(delta("Hello", role="assistant"), usage=usage(5, 1))
        + chunk(delta(" there", role="assistant", finish="stop"), usage=usage(5, 2))
        + DONE,
        usage=Usage(5, 2),
    ),
    Case(
        "gemini error in an array",
        b'[{"error": {"code": 429, "message": "Quota exceeded", "status": "EXHAUSTED"}}]',
        text="",
        finish=None,
        error="busy",
        words="Quota exceeded",
    ),
    Case(
        "gemini upper case finish",
        said("Hello there") + chunk(delta(finish="MAX_TOKENS")),
        finish="length",
    ),
    Case(
        "bedrock control chunks",
        event({"type": "message_start", "amazon-bedrock-trace": {}})
        + said("Hello there")
        + STOP
        + event({"metrics": {}})
        + DONE,
    ),
    Case(
        "deepseek keep-alives, null content while reasoning, usage on the finish",
        b": keep-alive\n\n"
        + chunk(delta(role="assistant", content=None, reasoning_content="Hm."))
        + chunk(delta("Hello there", reasoning_content=None))
        + chunk(delta("", finish="stop"), usage=usage(1, 2)),
        reasoning="Hm.",
        usage=Usage(1, 2),
    ),
    Case(
        "deepseek out of resources",
        said("Hello") + chunk(delta(finish="insufficient_system_resource")) + DONE,
        text="Hello",
        finish=None,
        error="provider_failed",
    ),
    Case(
        "deepseek blank lines before a whole answer",
        b"\n\n\n"
        + json.dumps(
            {
                "choices": [
                    {
                        "index": 0,
                        "message": {"content": "Hello there", "reasoning_content": "Hm."},
                        "finish_reason": "stop",
                    }
                ],
                "usage": usage(1, 2),
            }
        ).encode(),
        reasoning="Hm.",
        usage=Usage(1, 2),
    ),
    Case(
        "mistral parts",
        chunk(delta([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]))
        + chunk(delta([{"type": "text", "text": "Hello"}, {"type": "reference", "ids": [1]}]))
        + chunk(delta(" there", finish="stop"))
        + DONE,
        reasoning="Hm.",
    ),
    Case(
        "groq usage under x_groq",
        said("Hello there")
        + event({"choices": [delta(finish="stop")], "x_groq": {"usage": usage(4, 5)}})
        + DONE,
        usage=Usage(4, 5),
    ),
    Case(
        "moonshot usage in the choice",
        said("Hello there") + chunk(delta(finish="stop") | {"usage": usage(6, 7)}) + DONE,
        usage=Usage(6, 7),
    ),
    Case(
        "perplexity cumulative message beside the delta, no done",
        chunk(delta("Hello") | {"message": {"content": "Hello"}})
        + chunk(delta(" there") | {"message": {"content": "Hello there"}})
        + chunk({"index": 0, "finish_reason": "stop", "message": {"content": "Hello there"}}),
    ),
    Case("anthropic words for the end", said("Hello there") + chunk(delta(finish="end_turn"))),
    Case(
        "openai log probabilities and a moderation",
        chunk(delta("Hello there") | {"logprobs": {"content": [{"token": "Hello"}]}}, moderation={})
        + STOP
        + DONE,
    ),
    Case(
        "azure message of a whole answer with filters",
        whole({"content": "Hello there"}, prompt_filter_results=[{}], usage=usage(3, 2)),
        usage=Usage(3, 2),
    ),
    Case(
        "gemini array of whole answers",
        b"[" + whole({"content": "Hello there"}) + b"]",
    ),
    Case(
        "gemini blocked",
        said("Hello there") + chunk(delta(finish="PROHIBITED_CONTENT")),
        finish="content_filter",
    ),
    Case(
        "dashscope usage without choices before the end",
        chunk(delta("", role="assistant"))
        + said("Hello there")
        + STOP
        + event({"choices": [], "object": "chat.completion.chunk", "usage": usage(7, 2)})
        + DONE,
        usage=Usage(7, 2),
    ),
    Case(
        "zhipu stopped by its censor",
        said("Hello there") + chunk(delta("", finish="sensitive"), usage=usage(1, 1)) + DONE,
        finish="content_filter",
        usage=Usage(1, 1),
    ),
    Case(
        "zhipu lost its network",
        said("Hello") + chunk(delta("", finish="network_error")) + DONE,
        text="Hello",
        finish=None,
        error="provider_failed",
    ),
    Case(
        "perplexity citations and usage on every chunk",
        chunk(delta("Hello there"), usage=usage(5, 1), citations=["https://example.org/"])
        + chunk(delta("", finish="stop"), usage=usage(5, 2), search_results=[]),
        usage=Usage(5, 2),
    ),
]
