"""The openai package, blocking."""

import time
from collections.abc import Callable
from typing import Any

import openai
from openai import OpenAI
from shared import API_KEY, BASE_URL, MODEL, TOOLS, scene, tell

client = OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0)


def ask(name: str, **more: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=scene(name), **more)


def whole(name: str, **more: Any) -> dict[str, Any]:
    answer = ask(name, **more)
    first = answer.choices[0]
    return {"text": first.message.content, "finish": first.finish_reason}


def streamed(name: str, **more: Any) -> dict[str, Any]:
    """Read as tutorials do: the first choice of every chunk, which must be there."""
    text, finish = "", None
    for chunk in ask(name, stream=True, **more):
        text += chunk.choices[0].delta.content or ""
        finish = chunk.choices[0].finish_reason or finish
    return {"text": text, "finish": finish}


def usage_of(usage: Any) -> list[int]:
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


def streamed_usage() -> list[int]:
    chunks = list(ask("plain", stream=True, stream_options={"include_usage": True}))
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    return usage_of(chunks[-1].usage)


def one_answer() -> bool:
    """Whether all chunks are of one answer, and say so."""
    chunks = list(ask("plain", stream=True))
    heads = {(chunk.id, chunk.object, chunk.created, chunk.model) for chunk in chunks}
    return len(heads) == 1 and chunks[0].object == "chat.completion.chunk"


def streamed_choices() -> list[str]:
    texts: dict[int, str] = {}
    for chunk in ask("two", n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return [texts[index] for index in sorted(texts)]


def streamed_reasoning() -> list[str]:
    deltas = [chunk.choices[0].delta for chunk in ask("reason", stream=True)]
    thoughts = (getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    return ["".join(thoughts), "".join(delta.content or "" for delta in deltas)]


def called(message: Any, finish: str) -> list[str]:
    [call] = message.tool_calls
    return [call.function.name, call.function.arguments, finish]


def streamed_call() -> list[str]:
    """Through the package's own gathering of deltas."""
    with client.chat.completions.stream(model=MODEL, messages=scene("tool"), tools=TOOLS) as events:
        for _ in events:
            pass
        choice = events.get_final_completion().choices[0]
    return called(choice.message, choice.finish_reason)


def after_the_call() -> str:
    """The tool's answer goes back, as the loop of an agent sends it."""
    asked = ask("tool", tools=TOOLS).choices[0].message
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "sunny"}
    messages = [*scene("tool"), asked, result]
    answer = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS)
    return str(answer.choices[0].message.content)


def error(call: Callable[[], Any]) -> list[Any]:
    try:
        call()
    except openai.APIStatusError as refused:
        return [type(refused).__name__, refused.status_code, refused.code]
    return ["nothing"]


def image() -> Any:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [{"role": "user", "content": [part]}]
    return client.chat.completions.create(model=MODEL, messages=messages)


def asked_twice() -> list[bool]:
    """With a key of its own: the same answer; fetched by its id: the same again."""
    key = {"Idempotency-Key": f"twice-{time.time_ns()}"}
    first, second = (ask("plain", extra_headers=key) for _ in range(2))
    fetched = client.chat.completions.retrieve(first.id)
    other = error(lambda: ask("letters", extra_headers=key))
    assert other == ["UnprocessableEntityError", 422, "idempotency_mismatch"], other
    return [first == second, first == fetched]


def broken(name: str) -> list[str]:
    """What came before the end, and how the end was told."""
    text = ""
    try:
        for chunk in ask(name, stream=True):
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as end:
        return [text, type(end).__name__]
    return [text, "as if it were whole"]


def leave() -> str:
    stream = ask("endless", stream=True)
    text = ""
    for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        if text:
            stream.close()
            return "left"
    return "nothing came"


raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=scene("plain"))
stranger = OpenAI(base_url=BASE_URL, api_key="nobody's", max_retries=0)
own_header = OpenAI(
    base_url=BASE_URL, api_key="ignored", default_headers={"x-api-key": API_KEY}, max_retries=0
)
two = ask("two", n=2)
thinking = ask("reason").choices[0].message
calling = ask("tool", tools=TOOLS).choices[0]

tell(
    {
        "models": [model.id for model in client.models.list()],
        "model": client.models.retrieve(MODEL).id,
        "whole": whole("plain"),
        "streamed": streamed("plain"),
        "letters": whole("letters")["text"],
        "letters streamed": streamed("letters")["text"],
        "length": whole("length")["finish"],
        "length streamed": streamed("length")["finish"],
        "filtered": whole("filtered")["finish"],
        "all parameters": whole(
            "plain",
            temperature=1.5,
            top_p=0.5,
            max_tokens=50,
            stop=["###"],
            seed=7,
            user="somebody",
            presence_penalty=0.5,
            logit_bias=None,
            metadata={"purpose": "test"},
            extra_body={"of_another_server": True},
        )["text"],
        "usage": usage_of(ask("plain").usage),
        "usage streamed": streamed_usage(),
        "one answer": one_answer(),
        "two": [choice.message.content for choice in two.choices],
        "two streamed": streamed_choices(),
        "reasoning": [thinking.reasoning_content, thinking.content],
        "reasoning streamed": streamed_reasoning(),
        "tool call": called(calling.message, calling.finish_reason),
        "tool call streamed": streamed_call(),
        "after the tool call": after_the_call(),
        "asked twice": asked_twice(),
        "in a form": whole("plain", response_format={"type": "json_object"})["text"],
        "request id": bool(raw.headers.get("x-request-id")),
        "own header": own_header.chat.completions.create(model=MODEL, messages=scene("plain"))
        .choices[0]
        .message.content,
        "wrong key": error(lambda: stranger.models.list()),
        "wrong key streamed": error(
            lambda: stranger.chat.completions.create(model=MODEL, messages=[], stream=True)
        ),
        "no such model": error(
            lambda: client.chat.completions.create(model="none", messages=scene("plain"))
        ),
        "no such model listed": error(lambda: client.models.retrieve("none")),
        "bad temperature": error(lambda: ask("plain", temperature=3)),
        "image": error(image),
        "provider busy": error(lambda: ask("busy")),
        "provider refuses key": error(lambda: ask("refused", stream=True)),
        # By default it asks three times, unless it is told that this is of no use.
        "not repeated": error(
            lambda: client.with_options(max_retries=2).chat.completions.create(
                model=MODEL, messages=scene("hopeless")
            )
        ),
        "cut": broken("cut"),
        "reset": broken("reset"),
        "fault": broken("fault"),
        "left": leave(),
    }
)
