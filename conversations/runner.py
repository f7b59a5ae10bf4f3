"""Claim queued turns and run them; stop, drain, and reap what dead runners left."""

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import socket
from collections.abc import Coroutine

from django.conf import settings

from completions.errors import CompletionError
from conversations import titles, wakeups
from conversations.calls import ABANDONED, abandon_left_behind, refuse_queued
from conversations.database import UNAVAILABLE, in_database, patiently
from conversations.endings import Ending, end_turn, reap_orphans
from conversations.live import Live
from conversations.log import Log
from conversations.models import Turn, TurnState
from conversations.preparing import NotPrepared, prepare
from conversations.turns import RunningTurn, Work
from conversations.upstream import Upstream

# A lost wake-up is made good after so long; the lease (8 s) and this bound how late a turn of
# a killed process is marked: under 10 s.
TICK_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Runner:
    """Owns the running turns of this process."""

    def __init__(self, live: Live, upstream: Upstream) -> None:
        self.owner = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._live = live
        self._upstream = upstream
        self._log = Log(self.owner, self._on_lost)
        self._claimed: set[int] = set()  # the running ones, and those that are being prepared
        self._running: dict[int, RunningTurn] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._interrupting = False
        self._claiming = asyncio.Lock()
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._loops = [
            asyncio.create_task(self._log.run(), name="log"),
            asyncio.create_task(self._run(), name="runner"),
        ]

    @property
    def running(self) -> int:
        """How many answers are being written by this process."""
        return len(self._running)

    @property
    def is_draining(self) -> bool:
        """Whether what is asked from now on will not be answered by this process."""
        return self._draining

    async def stop_claiming(self) -> int:
        """Leave queued turns, and those to come, for after the restart; how many still run."""
        self._draining = True
        async with self._claiming:
            pass  # what is being claimed at this moment is ours to finish
        with contextlib.suppress(*UNAVAILABLE):  # else their lease runs out
            await in_database(refuse_queued, self.owner)
        return len(self._turn_tasks())

    async def drain(self, grace_seconds: float) -> None:
        """Claim nothing more; let answers finish for so long, then interrupt and store them.

        Queued turns stay queued: they are claimed after the restart.
        """
        await self.stop_claiming()
        await self._finish(grace_seconds)
        self._interrupting = True
        for running in self._running.values():
            running.cancel(TurnState.INTERRUPTED, "server_stopped")
        await self._finish(None)

    async def stop(self) -> None:
        """Interrupt what runs, store it, and end. Call `drain` first to be kind."""
        await self.drain(0)
        for task in (*self._loops, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._loops, *self._tasks, return_exceptions=True)
        self._log.shutdown()

    async def _finish(self, seconds: float | None) -> None:
        if turns := self._turn_tasks():
            await asyncio.wait(turns, timeout=seconds)

    def _turn_tasks(self) -> list[asyncio.Task[None]]:
        """Also those that are still being prepared."""
        return [task for task in self._tasks if task.get_name().startswith("turn ")]

    async def _run(self) -> None:
        woken = asyncio.Event()
        with wakeups.waiting(woken, wakeups.RUNNER):
            while True:
                woken.clear()
                try:
                    await self._step()
                except UNAVAILABLE as error:
                    logger.warning("runner waits for the database: %s", type(error).__name__)
                except Exception:  # one turn that can't be reaped must not end all claiming
                    logger.exception("runner step failed")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_SECONDS):
                        await woken.wait()

    async def _step(self) -> None:
        if self._running:
            await self._stop_requested()
        async with self._claiming:
            free = settings.RUNNER_TURNS - len(self._turn_tasks())
            if free > 0 and not self._draining:
                for turn in await in_database(self._claim, free):
                    self._claimed.add(turn.pk)
                    self._spawn(self._run_turn(turn), f"turn {turn.pk}")
        # Not one's own: after the computer slept, or the clock jumped, they only look so.
        if reaped := await in_database(reap_orphans, tuple(self._claimed)):
            logger.info("%d turns of a runner that is gone marked as interrupted", reaped)
        if left := await in_database(abandon_left_behind):
            logger.info("%d queued calls that nobody waits for were ended", left)

    def _claim(self, free: int) -> list[Turn]:
        """People first; a program that asks without end leaves them a quarter of the places."""
        claimed = Turn.objects.of_people().claim(self.owner, free)
        reserved = settings.RUNNER_TURNS // 4
        if (left := free - len(claimed) - reserved) > 0:
            claimed += Turn.objects.waited_for(self.owner).claim(self.owner, left)
        return claimed

    async def _stop_requested(self) -> None:
        for turn_id, abandoned in await in_database(self._stopped):
            if running := self._running.get(turn_id):
                running.cancel(TurnState.STOPPED, ABANDONED if abandoned else "")

    def _stopped(self) -> list[tuple[int, bool | None]]:
        stopped = Turn.objects.held_by(self.owner).exclude(stopped_by=None)
        return list(stopped.values_list("pk", "call__abandoned"))

    async def _run_turn(self, turn: Turn) -> None:
        # Preparing may have to wait for the database, longer than the lease lasts.
        self._log.open(turn.pk)
        try:
            if work := await self._prepare(turn):
                await self._run_prepared(work)
        finally:
            self._log.close(turn.pk)
            self._claimed.discard(turn.pk)
            wakeups.wake(wakeups.conversation_topic(turn.conversation_id))
            wakeups.wake(wakeups.RUNNER)
        if work and not self._draining:
            self._spawn(self._title(turn), f"title {turn.pk}")

    async def _prepare(self, turn: Turn) -> Work | None:
        """What is needed to run it; None where it can't be run, which is then its end."""
        try:
            return await patiently(lambda: in_database(prepare, turn))
        except NotPrepared as error:
            ending = Ending(TurnState.FAILED, error.code)
        except Exception:
            logger.exception("turn %d can't be prepared", turn.pk)
            ending = Ending(TurnState.FAILED, "internal")
        await patiently(lambda: self._log.write(end_turn, turn, self.owner, ending, {}))
        return None

    async def _run_prepared(self, work: Work) -> None:
        turn = work.turn
        connect = functools.partial(self._upstream.connect, work.endpoint)
        running = RunningTurn(work, connect, self._live, self._log)
        self._running[turn.pk] = running
        # A stop that came while it was being prepared found nothing to cancel.
        wakeups.wake(wakeups.RUNNER)
        if self._interrupting:
            running.cancel(TurnState.INTERRUPTED, "server_stopped")
        try:
            await running.run()
        finally:
            del self._running[turn.pk]

    async def _title(self, turn: Turn) -> None:
        wanted = await in_database(titles.wanted, turn)
        if wanted is None:
            return
        endpoint, request = wanted
        try:
            client = await self._upstream.connect(endpoint)
        except CompletionError:
            return
        if title := await titles.ask(client, request):
            await in_database(titles.store, turn.conversation_id, title)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        # The loop keeps weak references only.
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            logger.error("%s failed", task.get_name(), exc_info=task.exception())

    def _on_lost(self, turn_id: int) -> None:
        logger.warning("turn %d was taken by another runner", turn_id)
        if running := self._running.get(turn_id):
            running.lose()
