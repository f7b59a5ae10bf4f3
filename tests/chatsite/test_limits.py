"""Bodies that are too large are refused while they arrive."""

from collections.abc import Iterable
from typing import Any

import pytest

from chatsite.limits import BoundedBody

MOST = 1000


@pytest.fixture(autouse=True)
def _limit(settings: Any) -> None:
    settings.MAX_BODY_BYTES = MOST


async def request(
    pieces: Iterable[bytes], headers: Iterable[tuple[bytes, bytes]] = (), *, starts: bool = False
) -> tuple[list[int], int, int]:
    """Send the pieces to an application that reads them all.

    Returns the statuses that were sent, how many bytes the application got, and how many pieces
    were taken from the network.
    """
    waiting = [*pieces]
    statuses: list[int] = []
    got = taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal got
        if starts:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            got += len(message["body"])
            more = message["more_body"]
        if not starts:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await BoundedBody(application)({"type": "http", "headers": [*headers]}, receive, send)
    return statuses, got, taken


async def test_a_body_of_the_allowed_size_passes() -> None:
    size = str(MOST).encode()
    assert await request([b"x" * MOST], [(b"content-length", size)]) == ([200], MOST, 1)
    assert await request([b"x" * 500, b"x" * 500]) == ([200], MOST, 2)
    assert await request([b""]) == ([200], 0, 1)


@pytest.mark.parametrize("size", [b"1001", b"9" * 5000, b"-1", b"1e3", b"", b"0x10"])
async def test_a_declared_size_that_is_too_large_or_none_is_refused_unread(size: bytes) -> None:
    assert await request([b"x"], [(b"content-length", size)]) == ([413], 0, 0)


async def test_an_undeclared_body_is_refused_when_it_becomes_too_large() -> None:
    statuses, got, taken = await request([b"x" * 400] * 100)
    assert statuses == [413]
    assert (got, taken) == (800, 3)


async def test_a_lie_about_the_size_helps_nobody() -> None:
    statuses, got, _taken = await request([b"x" * 600] * 5, [(b"content-length", b"10")])
    assert (statuses, got) == ([413], 600)


async def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    statuses, _got, _taken = await request([b"x" * 600] * 5, starts=True)
    assert statuses == [200]
