"""The durable log of running turns, with the process's one writer.

Rows are appended for all running turns in one transaction at most every 250 ms: measured, 99 µs
and 334 bytes of write-ahead log a partial, against 643 µs and 9,700 bytes where each stream
updates its own row. The same transaction renews the leases, so a runner that can't write is dead.

Text and reasoning are logged, each with offsets of its own. Tool calls are not: half a call is of
no use to anybody.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from django.db import connections, transaction

from conversations.database import UNAVAILABLE, in_threads
from conversations.models import LogEntry, Message, Turn

TICK_SECONDS = 0.25
RENEW_SECONDS = 2.0

logger = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


# A message, and whether it is about its reasoning.
_Place = tuple[int, bool]


@dataclass(slots=True)
class _Pending:
    """What one message's text or reasoning gained since it was last written."""

    offset: int
    pieces: list[str] = field(default_factory=list)


class Log:
    """Collects deltas in memory and writes them; tells `on_lost` of turns that another took."""

    def __init__(self, owner: str, on_lost: Callable[[int], None]) -> None:
        self.owner = owner
        self._on_lost = on_lost
        self._open: dict[int, dict[_Place, _Pending]] = {}
        # One thread: the final write of a turn can't overtake, or be overtaken by, its entries.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log")
        self._dirty = asyncio.Event()

    def open(self, turn_id: int) -> None:
        """From now on the turn's lease is renewed. Opening an open one again changes nothing."""
        self._open.setdefault(turn_id, {})

    def close(self, turn_id: int) -> None:
        self._open.pop(turn_id, None)

    def append(
        self, turn_id: int, message_id: int, offset: int, text: str, *, is_reasoning: bool = False
    ) -> None:
        """Take a delta that stands at `offset` characters of the message's text or reasoning."""
        pending = self._open[turn_id].setdefault((message_id, is_reasoning), _Pending(offset))
        pending.pieces.append(text)
        self._dirty.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._dirty.wait()
            except TimeoutError:
                pass
            self._dirty.clear()
            try:
                await self.flush()
            except Exception:  # the leases of all turns hang on this loop
                logger.exception("log not written")
            await asyncio.sleep(TICK_SECONDS)

    async def flush(self) -> None:
        """Write what is pending and renew the leases. What can't be written is kept."""
        if not self._open:
            return
        taken = {turn_id: places for turn_id, places in self._open.items() if places}
        for turn_id in taken:
            self._open[turn_id] = {}
        try:
            lost = await self.write(_write, self.owner, tuple(self._open), taken)
        except UNAVAILABLE as error:
            logger.warning("log not written, will be tried again: %s", type(error).__name__)
            self._take_back(taken)
            return
        except BaseException:
            self._take_back(taken)
            raise
        for turn_id in lost:
            if turn_id in self._open:
                self.close(turn_id)
                self._on_lost(turn_id)

    async def write(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run database work in the writer's thread, in order with the log's own."""
        return await in_threads(self._writer, function, *args, **kwargs)

    def shutdown(self) -> None:
        self._writer.submit(connections.close_all)
        self._writer.shutdown(wait=True)

    def _take_back(self, taken: Mapping[int, Mapping[_Place, _Pending]]) -> None:
        for turn_id, places in taken.items():
            if turn_id not in self._open:
                continue
            for place, earlier in places.items():
                later = self._open[turn_id].get(place)
                pieces = earlier.pieces + (later.pieces if later else [])
                self._open[turn_id][place] = _Pending(earlier.offset, pieces)
            self._dirty.set()


def _write(
    owner: str, open_turns: Iterable[int], taken: Mapping[int, Mapping[_Place, _Pending]]
) -> set[int]:
    """One transaction; returns the turns that are not this runner's any more."""
    turns = set(open_turns)
    with transaction.atomic():
        lost: set[int] = set()
        if Turn.objects.renew(owner, turns) != len(turns):
            held = Turn.objects.held_by(owner).filter(pk__in=turns)
            lost = turns - set(held.values_list("pk", flat=True))
        # Where a connection broke in COMMIT, the entry may be there already, and shorter.
        LogEntry.objects.bulk_create(
            (
                LogEntry(
                    message_id=message_id,
                    is_reasoning=is_reasoning,
                    offset=pending.offset,
                    text="".join(pending.pieces),
                )
                for turn_id, places in taken.items()
                if turn_id not in lost
                for (message_id, is_reasoning), pending in places.items()
            ),
            update_conflicts=True,
            unique_fields=["message", "is_reasoning", "offset"],
            update_fields=["text"],
        )
    return lost


def logged(messages: Iterable[Message]) -> dict[int, tuple[str, str]]:
    """Text and reasoning by message, with the log applied: what is durable of running answers.

    An entry whose offset is not where its text ends (its predecessor is missing) ends the text:
    what is returned is always a prefix of what the model sent.
    """
    found = {message.pk: [message.text, message.reasoning] for message in messages}
    entries = LogEntry.objects.filter(message__in=found)
    for entry in entries.order_by("message_id", "is_reasoning", "offset"):
        texts = found[entry.message_id]
        if entry.offset == len(texts[entry.is_reasoning]):
            texts[entry.is_reasoning] += entry.text
    return {pk: (text, reasoning) for pk, (text, reasoning) in found.items()}
