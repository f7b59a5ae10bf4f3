"""Follow a running turn from a place in its answer, as programs do: by offset, to its end.

Read from the live view where the turn runs in this process, else from the database.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from completions.server import FinishedChoice
from completions.types import Delta, ToolCall, ToolCallDelta
from conversations import wakeups
from conversations.database import in_database
from conversations.live import Ending, Live, LiveTurn
from conversations.log import logged
from conversations.models import Message, Turn, TurnState

# A turn that another process runs is looked at so often; one that is queued in this one is told.
POLL_SECONDS, QUEUED_SECONDS = 0.5, 5.0


@dataclass(frozen=True, slots=True)
class _Call:
    """A stored tool call, read as a growing one is."""

    id: str
    name: str
    arguments: str

    def arguments_since(self, offset: int) -> str:
        return self.arguments[offset:]


@dataclass(frozen=True, slots=True)
class _Reply:
    """One reply as it stands."""

    text: str
    reasoning: str
    tool_calls: Sequence["_Call"]
    finish_reason: str | None

    def text_since(self, offset: int) -> str:
        return self.text[offset:]

    def reasoning_since(self, offset: int) -> str:
        return self.reasoning[offset:]


@dataclass(slots=True)
class _Cursor:
    """How far a choice was read."""

    text: int = 0
    reasoning: int | None = 0  # None: the reader has it, for it has text, which comes after it
    calls: list[int] = field(default_factory=list)  # characters of arguments, by call


class Follower:
    """Reads a turn's replies at its own pace. Use as a context manager, in the loop.

    after says how many characters of each choice's text are known already (fewer entries than
    choices: 0 for the others). `ending` is None until the turn has ended and all was read.
    """

    def __init__(self, turn: Turn, live: Live, owner: str, after: Sequence[int] = ()) -> None:
        """owner is this process's runner."""
        self.is_ours = turn.lease_owner == owner
        self.ending: Ending | None = None
        self._turn_id = turn.pk
        self._topic = wakeups.conversation_topic(turn.conversation_id)
        self._live = live
        self._live_turn: LiveTurn | None = None
        self._stored: dict[int, _Reply] = {}
        self._cursors = [_Cursor(at, reasoning=None if at else 0) for at in after]
        self._woken = asyncio.Event()
        self._watching = ExitStack()

    def __enter__(self) -> Self:
        self._watching.enter_context(wakeups.waiting(self._woken, self._topic))
        self._watching.enter_context(self._live.reading(self._turn_id))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watching.close()

    @property
    def has_begun(self) -> bool:
        """Whether the turn was seen to run in this process."""
        return self._live_turn is not None

    async def news(self, seconds: float) -> list[Delta]:
        """Wait for something new, at most so long; [] where nothing came, or it has ended."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            self._woken.clear()
            found = await self._look()
            now = asyncio.get_running_loop().time()
            if found or self.ending or now >= deadline:
                return found
            wait = deadline - now
            if self._live_turn is None:
                wait = min(wait, QUEUED_SECONDS if self.is_ours else POLL_SECONDS)
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                pass

    def choices(self) -> list[FinishedChoice]:
        """All of it, once it has ended."""
        return [
            FinishedChoice(
                index=index,
                text=reply.text,
                reasoning=reply.reasoning,
                tool_calls=tuple(
                    ToolCall(call.id, call.name, call.arguments) for call in reply.tool_calls
                ),
                finish_reason=reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop"),
            )
            for index, reply in enumerate(self._replies())
        ]

    def _replies(self) -> list[Any]:
        """LiveMessages or _Replies, in the choices' order."""
        replies = self._live_turn.messages if self._live_turn else self._stored
        return [replies[number] for number in sorted(replies)]

    async def _look(self) -> list[Delta]:
        if self._live_turn is None:
            self._live_turn = self._live.find(self._turn_id)
            if self._live_turn:
                self._watching.enter_context(self._live_turn.follow(self._woken))
        if self._live_turn:
            ending = self._live_turn.ending
        else:
            self._stored, ending = await in_database(_read, self._turn_id)
        found = [
            news
            for index, reply in enumerate(self._replies())
            if (news := _since(index, reply, self._cursor(index), is_over=ending is not None))
        ]
        self.ending = ending
        return found

    def _cursor(self, index: int) -> _Cursor:
        while len(self._cursors) <= index:
            self._cursors.append(_Cursor())
        return self._cursors[index]

    def is_beyond_end(self) -> bool:
        """Whether more was said to be known of a choice than there is."""
        return any(
            self._cursor(index).text > len(reply.text)
            for index, reply in enumerate(self._replies())
        )


def _since(index: int, reply: Any, cursor: _Cursor, *, is_over: bool) -> Delta | None:
    text = reply.text_since(cursor.text)
    reasoning = "" if cursor.reasoning is None else reply.reasoning_since(cursor.reasoning)
    calls = _calls_since(reply.tool_calls, cursor, is_over=is_over)
    if not (text or reasoning or calls):
        return None
    cursor.text += len(text)
    if cursor.reasoning is not None:
        cursor.reasoning += len(reasoning)
    return Delta(index, text, reasoning, tool_calls=calls)


def _calls_since(
    calls: Sequence[Any], cursor: _Cursor, *, is_over: bool
) -> tuple[ToolCallDelta, ...]:
    """What the calls gained. One is told of when it has its name, which is told only once."""
    if not calls:
        return ()
    found = []
    for position, call in enumerate(calls):
        if position == len(cursor.calls):
            if not (call.name or is_over):
                break
            found.append(ToolCallDelta(position, call.id, call.name, call.arguments))
            cursor.calls.append(len(call.arguments))
        elif arguments := call.arguments_since(cursor.calls[position]):
            found.append(ToolCallDelta(position, arguments=arguments))
            cursor.calls[position] += len(arguments)
    return tuple(found)


def _read(turn_id: int) -> tuple[dict[int, _Reply], Ending | None]:
    """The replies as they are stored or logged, and the ending if there is one."""
    # First the state: what is read after an end is whole, what is read before may be half.
    turn = Turn.objects.get(pk=turn_id)
    messages = list(Message.objects.filter(turn=turn_id).order_by("pk"))
    texts = logged(messages) if turn.is_running else {}
    replies = {}
    for message in messages:
        text, reasoning = texts.get(message.pk, (message.text, message.reasoning))
        calls = [_Call(**call) for call in message.extras.get("tool_calls", ())]
        replies[message.pk] = _Reply(text, reasoning, calls, message.finish_reason or None)
    if turn.is_running:
        return replies, None
    ending = Ending(
        TurnState(turn.state),
        turn.error_code,
        turn.error_detail,
        turn.prompt_tokens,
        turn.completion_tokens,
    )
    return replies, ending
