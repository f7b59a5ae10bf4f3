"""Measures what reading answers costs: httpx's own transport against aiohttp's under httpx.

    python -m bench.read_upstream [--streams 20] [--rate 100] [--tokens 500] [--runs 3]

The provider (tests/upstream.py) runs as a process of its own, and so does each run, under uvloop
where it is installed. The number is the CPU time of the reading process, in milliseconds for
1,000 deltas: the connection, HTTP, the splitting into events, the JSON, and the client's checks.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time

import httpx

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.types import ChatMessage, CompletionRequest

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]

REQUEST = CompletionRequest("fake-model", (ChatMessage("user", "Go on."),))


async def read(url: str, transport: str, streams: int) -> tuple[int, float]:
    """Return how many deltas came, and the seconds of CPU that reading them took."""
    stock = httpx.AsyncHTTPTransport(trust_env=False, limits=httpx.Limits(max_connections=None))
    client = CompletionClient(
        Endpoint(url, "", "none"), transport=stock if transport == "httpx" else None
    )

    async def read_one() -> int:
        return sum([len(chunk.deltas) async for chunk in client.stream(REQUEST)])

    await client.stream(REQUEST).__anext__()  # imports, and the TLS context
    began = time.process_time()
    counts = await asyncio.gather(*(read_one() for _ in range(streams)))
    seconds = time.process_time() - began
    await client.aclose()
    await stock.aclose()
    return sum(counts), seconds


def measure_here(url: str, transport: str, streams: int) -> None:
    with asyncio.Runner(loop_factory=getattr(uvloop, "new_event_loop", None)) as runner:
        print(json.dumps(runner.run(read(url, transport, streams))))


def measure(url: str, transport: str, streams: int) -> float:
    """Return milliseconds of CPU per 1,000 deltas, measured in a new process."""
    command = [sys.executable, "-m", "bench.read_upstream", "--streams", str(streams)]
    command += ["--url", url, "--transport", transport]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    deltas, seconds = json.loads(ended.stdout)
    return float(1e6 * seconds / deltas)


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(description="CPU per 1,000 deltas, by transport.")
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--rate", type=float, default=100.0, help="deltas a second and stream")
    parser.add_argument("--tokens", type=int, default=500, help="deltas a stream")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--transport", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url:
        measure_here(options.url, options.transport, options.streams)
        return
    provider = [sys.executable, "-m", "tests.upstream"]
    provider += ["--rate", str(options.rate), "--tokens", str(options.tokens)]
    with subprocess.Popen(
        provider, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        medians = {}
        for transport in ("httpx", "aiohttp"):
            runs = [measure(url, transport, options.streams) for _ in range(options.runs)]
            medians[transport] = statistics.median(runs)
            shown = ", ".join(f"{run:.1f}" for run in runs)
            print(f"{transport:8} {medians[transport]:6.1f} ms per 1,000 deltas ({shown})")
        assert server.stdin is not None
        server.stdin.close()
    print(f"ratio    {medians['httpx'] / medians['aiohttp']:6.1f}")


if __name__ == "__main__":
    main()
