"""Time that passes when a test says so: a limit can be long, and be over all the same."""

import asyncio


def forward(seconds: float) -> None:
    """Put the running loop's clock forward, for as long as the loop lives; asyncio's own only."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]
