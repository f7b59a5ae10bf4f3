"""What people do to conversations: start, regenerate, continue, stop, choose, share, delete.

Every way in (page, socket) calls these. Each is one short transaction; those that write in a
conversation check the person's rights again in it, those of its owner (share, unshare, restore)
are called with a conversation that `owned_by` has found. What has to wake up is woken after the
commit.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from conversations import wakeups
from conversations.cleaning import TooLong, clean_limited, clean_line
from conversations.models import Conversation, Message, Role, Turn, TurnState
from conversations.models.conversation import TITLE_LENGTH
from conversations.parameters import Parameters
from conversations.providers import OfferedModel, find_usable, offered_models
from conversations.queue import end_queued
from conversations.tree import Tree
from organizations.models import Membership, User

MESSAGE_LENGTH = 32_000
TITLE_WORDS_LENGTH = 60


@dataclass(slots=True)
class Refused(Exception):
    """An action that cannot be done now; nothing was changed. `wording.py` has the words."""

    code: str
    seconds: int = 0  # too_fast: until it can be tried again
    name: str = ""  # the model, where it is about one


def create_with_turn(
    membership: Membership, text: str, client_id: uuid.UUID, *, model: str, parameters: Parameters
) -> Conversation:
    """Make a conversation with its first message; a repeated client_id finds the first one.

    Raises Refused: empty, too_long, too_fast, no_model, model_gone, gone.
    """
    text = _checked(text)
    # Made from the form's id: of two clicks on the start page, the second finds the first's.
    author = membership.user
    conversation_id = uuid.uuid5(client_id, f"{author.pk}")
    if _is_other_text(conversation_id, client_id, text):
        client_id = uuid.uuid4()  # the browser's Back, and something new typed into the old form
        conversation_id = uuid.uuid5(client_id, f"{author.pk}")
    if earlier := Conversation.objects.visible_to(author).filter(pk=conversation_id).first():
        return earlier
    try:
        with transaction.atomic():
            organization = membership.organization
            conversation = Conversation.objects.create(
                id=conversation_id,
                organization=organization,
                owner=author,
                model=_offered(author, organization.pk, model).id,
                system_prompt=parameters.system_prompt,
                parameters=parameters.values,
            )
            start_turn(conversation, author, text, client_id)
    except IntegrityError as error:
        if earlier := Conversation.objects.visible_to(author).filter(pk=conversation_id).first():
            return earlier
        # Deleted meanwhile, and the old start page was sent again.
        raise Refused("gone") from error
    return conversation


def _is_other_text(conversation_id: uuid.UUID, client_id: uuid.UUID, text: str) -> bool:
    turns = Turn.objects.filter(conversation=conversation_id, client_id=client_id)
    return turns.exclude(prompt__text=text).exists()


def _checked(text: str) -> str:
    """The message as it is stored. Raises Refused: empty, too_long."""
    try:
        text = clean_limited(text, MESSAGE_LENGTH)
    except TooLong:
        raise Refused("too_long") from None
    if not text:
        raise Refused("empty")
    return text


def start_turn(conversation: Conversation, author: User, text: str, client_id: uuid.UUID) -> Turn:
    """Store the person's message and the turn that answers it; a repeated client_id is one turn.

    Raises Refused: empty, too_long, read_only, busy, too_fast, model_gone.
    """
    text = _checked(text)
    try:
        with transaction.atomic():
            conversation = _lock(conversation, author)
            if earlier := _turn_of_form(conversation, client_id):
                if earlier.prompt.text == text:
                    return earlier
                client_id = uuid.uuid4()  # an old form with something new in it
            _check_free(conversation, author)
            prompt = Message.objects.create(
                conversation=conversation,
                parent_id=conversation.leaf_id,
                role=Role.USER,
                author=author,
                text=text,
            )
            if not conversation.title:
                conversation.suggest_title(title_words(text))
            _settle_alternatives(conversation)
            return _queue(conversation, author, prompt, client_id)
    except IntegrityError as error:
        # Two processes at the same moment: the database let one of them through.
        if earlier := _turn_of_form(conversation, client_id):
            return earlier
        raise Refused("busy") from error


def regenerate(message: Message, author: User, *, model: str = "") -> Turn:
    """Answer the same prompt again, as a sibling. Raises Refused as `start_turn` does."""
    with _refuse_second(), transaction.atomic():
        conversation = _lock(message.conversation, author)
        _check_free(conversation, author)
        prompt = message if message.role == Role.USER else message.parent
        if prompt is None:
            raise Refused("gone")
        if model:
            conversation.set_model(_offered(author, conversation.organization_id, model).id)
        return _queue(conversation, author, prompt, uuid.uuid4())


def continue_answer(message: Message, author: User) -> Turn:
    """Go on from the exact cut, in the same message. Raises Refused as `start_turn` does."""
    with _refuse_second(), transaction.atomic():
        conversation = _lock(message.conversation, author)
        _check_free(conversation, author)
        message.refresh_from_db()
        if message.parent is None or not _is_cut(conversation, message):
            raise Refused("gone")
        return _queue(conversation, author, message.parent, uuid.uuid4(), continues=message)


def stop(conversation: Conversation, user: User) -> None:
    """End the running turn, if there is one; its text stays. Raises Refused: read_only."""
    with transaction.atomic():
        _stop(_lock(conversation, user), user)


def show(message: Message, user: User) -> None:
    """Show the branch through this message; of alternatives, choose it.

    Raises Refused: read_only, busy (an answer is being written in another branch).
    """
    with transaction.atomic():
        conversation = _lock(message.conversation, user)
        turn = message.turn
        running = Turn.objects.running().filter(conversation=conversation).first()
        if running and running != turn:
            raise Refused("busy")
        if turn and turn.n > 1 and turn.chosen_id != message.pk:
            turn.choose(message)
        tree = Tree(conversation.messages.order_by("pk").values_list("pk", "parent_id"))
        leaf = tree.newest_leaf(message.pk)
        conversation.show(conversation.messages.get(pk=leaf))
        _wake(conversation)


def rename(conversation: Conversation, user: User, title: str) -> None:
    """Raises Refused: read_only."""
    title = clean_line(title, TITLE_LENGTH)
    with transaction.atomic():
        conversation = _lock(conversation, user)
        if title:
            conversation.rename(title)
        _wake(conversation)


def set_model(conversation: Conversation, user: User, model: str) -> None:
    """Raises Refused: read_only, model_gone."""
    with transaction.atomic():
        conversation = _lock(conversation, user)
        conversation.set_model(_offered(user, conversation.organization_id, model).id)
        _wake(conversation)


def set_parameters(conversation: Conversation, user: User, parameters: Parameters) -> None:
    """Raises Refused: read_only."""
    with transaction.atomic():
        conversation = _lock(conversation, user)
        conversation.set_parameters(parameters.system_prompt, parameters.values)
        _wake(conversation)


def share(conversation: Conversation, member: User, access: str) -> None:
    """Open the conversation to a member of its organization; again: change what they may."""
    with transaction.atomic():
        conversation.participants.update_or_create(user=member, defaults={"access": access})
        _wake(conversation)


def unshare(conversation: Conversation, member: User) -> None:
    with transaction.atomic():
        conversation.participants.filter(user=member).delete()
        _wake(conversation)


def fork(conversation: Conversation, user: User) -> Conversation:
    """Copy the shown branch into a new conversation of the person's own.

    Of a program's call, what its system and developer messages say becomes the system prompt, and
    what tools answered is left out: nobody at the page can call them. Raises Refused: busy.
    """
    if Turn.objects.running().filter(conversation=conversation).exists():
        raise Refused("busy")
    tree = Tree(conversation.messages.order_by("pk").values_list("pk", "parent_id"))
    rows = conversation.messages.in_bulk(list(tree.path(conversation.leaf_id)))
    path = [rows[pk] for pk in sorted(rows)]
    said = [m for m in path if m.role in (Role.USER, Role.ASSISTANT) and m.text]
    told = [m.text for m in path if m.role in (Role.SYSTEM, Role.DEVELOPER)]
    with transaction.atomic():
        copy = Conversation.objects.create(
            organization=conversation.organization,
            owner=user,
            title=conversation.title,
            title_is_own=conversation.title_is_own,
            model=conversation.model,
            system_prompt=conversation.system_prompt or "\n\n".join(told),
            parameters=conversation.parameters,
        )
        if said:
            copy.leaf = Message.objects.create_chain(copy, [_copied(each, user) for each in said])
            copy.save(update_fields=["leaf"])
    return copy


def _copied(message: Message, user: User) -> Message:
    return Message(
        role=message.role,
        author=user if message.role == Role.USER else None,
        text=message.text,
        html=message.html,
        renderer=message.renderer,
        reasoning=message.reasoning,
        finish_reason=message.finish_reason,
    )


def delete(conversation: Conversation, owner: User) -> None:
    """Hide it from everybody for 30 days; a running answer is stopped."""
    with transaction.atomic():
        _stop(conversation, owner)  # also a program's call, in which nobody writes
        conversation.delete_for_now()
        _wake(conversation)


def restore(conversation: Conversation) -> None:
    with transaction.atomic():
        conversation.restore()
        _wake(conversation)


def title_words(text: str) -> str:
    """A title made of the message's first words, cut at a word's end where there is one."""
    line = clean_line(text.lstrip("#>*-` \n"), 400)
    if len(line) <= TITLE_WORDS_LENGTH:
        return line
    cut = line[:TITLE_WORDS_LENGTH]
    head = cut.rsplit(" ", 1)[0] if " " in cut[20:] else cut
    return head.rstrip(" ,.;:") + "…"


def _is_cut(conversation: Conversation, message: Message) -> bool:
    """Whether it is the branch's end, was cut, and has something to go on from."""
    turn = message.turn
    if turn is None or not message.text or message.pk != conversation.leaf_id:
        return False
    undecided = turn.n > 1 and turn.chosen_id != message.pk
    cut = turn.state != TurnState.COMPLETE or message.finish_reason == "length"
    return cut and not undecided


