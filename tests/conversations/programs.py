"""A program that calls the endpoint: real requests through the whole ASGI application."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from chatsite.asgi import application
from conversations.database import in_database
from organizations.models import AccessToken, Organization

PATIENCE_SECONDS = 60.0  # on a busy computer; nothing here takes ten
ASKED = {"model": "test-model", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}


class Answered:
    """What came back, as it came; `leave` closes the connection as a program does that dies."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self._changed = asyncio.Event()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._pieces: Iterable[bytes] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error; every one has the same four fields."""
        document = self.json
        assert list(document) == ["error"], document
        assert list(document["error"]) == ["message", "type", "param", "code"]
        assert self.headers["content-type"] == "application/json"
        return dict(document["error"])

    @property
    def events(self) -> list[Any]:
        """The events so far, [DONE] as a string; comments are left out."""
        lines = [line for line in self.body.decode().split("\n\n") if line.startswith("data: ")]
        found = [line.removeprefix("data: ") for line in lines]
        return [line if line == "[DONE]" else json.loads(line) for line in found]

    def text(self, index: int = 0, name: str = "content") -> str:
        """What the deltas of a choice add up to."""
        choices = [choice for event in self.events[:] if isinstance(event, dict)
                   for choice in event.get("choices", ())]  # fmt: skip
        return "".join(c["delta"].get(name) or "" for c in choices if c["index"] == index)

    @property
    def unread(self) -> int:
        """How many pieces of the request nobody has taken."""
        return self._incoming.qsize()

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_text(self, text: str) -> None:
        await self.until(lambda answered: text in answered.text())

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {n.decode(): v.decode("latin-1") for n, v in message["headers"]}
        else:
            self.body += message.get("body", b"")
            self.ended = not message.get("more_body", False)
        self._changed.set()


class Program:
    """Calls one organization's endpoint with one token."""

    def __init__(self, organization: Organization, token: str) -> None:
        self.base = f"/api/organizations/{organization.pk}/ai"
        self.token = token

    @asynccontextmanager
    async def calling(
        self,
        method: str = "POST",
        path: str = "/chat/completions",
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        pieces: Iterable[bytes] | None = None,
        base: str | None = None,
    ) -> AsyncIterator[Answered]:
        """A request under way. `pieces` is a body in chunks, without a length."""
        answered = Answered()
        sent = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        given = {"x-api-key": self.token} if headers is None else dict(headers)
        if pieces is None:
            given.setdefault("content-length", str(len(sent)))
            chunks = [sent]
        else:
            given.setdefault("transfer-encoding", "chunked")
            chunks = list(pieces)
        for place, chunk in enumerate(chunks):
            more = place + 1 < len(chunks)
            answered._incoming.put_nowait(
                {"type": "http.request", "body": chunk, "more_body": more}
            )
        target, _, query = ((self.base if base is None else base) + path).partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": target,
            "raw_path": target.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(n.encode(), v.encode("latin-1")) for n, v in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("testserver", 80),
        }
        task = asyncio.create_task(application(scope, answered._incoming.get, answered._send))
        try:
            yield answered
            async with asyncio.timeout(PATIENCE_SECONDS):
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def call(self, *args: Any, **kwargs: Any) -> Answered:
        """A request and its whole answer."""
        async with self.calling(*args, **kwargs) as answered:
            await answered.until(lambda it: it.ended)
        return answered

    async def ask(self, *, headers: Mapping[str, str] | None = None, **more: Any) -> Answered:
        """A completion of ASKED, with `more` in its body."""
        given = {"x-api-key": self.token, **(headers or {})}
        return await self.call(body=ASKED | more, headers=given)

    def asking(self, **more: Any) -> Any:
        return self.calling(body=ASKED | more)


def issue(membership: Any, **more: Any) -> str:
    """A new token's secret."""
    return AccessToken.issue(membership, "Script", **more)[1]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something in the database; of a queue's changes nobody is told."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await in_database(holds):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
