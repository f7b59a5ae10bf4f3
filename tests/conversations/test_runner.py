"""The runner: who claims what, stopping, draining, reaping, and what it leaves queued."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from channels.testing import ApplicationCommunicator, WebsocketCommunicator
from django.db import OperationalError
from django.utils import timezone

from chatsite.asgi import application
from conversations import runtime, wakeups
from conversations.actions import start_turn, stop
from conversations.database import in_database
from conversations.live import Live
from conversations.models import Conversation, Message, Turn, TurnState
from conversations.models.turn import LEASE
from conversations.preparing import prepare
from conversations.runner import TICK_SECONDS, Runner
from conversations.runtime import Runtime
from conversations.turns import Work
from conversations.upstream import Upstream as Way
from tests.conftest import Cast
from tests.conversations.viewing import ORIGIN, PATIENCE_SECONDS, ended, live_text, until
from tests.sites import wait_until
from tests.upstream import Answer, Held, Upstream

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def runner_of(
    transactional_db: None, upstream: Upstream
) -> AsyncIterator[Callable[[], Runner]]:
    """`runner_of()` is a runner of its own, as in another process; started by the test."""
    made: list[tuple[Runner, Way]] = []

    def make() -> Runner:
        way = Way()
        made.append((Runner(Live(), way), way))
        return made[-1][0]

    yield make
    for runner, way in made:
        await runner.stop()
        await way.stop()


def conversations(cast: Cast, count: int) -> list[Conversation]:
    return [
        Conversation.objects.create(
            organization=cast.organization,
            owner=cast.alice,
            model="test-model",
            title="Named",
            title_is_own=True,
        )
        for _ in range(count)
    ]


async def ask(conversation: Conversation, cast: Cast, text: str = "Hello") -> Turn:
    return await in_database(start_turn, conversation, cast.alice, text, uuid.uuid4())


async def text_of(turn: Turn) -> str:
    reply: Message = await in_database(turn.replies.get)
    return reply.text


async def test_two_runners_answer_each_turn_once(
    runner_of: Callable[[], Runner], cast: Cast, upstream: Upstream
) -> None:
    made = await in_database(conversations, cast, 12)
    turns = [await ask(conversation, cast, f"Number {i}") for i, conversation in enumerate(made)]
    runners = [runner_of(), runner_of()]
    for runner in runners:
        runner.start()
    stored = [await ended(turn) for turn in turns]
    assert {turn.state for turn in stored} == {TurnState.COMPLETE}
    asked = sorted(request.messages[-1]["content"] for request in upstream.requests)
    assert asked == sorted(f"Number {i}" for i in range(12))
    assert {turn.lease_owner for turn in stored} <= {runner.owner for runner in runners}


async def test_many_claims_at_once_give_each_turn_to_one(
    transactional_db: None, cast: Cast, upstream: Upstream
) -> None:
    made = await in_database(conversations, cast, 10)
    turns = [await ask(conversation, cast) for conversation in made]
    claims = await asyncio.gather(
        *(in_database(Turn.objects.all().claim, f"runner-{i}", 10) for i in range(4))
    )
    claimed = [turn.pk for claim in claims for turn in claim]
    assert sorted(claimed) == [turn.pk for turn in turns]


async def test_no_more_turns_run_than_are_allowed_and_the_others_follow(
    runner_of: Callable[[], Runner], cast: Cast, upstream: Upstream, settings: object
) -> None:
    settings.RUNNER_TURNS = 2  # type: ignore[attr-defined]
    held = [upstream.hold() for _ in range(3)]
    made = await in_database(conversations, cast, 3)
    turns = [await ask(conversation, cast) for conversation in made]
    runner = runner_of()
    runner.start()
    await held[0].arequest()
    await held[1].arequest()
    assert await state(turns[2]) == TurnState.QUEUED
    held[0].finish()
    await held[2].arequest()
    for one in held[1:]:
        one.finish()
    assert {(await ended(turn)).state for turn in turns} == {TurnState.COMPLETE}


async def state(turn: Turn) -> str:
    stored = await in_database(Turn.objects.get, pk=turn.pk)
    return stored.state


async def test_stop_closes_the_upstream_at_once_and_keeps_the_text(
    running: Runtime,
    cast: Cast,
    conversation: Conversation,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("conversations.runner.TICK_SECONDS", 1000)  # it does not wait for one
    held = upstream.hold()
    turn = await ask(conversation, cast)
    await streamed(running, held, turn, "Text so far")
    await in_database(stop, conversation, cast.alice)
    assert await held.request.aclosed()
    stored = await ended(turn)
    assert (stored.state, stored.stopped_by_id) == (TurnState.STOPPED, cast.alice.pk)
    assert await text_of(turn) == "Text so far"
    assert running.runner.running == 0 or await idle(running)


async def streamed(running: Runtime, held: Held, turn: Turn, text: str) -> None:
    """Let the held answer say so much, and wait until it has arrived."""
    await held.arequest()
    held.send(text)
    live_turn = running.live.get(turn.pk)
    assert live_turn is not None
    reply = await in_database(turn.replies.get)
    await live_text(live_turn, reply.pk, text)


async def idle(running: Runtime) -> bool:
    """Wait until the runner runs nothing: it wakes itself after each turn."""
    await until(lambda: running.runner.running == 0, wakeups.RUNNER)
    return True


async def test_draining_lets_running_answers_finish_and_claims_nothing_more(
    running: Runtime, cast: Cast, upstream: Upstream
) -> None:
    held = upstream.hold()
    first, second = await in_database(conversations, cast, 2)
    turn = await ask(first, cast)
    await streamed(running, held, turn, "Almost ")
    draining = asyncio.create_task(running.runner.drain(PATIENCE_SECONDS))
    await asyncio.sleep(0)
    waiting = await ask(second, cast)
    wakeups.wake(wakeups.RUNNER)
    held.send("done.")
    held.finish()
    await draining
    assert (await ended(turn)).state == TurnState.COMPLETE
    assert await text_of(turn) == "Almost done."
    assert await state(waiting) == TurnState.QUEUED
    assert len(upstream.requests) == 1
    await runtime.stop()
    assert await state(waiting) == TurnState.QUEUED
    # The next start claims it.
    await runtime.start()
    assert (await ended(waiting)).state == TurnState.COMPLETE


async def test_draining_interrupts_what_does_not_finish_in_time(
    running: Runtime, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    held = upstream.hold()
    turn = await ask(conversation, cast)
    await streamed(running, held, turn, "Never done")
    await running.runner.drain(0.01)
    stored = await in_database(Turn.objects.get, pk=turn.pk)
    assert (stored.state, stored.error_code) == (TurnState.INTERRUPTED, "server_stopped")
    assert await text_of(turn) == "Never done"
    assert await held.request.aclosed()


async def test_stopping_at_any_moment_leaves_no_turn_behind(
    transactional_db: None, cast: Cast, upstream: Upstream
) -> None:
    """Whatever a runner has claimed when it is told to stop is stored or still queued."""
    upstream.default = Answer(text="Begun", end="hang")
    made = await in_database(conversations, cast, 6)
    turns = [await ask(conversation, cast) for conversation in made]
    for steps in (0, 1, 2, 4, 8, 16):
        way = Way()
        runner = Runner(Live(), way)
        runner.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await runner.stop()
        await way.stop()
        held = await in_database(Turn.objects.held_by(runner.owner).count)
        assert held == 0, f"after {steps} steps"
    states = {await state(turn) for turn in turns}
    assert states <= {TurnState.QUEUED, TurnState.INTERRUPTED}


def test_a_dead_runners_turns_are_marked_within_10_s() -> None:
    """Its lease has to run out, and the next one has to look."""
    assert LEASE.total_seconds() + TICK_SECONDS <= 9


async def test_turns_of_a_dead_runner_are_marked_by_the_next_one(
    runner_of: Callable[[], Runner], cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    turn = await ask(conversation, cast)
    await in_database(Turn.objects.all().claim, "a runner that died", 1)
    runner_of().start()
    past = timezone.now() - timedelta(seconds=1)
    await in_database(Turn.objects.filter(pk=turn.pk).update, lease_until=past)
    stored = await ended(turn)
    assert (stored.state, stored.error_code) == (TurnState.INTERRUPTED, "server_killed")
    assert upstream.requests == []


async def test_a_turn_that_is_long_in_preparing_is_kept_and_answered(
    runner_of: Callable[[], Runner],
    cast: Cast,
    conversation: Conversation,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database is slow, then away; another runner looks for turns to mark meanwhile."""
    waiting, going_on = threading.Event(), threading.Event()
    attempts: list[int] = []

    def slowly(turn: Turn) -> Work:
        attempts.append(turn.pk)
        if len(attempts) == 1:
            waiting.set()
            assert going_on.wait(PATIENCE_SECONDS)
            raise OperationalError("the database is restarting")
        return prepare(turn)

    monkeypatch.setattr("conversations.runner.prepare", slowly)
    monkeypatch.setattr("conversations.database.AGAIN_SECONDS", 0.01)
    turn = await ask(conversation, cast)
    runner_of().start()
    assert await asyncio.to_thread(waiting.wait, PATIENCE_SECONDS)
    runner_of().start()
    later = timezone.now() + timedelta(seconds=60)
    claimed = Turn.objects.filter(pk=turn.pk)
    await in_database(claimed.update, lease_until=later)
    renewed = claimed.exclude(lease_until=later)
    await in_database(wait_until, renewed.exists, "the lease renewed")
    going_on.set()
    stored = await ended(turn)
    assert (stored.state, len(attempts)) == (TurnState.COMPLETE, 2)


