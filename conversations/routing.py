"""Websocket paths."""

from typing import Any

from django.urls import path, re_path

from conversations.consumers import GONE, ConversationConsumer


async def nowhere(scope: Any, receive: Any, send: Any) -> None:
    """An address that is none: the same answer as for a conversation that one may not see."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": GONE})


websocket_urlpatterns = [
    path("ws/conversations/<uuid:conversation_id>/", ConversationConsumer.as_asgi()),  # type: ignore[arg-type]
    re_path("", nowhere),  # type: ignore[arg-type]
]
