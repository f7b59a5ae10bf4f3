"""What is no answer, or only half of one, or too much."""

from completions.types import Limits, Usage
from tests.completions.dialects import DONE, STOP, Case, chunk, delta, event, said, usage

CASES = [
    Case(
        "words of an error after text",
        said("Hello") + event({"detail": "out of memory"}) + DONE,
        text="Hello",
        finish=None,
        error="provider_failed",
        words="out of memory",
    ),
    Case(
        "places of an error after text",
        said("Hello") + event({"detail": [{"loc": ["body", "n"], "msg": "no"}]}),
        text="Hello",
        finish=None,
        error="provider_failed",
        words="no (body.n)",
    ),
    Case(
        "details that are no error",
        event({"choices": [], "detail": "warming up"})
        + event({"usage": usage(1, 1), "detail": "low"})
        + event({"type": "ping", "metrics": {"detail": "x"}})
        + event({"detail": None})
        + event({"detail": {"trace": "x"}})
        + event({"x_groq": {"id": "req", "detail": "x", "error": None}})
        + chunk(delta("Hello there"), detail="x")
        + STOP
        + DONE,
        usage=Usage(1, 1),
    ),
    Case(
        "groq error with its status, alone",
        said("Hello") + event({"x_groq": {"error": {"message": "over capacity", "code": 429}}}),
        text="Hello",
        finish=None,
        error="busy",
        words="over capacity",
    ),
    Case(
        "groq error beside a delta",
        said("Hello") + event({"x_groq": {"error": "over capacity"}, "choices": [delta(" there")]}),
        text="Hello there",
        finish=None,
        error="provider_failed",
        words="over capacity",
    ),
    Case(
        "a status as a string",
        said("Hello") + event({"error": {"message": "slow down", "code": "429"}}),
        text="Hello",
        finish=None,
        error="busy",
        words="slow down",
    ),
    Case("nothing", b"", text="", finish=None, error="provider_failed"),
    Case("only blank lines", b"\n\n \n", text="", finish=None, error="provider_failed"),
    Case("only done", DONE, text="", finish=None, error="provider_failed"),
    Case("only pings", b": ping\n\n" * 3, text="", finish=None, error="provider_failed"),
    Case(
        "only a role, then done: an empty answer",
        chunk(delta("", role="assistant")) + DONE,
        text="",
        finish=None,
    ),
    Case(
        "a page",
        b"<!DOCTYPE html>\n<html><title>Log in &amp; go</title><body>x</body></html>",
        text="",
        finish=None,
        error="provider_failed",
    ),
    Case(
        "plain words",
        b"404 page not found",
        text="",
        finish=None,
        error="provider_failed",
        words="404 page not found",
    ),
    Case(
        "json without choices",
        b'{"code": 1301, "msg": "quota used up"}',
        text="",
        finish=None,
        error="provider_failed",
        words="quota used up",
    ),
    Case("null choices", b'{"choices": null}', text="", finish=None, error="provider_failed"),
    Case("half a json document", b'{"choices": [', text="", finish=None, error="protocol"),
    Case("half an answer", said("Hello"), text="Hello", finish=None, error="broken"),
    Case(
        "half an event", said("Hello") + b'data: {"choi', text="Hello", finish=None, error="broken"
    ),
    Case(
        "one of two choices ended",
        chunk(delta("Hello"), delta("Good", index=1)) + STOP,
        text={0: "Hello", 1: "Good"},
        finish={0: "stop", 1: None},
        error="broken",
        n=2,
    ),
    Case(
        "a line beyond the limit",
        said("Hello") + b"data: " + b"x" * 300,
        text="Hello",
        finish=None,
        error="protocol",
        limits=Limits(line_bytes=200),
    ),
    Case(
        "an event of lines beyond the limit",
        said("Hello") + (b"data: " + b"x" * 50 + b"\n") * 9,
        text="Hello",
        finish=None,
        error="protocol",
        limits=Limits(line_bytes=200),
    ),
    Case(
        "too many events",
        said("Hello") + chunk(delta()) * 9,
        text="Hello",
        finish=None,
        error="protocol",
        limits=Limits(events=9),
    ),
    Case(
        "more text than allowed is an answer of full length",
        said("Hello", " there", " you", " all") + STOP,
        finish="length",
        limits=Limits(answer_chars=11),
    ),
    Case(
        "a document beyond the limit",
        b'{"choices": [' + b" " * 300,
        text="",
        finish=None,
        error="protocol",
        limits=Limits(body_bytes=200),
    ),
    Case(
        "done, but no choice had ended: an empty answer",
        chunk(delta(role="assistant")) + chunk(usage=usage(3, 0)) + DONE,
        text="",
        finish=None,
        usage=Usage(3, 0),
    ),
    Case(
        "half an answer with its usage",
        chunk(delta("Hello"), usage=usage(3, 1)),
        text="Hello",
        finish=None,
        usage=Usage(3, 1),
        error="broken",
    ),
    Case(
        "half a character",
        said("Hello") + b'data: {"choices":[{"delta":{"content":"\xf0\x9f',
        text="Hello",
        finish=None,
        error="broken",
    ),
    Case(
        "half an event after the finish, as of a usage",
        said("Hello there") + STOP + b'data: {"choi',
    ),
    Case("half of done", said("Hello there") + STOP + b"data: [DO"),
    Case(
        "half of done, and no finish",
        said("Hello") + b"data: [DO",
        text="Hello",
        finish=None,
        error="broken",
    ),
    Case(
        "a malformed event after the finish",
        said("Hello there") + STOP + b'data: {"choi\n\n' + DONE,
        error="protocol",
        words='{"choi',
    ),
    Case(
        "words of an error before events that say nothing",
        event({"message": "quota used up"}) + event({}) + DONE,
        text="",
        finish=None,
        error="provider_failed",
        words="quota used up",
    ),
    Case(
        "an error after the finish",
        said("Hello there") + STOP + event({"error": {"message": "late"}}),
        error="provider_failed",
        words="late",
    ),
]
