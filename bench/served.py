"""Measure the served endpoint: what it adds to asking the provider itself.

    .venv/bin/python -m bench.served [--streams 20] [--rate 50] [--tokens 1000]

The baseline in the same run is a bare client of the provider: the figures are ratios to it, and
the absolute ones hold for this machine alone. Linux (reads /proc).
"""

import argparse
import asyncio
import statistics
import time

import httpx

from bench.site import bare_relay, cpu_seconds, first_delta_bare, resident_mb, run
from tests.server import EMAIL, Server

PROBES = 15
BODY = {"model": "test-model", "messages": [{"role": "user", "content": "Go on."}]}


async def first_delta(url: str, client: httpx.AsyncClient) -> float:
    """Seconds from the request until the first text."""
    started = time.perf_counter()
    async with client.stream("POST", url, json=BODY | {"stream": True}) as answer:
        async for piece in answer.aiter_raw():
            if b'"content":"R' in piece:
                return time.perf_counter() - started
    raise AssertionError("no delta")


async def read_all(url: str, client: httpx.AsyncClient) -> int:
    """Read one stream to its end; returns its events."""
    events = 0
    async with client.stream("POST", url, json=BODY | {"stream": True}) as answer:
        async for piece in answer.aiter_raw():
            events += piece.count(b"\n\n")
    return events


async def measure(server: Server, provider: str, arguments: argparse.Namespace) -> None:
    token = server.manage(
        *("create_token", "--email", EMAIL, "--organization", server.organization_id),
        *("--name", "Bench"),
    ).split()[-1]
    url = f"{server.url}/api/organizations/{server.organization_id}/ai/chat/completions"
    headers = {"x-api-key": token}
    async with httpx.AsyncClient(trust_env=False, timeout=120, headers=headers) as client:
        await first_delta(url, client)
        served = [await first_delta(url, client) for _ in range(PROBES)]
        bare = [await first_delta_bare(provider, client) for _ in range(PROBES)]
        print("request to first delta, medians:")
        for name, times in (("the provider itself", bare), ("served", served)):
            print(f"  {name:42} {statistics.median(times) * 1e3:8.1f} ms")
        before = cpu_seconds(server.pid)
        events = sum(
            await asyncio.gather(*(read_all(url, client) for _ in range(arguments.streams)))
        )
        used = cpu_seconds(server.pid) - before
    own = time.process_time()
    await bare_relay(provider, arguments.streams)
    relay = time.process_time() - own
    tokens = arguments.streams * arguments.tokens
    print(f"{arguments.streams} streams × {arguments.rate}/s, {arguments.tokens} tokens each:")
    print(f"  server CPU seconds per 1,000 tokens        {used / tokens * 1000:8.3f}")
    print(f"  bare httpx reader, the same                {relay / tokens * 1000:8.3f}")
    print(f"  ratio                                      {used / relay:8.1f}")
    print(f"  events per 1,000 tokens                    {events / tokens * 1000:8.0f}")
    print(f"  resident memory afterwards                 {resident_mb(server.pid):8.1f} MB")


if __name__ == "__main__":
    run(measure)
