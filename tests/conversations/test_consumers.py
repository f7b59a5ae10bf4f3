"""Sockets through the whole ASGI application: origin, cookie, routing, consumer, runner."""

import random
import time
import uuid
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from django.test import Client

from conversations import actions, consumers, runtime, wakeups
from conversations.actions import start_turn
from conversations.database import in_database
from conversations.models import Access, Conversation, Role, Turn, TurnState
from conversations.runtime import Runtime
from tests.conftest import Cast
from tests.conversations.viewing import Page, Viewer, ended, live_text, until
from tests.upstream import Answer, Upstream

pytestmark = pytest.mark.django_db(transaction=True)

View = Callable[..., Viewer]

MARKDOWN = (
    "# Title\n\nA *paragraph* with `code` and [a link][1].\n\n- one\n- two\n\n  more of two\n"
    "- three\n\n```python\nfor item in range(3):\n    print(item)\n```\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\n> text\n\nLast words, ünïcode: 日本語 🎈\n\n"
    "[1]: https://example.org/\n"
)


async def reply_of(conversation: Conversation, place: int = 0) -> str:
    """The dom id of the newest turn's reply."""

    def find() -> int:
        turn = conversation.turns.latest("pk")
        return list(turn.replies.order_by("pk").values_list("pk", flat=True))[place]

    return f"message-{await in_database(find)}"


async def newest_turn(conversation: Conversation) -> Turn:
    return await in_database(conversation.turns.latest, "pk")


