"""Odd bytes, odd framing, odd values in every field."""

from completions.types import Limits, Usage
from tests.completions.dialects import (
    DONE,
    STOP,
    TOOLS,
    Case,
    calls,
    chunk,
    delta,
    event,
    part,
    said,
    usage,
    whole,
)

CASES = [
    Case(
        "odd types",
        event([])
        + event({"choices": None})
        + event({"choices": {}})
        + event({"choices": [None]})
        + chunk({"delta": None}, {"delta": "x"}, {"delta": {"content": 5}})
        + chunk(delta("Hello there", tool_calls="x", reasoning=7) | {"index": None})
        + chunk(delta(finish="stop") | {"index": "0"}, usage="many", model=5)
        + DONE,
    ),
    Case(
        "absurd usage: the last wins, clamped",
        said("Hello there")
        + STOP
        + chunk(usage=usage(1, 1))
        + chunk(usage=usage(-5, 10**30))
        + DONE,
        usage=Usage(0, 2**31 - 1),
    ),
    Case("the first finish wins", said("Hello there") + STOP + chunk(delta(finish="length"))),
    Case("unknown finish", said("Hello there") + chunk(delta(finish={"odd": 1})) + DONE),
    Case(
        "a choice nobody asked for", said("Hello there") + chunk(delta("x", index=5)) + STOP + DONE
    ),
    Case("null error", chunk(delta("Hello there"), error=None) + STOP + DONE),
    Case(
        "error in a string",
        said("Hello") + event({"error": "boom"}),
        text="Hello",
        finish=None,
        error="provider_failed",
        words="boom",
    ),
    Case(
        "type error",
        event({"type": "error", "message": "overloaded"}),
        text="",
        finish=None,
        error="provider_failed",
        words="overloaded",
    ),
    Case(
        "raw line separators in a string",
        'data: {"choices":[{"delta":{"content":"a\u2028b\u0085c\x0bd"}}]}\n\n'.encode().replace(
            b"\x0b", b"\\u000b"
        )
        + STOP,
        text="a\u2028b\u0085c\x0bd",
    ),
    Case("nul and a lone surrogate", said("a\x00b\ud800c") + STOP, text="a\x00b\ud800c"),
    Case(
        "not utf-8",
        b'data: {"choices":[{"delta":{"content":"a\xffb"}}]}\n\n' + STOP,
        text="a\ufffdb",
    ),
    Case(
        "nan and infinity", said("Hello there") + b'data: {"usage": NaN, "x": Infinity}\n\n' + STOP
    ),
    Case(
        "an event of words",
        said("Hello") + b"data: upstream connect error\n\n" + said(" there") + STOP,
        text="Hello",
        finish=None,
        error="protocol",
        words="upstream connect error",
    ),
    Case(
        "events that say nothing",
        b'data: null\n\ndata: []\n\ndata: ""\n\ndata: {}\n\n' + said("Hello there") + STOP,
    ),
    Case(
        "an event that is no object",
        said("Hello") + b"data: 5\n\n" + said(" there") + STOP,
        text="Hello",
        finish=None,
        error="protocol",
    ),
    Case(
        "an event that is false",
        said("Hello") + b"data: false\n\n" + said(" there") + STOP,
        text="Hello",
        finish=None,
        error="protocol",
    ),
    Case("a character cut in two", said("a\ud83d", "\ude00b") + STOP, text="a😀b"),
    Case(
        "one cut in two at the end",
        said("a\ud83d") + chunk(delta("\ude00", finish="stop")),
        text="a😀",
    ),
    Case("half a character, then the end", said("a\ud83d") + STOP, text="a\ud83d"),
    Case("two halves that are none", said("a\ud83d", "\ud83d\ude00") + STOP, text="a\ud83d😀"),
    Case("half a character, then nothing", said("a\ud83d") + DONE, text="a\ud83d", finish=None),
    Case(
        "half a character with the finish",
        chunk(delta("a\ud83d", finish="stop")) + chunk(delta("\ude00")),
        text="a\ud83d\ude00",
    ),
    Case(
        "half a character, then the connection ends",
        said("a\ud83d"),
        text="a\ud83d",
        finish=None,
        error="broken",
    ),
    Case(
        "half a character, then an error",
        said("a\ud83d") + event({"error": "boom"}),
        text="a\ud83d",
        finish=None,
        error="provider_failed",
    ),
    Case("two characters cut in two", said("\ud83d", "\ude00\ud83d", "\ude01") + STOP, text="😀😁"),
    Case("the second half alone", said("a", "\ude00b") + STOP, text="a\ude00b"),
    Case("halves in one delta", said("a\ud83d" + "\ude00b") + STOP, text="a😀b"),
    Case(
        "characters of two choices cut in two",
        chunk(delta("a\ud83d"), delta("b\ud83d", index=1))
        + chunk(delta("\ude01", index=1))
        + chunk(delta("\ude00"), delta(index=1, finish="stop"))
        + STOP,
        text={0: "a😀", 1: "b😁"},
        finish={0: "stop", 1: "stop"},
        n=2,
    ),
    Case(
        "a character cut at the opening tag",
        said("<think>\ud83d", "\ude00</think>Hello there") + STOP,
        reasoning="😀",
    ),
    Case(
        "a character cut at the closing tag",
        said("<think>h\ud83d", "\ude00", "</think>\ud83d", "\ude00") + STOP,
        reasoning="h😀",
        text="😀",
    ),
    Case(
        "half a character at the end of a thought",
        said("<think>h\ud83d"),
        text="",
        reasoning="h\ud83d",
        finish=None,
        error="broken",
    ),
    Case(
        "half a character at the finish of a thought",
        said("<think>h\ud83d") + STOP,
        text="",
        reasoning="h\ud83d",
    ),
    Case(
        "half a thought's character, then text",
        chunk(delta(reasoning_content="h\ud83d")) + said("Hello there") + STOP,
        reasoning="h\ud83d",
    ),
    Case(
        "half a character, then a tool call",
        said("a\ud83d") + calls(part(0, "c", "f", "{}")) + TOOLS,
        text="a\ud83d",
        tools=(("c", "f", "{}"),),
        finish="tool_calls",
    ),
    Case(
        "a character cut in two at the limit",
        said("Hello\ud83d", "\ude00 there") + STOP,
        text="Hello😀",
        finish="length",
        limits=Limits(answer_chars=6),
    ),
    Case(
        "a thought cut within a character",
        chunk(delta(reasoning_content="h\ud83d"))
        + chunk(delta(reasoning_content="\ude00"))
        + said("Hello there")
        + STOP,
        reasoning="h😀",
    ),
    Case(
        "one choice, counted from 1",
        chunk(delta("Hello", index=1))
        + chunk(delta(" there", index=1))
        + chunk(delta(index=1, finish="stop")),
    ),
    Case(
        "one choice with a number beyond all",
        chunk(delta("Hello there", index=10**30)) + chunk(delta(index=10**30, finish="stop")),
    ),
    Case(
        "one choice, counted from 1, whole",
        whole({"content": "Hello there"}).replace(b'"index": 0', b'"index": 1'),
    ),
    Case(
        "one choice, counted from 1, with the message repeated at its end",
        chunk(delta("Hello there", index=1))
        + chunk({"index": 1, "finish_reason": "stop", "message": {"content": "Hello there"}}),
    ),
    Case(
        "two choices for one, both counted from 1",
        chunk(delta("Hello there", index=1), delta("other", index=2))
        + chunk(delta(index=2, finish="length"))
        + chunk(delta(index=1, finish="stop")),
    ),
    Case(
        "a second choice that nobody asked for",
        chunk(delta("Hello there")) + chunk(delta("other", index=1)) + STOP,
    ),
    Case(
        "tokens as text",
        said("Hello there") + STOP + chunk(usage=usage("7", "12")),
        usage=Usage(7, 12),
    ),
    Case(
        "tokens as text that is no number, and as a number beyond all",
        said("Hello there") + STOP + chunk(usage=usage("-7", "9" * 5000)),
        usage=Usage(0, 2**31 - 1),
    ),
    Case(
        "a malformed event, in which text may have been",
        said("Hello") + b'data: {"choices":[{"delta":{"content":" the\n\n' + said("re") + STOP,
        text="Hello",
        finish=None,
        error="protocol",
    ),
    Case(
        "brackets without end",
        said("Hello") + b"data: " + b"[" * 100_000 + b"\n\n" + said(" there") + STOP,
        text="Hello",
        finish=None,
        error="protocol",
    ),
    Case("crlf", (said("Hello", " there") + STOP + DONE).replace(b"\n", b"\r\n")),
    Case("cr", (said("Hello", " there") + STOP + DONE).replace(b"\n", b"\r")),
    Case("bom", b"\xef\xbb\xbf" + said("Hello there") + STOP),
    Case(
        "bom before json",
        b'\xef\xbb\xbf{"choices":[{"message":{"content":"Hello there"}}]}',
        finish=None,
    ),
    Case("no space after the colon", said("Hello there").replace(b"data: ", b"data:") + STOP),
    Case(
        "one event over several lines",
        b'data: {"choices":\ndata: [{"delta":{"content":\ndata: "Hello there"}}]}\n\n' + STOP,
    ),
    Case(
        "other fields",
        b"id: 1\nretry: 5\nevent: message\nfoo: x\nbar\n" + said("Hello there") + STOP,
    ),
    Case("text after done", said("Hello there") + STOP + DONE + said("x") + event({"error": "x"})),
    Case("a line of 100 kB", said("x" * 100_000) + STOP, text="x" * 100_000),
    Case("done without a space", said("Hello there") + b"data:[DONE]\n\n", finish=None),
    Case("done and a space", said("Hello there") + b"data: [DONE] \n\n", finish=None),
    Case("the end is only the end of the body", said("Hello there") + STOP),
    Case("comments only between", b": a\n: b\n\n" + said("Hello there") + b":\n:\n" + STOP),
    Case("blank lines before the stream", b"\n\r\n\n" + said("Hello there") + STOP),
    Case("cr and lf mixed", said("Hello there").replace(b"\n\n", b"\r\n\r") + STOP),
    Case("data without a value", b"data:\n\ndata\n\n" + said("Hello there") + STOP),
    Case("emoji", chunk(delta("👩\u200d🚀")) + b"data: " + STOP[6:], text="👩\u200d🚀"),
    Case(
        "emoji in raw bytes",
        'data: {"choices":[{"delta":{"content":"👩\u200d🚀é"}}]}\n\n'.encode() + STOP,
        text="👩\u200d🚀é",
    ),
]
