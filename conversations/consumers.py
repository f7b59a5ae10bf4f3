"""The websocket of a conversation's page: takes messages, pushes what the page lacks.

It never waits for a stream: `receive` stores a turn and returns, and one pump task compares what
the page shows with what is, woken by changes and at most once a frame.
"""

import asyncio
import logging
import time
import uuid
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs

import msgspec
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from conversations import runtime, wakeups
from conversations.actions import Refused, start_turn
from conversations.database import UNAVAILABLE, in_database
from conversations.fragments import (
    Page,
    fill_running,
    frame,
    page_difference,
    refusal_notice,
    render,
    render_page,
)
from conversations.live import LiveTurn
from conversations.models import Conversation
from conversations.reading import ConversationView, read_conversation
from conversations.upstream import ModelStatus
from organizations.sockets import read_user

SIGNED_OUT, GONE, MALFORMED = 4401, 4404, 4400
RECHECK_SECONDS = 30.0  # rights are read again at the latest after so long
POLL_SECONDS = 1.0  # a running turn whose live view is not here is read from the log
BEAT_SECONDS, RUNNING_BEAT_SECONDS = 10.0, 0.5  # the page misses them after 21 s and 1.7 s
BEAT = '<i id="beat" hidden></i>'
MOST_FRAMES, FRAMES_SECONDS = 20, 10.0
MOST_MALFORMED = 5

logger = logging.getLogger(__name__)


class SendFrame(msgspec.Struct):
    """What the composer sends; other fields (HEADERS, the CSRF token) are ignored."""

    text: str
    client_id: uuid.UUID


class SignedOut(Exception):
    """The session has ended, or its person is not active any more."""


class _Wake:
    """Wakes the pump and remembers that the page itself may have changed."""

    def __init__(self) -> None:
        self.dirty = True
        self.woken = asyncio.Event()
        self.caught_up = asyncio.Event()  # the page shows what it was last woken for

    def set(self) -> None:
        self.dirty = True
        self.caught_up.clear()
        self.woken.set()


