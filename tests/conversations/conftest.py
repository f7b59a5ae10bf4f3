"""The runtime of one test, in the test's own loop."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import wait

import pytest
from django.db import connections

from conversations import runtime
from conversations.database import READERS, in_database
from conversations.models import Conversation
from conversations.runtime import Runtime
from organizations.models import User
from tests.conftest import Cast
from tests.conversations.viewing import Viewer, signed_in
from tests.upstream import Upstream


@pytest.fixture(scope="session", autouse=True)
def _close_connections(django_db_setup: None) -> Iterator[None]:
    """PostgreSQL does not drop a test database to which the pool's threads are connected."""
    yield
    count = READERS._max_workers
    together = threading.Barrier(count)

    def close() -> None:
        together.wait(60)
        connections.close_all()

    wait([READERS.submit(close) for _ in range(count)])


@pytest.fixture
async def running(transactional_db: None, upstream: Upstream) -> AsyncIterator[Runtime]:
    """The process's runtime, started and at the end stopped."""
    yield await runtime.start()
    await runtime.stop()


@pytest.fixture
async def view(
    running: Runtime, cast: Cast, conversation: Conversation
) -> AsyncIterator[Callable[..., Viewer]]:
    """`view(user)` is a tab of that person on the conversation; it is closed at the end."""
    opened: list[Viewer] = []

    def of(user: User, *, slow: bool = False) -> Viewer:
        viewer = Viewer(clients[user.pk], conversation.pk, slow=slow)
        opened.append(viewer)
        return viewer

    # Named by a person: no request for an automatic title comes between.
    await in_database(conversation.rename, "Importer")
    people = (cast.alice, cast.bob, cast.mallory)
    clients = {user.pk: await in_database(signed_in, user) for user in people}
    yield of
    for viewer in opened:
        if hasattr(viewer, "socket"):
            viewer.socket.stop(exceptions=False)
