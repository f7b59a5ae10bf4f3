"""What stands between: proxies, routers, and servers that ignore the stream."""

from completions.types import Usage
from tests.completions.dialects import DONE, STOP, Case, chunk, delta, event, said, usage, whole

CASES = [
    Case(
        "litellm usage beside an empty delta, no finish key before the end",
        chunk({"index": 0, "delta": {"content": "Hello there", "role": "assistant"}})
        + STOP
        + chunk({"index": 0, "delta": {}}, usage=usage(3, 4))
        + DONE,
        usage=Usage(3, 4),
    ),
    Case(
        "litellm second choice never ends",
        chunk(delta("Hello")) + chunk(delta("Good day", index=1)) + STOP + DONE,
        text={0: "Hello", 1: "Good day"},
        finish={0: "stop", 1: None},
        n=2,
    ),
    Case(
        "openrouter comments, and a usage chunk with a null finish",
        b": OPENROUTER PROCESSING\n\n" * 3
        + chunk(delta("Hello there", reasoning="So.", reasoning_details=[{"text": "So."}]))
        + chunk(delta("", finish="stop", native_finish_reason="end_turn"), provider="X")
        + chunk(delta("", role="assistant"), usage=usage(2, 3) | {"cost": 0.1})
        + DONE,
        reasoning="So.",
        usage=Usage(2, 3),
    ),
    Case(
        "openrouter error beside text",
        said("Hello")
        + chunk(
            delta(" there", finish="error"),
            error={"code": 502, "message": "Provider disconnected"},
        ),
        finish=None,
        error="provider_failed",
        words="Provider disconnected",
    ),
    Case(
        "openrouter error at 200",
        b'{"error": {"message": "Provider returned error", "code": 429,'
        b' "metadata": {"raw": "slow down", "provider_name": "X"}}}',
        text="",
        finish=None,
        error="busy",
        words="Provider returned error: slow down",
    ),
    Case(
        "one event with a whole message",
        chunk({"index": 0, "message": {"content": "Hello there"}, "finish_reason": "stop"}) + DONE,
    ),
    Case(
        "stream ignored",
        b'{"choices": [{"message": {"content": "Hello there"}, "finish_reason": null}]}',
        finish=None,
    ),
    Case("text of the old api", event({"choices": [{"text": "Hello there"}]}) + STOP + DONE),
    Case(
        "litellm error in the stream, and then done",
        said("Hello")
        + event({"error": {"message": "Timeout", "type": "None", "param": "None", "code": "408"}})
        + DONE,
        text="Hello",
        finish=None,
        error="provider_failed",
        words="Timeout",
    ),
    Case(
        "openrouter stopped by its error alone",
        said("Hello") + chunk(delta("", finish="error", native_finish_reason="OTHER")) + DONE,
        text="Hello",
        finish=None,
        error="provider_failed",
    ),
    Case(
        "stream ignored, with usage and a trailing line",
        whole({"content": "Hello there"}, usage=usage(1, 2)) + b"\n",
        usage=Usage(1, 2),
    ),
    Case(
        "null choices before and after",
        event({"choices": None}) + said("Hello there") + STOP + event({"choices": None}) + DONE,
    ),
    Case(
        "the model's name in the first event only",
        chunk(delta("Hello there"), model="m") + event({"choices": [delta(finish="stop")]}),
    ),
    Case(
        "one delta with everything",
        chunk(delta("Hello there", role="assistant", finish="stop"), usage=usage(1, 2)) + DONE,
        usage=Usage(1, 2),
    ),
    Case(
        "an end after the usage",
        said("Hello there") + chunk(usage=usage(1, 2)) + STOP + DONE,
        usage=Usage(1, 2),
    ),
    Case(
        "usage in the words of another protocol",
        said("Hello there") + STOP + chunk(usage={"input_tokens": 3, "output_tokens": 4}) + DONE,
        usage=Usage(3, 4),
    ),
]
