"""The openai package, asynchronous: many at once, and leaving at every point of an answer."""

import asyncio
import contextlib
from typing import Any

import openai
from openai import AsyncOpenAI
from shared import API_KEY, BASE_URL, MODEL, scene, tell


async def main() -> None:
    async with AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0) as client:

        async def ask(name: str, **more: Any) -> Any:
            return await client.chat.completions.create(model=MODEL, messages=scene(name), **more)

        async def streamed(name: str) -> str:
            stream = await ask(name, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        async def leave(name: str, **more: Any) -> str:
            """Give up after a while, as a program does whose own user went away."""
            with contextlib.suppress(TimeoutError):
                # So long that the provider was asked, also on a busy computer.
                async with asyncio.timeout(10) as limit:
                    stream = await ask(name, **more)
                    async for chunk in stream:
                        if chunk.choices[0].delta.content:
                            limit.reschedule(asyncio.get_running_loop().time())
                return "it ended by itself"
            return "left"

        async def broken(name: str) -> list[str]:
            text = ""
            try:
                async for chunk in await ask(name, stream=True):
                    text += chunk.choices[0].delta.content or ""
            except openai.APIError as end:
                return [text, type(end).__name__]
            return [text, "as if it were whole"]

        many = await asyncio.gather(
            *(streamed(name) for name in ("plain", "letters") for _ in range(5))
        )
        left = await asyncio.gather(
            leave("silent", stream=True),
            leave("endless", stream=True),
            leave("endless unstreamed"),
        )
        tell(
            {
                "models": [model.id async for model in client.models.list()],
                "whole": (await ask("plain")).choices[0].message.content,
                "many": sorted(set(many)),
                "cut": await broken("cut"),
                "left before the first token": left[0],
                "left midway": left[1],
                "left unstreamed": left[2],
            }
        )


asyncio.run(main())
