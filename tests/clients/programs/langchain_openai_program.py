"""LangChain's ChatOpenAI."""

import asyncio
from collections.abc import Callable
from typing import Any

import openai
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from shared import API_KEY, BASE_URL, MODEL, TOOLS, tell


def model(**more: Any) -> ChatOpenAI:
    known = {"base_url": BASE_URL, "api_key": API_KEY, "model": MODEL, "max_retries": 0}
    return ChatOpenAI(**known | more)


def usage_of(message: Any) -> list[int]:
    usage = message.usage_metadata
    return [usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]]


def streamed(chat: ChatOpenAI, scene: str) -> Any:
    """The sum of the chunks."""
    first, *others = chat.stream(scene)
    for chunk in others:
        first += chunk
    return first


async def streamed_async(scene: str) -> str:
    return "".join([str(chunk.content) async for chunk in model().astream(scene)])


def called(message: Any) -> list[Any]:
    [call] = message.tool_calls
    return [call["name"], call["args"]]


def error(call: Callable[[], Any]) -> str:
    try:
        call()
    except openai.APIError as refused:
        return next(kind.__name__ for kind in type(refused).__mro__ if kind.__module__ == "openai")
    return "nothing"


chat = model()
tools = chat.bind_tools(TOOLS)
tell(
    {
        "whole": chat.invoke("plain").content,
        "streamed": streamed(chat, "plain").content,
        "streamed async": asyncio.run(streamed_async("letters")),
        "with limits": model(max_tokens=9, temperature=0.3, stop=["#"], n=1)
        .invoke("plain")
        .content,
        "usage": usage_of(chat.invoke("plain")),
        "usage streamed": usage_of(streamed(model(stream_usage=True), "plain")),
        "two": [
            answer.text for answer in model(n=2).generate([[HumanMessage("two")]]).generations[0]
        ],
        "batch": [answer.content for answer in chat.batch(["plain", "plain"])],
        "tool call": called(tools.invoke("tool")),
        "tool call streamed": called(streamed(tools, "tool")),
        "own header": model(api_key="ignored", default_headers={"x-api-key": API_KEY})
        .invoke("plain")
        .content,
        "wrong key": error(lambda: model(api_key="nobody's").invoke("plain")),
        "no such model": error(lambda: model(model="none").invoke("plain")),
        "cut": error(lambda: streamed(chat, "cut")),
    }
)
