"""Wake whoever waits for a topic. Carries no content: who wakes reads the database or `live`.

A lost wake-up is therefore late, never wrong: every waiter also looks by itself now and then.
"""

import asyncio
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


class Wakeable(Protocol):
    """An asyncio.Event, or anything else whose `set` is cheap; called in its own loop."""

    def set(self) -> None: ...


RUNNER = "runner"
MODEL = "model"

_lock = threading.Lock()
_waiting: dict[str, set[tuple[asyncio.AbstractEventLoop, Wakeable]]] = defaultdict(set)


def conversation_topic(conversation_id: uuid.UUID) -> str:
    return f"conversation:{conversation_id}"


@contextmanager
def waiting(event: Wakeable, *topics: str) -> Iterator[None]:
    """While inside, `event` is set whenever one of the topics is woken. Call from the loop."""
    entry = (asyncio.get_running_loop(), event)
    with _lock:
        for topic in topics:
            _waiting[topic].add(entry)
    try:
        yield
    finally:
        with _lock:
            for topic in topics:
                _waiting[topic].discard(entry)
                if not _waiting[topic]:
                    del _waiting[topic]


def wake(topic: str) -> None:
    """Wake the topic's waiters. Safe from any thread."""
    with _lock:
        entries = tuple(_waiting.get(topic, ()))
    for loop, event in entries:
        # A loop that closed between (shutdown, tests) has nobody left to wake.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(event.set)
