"""What the provider behind the served endpoint does: the last message names the scene."""

from tests.upstream import Answer, Received

TEXT = "Hello there, dear reader."
LONG = "Word after word, without an end. " * 200
# What cuts a line for some readers, what needs escapes, what JavaScript counts as two, and marks.
LETTERS = 'Grüße,\u2028世界\u0085!\r\n\t"🙂\u0301" <b>\\u0000</b> data: [DONE]\n\n: ping'
THOUGHT, CONCLUSION = "First I think about it.", "Then I answer."
TWO = ["One of two.", "The other, which is longer."]
USAGE = [1, 7, 8]  # as tests/upstream.py counts: words of "plain", and deltas of TEXT
CITY = '{"city": "Zürich"}'


def answer(received: Received) -> Answer:
    """The scripted answer to a request; a scene nobody knows is the plain one."""
    return _ANSWERS.get(str(received.messages[-1].get("content")), Answer(TEXT))


_ANSWERS = {
    "tool": Answer("", tool_calls=[("call_1", "weather", CITY)], finish_reason="tool_calls"),
    "letters": Answer(LETTERS, chunk=3),
    "reason": Answer(CONCLUSION, reasoning=THOUGHT),
    "length": Answer(TEXT, finish_reason="length"),
    "filtered": Answer("", finish_reason="content_filter"),
    "two": Answer(texts=TWO),
    # Neither finish_reason nor [DONE]; a reset; the provider's own words.
    "cut": Answer(TEXT, end="eof"),
    "reset": Answer(TEXT, cut_after=12),
    "fault": Answer(TEXT, end="error:The model fell over."),
    # A longer Retry-After than anybody waits for.
    "busy": Answer(status=429, headers={"Retry-After": "3600"}),
    "refused": Answer(status=401),
    "hopeless": Answer(status=403),
    "endless": Answer(LONG, rate=20),
    "endless unstreamed": Answer(LONG, rate=20),
    "silent": Answer(first_delay=60),
}
