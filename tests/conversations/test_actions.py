"""What people do: each action, its refusals, and what two at once leave behind."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from conversations import actions, parameters
from conversations.actions import Refused, start_turn
from conversations.models import Access, Conversation, Message, Role, Turn, TurnState
from conversations.models.conversation import RESTORABLE_FOR
from conversations.parameters import Parameters
from conversations.reading import AlternativesView, MessageView, read_conversation
from organizations.models import User
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

NOTHING = Parameters()


def refused(action: Callable[[], object]) -> Refused:
    """The refusal; nothing may have been stored."""
    before = (Message.objects.count(), Turn.objects.count(), Conversation.objects.count())
    with pytest.raises(Refused) as caught:
        action()
    assert before == (Message.objects.count(), Turn.objects.count(), Conversation.objects.count())
    return caught.value


def ask(conversation: Conversation, cast: Cast, text: str = "Hello", **how: Any) -> Turn:
    return start_turn(conversation, cast.alice, text, how.get("client_id") or uuid.uuid4())


def answer(turn: Turn, *texts: str, state: str = TurnState.COMPLETE) -> list[Message]:
    """End the turn as a runner would, with these replies."""
    replies = list(turn.replies.order_by("pk"))
    for reply, text in zip(replies, texts or ("An answer",) * len(replies), strict=True):
        reply.text = text
        reply.save()
    Turn.objects.filter(pk=turn.pk).update(state=state)
    turn.refresh_from_db()
    return replies


def leaf(conversation: Conversation) -> int | None:
    conversation.refresh_from_db()
    return conversation.leaf_id


# Sending.


def test_a_turn_is_stored_with_its_question_and_an_empty_reply(
    conversation: Conversation, cast: Cast
) -> None:
    conversation.set_parameters("Be brief", {"temperature": 0.5})
    turn = ask(conversation, cast, "  Why?\r\n")
    assert turn.state == TurnState.QUEUED
    assert (turn.prompt.role, turn.prompt.text, turn.prompt.author) == ("user", "Why?", cast.alice)
    assert (turn.model, turn.system_prompt, turn.parameters) == (
        "test-model",
        "Be brief",
        {"temperature": 0.5},
    )
    [reply] = turn.replies.all()
    assert (reply.role, reply.text, reply.parent) == (Role.ASSISTANT, "", turn.prompt)
    assert leaf(conversation) == reply.pk


def test_the_next_question_follows_the_shown_answer(conversation: Conversation, cast: Cast) -> None:
    [first] = answer(ask(conversation, cast))
    turn = ask(conversation, cast, "And then?")
    assert turn.prompt.parent == first


@pytest.mark.parametrize("text", ["", "   \n\t ", "\x00", "\x00 \x07"])
def test_an_empty_message_is_refused(conversation: Conversation, cast: Cast, text: str) -> None:
    assert refused(lambda: ask(conversation, cast, text)).code == "empty"


def test_the_longest_message_is_taken_and_one_more_character_is_not(
    conversation: Conversation, cast: Cast
) -> None:
    too_long = "é" * (actions.MESSAGE_LENGTH + 1)
    assert refused(lambda: ask(conversation, cast, too_long)).code == "too_long"
    assert len(ask(conversation, cast, too_long[1:]).prompt.text) == actions.MESSAGE_LENGTH


def test_the_length_is_looked_at_before_anything_is_cleaned(
    conversation: Conversation, cast: Cast
) -> None:
    padded = "x" + " " * 4 * actions.MESSAGE_LENGTH
    for send in (
        lambda: ask(conversation, cast, padded),
        lambda: actions.create_with_turn(
            cast.membership(cast.alice), padded, uuid.uuid4(), model="", parameters=NOTHING
        ),
    ):
        assert refused(send).code == "too_long"


def test_readers_strangers_and_people_who_left_may_not_send(
    conversation: Conversation, cast: Cast
) -> None:
    def by(user: Any) -> Callable[[], Turn]:
        return lambda: start_turn(conversation, user, "Hello", uuid.uuid4())

    assert refused(by(cast.bob)).code == "read_only"
    assert refused(by(cast.mallory)).code == "read_only"
    actions.share(conversation, cast.bob, Access.READ)
    assert refused(by(cast.bob)).code == "read_only"
    actions.share(conversation, cast.bob, Access.WRITE)
    answer(by(cast.bob)())
    cast.bob.memberships.all().delete()
    assert refused(by(cast.bob)).code == "read_only"


def test_people_of_another_organization_gain_nothing_by_being_invited(
    conversation: Conversation, cast: Cast
) -> None:
    actions.share(conversation, cast.mallory, Access.WRITE)
    assert not Conversation.objects.visible_to(cast.mallory).exists()
    action = lambda: start_turn(conversation, cast.mallory, "Hello", uuid.uuid4())  # noqa: E731
    assert refused(action).code == "read_only"


def test_a_second_message_waits_until_the_answer_has_ended(
    conversation: Conversation, cast: Cast
) -> None:
    first = ask(conversation, cast)
    assert refused(lambda: ask(conversation, cast, "Too early")).code == "busy"
    Turn.objects.filter(pk=first.pk).update(state=TurnState.STREAMING)
    assert refused(lambda: ask(conversation, cast, "Too early")).code == "busy"
    answer(first)
    assert ask(conversation, cast, "Now").pk != first.pk


def test_a_repeated_form_finds_the_first_ones_turn_also_when_it_has_ended(
    conversation: Conversation, cast: Cast
) -> None:
    client_id = uuid.uuid4()
    first = ask(conversation, cast, client_id=client_id)
    assert ask(conversation, cast, client_id=client_id) == first
    answer(first)
    assert ask(conversation, cast, client_id=client_id) == first
    assert conversation.messages.count() == 2


def test_something_new_in_an_old_form_is_a_new_message(
    conversation: Conversation, cast: Cast
) -> None:
    client_id = uuid.uuid4()
    first = ask(conversation, cast, "The first", client_id=client_id)
    assert refused(lambda: ask(conversation, cast, "Another", client_id=client_id)).code == "busy"
    answer(first)
    second = ask(conversation, cast, "Another", client_id=client_id)
    assert second != first
    assert second.prompt.text == "Another"


def test_too_many_in_a_minute_are_refused_with_the_time_to_wait(
    conversation: Conversation, cast: Cast, settings: Any
) -> None:
    settings.TURNS_PER_MINUTE = 2
    began = timezone.now()
    for ago in (25, 10):
        turn = ask(conversation, cast)
        answer(turn)
        Turn.objects.filter(pk=turn.pk).update(created_at=began - timedelta(seconds=ago))
    refusal = refused(lambda: ask(conversation, cast))
    assert refusal.code == "too_fast"
    took = (timezone.now() - began).total_seconds()
    assert 35 - took <= refusal.seconds <= 36
    actions.share(conversation, cast.bob, Access.WRITE)
    answer(start_turn(conversation, cast.bob, "Each person counts alone", uuid.uuid4()))
    oldest = Turn.objects.filter(author=cast.alice).earliest("pk")
    Turn.objects.filter(pk=oldest.pk).update(created_at=timezone.now() - timedelta(seconds=61))
    assert ask(conversation, cast).pk


def test_a_model_that_is_not_offered_any_more_is_refused_by_name(
    conversation: Conversation, cast: Cast, settings: Any
) -> None:
    settings.COMPLETIONS_MODELS = ["other-model"]
    refusal = refused(lambda: ask(conversation, cast))
    assert (refusal.code, refusal.name) == ("model_gone", "test-model")
    actions.set_model(conversation, cast.alice, "other-model")
    assert ask(conversation, cast).model == "other-model"
    assert refused(lambda: actions.set_model(conversation, cast.alice, "x")).code == "model_gone"


@pytest.mark.django_db(transaction=True)
def test_of_two_messages_at_the_same_moment_one_is_taken(
    conversation: Conversation, cast: Cast
) -> None:
    def send(client_id: uuid.UUID) -> str:
        try:
            return str(start_turn(conversation, cast.alice, "At once", client_id).pk)
        except Refused as error:
            return error.code

    results = at_once(lambda: send(uuid.uuid4()), 6)
    assert sorted(results)[1:] == ["busy"] * 5
    assert conversation.turns.count() == 1
    assert conversation.messages.count() == 2


@pytest.mark.django_db(transaction=True)
def test_one_form_sent_six_times_at_once_is_one_turn(
    conversation: Conversation, cast: Cast
) -> None:
    client_id = uuid.uuid4()
    turns = at_once(lambda: start_turn(conversation, cast.alice, "Once", client_id).pk, 6)
    assert len(set(turns)) == 1
    assert conversation.messages.count() == 2


def at_once(action: Callable[[], Any], count: int) -> list[Any]:
    """Call it in so many threads at the same moment, each with its own connection."""
    together = threading.Barrier(count)

    def call(_number: int) -> Any:
        together.wait(60)
        try:
            return action()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


# Starting a conversation.


def create(cast: Cast, client_id: uuid.UUID, text: str = "Hello", **how: Any) -> Conversation:
    return actions.create_with_turn(
        cast.membership(how.pop("user", cast.alice)),
        text,
        client_id,
        model=how.pop("model", ""),
        parameters=how.pop("parameters", NOTHING),
    )


def test_a_conversation_begins_with_its_first_message(cast: Cast) -> None:
    read = parameters.read({"system_prompt": "Be kind", "temperature": "0.2", "n": "2"})
    made = create(cast, uuid.uuid4(), "Hello there", model="other-model", parameters=read)
    turn = made.turns.get()
    assert (made.owner, made.organization) == (cast.alice, cast.organization)
    assert (made.model, made.system_prompt) == ("other-model", "Be kind")
    assert made.parameters == {"temperature": 0.2, "n": 2}
    assert (turn.n, turn.replies.count(), turn.prompt.text) == (2, 2, "Hello there")


def test_the_first_model_is_the_default(cast: Cast) -> None:
    assert create(cast, uuid.uuid4()).model == "test-model"


def test_a_start_page_sent_twice_makes_one_conversation(cast: Cast) -> None:
    client_id = uuid.uuid4()
    assert create(cast, client_id) == create(cast, client_id)
    assert Conversation.objects.count() == Turn.objects.count() == 1


def test_something_new_in_an_old_start_page_is_a_new_conversation(cast: Cast) -> None:
    client_id = uuid.uuid4()
    first, second = create(cast, client_id), create(cast, client_id, "Something else")
    assert first != second
    assert second.messages.order_by("pk")[0].text == "Something else"


def test_one_form_id_of_two_people_makes_two_conversations(cast: Cast) -> None:
    client_id = uuid.uuid4()
    assert create(cast, client_id) != create(cast, client_id, user=cast.mallory)


@pytest.mark.django_db(transaction=True)
def test_a_start_page_sent_six_times_at_once_makes_one_conversation(cast: Cast) -> None:
    client_id = uuid.uuid4()
    assert len(set(at_once(lambda: create(cast, client_id).pk, 6))) == 1
    assert Conversation.objects.count() == Turn.objects.count() == 1


def test_a_refused_first_message_leaves_no_conversation(cast: Cast, settings: Any) -> None:
    assert refused(lambda: create(cast, uuid.uuid4(), "  ")).code == "empty"
    assert refused(lambda: create(cast, uuid.uuid4(), model="unknown")).code == "model_gone"
    settings.COMPLETIONS_MODELS = []
    assert refused(lambda: create(cast, uuid.uuid4())).code == "no_model"


def test_the_form_of_a_deleted_conversation_is_refused(cast: Cast) -> None:
    """Back in the browser after deleting shows the old start page, form id and all."""
    client_id = uuid.uuid4()
    made = create(cast, client_id)
    actions.delete(made, cast.alice)
    assert refused(lambda: create(cast, client_id)).code == "gone"


# Regenerate, continue, stop.


def test_regenerate_makes_a_sibling_that_is_shown(conversation: Conversation, cast: Cast) -> None:
    first_turn = ask(conversation, cast)
    [first] = answer(first_turn)
    turn = actions.regenerate(first, cast.alice)
    [second] = turn.replies.all()
    assert (second.parent, turn.prompt) == (first.parent, first_turn.prompt)
    assert leaf(conversation) == second.pk
    answer(turn, "Another")
    item = read_conversation(cast.alice, conversation.pk).items[-1]
    assert isinstance(item, MessageView)
    assert item.versions is not None
    assert (item.versions.index, item.versions.count) == (2, 2)
    assert (item.versions.previous, item.versions.next) == (first.pk, None)


def test_regenerate_with_another_model_changes_the_conversations(
    conversation: Conversation, cast: Cast
) -> None:
    [reply] = answer(ask(conversation, cast))
    assert actions.regenerate(reply, cast.alice, model="other-model").model == "other-model"
    conversation.refresh_from_db()
    assert conversation.model == "other-model"


def test_a_question_is_answered_again_by_itself(conversation: Conversation, cast: Cast) -> None:
    turn = ask(conversation, cast)
    answer(turn)
    assert actions.regenerate(turn.prompt, cast.alice).prompt == turn.prompt


def test_regenerate_and_continue_are_refused_as_sending_is(
    conversation: Conversation, cast: Cast, settings: Any
) -> None:
    [reply] = answer(ask(conversation, cast))
    actions.share(conversation, cast.bob, Access.READ)
    again: list[Callable[[Message, User], Turn]] = [actions.regenerate, actions.continue_answer]
    for action in again:
        assert refused(partial(action, reply, cast.bob)).code == "read_only"
        settings.TURNS_PER_MINUTE = 1
        assert refused(partial(action, reply, cast.alice)).code == "too_fast"
        settings.TURNS_PER_MINUTE = 0
    ask(conversation, cast, "Another")
    for action in again:
        assert refused(partial(action, reply, cast.alice)).code == "busy"


def test_continue_goes_on_in_the_same_message(conversation: Conversation, cast: Cast) -> None:
    conversation.set_parameters("", {"n": 3})
    replies = answer(ask(conversation, cast), "One", "Two", "Half an", state=TurnState.INTERRUPTED)
    assert refused(lambda: actions.continue_answer(replies[2], cast.alice)).code == "gone"
    actions.show(replies[2], cast.alice)  # of alternatives, the chosen one goes on
    turn = actions.continue_answer(replies[2], cast.alice)
    assert (turn.n, turn.continues, list(turn.replies.all())) == (1, replies[2], [replies[2]])
    assert leaf(conversation) == replies[2].pk
    replies[2].refresh_from_db()
    assert replies[2].text == "Half an"


def test_a_whole_answer_and_one_that_was_followed_cannot_be_continued(
    conversation: Conversation, cast: Cast
) -> None:
    [whole] = answer(ask(conversation, cast), "Whole")
    assert refused(lambda: actions.continue_answer(whole, cast.alice)).code == "gone"
    [cut] = answer(ask(conversation, cast), "Half an", state=TurnState.INTERRUPTED)
    answer(ask(conversation, cast), "Later")
    assert refused(lambda: actions.continue_answer(cut, cast.alice)).code == "gone"


@pytest.mark.parametrize(
    ("code", "shown"),
    [("misconfigured", ""), ("address_forbidden", ""), ("refused", "No key sk-123")],
)
def test_what_may_quote_the_providers_key_is_kept_and_not_shown(
    conversation: Conversation, cast: Cast, sign_in: Any, code: str, shown: str
) -> None:
    turn = ask(conversation, cast)
    answer(turn, "", state=TurnState.FAILED)
    Turn.objects.update(error_code=code, error_detail="No key sk-123")
    item = read_conversation(cast.alice, conversation.pk).items[-1]
    assert isinstance(item, MessageView)
    assert item.error
    assert item.error_detail == shown
    page = sign_in(cast.alice).get(f"/c/{conversation.pk}/").content.decode()
    assert ("sk-123" in page) is bool(shown)


def test_only_an_answer_with_text_can_be_continued(conversation: Conversation, cast: Cast) -> None:
    turn = ask(conversation, cast)
    [reply] = answer(turn, "", state=TurnState.FAILED)
    assert refused(lambda: actions.continue_answer(reply, cast.alice)).code == "gone"
    assert refused(lambda: actions.continue_answer(turn.prompt, cast.alice)).code == "gone"


@pytest.mark.django_db(transaction=True)
def test_of_two_regenerations_at_once_one_is_done(conversation: Conversation, cast: Cast) -> None:
    [reply] = answer(ask(conversation, cast))

    def again() -> str:
        try:
            return str(actions.regenerate(Message.objects.get(pk=reply.pk), cast.alice).pk)
        except Refused as error:
            return error.code

    assert sorted(at_once(again, 4))[1:] == ["busy"] * 3
    assert conversation.turns.count() == 2


def test_stopping_a_queued_turn_ends_it(conversation: Conversation, cast: Cast) -> None:
    turn = ask(conversation, cast)
    actions.stop(conversation, cast.alice)
    turn.refresh_from_db()
    assert (turn.state, turn.stopped_by) == (TurnState.STOPPED, cast.alice)
    assert turn.ended_at is not None
    assert ask(conversation, cast, "Next").state == TurnState.QUEUED


def test_stopping_a_running_turn_asks_its_runner(conversation: Conversation, cast: Cast) -> None:
    actions.share(conversation, cast.bob, Access.WRITE)
    turn = ask(conversation, cast)
    Turn.objects.filter(pk=turn.pk).update(state=TurnState.STREAMING)
    actions.stop(conversation, cast.bob)
    actions.stop(conversation, cast.alice)  # the first one counts
    turn.refresh_from_db()
    assert (turn.state, turn.stopped_by) == (TurnState.STREAMING, cast.bob)


def test_stop_leaves_what_has_ended_and_is_refused_to_readers(
    conversation: Conversation, cast: Cast
) -> None:
    turn = ask(conversation, cast)
    answer(turn)
    actions.stop(conversation, cast.alice)
    turn.refresh_from_db()
    assert (turn.state, turn.stopped_by) == (TurnState.COMPLETE, None)
    assert refused(lambda: actions.stop(conversation, cast.bob)).code == "read_only"


# Branches and alternatives.


def test_showing_an_older_version_shows_its_newest_branch(
    conversation: Conversation, cast: Cast
) -> None:
    [first] = answer(ask(conversation, cast))
    [below] = answer(ask(conversation, cast, "Below the first"))
    [second] = answer(actions.regenerate(first, cast.alice))
    assert leaf(conversation) == second.pk
    actions.show(Message.objects.get(pk=first.pk), cast.alice)
    assert leaf(conversation) == below.pk
    shown = [item.id for item in read_conversation(cast.alice, conversation.pk).items]
    assert shown == [first.parent_id, first.pk, below.parent_id, below.pk]


def test_alternatives_stand_side_by_side_until_one_is_chosen(
    conversation: Conversation, cast: Cast
) -> None:
    conversation.set_parameters("", {"n": 3})
    turn = ask(conversation, cast)
    replies = answer(turn, "One", "Two", "Three")
    item = read_conversation(cast.alice, conversation.pk).items[-1]
    assert isinstance(item, AlternativesView)
    assert [message.source for message in item.messages] == ["One", "Two", "Three"]
    actions.show(Message.objects.get(pk=replies[1].pk), cast.alice)
    turn.refresh_from_db()
    assert (turn.chosen, leaf(conversation)) == (replies[1], replies[1].pk)
    item = read_conversation(cast.alice, conversation.pk).items[-1]
    assert isinstance(item, MessageView)
    assert item.source == "Two"
    assert item.versions is not None
    assert (item.versions.index, item.versions.count) == (2, 3)


def test_who_goes_on_without_choosing_has_chosen_the_first(
    conversation: Conversation, cast: Cast
) -> None:
    conversation.set_parameters("", {"n": 2})
    turn = ask(conversation, cast)
    replies = answer(turn, "One", "Two")
    following = ask(conversation, cast, "Go on")
    turn.refresh_from_db()
    assert (turn.chosen, following.prompt.parent) == (replies[0], replies[0])


def test_readers_cannot_choose(conversation: Conversation, cast: Cast) -> None:
    [reply] = answer(ask(conversation, cast))
    actions.share(conversation, cast.bob, Access.READ)
    assert refused(lambda: actions.show(reply, cast.bob)).code == "read_only"


# Titles, parameters, sharing, deleting.


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("## A *heading*\n\nand more", "A *heading* and more"),
        ("one two " * 30, "one two one two one two one two one two one two one two one…"),
        ("x" * 200, "x" * 60 + "…"),
        ("Ends with a comma, " + "y" * 100, "Ends with a comma, " + "y" * 41 + "…"),
    ],
)
def test_the_title_is_made_of_the_first_words(cast: Cast, text: str, title: str) -> None:
    made = create(cast, uuid.uuid4(), text)
    made.refresh_from_db()
    assert made.title == title


def test_a_persons_title_is_one_line_and_is_kept(conversation: Conversation, cast: Cast) -> None:
    actions.rename(conversation, cast.alice, "  Mine,\nall   mine\x00 " + "!" * 200)
    conversation.refresh_from_db()
    assert conversation.title.startswith("Mine, all mine !!!")
    assert len(conversation.title) == 120
    assert not conversation.suggest_title("The model's")
    actions.rename(conversation, cast.alice, "  ")
    conversation.refresh_from_db()
    assert conversation.title.startswith("Mine, all mine")
    assert refused(lambda: actions.rename(conversation, cast.bob, "Bob's")).code == "read_only"


def test_an_automatic_title_replaces_an_automatic_one(conversation: Conversation) -> None:
    assert conversation.suggest_title("Better words")
    conversation.refresh_from_db()
    assert conversation.title == "Better words"


def test_parameters_are_kept_for_the_next_turn(conversation: Conversation, cast: Cast) -> None:
    read = parameters.read({"system_prompt": "Be brief", "max_tokens": "50", "stop": "END"})
    actions.set_parameters(conversation, cast.alice, read)
    turn = ask(conversation, cast)
    assert turn.system_prompt == "Be brief"
    assert turn.parameters == {"max_tokens": 50, "stop": ["END"]}
    assert refused(lambda: actions.set_parameters(conversation, cast.bob, read)).code == "read_only"


def test_sharing_again_changes_what_the_person_may(conversation: Conversation, cast: Cast) -> None:
    def may() -> tuple[bool, bool]:
        mine = Conversation.objects.filter(pk=conversation.pk)
        return mine.visible_to(cast.bob).exists(), mine.writable_by(cast.bob).exists()

    assert may() == (False, False)
    actions.share(conversation, cast.bob, Access.READ)
    assert may() == (True, False)
    actions.share(conversation, cast.bob, Access.WRITE)
    assert may() == (True, True)
    actions.unshare(conversation, cast.bob)
    assert may() == (False, False)


def test_a_deleted_conversation_is_gone_for_everybody_and_can_be_restored(
    conversation: Conversation, cast: Cast
) -> None:
    actions.share(conversation, cast.bob, Access.WRITE)
    turn = ask(conversation, cast)

    def seen_by() -> list[str]:
        return [user.name for user in (cast.alice, cast.bob) if visible(conversation, user)]

    assert seen_by() == ["Alice", "Bob"]
    actions.delete(conversation, cast.alice)
    turn.refresh_from_db()
    assert turn.state == TurnState.STOPPED
    assert seen_by() == []
    assert refused(lambda: ask(conversation, cast)).code == "read_only"
    assert list(Conversation.objects.owned_by(cast.alice).restorable()) == [conversation]
    assert not Conversation.objects.owned_by(cast.bob).restorable().exists()
    actions.restore(conversation)
    assert seen_by() == ["Alice", "Bob"]
    assert conversation.messages.count() == 2


def visible(conversation: Conversation, user: Any) -> bool:
    return Conversation.objects.visible_to(user).filter(pk=conversation.pk).exists()


def test_after_thirty_days_it_is_not_offered_any_more(
    conversation: Conversation, cast: Cast
) -> None:
    actions.delete(conversation, cast.alice)
    assert Conversation.objects.owned_by(cast.alice).restorable().exists()
    long_ago = timezone.now() - RESTORABLE_FOR - timedelta(minutes=1)
    Conversation.objects.update(deleted_at=long_ago)
    assert not Conversation.objects.owned_by(cast.alice).restorable().exists()


def test_inactive_people_see_nothing(conversation: Conversation, cast: Cast) -> None:
    assert visible(conversation, cast.alice)
    cast.alice.is_active = False
    assert not visible(conversation, cast.alice)
    assert not Conversation.objects.owned_by(cast.alice).exists()
    assert not Conversation.objects.writable_by(cast.alice).exists()
