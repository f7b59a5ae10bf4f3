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
                async with asyncio.timeout(1):
                    stream = await ask(name, **more)
                    async for _ in stream:
                        pass
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
        tell(
            {
                "models": [model.id async for model in client.models.list()],
                "whole": (await ask("plain")).choices[0].message.content,
                "many": sorted(set(many)),
                "cut": await broken("cut"),
                "left before the first token": await leave("silent", stream=True),
                "left midway": await leave("endless", stream=True),
                "left unstreamed": await leave("endless unstreamed"),
            }
        )


asyncio.run(main())
