"""Run a turn: THE place where an answer is streamed, kept and ended."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.errors import CompletionError, StreamBroken
from completions.fanout import stream_choices
from completions.types import CompletionChunk, CompletionRequest, Delta
from conversations import wakeups
from conversations.blocks import render
from conversations.cleaning import clean_delta
from conversations.database import UNAVAILABLE, patiently
from conversations.endings import Ending, Written, end_turn
from conversations.live import Live, LiveMessage, LiveTurn
from conversations.log import Log
from conversations.models import Turn, TurnState
from conversations.transcript import stored_calls

logger = logging.getLogger(__name__)

# Gives the client once the provider can be asked (the built-in model may be starting); raises
# CompletionError where it can't.
Connect = Callable[[], Awaitable[CompletionClient]]


@dataclass(slots=True)
class Work:
    """A claimed turn with all that is needed to run it."""

    turn: Turn
    request: CompletionRequest
    endpoint: Endpoint | None  # None: the built-in model
    replies: Sequence[int]  # message ids, by choice index
    texts: dict[int, str]  # what stands there already (Continue)
    reasonings: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Progress:
    """What has been learnt so far of the running answer."""

    first_token_at: datetime | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class RunningTurn:
    """One turn being run by this process; `cancel` ends it early with a reason."""

    def __init__(self, work: Work, connect: Connect, live: Live, log: Log) -> None:
        self.work = work
        self._connect = connect
        self._live = live
        self._log = log
        self._early: Ending | None = None
        self._lost = False
        self._stream: asyncio.Task[None] | None = None

    def cancel(self, state: TurnState, error_code: str = "") -> None:
        """End it now: STOPPED by a person, or INTERRUPTED. The text so far is kept."""
        if self._early is None:
            self._early = Ending(state, error_code=error_code)
        if self._stream:
            self._stream.cancel()

    def lose(self) -> None:
        """Another process has ended it: drop it without writing anything."""
        self._lost = True
        self.cancel(TurnState.INTERRUPTED)

    async def run(self) -> None:
        """Stream it to its end, and store that end whatever it is."""
        work = self.work
        live_turn = self._live.open(
            work.turn.pk, work.turn.conversation_id, work.texts, work.reasonings
        )
        self._log.open(work.turn.pk)
        # Viewers of a queued turn look for the live view now.
        wakeups.wake(wakeups.conversation_topic(work.turn.conversation_id))
        told = Ending(TurnState.INTERRUPTED, error_code="server_stopped")
        try:
            ending = await self._stream_to_end(live_turn, _Progress())
            if not self._lost and await self._store(live_turn, ending):
                told = ending
            elif self._lost:
                told = Ending(TurnState.INTERRUPTED, error_code="lost")
        finally:
            self._log.close(work.turn.pk)
            self._live.close(work.turn.pk)
            live_turn.end(told)

    async def _stream_to_end(self, live_turn: LiveTurn, progress: _Progress) -> Ending:
        ending = self._early
        if ending is None:
            self._stream = asyncio.create_task(self._consume(live_turn, progress))
            try:
                await asyncio.wait({self._stream})
            except asyncio.CancelledError:
                self._stream.cancel()
                raise
            ending = self._early or _ending_of(self._stream)
        ending.first_token_at = progress.first_token_at
        ending.finish_reasons = {
            message.id: message.finish_reason
            for message in live_turn.messages.values()
            if message.finish_reason
        }
        ending.prompt_tokens = progress.prompt_tokens
        ending.completion_tokens = progress.completion_tokens
        return ending

    async def _consume(self, live_turn: LiveTurn, progress: _Progress) -> None:
        client = await self._connect()
        stream = stream_choices(client, self.work.request)
        try:
            async for chunk in stream:
                self._take(chunk, live_turn, progress)
        finally:
            # Not left to the garbage collector: closing it is what stops the provider.
            await stream.aclose()

    def _take(self, chunk: CompletionChunk, live_turn: LiveTurn, progress: _Progress) -> None:
        if chunk.usage:
            progress.prompt_tokens = chunk.usage.prompt_tokens
            progress.completion_tokens = chunk.usage.completion_tokens
        for delta in chunk.deltas:
            if delta.index >= len(self.work.replies) or delta.index < 0:
                continue  # more choices than were asked for
            self._take_delta(delta, self.work.replies[delta.index], live_turn, progress)

    def _take_delta(
        self, delta: Delta, message_id: int, live_turn: LiveTurn, progress: _Progress
    ) -> None:
        text = clean_delta(delta.text)
        reasoning = clean_delta(delta.reasoning) if delta.reasoning else ""
        if text or reasoning or delta.tool_calls:
            self._note_first(live_turn, progress)
        if reasoning:
            self._take_reasoning(reasoning, message_id, live_turn)
        if text:
            offset = live_turn.append(message_id, text)
            self._log.append(self.work.turn.pk, message_id, offset, text)
        if delta.tool_calls:
            live_turn.append_tool_calls(message_id, delta.tool_calls)
        if delta.finish_reason:
            live_turn.finish(message_id, delta.finish_reason)

    def _note_first(self, live_turn: LiveTurn, progress: _Progress) -> None:
        if progress.first_token_at is None:
            progress.first_token_at = timezone.now()
            started = self.work.turn.started_at or progress.first_token_at
            live_turn.first_token_seconds = (progress.first_token_at - started).total_seconds()

    def _take_reasoning(self, reasoning: str, message_id: int, live_turn: LiveTurn) -> None:
        before = self.work.reasonings.get(message_id)
        if before and live_turn.messages[message_id].reasoning_length == len(before):
            reasoning = f"\n\n{reasoning}"  # that of the part before the cut ends here
        offset = live_turn.append_reasoning(message_id, reasoning)
        self._log.append(self.work.turn.pk, message_id, offset, reasoning, is_reasoning=True)

    async def _store(self, live_turn: LiveTurn, ending: Ending) -> bool:
        """Whether it could be stored; where somebody else has ended the turn, it is lost."""
        # In a thread: a long answer takes some 20 ms per 1,000 tokens, and others are streaming.
        written = {
            message.id: await asyncio.to_thread(_written, message)
            for message in live_turn.messages.values()
        }
        store = functools.partial(
            self._log.write, end_turn, self.work.turn, self._log.owner, ending, written
        )
        try:
            stored = await patiently(store)
        except UNAVAILABLE:  # it is left to the reaper
            logger.exception("turn %d not stored; its log remains", self.work.turn.pk)
            return False
        self._lost = self._lost or not stored
        return stored


def _written(message: LiveMessage) -> Written:
    extras: dict[str, Any] = {}
    if message.tool_calls:
        extras["tool_calls"] = stored_calls(message.tool_calls)
    if message.thought_seconds is not None:
        extras["thought_seconds"] = round(message.thought_seconds, 1)
    text = message.text
    return Written(text, render(text), message.reasoning, extras)


def _ending_of(stream: asyncio.Task[None]) -> Ending:
    """Failed: the provider said so. Interrupted: the connection broke in the middle."""
    if stream.cancelled():
        return Ending(TurnState.INTERRUPTED, error_code="server_stopped")
    error = stream.exception()
    if error is None:
        return Ending(TurnState.COMPLETE)
    if isinstance(error, StreamBroken):
        return Ending(TurnState.INTERRUPTED, error.code, error.detail, error=error)
    if isinstance(error, CompletionError):
        return Ending(TurnState.FAILED, error.code, error.detail, error=error)
    logger.error("turn failed unexpectedly", exc_info=error)
    return Ending(TurnState.FAILED, "internal")
