"""Keeps the time limits of one answer: to its first token, between two, and in all."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from completions.errors import (
    CompletionError,
    FirstTokenTimeout,
    StreamBroken,
    StreamStalled,
    TotalTimeout,
)
from completions.types import Limits

USAGE_SECONDS = 3.0  # for what may follow the finish_reason

T = TypeVar("T")


class AnswerTimer:
    """Limits what is awaited through it, by the clock.

    It begins at once. The limit in force is that of the phase: first token, stall, ending. Only
    start_…() renews it, so bytes without content (comments, empty deltas) extend nothing, also
    where they come so fast that nothing is ever waited for. How long the reader of the stream is
    away counts for the total only: excuse() takes it out of the phase.

    asyncio.timeout() around each read would do the same, for a tenth of all that reading costs:
    it sets and cancels a timer each time. This one lets its timer run and looks when it rings.
    (One timeout around the whole stream is no choice: it would strike the task that reads the
    generator wherever that then waits.)
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + limits.total
        self._due = self._end
        self._phase_end = self._loop.time() + limits.first_token
        self._has_begun = False
        self._is_ending = False
        self._is_aborted = False
        self._has_struck = False
        self._task: asyncio.Task[Any] | None = None
        self._alarm: asyncio.Handle | None = None
        self._alarm_at = 0.0  # uvloop's handle for a time within half a millisecond cannot say it

    def start_first_token(self) -> None:
        self._phase_end = self._loop.time() + self._limits.first_token

    def start_stall(self) -> None:
        """Renew the limit: the answer has grown."""
        self._has_begun = True
        if not self._is_ending:
            self._phase_end = self._loop.time() + self._limits.stall

    def start_ending(self) -> None:
        """Allow a few seconds for the rest, once."""
        if not self._is_ending:
            self._is_ending = True
            self._phase_end = self._loop.time() + min(USAGE_SECONDS, self._limits.stall)

    def excuse(self, since: float) -> None:
        """Leave what has passed since then, by time(), out of the phase: the reader was away."""
        self._phase_end += self._loop.time() - since

    def time(self) -> float:
        return self._loop.time()

    def is_over_in(self, seconds: float) -> bool:
        return self._loop.time() + seconds >= self._end

    def abort(self) -> None:
        """Let what is awaited, and whatever will be, end with StreamBroken."""
        self._is_aborted = True
        self._end = self._due = self._loop.time()
        self._arm()

    async def wait_for(self, awaitable: Awaitable[T]) -> T:
        """Await it, or raise FirstTokenTimeout, StreamStalled or TotalTimeout."""
        self._due = min(self._phase_end, self._end)
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        already_cancelling = task.cancelling()
        self._task = task
        if self._alarm is None or self._alarm_at > self._due:
            self._arm()
        try:
            return await awaitable
        except asyncio.CancelledError:
            # The same bookkeeping as in asyncio.timeout(): somebody else's cancel goes first.
            if self._has_struck:
                self._has_struck = False
                if task.uncancel() <= already_cancelling:
                    raise self._error() from None
            raise
        finally:
            self._task = None
            if self._has_struck:  # and something else came of it
                self._has_struck = False
                task.uncancel()

    def check(self) -> None:
        """Raise what wait_for raises, if it is time.

        Where all that is awaited is there already, the alarm has no turn.
        """
        self._due = min(self._phase_end, self._end)
        if self._loop.time() >= self._due:
            raise self._error()

    def close(self) -> None:
        """Let go of the event loop."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _arm(self) -> None:
        self.close()
        self._alarm_at = self._due
        self._alarm = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._task is None:
            return  # nothing is awaited; the next wait arms it again
        if self._loop.time() < self._due:
            self._arm()
            return
        self._has_struck = True
        self._task.cancel()

    def _error(self) -> CompletionError:
        if self._is_aborted:
            return StreamBroken("The client was closed.")
        if self._due >= self._end:
            return TotalTimeout("The answer took too long.")
        if self._has_begun:
            return StreamStalled("The answer stopped growing.")
        return FirstTokenTimeout("No answer began in time.")
