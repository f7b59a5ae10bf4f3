"""Servers of one's own models."""

from completions.types import Usage
from tests.completions.dialects import DONE, STOP, Case, chunk, delta, event, said, usage, whole

CASES = [
    Case(
        "vllm finish on the last text and continuous usage",
        chunk(delta("Hello", token_ids=[1]), usage=usage(7, 1))
        + chunk(delta(" there", finish="stop", stop_reason=None), usage=usage(7, 2))
        + chunk(usage=usage(7, 3))
        + DONE,
        usage=Usage(7, 3),
    ),
    Case(
        "vllm reasoning",
        chunk(delta(reasoning="Hm, "))
        + chunk(delta(reasoning="yes."))
        + said("Hello there")
        + STOP
        + DONE,
        reasoning="Hm, yes.",
    ),
    Case(
        "vllm error chunk and then done",
        said("Hello") + event({"error": {"message": "engine died", "code": 500}}) + DONE,
        text="Hello",
        finish=None,
        error="provider_failed",
        words="engine died",
    ),
    Case(
        "old vllm flat error",
        event({"object": "error", "message": "bad things", "type": "X", "code": 400}),
        text="",
        finish=None,
        error="refused",
        words="bad things",
    ),
    Case(
        "llama.cpp null content first, timings last",
        chunk(delta(role="assistant", content=None), created=1)
        + said("Hello there")
        + chunk(delta(finish="stop"), created=2, timings={"prompt_n": 4})
        + chunk(usage=usage(4, 2))
        + b"data: [DONE]",
        usage=Usage(4, 2),
    ),
    Case(
        "llama.cpp choices that end out of order",
        chunk(delta("Good day", index=1, finish="stop"))
        + chunk(delta("Hello"))
        + chunk(delta(finish="stop"))
        + DONE,
        text={0: "Hello", 1: "Good day"},
        finish={0: "stop", 1: "stop"},
        n=2,
    ),
    Case(
        "old llama.cpp error field",
        said("Hello") + b'error: {"code":500,"message":"context shift","type":"server_error"}\n\n',
        text="Hello",
        finish=None,
        error="provider_failed",
        words="context shift",
    ),
    Case(
        "llama.cpp context exceeded in the stream",
        event({"error": {"code": 400, "message": "too big", "type": "exceed_context_size_error"}}),
        text="",
        finish=None,
        error="prompt_too_long",
        words="too big",
    ),
    Case("llama.cpp pings", b":\n\n" + said("Hello") + b": ping\n\n" + said(" there") + STOP),
    Case(
        "ollama role in every delta",
        chunk(delta("Hello", role="assistant"), system_fingerprint="fp_ollama")
        + chunk(delta(" there", role="assistant"))
        + chunk(delta("", role="assistant", finish="stop"))
        + DONE,
    ),
    Case("ollama null finish but done", said("Hello there") + DONE, finish=None),
    Case("localai empty finish", chunk(delta("Hello there", finish="")) + STOP + DONE),
    Case(
        "lm studio event error",
        said("Hello")
        + b'event: error\ndata: {"error":{"message":"Model unloaded"},"message":"other"}\n\n',
        text="Hello",
        finish=None,
        error="provider_failed",
        words="Model unloaded",
    ),
    Case(
        "event error in plain words",
        b"event: error\ndata: out of memory\n\n",
        text="",
        finish=None,
        error="provider_failed",
        words="out of memory",
    ),
    Case(
        "vllm error as the first event",
        event({"error": {"message": "too busy", "type": "E", "code": 503}}) + DONE,
        text="",
        finish=None,
        error="provider_failed",
        words="too busy",
    ),
    Case(
        "vllm the prompt is too long",
        event({"error": {"message": "maximum context length is 10 tokens", "code": 400}}),
        text="",
        finish=None,
        error="prompt_too_long",
        words="maximum context length is 10 tokens",
    ),
    Case(
        "sglang matched_stop, and usage on the finish",
        chunk(delta("Hello there", role="assistant") | {"matched_stop": None})
        + chunk(delta(finish="stop") | {"matched_stop": 2}, usage=usage(6, 2))
        + DONE,
        usage=Usage(6, 2),
    ),
    Case(
        "llama.cpp usage of one choice only is passed on as it is",
        chunk(delta("Hello"))
        + chunk(delta("Good day", index=1))
        + chunk(delta(finish="stop"))
        + chunk(delta(index=1, finish="stop"))
        + chunk(usage=usage(4, 1))
        + DONE,
        text={0: "Hello", 1: "Good day"},
        finish={0: "stop", 1: "stop"},
        usage=Usage(4, 1),
        n=2,
    ),
    Case(
        "ollama one choice where two were asked for",
        said("Hello there") + STOP + DONE,
        n=2,
    ),
    Case(
        "lm studio stats beside a whole answer",
        whole({"content": "Hello there"}, stats={"tokens_per_second": 5}, usage=usage(1, 2)),
        usage=Usage(1, 2),
    ),
    Case(
        "lm studio failed before the first word",
        b'event: error\ndata: {"error":{"message":"No model loaded"},"message":"other"}\n\n',
        text="",
        finish=None,
        error="provider_failed",
        words="No model loaded",
    ),
]