async def test_a_turn_whose_model_is_gone_fails_without_asking_anybody(
    running: Runtime, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    await running.runner.drain(0)
    turn = await ask(conversation, cast)
    await in_database(Turn.objects.filter(pk=turn.pk).update, model="gone-model")
    await runtime.stop()
    await runtime.start()
    stored = await ended(turn)
    assert (stored.state, stored.error_code) == (TurnState.FAILED, "model_gone")
    assert upstream.requests == []


async def test_the_model_is_asked_for_a_title_after_the_first_answer_only(
    running: Runtime, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.enqueue(Answer(text="The answer."), Answer(text='**"A short title."**\n'))
    topic = wakeups.conversation_topic(conversation.pk)
    titled = Conversation.objects.filter(pk=conversation.pk, title="A short title")
    await ended(await ask(conversation, cast, "The question?"))
    await until(titled.exists, topic)
    asked = upstream.requests[1].messages[0]["content"]
    assert "The question?" in asked
    assert "The answer." in asked
    await ended(await ask(conversation, cast, "And then?"))
    await in_database(conversation.rename, "Mine")
    await ended(await ask(conversation, cast, "And now?"))
    assert len(upstream.requests) == 4


async def test_a_persons_title_is_kept_against_one_that_comes_later(
    running: Runtime, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.enqueue(Answer(text="The answer."))
    title = upstream.hold()
    await ended(await ask(conversation, cast))
    await title.arequest()
    await in_database(conversation.rename, "My own")
    title.send("A title of the model's")
    title.finish()
    assert await title.request.afinished()
    await runtime.stop()
    stored = await in_database(Conversation.objects.get, pk=conversation.pk)
    assert (stored.title, stored.title_is_own) == ("My own", True)


# Without lifespan events, as daphne serves.


async def test_the_first_request_starts_the_runtime(
    transactional_db: None, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    turn = await ask(conversation, cast)
    assert runtime.current() is None
    request = ApplicationCommunicator(  # type: ignore[no-untyped-call]  # asgiref: no annotations
        application,
        {
            "type": "http",
            "method": "GET",
            "path": "/healthz",
            "query_string": b"",
            "headers": [(b"host", b"testserver")],
        },
    )
    await request.send_input({"type": "http.request", "body": b""})
    started = await request.receive_output(PATIENCE_SECONDS)
    assert started["status"] == 200
    assert runtime.current() is not None
    assert (await ended(turn)).state == TurnState.COMPLETE
    await request.receive_output(PATIENCE_SECONDS)
    await request.wait(PATIENCE_SECONDS)
    await runtime.stop()
    assert runtime.current() is None


async def test_the_first_socket_starts_the_runtime(
    transactional_db: None, conversation: Conversation
) -> None:
    assert runtime.current() is None
    socket = WebsocketCommunicator(
        application,
        f"/ws/conversations/{conversation.pk}/",
        headers=[(b"host", b"testserver"), (b"origin", ORIGIN)],
    )
    assert (await socket.connect(PATIENCE_SECONDS))[0]
    assert runtime.current() is not None
    await socket.disconnect(timeout=PATIENCE_SECONDS)
    await runtime.stop()


async def test_the_servers_lifespan_starts_and_stops_it(transactional_db: None) -> None:
    lifespan = ApplicationCommunicator(  # type: ignore[no-untyped-call]  # asgiref: no annotations
        application, {"type": "lifespan"}
    )
    await lifespan.send_input({"type": "lifespan.startup"})
    started = await lifespan.receive_output(PATIENCE_SECONDS)
    assert started["type"] == "lifespan.startup.complete"
    first = runtime.current()
    assert first is not None
    assert await runtime.start() is first  # once a process
    await lifespan.send_input({"type": "lifespan.shutdown"})
    stopped = await lifespan.receive_output(PATIENCE_SECONDS)
    assert stopped["type"] == "lifespan.shutdown.complete"
    assert runtime.current() is None
    await lifespan.wait(PATIENCE_SECONDS)