class ConversationConsumer(AsyncConsumer):
    """One page's socket."""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        await self.send({"type": "websocket.accept"})
        # Refusing before accepting would be a 403, which htmx takes for a lost connection and
        # tries again for ever.
        self.conversation_id: uuid.UUID = self.scope["url_route"]["kwargs"]["conversation_id"]
        query = parse_qs(self.scope.get("query_string", b"").decode("latin-1"))
        self._seen = query.get("seen", [""])[0]
        self._shown: dict[str, str] | None = None  # dom id → HTML; None: not known yet
        self._followed: LiveTurn | None = None  # what the page shows of it: up to the cursor
        self._cursor = 0
        self._outlines: dict[str, str] = {}  # what stands around it
        self._sent_at = time.monotonic()
        self._arrivals: list[float] = []
        self._malformed = 0
        self._closed = False
        self._wake = _Wake()
        self._pumping = asyncio.create_task(self._pump(), name="pump")
        self._pumping.add_done_callback(_report)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self._too_many():
            await self._notice(Refused("flood"))
            return
        try:
            sent = msgspec.json.decode(message.get("text") or b"", type=SendFrame)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            await self._refuse_malformed()
            return
        try:
            await in_database(self._start, sent)
        except Refused as error:
            await self._notice(error)
        except (SignedOut, Conversation.DoesNotExist):
            self._wake.set()  # the pump closes the socket, with the right code
        except UNAVAILABLE:
            logger.exception("message not stored")
            await self._notice(Refused("not_stored"), "bad")
        else:
            ack = render("_composer_ack.html", accepted=sent.client_id, next=uuid.uuid4())
            await self._send(ack + render("_notice.html", notice=None))

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        self._pumping.cancel()
        await asyncio.wait({self._pumping})
        raise StopConsumer

    def _start(self, sent: SendFrame) -> None:
        user = read_user(self.scope["session"])
        if not user.is_authenticated:
            raise SignedOut
        conversation = Conversation.objects.visible_to(user).get(pk=self.conversation_id)
        start_turn(conversation, user, sent.text, sent.client_id)

    def _too_many(self) -> bool:
        now = time.monotonic()
        latest = self._arrivals[-MOST_FRAMES:]
        self._arrivals = [at for at in latest if now - at < FRAMES_SECONDS] + [now]
        return len(self._arrivals) > MOST_FRAMES

    async def _refuse_malformed(self) -> None:
        self._malformed += 1
        if self._malformed >= MOST_MALFORMED:
            await self._close(MALFORMED)
        else:
            await self._notice(Refused("malformed"), "bad")

    async def _notice(self, error: Refused, level: str = "warning") -> None:
        await self._send(render("_notice.html", notice=refusal_notice(error, level)))

    async def _pump(self) -> None:
        topic = wakeups.conversation_topic(self.conversation_id)
        try:
            with (
                wakeups.waiting(self._wake, topic, wakeups.MODEL),
                runtime.viewing(self._wake.caught_up),
                ExitStack() as watching,
            ):
                await self._follow(watching)
        except SignedOut:
            await self._close(SIGNED_OUT)
        except Conversation.DoesNotExist:
            await self._close(GONE)

    async def _follow(self, watching: ExitStack) -> None:
        wake, woken = self._wake, self._wake.woken
        live_turn: LiveTurn | None = None
        running = False
        look_at = 0.0
        while True:
            woken.clear()
            if wake.dirty or time.monotonic() >= look_at:
                wake.dirty = False
                view, new_turn = await self._refresh()
                running = view.running_turn is not None
                if new_turn is not live_turn:
                    watching.close()
                    live_turn = new_turn
                    if live_turn:
                        watching.enter_context(live_turn.watch(woken))
                away = running and live_turn is None
                look_at = time.monotonic() + (POLL_SECONDS if away else RECHECK_SECONDS)
            elif live_turn and live_turn.version > self._cursor:
                await self._send_changes(live_turn)
            else:
                wake.caught_up.set()
                await self._wait(woken, running, look_at)

    async def _wait(self, woken: asyncio.Event, running: bool, look_at: float) -> None:
        beat_at = self._sent_at + (RUNNING_BEAT_SECONDS if running else BEAT_SECONDS)
        try:
            async with asyncio.timeout(max(0.0, min(beat_at, look_at) - time.monotonic())):
                await woken.wait()
        except TimeoutError:
            if time.monotonic() >= beat_at:
                await self._send(BEAT)

    async def _refresh(self) -> tuple[ConversationView, LiveTurn | None]:
        """Send what the page lacks; returns what was read, and the live view where it is here."""
        current = runtime.current()
        while True:
            try:
                view, page = await in_database(self._read, runtime.model_status())
                break
            except UNAVAILABLE as error:
                logger.warning("page not read, will be tried again: %s", type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)
        live_turn = None
        if current and view.running_turn is not None:
            live_turn = current.live.get(view.running_turn)
        if self._shown is None and self._seen == page.digest:
            # The page shows this already, but for what is being written.
            self._shown = page.everything()
        if live_turn is None and self._followed and self._followed.id == view.running_turn:
            # It ended while this was read: the log has less than the page shows.
            self._followed = None
            self._wake.set()
            return view, None
        self._view, self._page = view, page
        await self._send_difference(live_turn)
        return view, live_turn

    async def _send_difference(self, live_turn: LiveTurn | None, *, begins: bool = False) -> None:
        # Between rendering and taking the version nothing may be awaited, or a delta would be
        # shown twice.
        fill_running(self._page, self._view, live_turn)
        if self._shown is not None and not begins and self._goes_on(live_turn):
            # Nothing changed around it: what is being written goes on from the cursor.
            self._shown |= {dom_id: self._page.items[dom_id] for dom_id in self._page.running}
        else:
            self._cursor = live_turn.version if live_turn else 0
        self._followed, self._outlines = live_turn, self._page.outlines
        difference = page_difference(self._shown, self._page)
        self._shown = self._page.everything()
        if difference:
            await self._send(difference)

    def _goes_on(self, live_turn: LiveTurn | None) -> bool:
        """Whether the page has what is being written, up to the cursor, and in its place."""
        return (
            live_turn is not None
            and live_turn is self._followed
            and self._outlines == self._page.outlines
            and list(self._shown or ()) == list(self._page.everything())
        )

    def _read(self, status: ModelStatus | None) -> tuple[ConversationView, Page]:
        user = read_user(self.scope["session"])
        if not user.is_authenticated:
            raise SignedOut
        view = read_conversation(user, self.conversation_id)
        return view, render_page(view, status)

    async def _send_changes(self, live_turn: LiveTurn) -> None:
        changes = live_turn.since(self._cursor)
        if any(change.begins for change in changes):
            await self._send_difference(live_turn, begins=True)  # the whole message
            return
        self._cursor = live_turn.version
        await self._send(frame(changes))

    async def _send(self, html: str) -> None:
        self._sent_at = time.monotonic()
        if self._closed:
            return
        try:
            await self.send({"type": "websocket.send", "text": html})
        except OSError:
            # uvicorn's word for a browser that left while a frame was under way.
            self._closed = True

    async def _close(self, code: int) -> None:
        if self._closed:
            return
        self._closed = True
        await self.send({"type": "websocket.close", "code": code})


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        logger.error("pump ended", exc_info=task.exception())
