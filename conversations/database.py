"""Run database work of long-lived tasks in threads whose connections heal.

The async ORM in a task that lives long never recovers from a restart of PostgreSQL, and sockets
that share Django's one sensitive thread wait for each other (4 × 1 s took 4.01 s). A small pool
does neither; each of its threads keeps one connection.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import DatabaseError, InterfaceError, connections

P = ParamSpec("P")
R = TypeVar("R")

# What a database that is away, restarting or locked raises.
UNAVAILABLE = (DatabaseError, InterfaceError)

PATIENCE_SECONDS = 30.0
AGAIN_SECONDS = 0.5

READERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="database")


async def in_database(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` in one of the pool's threads."""
    return await in_threads(READERS, function, *args, **kwargs)


async def patiently(attempt: Callable[[], Awaitable[R]]) -> R:
    """Await `attempt()`, again and again while the database is away; raises what the last raised.

    That is after PATIENCE_SECONDS: a server that is restarting is back by then.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await attempt()
        except UNAVAILABLE:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(AGAIN_SECONDS)


async def in_threads(
    executor: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call `function` in a thread of `executor`, with a connection that is checked first."""

    def call() -> R:
        _drop_broken_connections()
        try:
            return function(*args, **kwargs)
        finally:
            _drop_broken_connections()

    return await sync_to_async(call, thread_sensitive=False, executor=executor)()


def _drop_broken_connections() -> None:
    """As Django does around a request, but what works is kept, whatever CONN_MAX_AGE says."""
    for connection in connections.all(initialized_only=True):
        connection.close_at = None
        connection.close_if_unusable_or_obsolete()