async def test_sending_stores_a_turn_acknowledges_it_and_shows_it(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    held = upstream.hold()
    alice = await view(cast.alice).open()
    client_id = await alice.send("Why is the sky blue?")
    await alice.until(lambda page: page.accepted == str(client_id))
    await alice.until(lambda page: "Why is the sky blue?" in str(page.find("thread")))
    assert [str(m["content"]) for m in (await held.arequest()).messages] == ["Why is the sky blue?"]
    held.finish()


async def test_the_answer_streams_in_and_ends_as_a_new_page_shows_it(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.enqueue(Answer(text=MARKDOWN, rate=400))
    alice = await view(cast.alice).open()
    await alice.send("Everything, please")
    await alice.until(lambda page: "Last words, ünïcode: 日本語 🎈" in "".join(page.thread))
    turn = await ended(await newest_turn(conversation))
    reply = await reply_of(conversation)
    await alice.until(lambda page: page.state(reply) == "complete")
    assert turn.state == TurnState.COMPLETE
    assert (await in_database(turn.replies.get)).text == MARKDOWN
    await alice.assert_page_is_current()


async def test_the_automatic_title_is_shown_when_it_comes(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.enqueue(Answer(text="Rayleigh scattering."), Answer(text='"Why the Sky Is Blue."'))
    alice = view(cast.alice)
    await in_database(Conversation.objects.filter(pk=conversation.pk).update, title_is_own=False)
    await alice.open()
    await alice.send("Why is the sky blue?")
    await alice.until(lambda page: "Why the Sky Is Blue" in str(page.find("conversation-header")))
    assert 'data-title="Why the Sky Is Blue"' in str(alice.page.find("conversation-header"))
    await alice.assert_page_is_current()


def topic(viewer: Viewer) -> str:
    return wakeups.conversation_topic(viewer.conversation_id)


async def test_a_finished_block_is_sent_once(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    held = upstream.hold()
    alice = await view(cast.alice).open()
    await alice.send("Two paragraphs")
    reply = await reply_of_when_running(alice, conversation)
    held.send("First paragraph.\n\nSecond ")
    await alice.until(lambda page: "Second" in page.text(reply))
    seen = len(alice.frames)
    held.send("paragraph")
    await alice.until(lambda page: "Second paragraph" in page.text(reply))
    # Also while something else on the page changes.
    await in_database(actions.rename, conversation, cast.alice, "Another name")
    await alice.until(lambda page: "Another name" in str(page.find("conversation-header")))
    held.send(" and more")
    await alice.until(lambda page: "Second paragraph and more" in page.text(reply))
    assert alice.page.text(reply).split() == [
        "First",
        "paragraph.",
        "Second",
        "paragraph",
        "and",
        "more",
    ]
    assert all("First paragraph" not in frame for frame in alice.frames[seen:])
    held.finish()
    await alice.until(lambda page: page.state(reply) == "complete")


async def reply_of_when_running(viewer: Viewer, conversation: Conversation) -> str:
    await until(conversation.turns.exists, topic(viewer))
    return await reply_of(conversation)


async def test_nobody_signed_in_is_closed_with_4401(view: View, cast: Cast) -> None:
    alice = view(cast.alice)
    assert await alice.connect() is None
    await alice.until(lambda page: alice.frames)
    stranger = Viewer(Client(), alice.conversation_id)
    assert await stranger.connect() is None
    assert await stranger.closed() == 4401


async def test_another_organization_and_an_unknown_conversation_are_closed_alike(
    view: View, cast: Cast, conversation: Conversation
) -> None:
    alice, mallory, lost = view(cast.alice), view(cast.mallory), view(cast.alice)
    await alice.open()
    assert await mallory.connect() is None
    assert await mallory.closed() == 4404
    assert await lost.connect(f"/ws/conversations/{uuid.uuid4()}/") is None
    assert await lost.closed() == 4404
    assert mallory.frames == lost.frames == []


@pytest.mark.parametrize("path", ["/ws/", "/", "/ws/conversations/1/", "/ws/conversations/x/"])
async def test_an_address_that_is_none_is_closed_with_4404(
    view: View, cast: Cast, path: str
) -> None:
    alice = view(cast.alice)
    assert await alice.connect(path) is None
    assert await alice.closed() == 4404


@pytest.mark.parametrize(
    "origin",
    [b"http://evil.example", b"http://testserver:8001", b"https://testserver", b"null", None],
)
async def test_a_foreign_origin_is_refused_before_anything_is_accepted(
    view: View, cast: Cast, origin: bytes | None
) -> None:
    assert await view(cast.alice).connect() is None
    assert await view(cast.alice).connect(origin=origin) == 1008


async def test_members_not_invited_see_nothing_until_they_are(
    view: View, cast: Cast, conversation: Conversation
) -> None:
    bob = view(cast.bob)
    assert await bob.connect() is None
    assert await bob.closed() == 4404
    await in_database(actions.share, conversation, cast.bob, Access.READ)
    again = await view(cast.bob).open()
    await again.assert_page_is_current()


async def test_a_refused_message_is_not_acknowledged_so_the_draft_stays(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    held = upstream.hold()
    alice = await view(cast.alice).open()
    first = await alice.send("First")
    await alice.until(lambda page: page.accepted == str(first))
    await held.arequest()
    await alice.send("Second, too early")
    await alice.until(lambda page: "An answer is being written" in page.notice)
    assert alice.page.accepted == str(first)
    assert await in_database(conversation.messages.filter(role=Role.USER).count) == 1
    held.finish()
    await ended(await newest_turn(conversation))
    second = await alice.send("Second")
    await alice.until(lambda page: page.accepted == str(second))
    assert alice.page.notice == ""


async def test_readers_see_all_and_cannot_send(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    await in_database(actions.share, conversation, cast.bob, Access.READ)
    alice, bob = await view(cast.alice).open(), await view(cast.bob).open()
    await bob.send("May I?")
    await bob.until(lambda page: "You can read this conversation" in page.notice)
    assert not await in_database(conversation.messages.exists)
    upstream.default = Answer(text="Everybody reads this.")
    await alice.send("Hello")
    turn = await ended(await newest_turn_when(alice, conversation))
    reply = await reply_of(conversation)
    for viewer in (alice, bob):
        await viewer.until(lambda page: page.state(reply) == "complete")
        assert viewer.page.text(reply) == "Everybody reads this."
    assert turn.author_id == cast.alice.pk


async def newest_turn_when(viewer: Viewer, conversation: Conversation) -> Turn:
    await until(conversation.turns.exists, topic(viewer))
    return await newest_turn(conversation)


async def test_two_tabs_and_a_replayed_frame_make_one_turn(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    held = upstream.hold()
    one, two = await view(cast.alice).open(), await view(cast.alice).open()
    client_id = await one.send("Once")
    await two.send("Once", client_id)
    await one.send("Once", client_id)
    for viewer in (one, two):
        await viewer.until(lambda page: page.accepted == str(client_id))
    held.send("Only one answer")
    reply = await reply_of(conversation)
    for viewer in (one, two):
        await viewer.until(lambda page: page.text(reply) == "Only one answer")
        assert len(viewer.page.thread) == 2
    assert await in_database(conversation.turns.count) == 1
    held.finish()
    await ended(await newest_turn(conversation))
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[]",
        "null",
        '{"text": 1, "client_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}',
        '{"text": "no id"}',
        '{"text": "x", "client_id": "not-a-uuid"}',
        "[" * 100_000,
        '{"text": "\\ud800", "client_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}',
    ],
    ids=["cut", "list", "null", "number", "no id", "bad id", "deep", "surrogate"],
)
async def test_the_fifth_malformed_frame_closes_with_4400(
    view: View, cast: Cast, conversation: Conversation, frame: str
) -> None:
    alice = await view(cast.alice).open()
    for _ in range(4):
        await alice.socket.send_to(text_data=frame)
        before = len(alice.frames)

        def answered(page: Page, before: int = before) -> object:
            return len(alice.frames) > before and page.notice

        await alice.until(answered)
        assert "could not be read" in alice.page.notice
    await alice.socket.send_to(text_data=frame)
    assert await alice.closed() == 4400
    assert not await in_database(conversation.messages.exists)


async def test_bytes_are_malformed_too(view: View, cast: Cast) -> None:
    alice = await view(cast.alice).open()
    await alice.socket.send_to(bytes_data=b"\x00\xff")
    await alice.until(lambda page: "could not be read" in page.notice)


async def test_a_flood_is_answered_with_a_notice_and_stores_nothing_more(
    view: View, cast: Cast, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "FRAMES_SECONDS", 600)
    alice = await view(cast.alice).open()
    for _ in range(consumers.MOST_FRAMES):
        await alice.send(" ")
    await alice.send("One too many")
    await alice.until(lambda page: "Too many messages" in page.notice)
    assert not await in_database(conversation.messages.exists)


async def test_a_session_that_ends_closes_the_socket_at_the_next_wake_up(
    view: View, cast: Cast, conversation: Conversation
) -> None:
    alice = await view(cast.alice).open()
    await in_database(actions.rename, conversation, cast.alice, "Shown while signed in")
    await alice.until(lambda page: "Shown while signed in" in str(page.find("conversation-header")))
    await in_database(alice.client.logout)
    wakeups.wake(topic(alice))
    assert await alice.closed() == 4401


async def test_a_deactivated_person_is_closed_with_4401(view: View, cast: Cast) -> None:
    alice = await view(cast.alice).open()
    await in_database(type(cast.alice).objects.filter(pk=cast.alice.pk).update, is_active=False)
    wakeups.wake(topic(alice))
    assert await alice.closed() == 4401


async def test_sending_after_the_session_ended_stores_nothing_and_closes_at_once(
    view: View, cast: Cast, conversation: Conversation
) -> None:
    alice = await view(cast.alice).open()
    await in_database(alice.client.logout)
    await alice.send("Am I still here?")
    assert await alice.closed() == 4401
    assert not await in_database(conversation.messages.exists)


async def test_who_is_not_invited_any_more_is_closed_with_4404(
    view: View, cast: Cast, conversation: Conversation
) -> None:
    await in_database(actions.share, conversation, cast.bob, Access.WRITE)
    bob = await view(cast.bob).open()
    await in_database(actions.unshare, conversation, cast.bob)
    assert await bob.closed() == 4404


async def test_who_left_the_organization_is_closed_with_4404_when_sending(
    view: View, cast: Cast, conversation: Conversation
) -> None:
    await in_database(actions.share, conversation, cast.bob, Access.WRITE)
    bob = await view(cast.bob).open()
    await in_database(cast.bob.memberships.all().delete)
    await bob.send("Still here?")
    assert await bob.closed() == 4404
    assert not await in_database(conversation.messages.exists)


async def test_deleting_the_conversation_closes_its_sockets(
    view: View, cast: Cast, conversation: Conversation
) -> None:
    alice = await view(cast.alice).open()
    await in_database(actions.delete, conversation, cast.alice)
    assert await alice.closed() == 4404


async def test_a_page_that_is_current_is_not_sent_again(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    await a_finished_turn(conversation, cast)
    alice = await view(cast.alice).open()
    await alice.send(" ")
    await alice.until(lambda page: page.notice)  # the socket is at work
    await runtime.drain(0)  # waits until all pages show all there is
    assert alice.socket.output_queue.empty()
    await in_database(actions.rename, conversation, cast.alice, "Another name")
    await alice.until(lambda page: "Another name" in str(page.find("conversation-header")))
    assert len(alice.frames) == 2  # the notice, and the name
    assert "message-" not in alice.frames[1]
    assert "thread" not in alice.frames[1]


async def a_finished_turn(conversation: Conversation, cast: Cast) -> Turn:
    return await ended(
        await in_database(start_turn, conversation, cast.alice, "Hello", uuid.uuid4())
    )


async def test_a_page_that_is_out_of_date_is_made_current(
    view: View, cast: Cast, conversation: Conversation
) -> None:
    alice = view(cast.alice)
    alice.page = await alice.load()
    await a_finished_turn(conversation, cast)
    assert await alice.connect(alice.page.socket_path) is None
    reply = await reply_of(conversation)
    await alice.until(lambda page: page.state(reply) == "complete")
    await alice.assert_page_is_current()


async def test_reconnecting_in_the_middle_shows_all_and_goes_on(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream, running: Runtime
) -> None:
    held = upstream.hold()
    alice = await view(cast.alice).open()
    await alice.send("Count")
    turn = await newest_turn_when(alice, conversation)
    reply = await reply_of(conversation)
    held.send("One\n\nTwo ")
    await alice.until(lambda page: "Two" in page.text(reply))
    await alice.leave()
    held.send("three\n\nFour ")
    live_turn = running.live.get(turn.pk)
    assert live_turn is not None
    await live_text(live_turn, int(reply[8:]), "One\n\nTwo three\n\nFour ")
    alice.frames.clear()
    assert await alice.connect() is None
    await alice.until(lambda page: "Four" in page.text(reply))
    assert len(alice.frames) == 1  # the whole of it, at once
    held.send("five")
    await alice.until(lambda page: "Four five" in page.text(reply))
    assert "Two three" not in alice.frames[-1]
    held.finish()
    await alice.until(lambda page: page.state(reply) == "complete")
    assert alice.page.text(reply).split() == ["One", "Two", "three", "Four", "five"]


async def test_opening_the_page_in_the_middle_shows_all_and_goes_on(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    held = upstream.hold()
    alice = await view(cast.alice).open()
    await alice.send("Count")
    reply = await reply_of_when_running(alice, conversation)
    held.send("One\n\nTwo ")
    await alice.until(lambda page: "Two" in page.text(reply))
    late = await view(cast.alice).open()
    await late.until(lambda page: "Two" in page.text(reply))
    held.send("three")
    for viewer in (alice, late):
        await viewer.until(lambda page: "Two three" in page.text(reply))
    assert alice.page.thread == late.page.thread
    held.finish()
    for viewer in (alice, late):
        await viewer.until(lambda page: page.state(reply) == "complete")


@pytest.fixture
def thoughts_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes to look at them."""
    still = SimpleNamespace(monotonic=lambda: 0.0, perf_counter=time.perf_counter)
    monkeypatch.setattr("conversations.live.time", still)


@pytest.mark.usefixtures("thoughts_take_no_time")
async def test_reasoning_streams_folded_above_the_answer(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    held = upstream.hold()
    alice = await view(cast.alice).open()
    await alice.send("Think")
    reply = await reply_of_when_running(alice, conversation)

    async def same_for_late_comers() -> None:
        late = await view(cast.alice).open()
        await late.until(lambda page: page.thread == alice.page.thread)

    held.send_reasoning("\n<b>First</b> I")
    await alice.until(lambda page: page.thoughts(reply) == ("Thinking…", "<b>First</b> I"))
    assert alice.page.state(reply) == "streaming"
    await same_for_late_comers()
    held.send_reasoning(' & "then"\n\n')
    held.send_reasoning("  last")
    whole = '<b>First</b> I & "then"\n\n  last'
    await alice.until(lambda page: page.thoughts(reply)[1] == whole)
    assert "First" not in alice.frames[-1]
    assert "-tail" not in alice.frames[-1]
    held.send("The *answer*")
    await alice.until(lambda page: page.text(reply) == "The answer")
    assert alice.page.thoughts(reply) == ("Thought for 1 s", whole)
    assert len(alice.frames[-1]) < 500  # the heading and the tail, not all of it again
    await same_for_late_comers()
    held.finish()
    await alice.until(lambda page: page.state(reply) == "complete")
    assert alice.page.thoughts(reply) == ("Thought for 1 s", whole)
    source = alice.page.document.select_one(f"#{reply} .source")
    assert source is not None
    assert source.get_text().strip() == "The *answer*"
    await alice.assert_page_is_current()


@pytest.mark.usefixtures("thoughts_take_no_time")
async def test_reasoning_that_comes_after_text_gets_its_place(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    held = upstream.hold()
    alice = await view(cast.alice).open()
    await alice.send("Think")
    reply = await reply_of_when_running(alice, conversation)
    held.send("First paragraph.\n\nSecond ")
    await alice.until(lambda page: "Second" in page.text(reply))
    assert alice.page.thoughts(reply) == ("", "")
    held.send_reasoning("Wait")
    await alice.until(lambda page: page.thoughts(reply) == ("Thinking…", "Wait"))
    held.send("paragraph")
    await alice.until(lambda page: "Second paragraph" in page.text(reply))
    assert alice.page.text(reply).count("First") == 1
    assert alice.page.thoughts(reply) == ("Thought for 1 s", "Wait")
    held.finish()
    await alice.until(lambda page: page.state(reply) == "complete")
    await alice.assert_page_is_current()


async def test_what_was_reasoned_stays_after_stop(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    held = upstream.hold()
    alice = await view(cast.alice).open()
    await alice.send("Think")
    reply = await reply_of_when_running(alice, conversation)
    held.send_reasoning("I wonder")
    await alice.until(lambda page: page.thoughts(reply) == ("Thinking…", "I wonder"))
    assert await alice.post(f"/c/{conversation.pk}/stop/") == 204
    await alice.until(lambda page: page.state(reply) == "stopped")
    assert alice.page.thoughts(reply) == ("Thoughts", "I wonder")
    await alice.assert_page_is_current()


async def test_a_slow_reader_skips_frames_and_loses_nothing(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream, running: Runtime
) -> None:
    held = upstream.hold()
    slow = await view(cast.alice, slow=True).open()
    fast = await view(cast.alice).open()
    await slow.send("A lot")
    turn = await newest_turn_when(fast, conversation)
    reply = await reply_of(conversation)
    words = [f"word{number}" for number in range(300)]
    for number, word in enumerate(words):
        held.send(word + ("\n\n" if number % 7 == 6 else " "))
        if number % 30 == 29:  # the fast one takes part in between

            def caught_up(page: Page, word: str = word) -> bool:
                return word in page.text(reply)

            await fast.until(caught_up)
    held.finish()
    await ended(turn)
    await slow.until(lambda page: page.state(reply) == "complete")
    await fast.until(lambda page: page.state(reply) == "complete")
    assert slow.page.text(reply).split() == words
    assert fast.page.thread == slow.page.thread
    assert len(slow.frames) < len(fast.frames)


async def test_alternatives_stream_side_by_side_and_one_is_chosen(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    await in_database(conversation.set_parameters, "", {"n": 3})
    held = upstream.hold()
    alice = await view(cast.alice).open()
    await alice.send("Three ways")
    await until(conversation.turns.exists, topic(alice))
    replies = [await reply_of(conversation, place) for place in range(3)]
    assert (await held.arequest()).json["n"] == 3
    for index in (2, 0, 1):
        held.send(f"Way {index}", index=index)
    await alice.until(
        lambda page: [page.text(reply) for reply in replies] == ["Way 0", "Way 1", "Way 2"]
    )
    assert len(alice.page.thread) == 2  # the question, and one place with three answers
    held.finish()
    await alice.until(lambda page: all(page.state(reply) == "complete" for reply in replies))
    assert await alice.post(f"/messages/{replies[1][8:]}/show/") == 204
    await alice.until(lambda page: page.find(replies[0]) is None)
    assert alice.page.text(replies[1]) == "Way 1"
    await ended(await newest_turn(conversation))
    await alice.assert_page_is_current()


async def test_stop_shows_who_stopped_and_keeps_the_text(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    await in_database(actions.share, conversation, cast.bob, Access.WRITE)
    held = upstream.hold()
    alice, bob = await view(cast.alice).open(), await view(cast.bob).open()
    await alice.send("Go on for ever")
    reply = await reply_of_when_running(alice, conversation)
    held.send("Text so far")
    for viewer in (alice, bob):
        await viewer.until(lambda page: page.text(reply) == "Text so far")
    assert await bob.post(f"/c/{conversation.pk}/stop/") == 204
    for viewer in (alice, bob):
        shown: set[str] = set()

        def stopped(page: Page, shown: set[str] = shown) -> bool:
            shown.add(page.text(reply))
            return page.state(reply) == "stopped"

        await viewer.until(stopped)
        # At no moment less than that, whatever was read while the turn ended.
        assert shown == {"Text so far"}
        assert viewer.page.text(reply) == "Text so far"
        assert "Stopped by Bob" in str(viewer.page.find(reply))
        await viewer.assert_page_is_current()


async def test_pages_stay_equal_to_what_is_stored_whatever_happens(
    view: View, cast: Cast, conversation: Conversation, upstream: Upstream
) -> None:
    """Random actions of two people, with reconnects; then both pages are what a new one shows."""
    await in_database(actions.share, conversation, cast.bob, Access.WRITE)
    choose = random.Random(20240607)
    viewers = [await view(cast.alice).open(), await view(cast.bob).open()]
    for _step in range(14):
        viewer = choose.choice(viewers)
        turn = await in_database(conversation.turns.order_by("-pk").first)
        last = await in_database(lambda: Conversation.objects.get(pk=conversation.pk).leaf)
        doing = choose.choice(["send", "send", "regenerate", "continue", "older", "title", "drop"])
        if doing == "send" or turn is None:
            await in_database(
                conversation.set_parameters, "", {"n": 2} if choose.random() < 0.3 else {}
            )
            upstream.enqueue(
                choose.choice(
                    [
                        Answer(text=MARKDOWN, chunk=choose.randint(1, 40)),
                        Answer(text="Cut in the middle of it", cut_after=12),
                        Answer(status=400),
                        Answer(text="Too long", finish_reason="length"),
                    ]
                )
            )
            await viewer.send(f"Question {choose.random()}")
            await until(
                conversation.turns.filter(pk__gt=turn.pk if turn else 0).exists, topic(viewer)
            )
        elif doing in ("regenerate", "continue") and last:
            await viewer.post(f"/messages/{last.pk}/{doing}/")
        elif doing == "older" and last and last.parent_id:
            siblings = conversation.messages.filter(parent=last.parent_id)
            first = await in_database(siblings.order_by("pk").first)
            assert first is not None
            await viewer.post(f"/messages/{first.pk}/show/")
        elif doing == "title":
            await viewer.post(f"/c/{conversation.pk}/title/", title=f"Name {choose.random()}")
        else:
            await viewer.reconnect()
        await ended(await newest_turn(conversation))
    await in_database(actions.rename, conversation, cast.alice, "The end")
    fresh = await viewers[0].load()
    for viewer in viewers:
        await viewer.until(
            lambda page: (
                "The end" in str(page.find("conversation-header"))
                and page.state(dom_id_of_last(fresh)) == fresh.state(dom_id_of_last(fresh))
            )
        )
        await viewer.assert_page_is_current()


def dom_id_of_last(page: object) -> str:
    thread = page.find("thread")  # type: ignore[attr-defined]
    return str(thread.find_all(class_="message")[-1]["id"])
