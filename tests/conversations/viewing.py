"""A viewer of a conversation: a real socket of the whole application, and the page it feeds.

`Page` changes as htmx would change it: a top-level element of a frame replaces the element with
its id, or is appended to, or replaces what is in, the one that `hx-swap-oob` names.
"""

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from bs4 import BeautifulSoup, Tag
from channels.testing import WebsocketCommunicator
from django.test import Client

from chatsite.asgi import application
from conversations import wakeups
from conversations.database import in_database
from conversations.live import LiveTurn
from conversations.models import Conversation, Turn, TurnState
from organizations.models import User

PATIENCE_SECONDS = 60  # on a busy computer; nothing here takes ten
ORIGIN = b"http://testserver"


class Page:
    """The document of one browser tab."""

    def __init__(self, html: str) -> None:
        self.document = BeautifulSoup(html, "html.parser")

    def apply(self, frame: str) -> None:
        """Swap what a frame brings, as htmx does."""
        for element in BeautifulSoup(frame, "html.parser").find_all(recursive=False):
            how, _, target = str(element.attrs.pop("hx-swap-oob", "")).partition(":#")
            place = self.find(target or str(element["id"]))
            if place is None:
                continue
            if how == "beforeend":
                place.extend(list(element.contents))
            elif how == "innerHTML":
                place.clear()
                place.extend(list(element.contents))
            else:
                place.replace_with(element)
        ids = [element["id"] for element in self.document.find_all(id=True)]
        assert len(ids) == len(set(ids)), f"one id twice after: {frame[:500]}"

    def find(self, dom_id: str) -> Tag | None:
        return self.document.find(id=dom_id)

    def text(self, dom_id: str) -> str:
        """What a person reads of a message's body, without the space at both ends."""
        element = self.find(dom_id)
        body = element and (element.find(class_="body") or element.find(class_="bubble"))
        return body.get_text().strip() if body else ""

    def thoughts(self, dom_id: str) -> tuple[str, str]:
        """The heading and the text of a message's reasoning."""
        heading, text = self.find(f"{dom_id}-thought"), self.find(f"{dom_id}-reasoning-text")
        return (heading.get_text() if heading else "", text.get_text() if text else "")

    def state(self, dom_id: str) -> str:
        element = self.find(dom_id)
        return str(element["data-state"]) if element else ""

    @property
    def thread(self) -> list[str]:
        """The HTML of each item of the thread."""
        thread = self.find("thread")
        assert thread is not None
        return [str(item) for item in thread.find_all(recursive=False)]

    def regions(self, conversation_id: uuid.UUID) -> dict[str, str]:
        """The HTML of everything else that is pushed."""
        names = ("conversation-header", "composer-action", "model-status", "announcer")
        return {
            name: str(self.find(name)) for name in (*names, f"conversation-item-{conversation_id}")
        }

    @property
    def notice(self) -> str:
        element = self.find("notice")
        return element.get_text(" ", strip=True) if element else ""

    @property
    def accepted(self) -> str:
        """The client_id that the server has taken last."""
        element = self.find("composer-ack")
        return str(element["data-accepted"]) if element else ""

    @property
    def socket_path(self) -> str:
        main = self.find("main")
        assert main is not None
        return str(main["ws-connect"])


class SlowCommunicator(WebsocketCommunicator):
    """A connection whose buffers are full after one frame, until the test reads."""

    @property
    def output_queue(self) -> asyncio.Queue[Any]:
        if self._output_queue is None:
            self._output_queue = asyncio.Queue(maxsize=1)
        return self._output_queue


