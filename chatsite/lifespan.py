"""Start the runner with the server, and stop it with the server.

daphne has no lifespan events: there the first request or socket starts it, and a killed process's
turns are marked by the next one's reaper.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from conversations import runtime

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[Any]]

logger = logging.getLogger(__name__)


class WithRuntime:
    """The application, with the runtime started before its first use."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await runtime.start()
        await self._application(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await runtime.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await runtime.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return
