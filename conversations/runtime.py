"""The parts of this process that write answers: started once, in the server's loop."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from conversations.blocks import render
from conversations.live import Live
from conversations.markdown import warm_up
from conversations.runner import Runner
from conversations.upstream import ModelStatus, Upstream

# How long sockets stay open after a drain, for pages to be shown how their answers ended.
TELL_SECONDS = 2.0


@dataclass(slots=True)
class Runtime:
    """The live view, the way to the models, and the runner."""

    live: Live
    upstream: Upstream
    runner: Runner
    loop: asyncio.AbstractEventLoop
    warming: asyncio.Task[None] | None = None


_current: Runtime | None = None
_viewers: set[asyncio.Event] = set()


async def start() -> Runtime:
    """Start running turns in this process, if it does not yet."""
    global _current
    if _current is None or _current.loop.is_closed():
        live, upstream = Live(), Upstream()
        _current = Runtime(live, upstream, Runner(live, upstream), asyncio.get_running_loop())
        await upstream.start()
        _current.runner.start()
        # Not awaited: the first answer should not pay for it, and the first page should not wait.
        _current.warming = asyncio.create_task(_warm_up(), name="warm up")
    return _current


async def stop_claiming() -> int:
    """Leave what is sent from now on to the process after this one; how many answers still run."""
    return await _current.runner.stop_claiming() if _current else 0


async def drain(grace_seconds: float) -> None:
    """Claim nothing more, let the running answers finish or store them, and show their ends."""
    if _current:
        await _current.runner.drain(grace_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(TELL_SECONDS):
                for caught_up in tuple(_viewers):
                    await caught_up.wait()


@contextmanager
def viewing(caught_up: asyncio.Event) -> Iterator[None]:
    """While inside, a drain waits (not for long) for the event: the page shows all there is."""
    _viewers.add(caught_up)
    try:
        yield
    finally:
        _viewers.discard(caught_up)
        caught_up.set()


async def stop() -> None:
    """End everything: answers are stored, the built-in model is stopped."""
    global _current
    if _current:
        runtime, _current = _current, None
        await runtime.runner.stop()
        await runtime.upstream.stop()


async def _warm_up() -> None:
    """Lexers and parser: the first import of one holds the loop for 25 ms."""
    await asyncio.to_thread(warm_up)
    await asyncio.to_thread(render, "Some *text* and\n\n```python\ncode = 1\n```\n")


def current() -> Runtime | None:
    return _current


def model_status() -> ModelStatus | None:
    """What to say of the model on pages; None before the start, and where all is well."""
    return _current.upstream.status() if _current else None
