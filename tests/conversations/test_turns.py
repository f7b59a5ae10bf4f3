"""A turn from its claim to its stored end, against a real scripted provider."""

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from completions.client import CompletionClient
from completions.endpoint import Endpoint
from completions.types import Limits
from conversations import runtime
from conversations.actions import continue_answer, start_turn, stop
from conversations.blocks import render
from conversations.database import UNAVAILABLE, in_database
from conversations.endings import Ending, Written, end_turn, reap_orphans
from conversations.live import Live
from conversations.log import Log, logged
from conversations.models import ApiCall, Conversation, LogEntry, Message, Turn, TurnState
from conversations.preparing import prepare
from conversations.turns import RunningTurn
from organizations.models import User
from tests.conftest import Cast
from tests.conversations.viewing import PATIENCE_SECONDS, ended, live_text
from tests.upstream import Answer, Upstream

pytestmark = pytest.mark.django_db(transaction=True)


class NotingLog(Log):
    """Tells which writes the database refused."""

    def __init__(self, owner: str, on_lost: Callable[[int], None]) -> None:
        super().__init__(owner, on_lost)
        self.failed: asyncio.Queue[str] = asyncio.Queue()

    async def write(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().write(function, *args, **kwargs)
        except UNAVAILABLE:
            self.failed.put_nowait(function.__name__)
            raise


class Desk:
    """A runner's parts, with one turn on it: the test claims, runs, flushes and cancels."""

    def __init__(self, upstream: Upstream, conversation: Conversation, cast: Cast) -> None:
        self.live = Live()
        self.lost: list[int] = []
        self.log = NotingLog("runner-1", self._on_lost)
        self.client = CompletionClient(
            Endpoint(upstream.url, "key", "bearer"), Limits(connect=60, first_token=60, stall=60)
        )
        self.conversation, self.cast = conversation, cast
        self.running: RunningTurn | None = None

    async def begin(self, text: str = "Hello", **parameters: object) -> Turn:
        """Ask, claim, and start running."""
        if parameters:
            await in_database(self.conversation.set_parameters, "", dict(parameters))
        await in_database(start_turn, self.conversation, self.cast.alice, text, uuid.uuid4())
        return await self.claim()

    async def claim(self) -> Turn:
        [turn] = await in_database(Turn.objects.all().claim, self.log.owner, 1)
        work = await in_database(prepare, turn)
        self.running = RunningTurn(work, self._connect, self.live, self.log)
        self.task = asyncio.create_task(self.running.run())
        self.turn = turn
        self.replies = list(work.replies)
        await asyncio.sleep(0)  # the task's first step opens the live view
        return turn

    async def shows(self, text: str, index: int = 0) -> None:
        live_turn = self.live.get(self.turn.pk)
        assert live_turn is not None
        await live_text(live_turn, self.replies[index], text)

    async def reasons(self, text: str, index: int = 0) -> None:
        live_turn = self.live.get(self.turn.pk)
        assert live_turn is not None
        message = live_turn.messages[self.replies[index]]
        woken = asyncio.Event()
        with live_turn.follow(woken):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while message.reasoning != text:
                    await woken.wait()
                    woken.clear()

    async def end(self) -> Turn:
        """The turn as it is stored, once it has ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task
        return await in_database(Turn.objects.get, pk=self.turn.pk)

    async def reply(self, index: int = 0) -> Message:
        return await in_database(Message.objects.get, pk=self.replies[index])

    async def durable(self, index: int = 0) -> str:
        """What would be left of the reply's text if this process died now."""
        return (await self.durably_both(index))[0]

    async def durably_both(self, index: int = 0) -> tuple[str, str]:
        """The same, with its reasoning."""
        return (await in_database(logged, [await self.reply(index)]))[self.replies[index]]

    async def clear(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.client.aclose()
        self.log.shutdown()

    async def _connect(self) -> CompletionClient:
        return self.client

    def _on_lost(self, turn_id: int) -> None:
        self.lost.append(turn_id)
        assert self.running is not None
        self.running.lose()


@pytest.fixture
async def desk(
    transactional_db: None, upstream: Upstream, conversation: Conversation, cast: Cast
) -> AsyncIterator[Desk]:
    made = Desk(upstream, conversation, cast)
    yield made
    await made.clear()


@contextmanager
def locked_database() -> Iterator[None]:
    """While inside, nobody else can write turns or their log."""
    if connection.vendor == "sqlite":
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        begin = "BEGIN IMMEDIATE"
    else:
        driver = connection.Database  # type: ignore[attr-defined]  # each backend has its own
        other = driver.connect(**connection.get_connection_params())
        begin = "LOCK TABLE conversations_turn, conversations_logentry IN EXCLUSIVE MODE"
    cursor = other.cursor()
    try:
        cursor.execute(begin)
        yield
        cursor.execute("ROLLBACK")
    finally:
        cursor.close()
        other.close()


async def test_the_stored_answer_is_what_the_provider_sent(desk: Desk, upstream: Upstream) -> None:
    text = "# Title\n\nSome *text* with ünïcode 🎈 and\n\n```python\ncode = 1\n```\n"
    upstream.default = Answer(text=text, chunk=3)
    await desk.begin("one two three")
    turn = await desk.end()
    reply = await desk.reply()
    assert (turn.state, turn.error_code) == (TurnState.COMPLETE, "")
    assert reply.text == text
    assert reply.html == render(text)
    assert reply.finish_reason == "stop"
    assert (turn.prompt_tokens, turn.completion_tokens) == (3, len(text) // 3 + (len(text) % 3 > 0))
    times = [turn.started_at, turn.first_token_at, turn.ended_at]
    assert None not in times
    assert times == sorted(time for time in times if time is not None)
    assert not await in_database(LogEntry.objects.exists)
    assert desk.live.get(turn.pk) is None


async def test_what_arrived_is_durable_after_a_flush_and_gone_at_the_end(
    desk: Desk, upstream: Upstream
) -> None:
    held = upstream.hold()
    await desk.begin()
    held.send("First ")
    await desk.shows("First ")
    await desk.log.flush()
    assert await desk.durable() == "First "
    held.send("second ")
    held.send("third")
    await desk.shows("First second third")
    await desk.log.flush()
    assert await desk.durable() == "First second third"
    assert (await desk.reply()).text == ""
    held.finish()
    await desk.end()
    assert (await desk.reply()).text == "First second third"
    assert not await in_database(LogEntry.objects.exists)


async def test_stop_keeps_the_text_and_closes_the_upstream(desk: Desk, upstream: Upstream) -> None:
    held = upstream.hold()
    await desk.begin()
    held.send("Text so far")
    await desk.shows("Text so far")
    assert desk.running is not None
    desk.running.cancel(TurnState.STOPPED)
    assert await held.request.aclosed()
    assert (await desk.end()).state == TurnState.STOPPED
    assert (await desk.reply()).text == "Text so far"


async def test_stop_before_the_first_word_leaves_an_empty_answer(
    desk: Desk, upstream: Upstream
) -> None:
    held = upstream.hold(silent=True)
    await desk.begin()
    await held.arequest()
    assert desk.running is not None
    desk.running.cancel(TurnState.STOPPED)
    assert await held.request.aclosed()
    assert (await desk.end()).state == TurnState.STOPPED
    assert (await desk.reply()).text == ""


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (Answer(status=401), "misconfigured", "The provider says 401."),
        (Answer(status=404), "model_not_found", "The provider says 404."),
        (Answer(status=400), "refused", "The provider says 400."),
        (Answer(text="", end="error:Out of memory"), "provider_failed", "Out of memory"),
    ],
    ids=["401", "404", "400", "error event"],
)
async def test_an_error_before_the_first_word_is_a_failure_in_the_providers_words(
    desk: Desk, upstream: Upstream, answer: Answer, code: str, words: str
) -> None:
    upstream.default = answer
    await desk.begin()
    turn = await desk.end()
    assert (turn.state, turn.error_code) == (TurnState.FAILED, code)
    assert words in turn.error_detail
    assert turn.first_token_at is None


async def test_a_connection_that_breaks_midway_is_an_interruption_with_the_text(
    desk: Desk, upstream: Upstream
) -> None:
    held = upstream.hold()
    await desk.begin()
    held.send("Half an ans")
    await desk.shows("Half an ans")
    held.drop()
    turn = await desk.end()
    assert (turn.state, turn.error_code) == (TurnState.INTERRUPTED, "broken")
    assert (await desk.reply()).text == "Half an ans"


async def test_an_end_without_done_is_an_interruption_with_the_text(
    desk: Desk, upstream: Upstream
) -> None:
    upstream.default = Answer(text="Looks complete", end="eof")
    await desk.begin()
    turn = await desk.end()
    assert (turn.state, turn.error_code) == (TurnState.INTERRUPTED, "broken")
    assert (await desk.reply()).text == "Looks complete"


async def test_an_error_event_midway_keeps_the_text(desk: Desk, upstream: Upstream) -> None:
    upstream.default = Answer(text="Some words", end="error:The GPU fell off")
    await desk.begin()
    turn = await desk.end()
    assert turn.state in (TurnState.FAILED, TurnState.INTERRUPTED)
    assert "The GPU fell off" in turn.error_detail
    assert (await desk.reply()).text == "Some words"


async def test_nul_and_other_controls_are_not_stored(desk: Desk, upstream: Upstream) -> None:
    held = upstream.hold()
    await desk.begin()
    held.send("a\x00b\x07c\td\n")
    held.send("\x00")
    held.send("e\x7f")
    await desk.shows("abc\td\ne")
    await desk.log.flush()
    assert await desk.durable() == "abc\td\ne"
    held.finish()
    await desk.end()
    assert (await desk.reply()).text == "abc\td\ne"


async def test_three_answers_are_kept_apart(desk: Desk, upstream: Upstream) -> None:
    held = upstream.hold()
    await desk.begin(n=3)
    for index, text in enumerate(("first", "second", "third")):
        held.send(text[:2], index=index)
    for index, text in reversed(list(enumerate(("first", "second", "third")))):
        held.send(text[2:], index=index)
    held.send("a fourth was not asked for", index=3)
    for index, text in enumerate(("first", "second", "third")):
        await desk.shows(text, index)
    await desk.log.flush()
    assert [await desk.durable(index) for index in range(3)] == ["first", "second", "third"]
    held.finish()
    assert (await desk.end()).state == TurnState.COMPLETE
    assert [(await desk.reply(i)).text for i in range(3)] == ["first", "second", "third"]


async def test_continue_goes_on_from_the_exact_cut(desk: Desk, upstream: Upstream) -> None:
    upstream.default = Answer(text="The quick bro", end="eof")
    await desk.begin()
    await desk.end()
    held = upstream.hold()
    await in_database(continue_answer, await desk.reply(), desk.cast.alice)
    await desk.claim()
    held.send("wn fox")
    await desk.shows("The quick brown fox")
    await desk.log.flush()
    assert await desk.durable() == "The quick brown fox"
    asked = held.request.messages
    assert asked[-2] == {"role": "assistant", "content": "The quick bro"}
    assert asked[-1]["role"] == "user"
    held.finish()
    assert (await desk.end()).state == TurnState.COMPLETE
    assert (await desk.reply()).text == "The quick brown fox"
    assert (await desk.reply()).html == render("The quick brown fox")


async def test_a_runner_that_lost_its_lease_writes_nothing_more(
    desk: Desk, upstream: Upstream
) -> None:
    held = upstream.hold()
    turn = await desk.begin()
    held.send("Before. ")
    await desk.shows("Before. ")
    await desk.log.flush()
    await in_database(expire, turn)
    assert await in_database(reap_orphans) == 1
    held.send("After.")
    await desk.shows("Before. After.")
    await desk.log.flush()
    assert desk.lost == [turn.pk]
    assert await held.request.aclosed()
    stored = await desk.end()
    assert (stored.state, stored.error_code) == (TurnState.INTERRUPTED, "server_killed")
    assert (await desk.reply()).text == "Before. "
    assert not await in_database(LogEntry.objects.exists)
    # Not even at the very end of it:
    late = Ending(TurnState.COMPLETE)
    html = {desk.replies[0]: Written("everything", "everything")}
    assert not await in_database(end_turn, turn, "runner-1", late, html)
    assert (await desk.reply()).text == "Before. "


async def test_reasoning_is_kept_apart_and_is_durable(desk: Desk, upstream: Upstream) -> None:
    held = upstream.hold()
    await desk.begin()
    held.send_reasoning("\nFirst I \x00think")
    await desk.reasons("\nFirst I think")
    await desk.log.flush()
    assert await desk.durably_both() == ("", "\nFirst I think")
    held.send_reasoning(", then")
    held.send("The answer")
    held.send_reasoning(" I doubt")
    await desk.reasons("\nFirst I think, then I doubt")
    await desk.log.flush()
    assert await desk.durably_both() == ("The answer", "\nFirst I think, then I doubt")
    held.send(".")
    held.finish()
    turn, reply = await desk.end(), await desk.reply()
    assert (turn.state, reply.text) == (TurnState.COMPLETE, "The answer.")
    assert reply.reasoning == "\nFirst I think, then I doubt"
    assert "think" not in reply.html
    assert reply.extras["thought_seconds"] >= 0
    assert not await in_database(LogEntry.objects.exists)


async def test_the_first_token_may_be_of_reasoning(desk: Desk, upstream: Upstream) -> None:
    held = upstream.hold()
    await desk.begin()
    held.send_reasoning("Hm")
    await desk.reasons("Hm")
    thinking = timezone.now()
    assert desk.running is not None
    desk.running.cancel(TurnState.STOPPED)
    turn, reply = await desk.end(), await desk.reply()
    assert (turn.state, reply.text, reply.reasoning) == (TurnState.STOPPED, "", "Hm")
    assert turn.first_token_at is not None
    assert turn.first_token_at <= thinking
    assert "thought_seconds" not in reply.extras


async def test_reasoning_is_never_sent_back(desk: Desk, upstream: Upstream) -> None:
    upstream.default = Answer(text="Four", reasoning="A secret sum")
    await desk.begin("Two and two?")
    await desk.end()
    await desk.begin("Sure?")
    await desk.end()
    assert [message["content"] for message in upstream.requests[-1].messages] == [
        "Two and two?",
        "Four",
        "Sure?",
    ]
    assert b"secret" not in upstream.requests[-1].body


async def test_reasoning_of_a_continued_answer_follows_what_is_there(
    desk: Desk, upstream: Upstream
) -> None:
    upstream.default = Answer(text="The quick bro", reasoning="Foxes.", end="eof")
    await desk.begin()
    await desk.end()
    held = upstream.hold()
    await in_database(continue_answer, await desk.reply(), desk.cast.alice)
    await desk.claim()
    held.send_reasoning("More ")
    held.send_reasoning("foxes.")
    await desk.reasons("Foxes.\n\nMore foxes.")
    await desk.log.flush()
    assert await desk.durably_both() == ("The quick bro", "Foxes.\n\nMore foxes.")
    held.send("wn fox")
    held.finish()
    assert (await desk.end()).state == TurnState.COMPLETE
    reply = await desk.reply()
    assert (reply.text, reply.reasoning) == ("The quick brown fox", "Foxes.\n\nMore foxes.")


CALL = {"id": "call_1", "name": "weather", "arguments": '{"city": "Oslo"}'}


async def test_an_answer_may_be_tool_calls_alone(desk: Desk, upstream: Upstream) -> None:
    held = upstream.hold()
    await desk.begin(n=2)
    held.send_tool_call("", id="call_\x001", name="weather")
    held.send_tool_call('{"city":', id="call_1", name="weather", index=1)
    held.send_tool_call('{"city": ')
    held.send_tool_call("{}", 1, id="call_2", name="time")
    held.send_tool_call('"Oslo"}')
    held.send_tool_call(' "Oslo"}', index=1)
    held.finish("tool_calls")
    turn = await desk.end()
    first, second = await desk.reply(0), await desk.reply(1)
    assert (turn.state, turn.error_code) == (TurnState.COMPLETE, "")
    assert turn.first_token_at is not None
    other = {"id": "call_2", "name": "time", "arguments": "{}"}
    assert first.extras == {"tool_calls": [CALL, other]}
    assert second.extras == {"tool_calls": [CALL]}
    assert (first.text, first.finish_reason) == ("", "tool_calls")


async def test_followers_are_woken_for_everything_and_at_the_stored_end(
    desk: Desk, upstream: Upstream
) -> None:
    held = upstream.hold()
    turn = await desk.begin()
    live_turn = desk.live.get(turn.pk)
    assert live_turn is not None
    message = live_turn.messages[desk.replies[0]]
    woken = asyncio.Event()

    async def until(holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                await woken.wait()
                woken.clear()

    with live_turn.follow(woken):
        held.send_reasoning("Hm, ")
        await until(lambda: message.reasoning_since(0) == "Hm, ")
        held.send("Text")
        await until(lambda: message.text_since(0) == "Text")
        held.send(" more")
        await until(lambda: message.text_since(4) == " more")
        held.send_tool_call("{}", id="call_1", name="now")
        await until(lambda: [call.name for call in message.tool_calls] == ["now"])
        held.finish("tool_calls")
        await until(lambda: message.finish_reason == "tool_calls")
        await until(lambda: live_turn.ending)
        assert (await in_database(Turn.objects.get, pk=turn.pk)).state == TurnState.COMPLETE
    assert live_turn.version == 0  # nothing was rendered for them
    assert live_turn.ending is not None
    assert live_turn.ending.state == TurnState.COMPLETE
    await desk.end()
    assert desk.live.get(turn.pk) is None
    assert desk.live.find(turn.pk) is live_turn


async def test_followers_learn_how_the_provider_failed(desk: Desk, upstream: Upstream) -> None:
    upstream.default = Answer(status=429, headers={"retry-after": "30"})
    turn = await desk.begin()
    await desk.end()
    live_turn = desk.live.find(turn.pk)
    assert live_turn is not None
    assert live_turn.ending is not None
    assert (live_turn.ending.state, live_turn.ending.error_code) == (TurnState.FAILED, "busy")
    assert live_turn.ending.error is not None
    assert (live_turn.ending.error.status, live_turn.ending.error.retry_after) == (429, 30)


async def test_followers_of_a_lost_turn_do_not_wait_for_ever(
    desk: Desk, upstream: Upstream
) -> None:
    held = upstream.hold()
    turn = await desk.begin()
    held.send("Before. ")
    await desk.shows("Before. ")
    await in_database(expire, turn)
    assert await in_database(reap_orphans) == 1
    held.finish()  # it learns of it only when it stores its end
    await desk.end()
    live_turn = desk.live.find(turn.pk)
    assert live_turn is not None
    assert live_turn.ending is not None
    assert (live_turn.ending.state, live_turn.ending.error_code) == (TurnState.INTERRUPTED, "lost")


def record_call(turn: Turn, *, stored: bool) -> None:
    """Make of the turn a program's call, with words wherever there may be some."""
    conversation = turn.conversation
    conversation.title, conversation.system_prompt = "A secret", "Keep the secret"
    conversation.parameters = {"temperature": 1, "stop": ["secret"]}
    conversation.save()
    Turn.objects.filter(pk=turn.pk).update(
        system_prompt="Keep the secret", parameters=conversation.parameters
    )
    turn.refresh_from_db()
    options = {"tools": [{"type": "function", "function": {"name": "secret"}}]}
    ApiCall.objects.create(turn=turn, token_name="Nightly", stored=stored, options=options)


def everything_stored(turn: Turn) -> str:
    tables = (Message, LogEntry, Turn, Conversation, ApiCall)
    return str([list(table.objects.values()) for table in tables])


@pytest.mark.parametrize(
    ("how", "state"),
    [
        pytest.param("finish", TurnState.COMPLETE, id="complete"),
        pytest.param("drop", TurnState.INTERRUPTED, id="interrupted"),
        pytest.param("error", TurnState.FAILED, id="failed"),
        pytest.param("reap", TurnState.INTERRUPTED, id="reaped"),
    ],
)
@pytest.mark.parametrize("stored", [False, True], ids=["unstored", "stored"])
async def test_of_a_call_that_is_not_kept_no_word_remains(
    desk: Desk, upstream: Upstream, how: str, state: TurnState, stored: bool
) -> None:
    held = upstream.hold()
    turn = await desk.begin("A secret question")
    await in_database(record_call, turn, stored=stored)
    held.send_reasoning("A secret thought")
    held.send_tool_call('{"secret": 1}', id="call_1", name="secret")
    held.send("The secret is out")
    await desk.shows("The secret is out")
    await desk.log.flush()
    if how == "reap":
        desk.task.cancel()
        await in_database(expire, turn)
        assert await in_database(reap_orphans) == 1
    else:
        held.error("secret failure") if how == "error" else getattr(held, how)()
        await desk.end()
        live_turn = desk.live.find(turn.pk)
        assert live_turn is not None  # for the one who waits for it
        assert live_turn.texts() == {desk.replies[0]: "The secret is out"}
    ended = await in_database(Turn.objects.get, pk=turn.pk)
    assert ended.model == turn.model
    assert ended.ended_at is not None
    assert ended.state == state or how == "error"
    assert ("secret" in await in_database(everything_stored, turn)) is stored
    assert (await in_database(Conversation.objects.get)).parameters["temperature"] == 1


def expire(turn: Turn) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Turn.objects.filter(pk=turn.pk).update(lease_until=past)


async def test_renewed_turns_are_not_reaped(desk: Desk, upstream: Upstream) -> None:
    held = upstream.hold()
    turn = await desk.begin()
    await held.arequest()
    await in_database(expire, turn)
    await desk.log.flush()
    assert await in_database(reap_orphans) == 0
    await in_database(expire, turn)
    assert await in_database(reap_orphans) == 1


async def test_what_a_dead_runner_left_is_marked_with_a_prefix_of_its_text(
    desk: Desk, upstream: Upstream
) -> None:
    held = upstream.hold()
    turn = await desk.begin(n=2)
    held.send_reasoning("Durable thought", index=0)
    held.send("Durable *text*", index=0)
    held.send("Other", index=1)
    await desk.shows("Durable *text*")
    await desk.shows("Other", 1)
    await desk.log.flush()
    held.send(" that is not yet written", index=0)
    await desk.shows("Durable *text* that is not yet written")
    desk.task.cancel()  # dead: without storing anything
    await in_database(expire, turn)
    assert await in_database(reap_orphans) == 1
    stored = await in_database(Turn.objects.get, pk=turn.pk)
    assert (stored.state, stored.error_code) == (TurnState.INTERRUPTED, "server_killed")
    assert stored.lease_until is None
    assert stored.ended_at is not None
    first, second = await desk.reply(0), await desk.reply(1)
    assert (first.text, second.text) == ("Durable *text*", "Other")
    assert (first.reasoning, second.reasoning) == ("Durable thought", "")
    assert first.html == render("Durable *text*")
    assert not await in_database(LogEntry.objects.exists)


async def test_of_two_reapers_one_marks_a_turn(desk: Desk, upstream: Upstream) -> None:
    upstream.hold()
    turn = await desk.begin()
    await in_database(expire, turn)
    counts = await asyncio.gather(*(in_database(reap_orphans) for _ in range(4)))
    assert sorted(counts) == [0, 0, 0, 1]


async def test_an_entry_after_a_gap_ends_the_text(desk: Desk, upstream: Upstream) -> None:
    upstream.hold()
    turn = await desk.begin()
    number = desk.replies[0]
    for offset, text in ((0, "01234"), (5, "56789"), (12, "lost its predecessor")):
        entry = LogEntry(message_id=number, offset=offset, text=text)
        await in_database(entry.save)
    assert await desk.durable() == "0123456789"
    await in_database(expire, turn)
    await in_database(reap_orphans)
    assert (await desk.reply()).text == "0123456789"


async def test_a_write_whose_outcome_is_unknown_is_repeated_without_harm(
    desk: Desk, upstream: Upstream
) -> None:
    """A connection that breaks in COMMIT: the entry is there, and the writer doesn't know."""
    held = upstream.hold()
    await desk.begin()
    held.send("Written ")
    await desk.shows("Written ")
    entry = LogEntry(message_id=desk.replies[0], offset=0, text="Written ")
    await in_database(entry.save)
    held.send("twice")
    await desk.shows("Written twice")
    await desk.log.flush()
    assert await desk.durable() == "Written twice"
    held.finish()
    assert (await desk.end()).state == TurnState.COMPLETE


async def test_an_end_that_is_stored_twice_is_stored(desk: Desk, upstream: Upstream) -> None:
    """The same for the end: the second try finds nothing to end, and that is well."""
    upstream.hold()
    turn = await desk.begin()
    ending = Ending(TurnState.STOPPED)
    written = {desk.replies[0]: Written("Text", "<p>Text</p>")}
    assert await in_database(end_turn, turn, "runner-1", ending, written)
    assert await in_database(end_turn, turn, "runner-1", ending, written)
    assert not await in_database(end_turn, turn, "runner-1", Ending(), written)
    assert not await in_database(end_turn, turn, "runner-2", ending, written)


async def test_a_database_that_cannot_be_written_for_a_while_loses_nothing(
    desk: Desk, upstream: Upstream
) -> None:
    held = upstream.hold()
    turn = await desk.begin()
    held.send("Before, ")
    await desk.shows("Before, ")
    await desk.log.flush()
    await desk.log.write(impatient)
    with locked_database():
        held.send_reasoning("Meanwhile ")
        held.send("during ")
        await desk.shows("Before, during ")
        await desk.log.flush()
        assert await desk.durable() == "Before, "
        held.send_reasoning("thinking")
        held.send("and ")
        await desk.shows("Before, during and ")
        await desk.log.flush()
        held.send("after.")
        held.finish()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await desk.log.failed.get() != "end_turn":
                pass
    stored = await desk.end()
    assert stored.state == TurnState.COMPLETE
    assert (await desk.reply()).text == "Before, during and after."
    assert (await desk.reply()).reasoning == "Meanwhile thinking"
    assert stored.pk == turn.pk


def impatient() -> None:
    """Let this thread's connection give up at once where the database is locked."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA busy_timeout = 10")
        else:
            cursor.execute("SET lock_timeout = '10ms'")


async def test_the_text_of_a_running_turn_is_read_from_the_log_by_other_processes(
    desk: Desk, upstream: Upstream, sign_in: Callable[[User], Client]
) -> None:
    held = upstream.hold()
    await desk.begin()
    held.send("Seen from *elsewhere*")
    await desk.shows("Seen from *elsewhere*")
    await desk.log.flush()
    client = await in_database(sign_in, desk.cast.alice)
    page = await in_database(client.get, f"/c/{desk.conversation.pk}/")
    assert "Seen from <em>elsewhere</em>" in page.content.decode()
    assert 'data-state="streaming"' in page.content.decode()


async def test_queued_turns_of_a_stopped_conversation_are_never_claimed(
    desk: Desk, upstream: Upstream
) -> None:
    turn = await in_database(
        start_turn, desk.conversation, desk.cast.alice, "Never mind", uuid.uuid4()
    )
    await in_database(stop, desk.conversation, desk.cast.alice)
    assert await in_database(Turn.objects.all().claim, "runner-1", 5) == []
    turn = await in_database(Turn.objects.get, pk=turn.pk)
    assert (turn.state, turn.stopped_by_id) == (TurnState.STOPPED, desk.cast.alice.pk)
    assert upstream.requests == []
    desk.task = asyncio.create_task(asyncio.sleep(0))


# With a whole runtime.


async def test_stopping_the_runtime_stores_what_was_running(
    running: runtime.Runtime, upstream: Upstream, conversation: Conversation, cast: Cast
) -> None:
    held = upstream.hold()
    turn = await in_database(start_turn, conversation, cast.alice, "Hello", uuid.uuid4())
    await held.arequest()
    live_turn = running.live.get(turn.pk)
    assert live_turn is not None
    reply = await in_database(turn.replies.get)
    held.send("Text so far")
    await live_text(live_turn, reply.pk, "Text so far")
    await runtime.stop()
    turn = await ended(turn)
    assert (turn.state, turn.error_code) == (TurnState.INTERRUPTED, "server_stopped")
    assert (await in_database(turn.replies.get)).text == "Text so far"
    assert await held.request.aclosed()
