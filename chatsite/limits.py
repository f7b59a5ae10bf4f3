"""Refuse request bodies that are too large while they arrive, not after they were stored.

Django checks its limit when the whole body is in a temporary file: a 300 MB POST cost 585 MB of
disk before it was refused.
"""

from typing import Any

from django.conf import settings


class TooLarge(Exception):
    """More bytes came than a form can have."""


class BoundedBody:
    """Answers 413 as soon as a body is known to be, or has become, too large."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        most = settings.MAX_BODY_BYTES
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared[:19]) > most:
            await _refuse(send)
            return
        received = 0
        started = False

        async def bounded_receive() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise TooLarge
            return message

        async def noting_send(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.application(scope, bounded_receive, noting_send)
        except TooLarge:
            if not started:
                await _refuse(send)


async def _refuse(send: Any) -> None:
    body = b"This is too large. Send at most 512 kB.\n"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
