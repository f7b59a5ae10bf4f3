"""The openai package and a small model, of which only the shape of its answers is known."""

import time
from typing import Any

import openai
from openai import OpenAI
from shared import API_KEY, BASE_URL, MODEL, tell

START_SECONDS = 120  # for the model to be loaded, on a busy computer; otherwise 2
TOKENS = 4  # so few that no answer ends by itself

client = OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0)


def ask(**more: Any) -> Any:
    messages = [{"role": "user", "content": "Write a long story about a ship at sea."}]
    return client.chat.completions.create(
        model=MODEL, messages=messages, max_tokens=TOKENS, temperature=0, **more
    )


def usage_of(usage: Any) -> list[int]:
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


def whole(**more: Any) -> dict[str, Any]:
    answer = ask(**more)
    return {
        "texts": [choice.message.content for choice in answer.choices],
        "finish": [choice.finish_reason for choice in answer.choices],
        "usage": usage_of(answer.usage),
    }


def streamed() -> dict[str, Any]:
    text, finish, usage = "", [], None
    for chunk in ask(stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish += [choice.finish_reason] if choice.finish_reason else []
    return {"texts": [text], "finish": finish, "usage": usage_of(usage)}


def wait_for_the_model() -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            ask()
            return
        except openai.InternalServerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


wait_for_the_model()
tell(
    {
        "models": [model.id for model in client.models.list()],
        "whole": whole(),
        "streamed": streamed(),
        "two": whole(n=2),
    }
)
