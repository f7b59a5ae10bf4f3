"""Measure the whole pipeline: first delta after a send, and the server's CPU per 1,000 tokens.

    .venv/bin/python -m bench.streams [--streams 20] [--rate 50] [--tokens 1000]

Starts the scripted provider and the real server as processes of their own, opens one websocket a
stream, sends a message in each, and reads until every answer is complete. The baseline in the
same run is a bare client of the provider (httpx's stream, bytes only): the figures are ratios to
it, and the absolute ones hold for this machine alone. Linux (reads /proc).
"""

import argparse
import asyncio
import json
import re
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import websockets

from bench.site import bare_relay, cpu_seconds, first_delta_bare, resident_mb, run
from tests.server import EMAIL, PASSWORD, Server

PROBES = 15


class Member:
    """A signed-in person's HTTP client and sockets."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30)

    async def sign_in(self) -> None:
        page = await self.http.get("/sign-in/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        form = {"csrfmiddlewaretoken": token[1], "username": EMAIL, "password": PASSWORD}
        await self.http.post("/sign-in/", data=form)

    async def new_conversation(self, text: str, max_tokens: int = 0) -> str:
        """Make a conversation by the start page's form; returns its id."""
        page = await self.http.get("/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        form = {
            "csrfmiddlewaretoken": token[1],
            "client_id": str(uuid.uuid4()),
            "text": text,
            "model": "test-model",
            "max_tokens": str(max_tokens or ""),
        }
        answer = await self.http.post("/", data=form)
        found = re.search(r"/c/([0-9a-f-]{36})/", answer.headers.get("location", ""))
        assert found, answer.status_code
        return found[1]

    @asynccontextmanager
    async def socket(self, conversation_id: str) -> AsyncIterator[websockets.ClientConnection]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())
        async with websockets.connect(
            f"ws://127.0.0.1:{self.server.port}/ws/conversations/{conversation_id}/",
            origin=self.server.url,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookies},
            proxy=None,
            max_size=None,
        ) as connection:
            yield connection


async def wait_until_complete(socket: websockets.ClientConnection) -> int:
    """Read until the newest answer is finished; returns the frames read."""
    frames = 0
    async for frame in socket:
        frames += 1
        states = re.findall(r'message--assistant" data-state="([a-z]+)"', str(frame))
        if states and states[-1] == "complete":
            return frames
    raise AssertionError("the socket closed")


async def first_delta_through_server(member: Member, conversation_id: str) -> float:
    """Seconds from sending a message until the first frame with text of its answer."""
    async with member.socket(conversation_id) as socket:
        await socket.recv()
        started = time.perf_counter()
        await socket.send(json.dumps({"text": "Go on.", "client_id": str(uuid.uuid4())}))
        async for frame in socket:
            if 'message--assistant" data-state="streaming"' in str(frame):
                elapsed = time.perf_counter() - started
                await wait_until_complete(socket)
                return elapsed
    raise AssertionError("the socket closed")


async def measure(server: Server, url: str, arguments: argparse.Namespace) -> None:
    member = Member(server)
    await member.sign_in()
    idle = resident_mb(server.pid)
    conversation_id = await member.new_conversation("Hello", max_tokens=5)
    async with member.socket(conversation_id) as socket:
        await wait_until_complete(socket)
    through = [await first_delta_through_server(member, conversation_id) for _ in range(PROBES)]
    async with httpx.AsyncClient(trust_env=False) as client:
        await first_delta_bare(url, client)
        bare = [await first_delta_bare(url, client) for _ in range(PROBES)]
    print(f"idle resident memory of the server           {idle:8.1f} MB")
    print("send to first delta, medians:")
    print(f"  bare client                                {statistics.median(bare) * 1e3:8.1f} ms")
    print(
        f"  browser's socket                           {statistics.median(through) * 1e3:8.1f} ms"
    )

    before = cpu_seconds(server.pid)
    frames = await stream_all(member, arguments.streams)
    used = cpu_seconds(server.pid) - before
    tokens = arguments.streams * arguments.tokens
    own = time.process_time()
    await bare_relay(url, arguments.streams)
    relay = time.process_time() - own
    print(f"{arguments.streams} streams × {arguments.rate}/s, {arguments.tokens} tokens each:")
    print(f"  server CPU seconds per 1,000 tokens        {used / tokens * 1000:8.3f}")
    print(f"  bare httpx reader, the same                {relay / tokens * 1000:8.3f}")
    print(f"  ratio                                      {used / relay:8.1f}")
    print(f"  frames per 1,000 tokens                    {frames / tokens * 1000:8.0f}")
    print(f"  resident memory afterwards                 {resident_mb(server.pid):8.1f} MB")
    await member.http.aclose()


async def stream_all(member: Member, streams: int) -> int:
    """Start all streams at once, one viewer each; returns how many frames came."""

    async def one() -> int:
        conversation_id = await member.new_conversation("Write.")
        async with member.socket(conversation_id) as socket:
            return await wait_until_complete(socket)

    return sum(await asyncio.gather(*(one() for _ in range(streams))))


if __name__ == "__main__":
    run(measure)