class _refuse_second:
    """Two clicks at the same moment in two processes: the second one finds it busy."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, IntegrityError):
            raise Refused("busy") from error


def _stop(conversation: Conversation, user: User) -> None:
    running = Turn.objects.running().filter(conversation=conversation, stopped_by=None)
    end_queued(running, TurnState.STOPPED, stopped_by=user)
    running.update(stopped_by=user)
    _wake(conversation, runner=True)


def _lock(conversation: Conversation, user: User) -> Conversation:
    """The row as it is now, locked, if the person may write in it."""
    mine = Conversation.objects.writable_by(user).filter(pk=conversation.pk)
    locked = mine.select_for_update(of=("self",)).first()
    if locked is None:
        raise Refused("read_only")
    return locked


def _turn_of_form(conversation: Conversation, client_id: uuid.UUID) -> Turn | None:
    return conversation.turns.filter(client_id=client_id).first()


def _check_free(conversation: Conversation, author: User) -> None:
    if Turn.objects.running().filter(conversation=conversation).exists():
        raise Refused("busy")
    limit = settings.TURNS_PER_MINUTE
    if not limit:
        return
    since = timezone.now() - timedelta(minutes=1)
    recent = Turn.objects.filter(author=author, created_at__gt=since).order_by("-created_at")
    recent = recent.filter(call=None)  # programs have limits of their own
    times = list(recent.values_list("created_at", flat=True)[:limit])
    if len(times) == limit:
        raise Refused("too_fast", seconds=int((times[-1] - since).total_seconds()) + 1)


def _settle_alternatives(conversation: Conversation) -> None:
    """Who goes on without choosing has chosen the shown one."""
    leaf = conversation.leaf
    if leaf and leaf.turn and leaf.turn.n > 1 and leaf.turn.chosen_id is None:
        leaf.turn.choose(leaf)


def _queue(
    conversation: Conversation,
    author: User,
    prompt: Message,
    client_id: uuid.UUID,
    *,
    continues: Message | None = None,
) -> Turn:
    model = _offered(author, conversation.organization_id, conversation.model)
    turn = Turn.objects.create(
        conversation=conversation,
        client_id=client_id,
        author=author,
        prompt=prompt,
        continues=continues,
        model=model.id,
        provider=model.provider,
        prompt_price=model.prompt_price,
        completion_price=model.completion_price,
        system_prompt=conversation.system_prompt,
        parameters=conversation.parameters,
        n=1 if continues else conversation.parameters.get("n", 1),
    )
    if continues:
        replies = [continues]
        Message.objects.filter(pk=continues.pk).update(turn=turn)
    else:
        replies = [
            Message.objects.create(
                conversation=conversation, parent=prompt, role=Role.ASSISTANT, turn=turn
            )
            for _ in range(turn.n)
        ]
    conversation.show(replies[0])
    _wake(conversation, runner=True)
    return turn


def _offered(author: User, organization_id: uuid.UUID, model_id: str) -> OfferedModel:
    """The model, if the author may use it; "" is the default one."""
    if not model_id:
        models = offered_models(author, organization_id)
        if not models:
            raise Refused("no_model")
        return models[0]
    model = find_usable(author, organization_id, model_id)
    if model is None:
        raise Refused("model_gone", name=model_id)
    return model


def _wake(conversation: Conversation, *, runner: bool = False) -> None:
    transaction.on_commit(lambda: wakeups.wake(wakeups.conversation_topic(conversation.pk)))
    if runner:
        transaction.on_commit(lambda: wakeups.wake(wakeups.RUNNER))
