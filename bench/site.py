"""What the measurements of the whole share: server and provider as processes, and the baseline."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.server import ROOT, Server

SAMPLE = Path(__file__).parent / "answer.md"  # headings, lists, tables, code, paragraphs
MOST_SECONDS = 300
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    line = next(
        text for text in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in text
    )
    return int(line.split()[1]) / 1024


async def first_delta_bare(url: str, client: httpx.AsyncClient) -> float:
    """Seconds until a bare client has the provider's first delta."""
    body = {
        "model": "test-model",
        "stream": True,
        "messages": [{"role": "user", "content": "Go on."}],
    }
    started = time.perf_counter()
    async with client.stream("POST", f"{url}/chat/completions", json=body) as answer:
        async for piece in answer.aiter_raw():
            if b'"content":"R' in piece or b'"content": "R' in piece:
                return time.perf_counter() - started
    raise AssertionError("no delta")


async def bare_relay(url: str, streams: int) -> None:
    """What the baseline costs: read all streams, throw the bytes away."""
    body = {"model": "test-model", "stream": True, "messages": [{"role": "user", "content": "Go"}]}

    async def read(client: httpx.AsyncClient) -> None:
        async with client.stream("POST", f"{url}/chat/completions", json=body) as answer:
            async for _piece in answer.aiter_raw():
                pass

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await asyncio.gather(*(read(client) for _ in range(streams)))


def run(measure: Callable[[Server, str, argparse.Namespace], Awaitable[None]]) -> None:
    """Measure with the streams, their rate and their length that the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--rate", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=500)
    arguments = parser.parse_args()
    with running(arguments.rate, arguments.tokens) as (server, url):
        asyncio.run(asyncio.wait_for(measure(server, url, arguments), MOST_SECONDS))


@contextmanager
def running(rate: int, tokens: int) -> Iterator[tuple[Server, str]]:
    """The server, and the address of a provider that answers with SAMPLE at that rate."""
    upstream = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.upstream", "--rate", str(rate)),
            *("--tokens", str(tokens), "--text", str(SAMPLE)),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert upstream.stdout
    url = json.loads(upstream.stdout.readline())["url"]
    with tempfile.TemporaryDirectory() as directory:
        server = Server(
            Path(directory),
            {
                "COMPLETIONS_URL": url,
                "COMPLETIONS_API_KEY": "bench",
                "COMPLETIONS_MODELS": "test-model",
            },
        )
        server.set_up()
        server.start()
        try:
            yield server, url
        finally:
            server.terminate()
            upstream.communicate(timeout=10)