class Viewer:
    """One tab of one person on one conversation."""

    def __init__(self, client: Client, conversation_id: uuid.UUID, *, slow: bool = False) -> None:
        self.client = client
        self.conversation_id = conversation_id
        self.page = Page("")
        self.frames: list[str] = []
        self._kind = SlowCommunicator if slow else WebsocketCommunicator

    async def open(self) -> "Viewer":
        """Load the page and connect its socket, as a browser does."""
        self.page = await self.load()
        assert await self.connect(self.page.socket_path) is None
        return self

    async def load(self) -> Page:
        """What the page is for who opens it now."""
        response = await in_database(self.client.get, f"/c/{self.conversation_id}/")
        assert response.status_code == 200
        return Page(response.content.decode())

    async def connect(
        self, path: str = "", *, origin: bytes | None = ORIGIN, host: bytes = b"testserver"
    ) -> int | None:
        """Returns the code where the socket was refused before it was accepted."""
        headers = [(b"host", host)] + ([(b"origin", origin)] if origin is not None else [])
        if cookie := self.client.cookies.get("sessionid"):
            headers.append((b"cookie", f"sessionid={cookie.value}".encode()))
        path = path or f"/ws/conversations/{self.conversation_id}/"
        self.socket = self._kind(application, path, headers=headers)
        accepted, code = await self.socket.connect(PATIENCE_SECONDS)
        if accepted:
            return None
        assert isinstance(code, int)
        return code

    async def reconnect(self) -> None:
        """As the page does after a lost connection: without `seen`."""
        await self.leave()
        assert await self.connect(urlsplit(self.page.socket_path).path) is None

    async def leave(self) -> None:
        await self.socket.disconnect(timeout=PATIENCE_SECONDS)

    async def receive(self) -> str:
        """Take one frame and apply it to the page."""
        frame = await self.socket.receive_from(PATIENCE_SECONDS)
        assert isinstance(frame, str)
        self.frames.append(frame)
        self.page.apply(frame)
        return frame

    async def until(self, holds: Callable[[Page], object]) -> Page:
        """Take frames until the page is so."""
        while not holds(self.page):
            await self.receive()
        return self.page

    async def closed(self) -> int:
        """The code with which the server closes, after whatever it still sends."""
        while True:
            message = await self.socket.receive_output(PATIENCE_SECONDS)
            if message["type"] == "websocket.close":
                return int(message["code"])

    async def send(self, text: str, client_id: uuid.UUID | None = None) -> uuid.UUID:
        """What the composer's form sends."""
        client_id = client_id or uuid.uuid4()
        fields = {"text": text, "client_id": str(client_id), "HEADERS": {"HX-Request": "true"}}
        await self.socket.send_to(text_data=json.dumps(fields))
        return client_id

    async def post(self, path: str, **fields: str) -> int:
        """Press a button of the page; returns the status."""
        response = await in_database(self.client.post, path, fields, headers={"HX-Request": "true"})
        return int(response.status_code)

    async def assert_page_is_current(self) -> None:
        """What frames have made of the page equals what a new one shows."""
        fresh = await self.load()
        assert self.page.thread == fresh.thread
        regions = self.page.regions(self.conversation_id)
        assert regions == fresh.regions(self.conversation_id)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


async def until(holds: Callable[[], object], *topics: str) -> None:
    """Wait for a state of the database, looking whenever one of the topics is woken."""
    woken = asyncio.Event()
    with wakeups.waiting(woken, *topics):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await in_database(holds):
                await woken.wait()
                woken.clear()


async def ended(turn: Turn) -> Turn:
    """The turn, once it is in a final state."""
    final = Turn.objects.filter(pk=turn.pk).exclude(
        state__in=(TurnState.QUEUED, TurnState.STREAMING)
    )
    await until(final.exists, wakeups.conversation_topic(turn.conversation_id))
    return await in_database(Turn.objects.get, pk=turn.pk)


async def live_text(live_turn: LiveTurn, message_id: int, text: str) -> None:
    """Wait until the live view of a message has exactly this text."""
    woken = asyncio.Event()
    with live_turn.watch(woken):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while live_turn.texts()[message_id] != text:
                await woken.wait()
                woken.clear()


def reread(conversation: Conversation) -> Conversation:
    return Conversation.objects.get(pk=conversation.pk)
