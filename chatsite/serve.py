"""Serve with uvicorn: drain on SIGTERM, push back on slow clients, bound frames."""

import asyncio
import gc
import logging
import socket
import sys
from typing import Any

import uvicorn
from django.conf import settings

from conversations import runtime

FLUSH_SECONDS = 5  # for sockets and requests to end after the answers have

logger = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """Lets running answers finish before sockets are told to reconnect (1012); exits with 0."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What was made during the start lives for ever: a full collection need not walk it
        # (pauses of 150 ms were measured in peers).
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.create_task(_drain())
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=0.1)
        if not draining.done():
            draining.cancel()
            await runtime.drain(0)
            self.force_exit = False  # the rest is quick and must not be skipped
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        # A second SIGTERM or Ctrl-C cuts the grace short. The signal is not noted as captured, so
        # that uvicorn does not raise it again at the end.
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


async def _drain() -> None:
    if count := await runtime.stop_claiming():
        print(
            f"Waiting up to {settings.GRACE_SECONDS:g} s for {count} running answer(s). "
            "Press Ctrl-C again to stop at once; their text is kept.",
            flush=True,
        )
    await runtime.drain(settings.GRACE_SECONDS)


def serve(host: str, port: int) -> int:
    """Serve until a signal comes; returns the exit code."""
    config = uvicorn.Config(
        "chatsite.asgi:application",
        host=host,
        port=port,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http="httptools",
        ws="websockets-sansio",
        lifespan="on",
        ws_max_size=settings.MAX_FRAME_BYTES,
        ws_max_queue=16,
        ws_ping_interval=20,
        ws_ping_timeout=30,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=FLUSH_SECONDS,
        server_header=False,
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.TRUSTED_PROXIES,
        log_config=None,
        log_level="warning",
    )
    server = DrainingServer(config)
    server.run()
    return 0 if server.started else 1
