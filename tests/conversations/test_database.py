"""Connections of long-lived threads: kept while they work, replaced when they broke."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections

from conversations.database import UNAVAILABLE, in_threads
from organizations.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor
        executor.submit(connections.close_all).result(60)


def look() -> int:
    """Use the thread's connection; returns which one it is."""
    User.objects.exists()
    return id(connection.connection)


def fail_hard() -> None:
    """On PostgreSQL what its restart does to an open connection; SQLite's can only fail."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        cursor.execute("SELECT * FROM nowhere")


async def test_a_thread_keeps_its_connection(thread: ThreadPoolExecutor) -> None:
    first = await in_threads(thread, look)
    assert await in_threads(thread, look) == first


async def test_after_a_connection_broke_the_next_call_has_a_new_one(
    thread: ThreadPoolExecutor,
) -> None:
    await in_threads(thread, look)
    with pytest.raises(UNAVAILABLE):
        await in_threads(thread, fail_hard)
    assert await in_threads(thread, look)


async def test_an_error_of_the_work_is_its_callers(thread: ThreadPoolExecutor) -> None:
    with pytest.raises(User.DoesNotExist):
        await in_threads(thread, User.objects.get)
    assert await in_threads(thread, User.objects.count) == 0
