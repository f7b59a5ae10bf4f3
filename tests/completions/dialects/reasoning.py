"""Reasoning, in every dialect: told from the text, and never twice."""

from completions.types import Limits
from tests.completions.dialects import DONE, STOP, Case, chunk, delta, said, whole


def details(**fields: str) -> bytes:
    return chunk(delta(content="", reasoning_details=[fields]))


CASES = [
    Case(
        "qwen reasoning content and empty text",
        chunk(delta("", role="assistant", reasoning_content="Hm, "))
        + chunk(delta("", reasoning_content="yes."))
        + said("Hello there")
        + STOP
        + DONE,
        reasoning="Hm, yes.",
    ),
    Case(
        "vllm both names for the same",
        chunk(delta(reasoning="Hm.", reasoning_content="Hm.")) + said("Hello there") + STOP + DONE,
        reasoning="Hm.",
    ),
    Case(
        "ollama reasoning",
        chunk(delta("", role="assistant", reasoning="Hm."))
        + chunk(delta("Hello there", role="assistant"))
        + STOP
        + DONE,
        reasoning="Hm.",
    ),
    Case(
        "groq reasoning of a whole answer",
        whole({"content": "Hello there", "reasoning": "Hm."}),
        reasoning="Hm.",
    ),
    Case(
        "openrouter details alone: text",
        details(type="reasoning.text", text="Hm.") + said("Hello there") + STOP + DONE,
        reasoning="Hm.",
    ),
    Case(
        "openrouter details alone: summary, and what is encrypted",
        details(type="reasoning.summary", summary="Hm.")
        + details(type="reasoning.encrypted", data="xyz")
        + said("Hello there")
        + STOP
        + DONE,
        reasoning="Hm.",
    ),
    Case(
        "litellm thinking blocks beside the reasoning",
        chunk(delta("", reasoning_content="Hm.", thinking_blocks=[{"thinking": "Hm."}]))
        + said("Hello there")
        + STOP
        + DONE,
        reasoning="Hm.",
    ),
    Case(
        "mistral thinking as a string, and whole",
        whole({"content": [{"type": "thinking", "thinking": "Hm."}, {"text": "Hello there"}]}),
        reasoning="Hm.",
    ),
    Case(
        "parts of the type reasoning",
        chunk(
            delta([{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Hello there"}])
        )
        + STOP,
        reasoning="Hm.",
    ),
    Case(
        "reasoning of two choices",
        chunk(delta("<think>Hm.</think>Hello"), delta("Good day", index=1, reasoning="Well."))
        + chunk(delta(finish="stop"), delta(index=1, finish="stop"))
        + DONE,
        text={0: "Hello", 1: "Good day"},
        reasoning={0: "Hm.", 1: "Well."},
        finish={0: "stop", 1: "stop"},
        n=2,
    ),
    Case(
        "reasoning and nothing else",
        chunk(delta(reasoning_content="Hm.")) + chunk(delta(finish="length")) + DONE,
        text="",
        reasoning="Hm.",
        finish="length",
    ),
    # Left in the text by servers without a parser for it.
    Case(
        "deepseek-r1 on ollama: tags cut over deltas",
        said("<th", "ink>\nH", "m.\n</", "think", ">\n\nHello", " there") + STOP + DONE,
        reasoning="Hm.",
    ),
    Case(
        "deepseek-r1 on llama.cpp: every token a delta",
        said(*"<think>\n1 < 2 </b>\n</think>\n\nHello there") + STOP + DONE,
        reasoning="1 < 2 </b>",
    ),
    Case(
        "qwen3 on lm studio: nothing thought",
        said("<think>", "\n\n", "</think>", "\n\n", "Hello there") + STOP + DONE,
    ),
    Case(
        "whitespace before the tag",
        said("\n ", "<think>Hm.</think>Hello there") + STOP,
        reasoning="Hm.",
    ),
    Case(
        "tags in a whole answer",
        whole({"content": "<think>Hm.</think>\nHello there"}),
        reasoning="Hm.",
    ),
    Case(
        "the tag and the finish in one delta",
        chunk(delta("<think>Hm.</think>Hello there", finish="stop")) + DONE,
        reasoning="Hm.",
    ),
    Case(
        "thought that never ends",
        said("<think>Hm, well") + chunk(delta(finish="length")) + DONE,
        text="",
        reasoning="Hm, well",
        finish="length",
    ),
    Case(
        "the connection ends within the closing tag",
        said("<think>Hm.</thi"),
        text="",
        reasoning="Hm.</thi",
        finish=None,
        error="broken",
    ),
    Case("the text ends within the opening tag", said("<thin") + STOP, text="<thin"),
    Case("done within the opening tag", said("<", "th") + DONE, text="<th", finish=None),
    Case("another tag", said("<", "b>Hello</b>") + STOP, text="<b>Hello</b>"),
    Case("whitespace first", said("\n", "\n", "Hello there") + STOP, text="\n\nHello there"),
    Case(
        "a tag further on is text",
        said("The tag ", "<think>", "x</think>") + STOP,
        text="The tag <think>x</think>",
    ),
    Case(
        "a second thought is text",
        said("<think>Hm.</think>Hello ", "<think>x</think>") + STOP,
        text="Hello <think>x</think>",
        reasoning="Hm.",
    ),
    Case(
        "a server that splits it means its tags",
        chunk(delta(reasoning_content="Hm.")) + said("<think>x</think>") + STOP,
        text="<think>x</think>",
        reasoning="Hm.",
    ),
    Case(
        "an error within the thought",
        said("<think>Hm. <") + b'data: {"error": "out of memory"}\n\n',
        text="",
        reasoning="Hm. <",
        finish=None,
        error="provider_failed",
        words="out of memory",
    ),
    Case(
        "thoughts count as length",
        said("<think>", "Hm, well now, ", "let me see</think>Hello") + STOP,
        text="",
        reasoning="Hm, well now, let m",
        finish="length",
        limits=Limits(answer_chars=19),
    ),
]
