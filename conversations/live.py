"""What this process knows of running turns: what arrived, rendered blocks, and who reads it.

All read at their own pace; nothing is queued for anybody, so nothing can overflow. Pages `watch`:
they read by version, and text is rendered once a process, at most once a frame, and only while
somebody watches. Programs `follow`: they read by offset, are woken at every arrival, and cost no
rendering.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from completions.errors import CompletionError
from completions.types import ToolCallDelta
from conversations.models import TurnState
from conversations.replies import Change, LiveMessage

__all__ = ["Change", "Ending", "Live", "LiveMessage", "LiveTurn"]

# Leading edge, then a gap: at 40 ms the first word is not delayed at all, the mean word 20 ms,
# and 1,000 tokens at 50/s take 500 frames. A frame that costs much is sent more seldom, so that
# one answer never takes more than about an eighth of a core.
LEAST_GAP_SECONDS = 0.04
COST_FACTOR = 8
SMOOTHING = 0.2
LAG_UNIT_SECONDS = 0.01
MOST_LAG_FACTOR = 6.0
# A turn may have ended before the one who asked for it comes to look.
LINGER_SECONDS = 10.0


@dataclass(slots=True)
class Ending:
    """How a turn ended; `state` is final."""

    state: TurnState = TurnState.COMPLETE
    error_code: str = ""
    error_detail: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token_at: datetime | None = None
    finish_reasons: dict[int, str] = field(default_factory=dict)  # by message
    error: CompletionError | None = None  # in memory only: its status, when to try again


class LiveTurn:
    """A running turn and its viewers' clock.

    `ending` is None until the turn's end is stored (or could not be, or another process has ended
    it: then INTERRUPTED); followers are woken then. All of it stays readable after that.
    """

    def __init__(
        self,
        turn_id: int,
        conversation_id: uuid.UUID,
        texts: Mapping[int, str],
        reasonings: Mapping[int, str] | None = None,
    ) -> None:
        self.id = turn_id
        self.conversation_id = conversation_id
        self.version = 0
        before = reasonings or {}
        self.messages = {
            number: LiveMessage(number, text, before.get(number, ""))
            for number, text in texts.items()
        }
        self.first_token_seconds: float | None = None
        self.ending: Ending | None = None
        self._dirty: set[int] = set()
        self._arrived = asyncio.Event()
        self._watchers: set[asyncio.Event] = set()
        self._followers: set[asyncio.Event] = set()
        self._presenter: asyncio.Task[None] | None = None
        self._shared: tuple[int, int, tuple[Change, ...]] = (0, 0, ())
        self._cost = self._lag = 0.0

    def append(self, message_id: int, text: str) -> int:
        """Take a delta; returns the offset at which it stands."""
        message = self.messages[message_id]
        offset = message.length
        message.append(text, time.monotonic())
        self._arrive(message_id)
        return offset

    def append_reasoning(self, message_id: int, text: str) -> int:
        """Take reasoning; returns the offset at which it stands in the message's reasoning."""
        message = self.messages[message_id]
        offset = message.reasoning_length
        message.append_reasoning(text, time.monotonic())
        self._arrive(message_id)
        return offset

    def append_tool_calls(self, message_id: int, deltas: tuple[ToolCallDelta, ...]) -> None:
        now = time.monotonic()
        for delta in deltas:
            self.messages[message_id].append_tool_call(delta, now)
        self._wake_followers()

    def finish(self, message_id: int, reason: str) -> None:
        """Note why the provider ended the reply; the first word counts."""
        message = self.messages[message_id]
        message.finish_reason = message.finish_reason or reason
        self._wake_followers()

    def end(self, ending: Ending) -> None:
        """Say that it is over, once that is stored."""
        self.ending = ending
        self._wake_followers()

    @contextmanager
    def follow(self, event: asyncio.Event) -> Iterator[None]:
        """While inside, `event` is set at each arrival (also of a finish), and at the end."""
        self._followers.add(event)
        try:
            yield
        finally:
            self._followers.discard(event)

    def texts(self) -> dict[int, str]:
        return {number: message.text for number, message in self.messages.items()}

    @contextmanager
    def watch(self, event: asyncio.Event) -> Iterator[None]:
        """While inside, `event` is set for each new version."""
        self._watchers.add(event)
        if self._presenter is None or self._presenter.done():
            self._presenter = asyncio.create_task(self._present(), name=f"present turn {self.id}")
        try:
            yield
        finally:
            self._watchers.discard(event)
            if not self._watchers and self._presenter is not None:
                self._presenter.cancel()
                self._presenter = None

    def since(self, version: int) -> tuple[Change, ...]:
        """What a viewer at `version` lacks. Viewers that keep up share one tuple."""
        if self._shared[:2] != (version, self.version):
            changes = (message.since(version) for message in self.messages.values())
            found = tuple(change for change in changes if change)
            if version != self.version - 1:
                return found
            self._shared = (version, self.version, found)
        return self._shared[2]

    def catch_up(self) -> None:
        """Render now what has arrived, for a viewer that is about to read everything."""
        changed = [m for m in self._take_dirty() if m.update()]
        self._note(changed)

    def close(self) -> None:
        if self._presenter is not None:
            self._presenter.cancel()
            self._presenter = None

    async def _present(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            started = time.perf_counter()
            changed = [m for m in self._take_dirty() if m.update()]
            self._note(changed)
            cost = time.perf_counter() - started
            self._cost += SMOOTHING * (cost - self._cost)
            await self._pause()

    async def _pause(self) -> None:
        lag_factor = min(max(self._lag / LAG_UNIT_SECONDS, 1.0), MOST_LAG_FACTOR)
        gap = max(LEAST_GAP_SECONDS, COST_FACTOR * self._cost) * lag_factor
        before = time.perf_counter()
        await asyncio.sleep(gap)
        lag = time.perf_counter() - before - gap
        self._lag += SMOOTHING * (lag - self._lag)

    def _arrive(self, message_id: int) -> None:
        self._dirty.add(message_id)
        self._arrived.set()
        self._wake_followers()

    def _wake_followers(self) -> None:
        for follower in self._followers:
            follower.set()

    def _take_dirty(self) -> list[LiveMessage]:
        taken = [self.messages[number] for number in sorted(self._dirty)]
        self._dirty.clear()
        return taken

    def _note(self, changed: list[LiveMessage]) -> None:
        if not changed:
            return
        self.version += 1
        for message in changed:
            message.note(self.version)
        for watcher in self._watchers:
            watcher.set()


class Live:
    """The running turns of this process, by turn."""

    def __init__(self) -> None:
        self._turns: dict[int, LiveTurn] = {}
        self._ended: dict[int, LiveTurn] = {}
        self._readers = Counter[int]()

    def open(
        self,
        turn_id: int,
        conversation_id: uuid.UUID,
        texts: Mapping[int, str],
        reasonings: Mapping[int, str] | None = None,
    ) -> LiveTurn:
        """`texts` and `reasonings` are what stands there already, by message."""
        turn = LiveTurn(turn_id, conversation_id, texts, reasonings)
        self._turns[turn_id] = turn
        return turn

    def get(self, turn_id: int) -> LiveTurn | None:
        """One that is running."""
        return self._turns.get(turn_id)

    def find(self, turn_id: int) -> LiveTurn | None:
        """One that is running, or ended less than LINGER_SECONDS ago."""
        return self._turns.get(turn_id) or self._ended.get(turn_id)

    def close(self, turn_id: int) -> None:
        turn = self._turns.pop(turn_id, None)
        if turn:
            turn.close()
            self._ended[turn_id] = turn
            loop = asyncio.get_running_loop()
            loop.call_later(LINGER_SECONDS, self._ended.pop, turn_id, None)

    @contextmanager
    def reading(self, turn_id: int) -> Iterator[None]:
        """While inside, somebody reads the turn, be it queued, running or elsewhere."""
        self._readers[turn_id] += 1
        try:
            yield
        finally:
            self._readers[turn_id] -= 1
            if not self._readers[turn_id]:
                del self._readers[turn_id]

    def has_readers(self, turn_id: int) -> bool:
        return turn_id in self._readers
