"""LiteLLM as a library, with its openai/ provider pointed at the site."""

import asyncio
from collections.abc import Callable
from typing import Any

import litellm
from shared import API_KEY, BASE_URL, MODEL, TOOLS, scene, tell

litellm.suppress_debug_info = True  # which it prints among the output
ENDPOINT = {"model": f"openai/{MODEL}", "api_base": BASE_URL, "api_key": API_KEY, "max_retries": 0}


def ask(name: str, **more: Any) -> Any:
    return litellm.completion(**ENDPOINT | {"messages": scene(name)} | more)


def streamed(name: str) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in ask(name, stream=True))


async def streamed_async(name: str) -> str:
    stream = await litellm.acompletion(**ENDPOINT, messages=scene(name), stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def streamed_reasoning() -> list[str]:
    deltas = [chunk.choices[0].delta for chunk in ask("reason", stream=True)]
    thoughts = (getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    return ["".join(thoughts), "".join(delta.content or "" for delta in deltas)]


def usage_of(usage: Any) -> list[int]:
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


def streamed_usage() -> list[int]:
    *_, last = ask("plain", stream=True, stream_options={"include_usage": True})
    return usage_of(last.usage)


def error(call: Callable[[], Any]) -> list[Any]:
    try:
        call()
    except Exception as refused:
        return [type(refused).__name__, getattr(refused, "status_code", None)]
    return ["nothing"]


def streamed_call() -> list[str]:
    chunks = list(ask("tool", tools=TOOLS, stream=True))
    return called(litellm.stream_chunk_builder(chunks).choices[0])


def called(choice: Any) -> list[str]:
    [call] = choice.message.tool_calls
    return [call.function.name, call.function.arguments, choice.finish_reason]


thinking = ask("reason").choices[0].message
tell(
    {
        "whole": ask("plain").choices[0].message.content,
        "streamed": streamed("plain"),
        "streamed async": asyncio.run(streamed_async("letters")),
        "letters streamed": streamed("letters"),
        "usage": usage_of(ask("plain").usage),
        "usage streamed": streamed_usage(),
        "reasoning": [thinking.reasoning_content, thinking.content],
        "reasoning streamed": streamed_reasoning(),
        "tool call": called(ask("tool", tools=TOOLS).choices[0]),
        "tool call streamed": streamed_call(),
        "own header": ask("plain", api_key="ignored", extra_headers={"x-api-key": API_KEY})
        .choices[0]
        .message.content,
        "wrong key": error(lambda: ask("plain", api_key="nobody's")),
        "no such model": error(lambda: ask("plain", model="openai/none")),
        "provider busy": error(lambda: ask("busy")),
        "cut": error(lambda: streamed("cut"))[0],
        "fault": error(lambda: streamed("fault"))[0],
    }
)
