"""Read a conversation as one person sees it now: values only, ready for the templates."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.utils.html import escape
from django.utils.translation import gettext as _

from conversations.blocks import render
from conversations.log import logged
from conversations.models import (
    RENDERER,
    ApiCall,
    Conversation,
    Message,
    Role,
    Source,
    Turn,
    TurnState,
)
from conversations.providers import OfferedModel, model_label, offered_models
from conversations.transcript import ToolCallView, call_names, is_long, tool_calls
from conversations.tree import Tree
from conversations.wording import Words, failure
from organizations.models import User

# A program may send a megabyte as an answer of the model's, and rendering that takes seconds.
MOST_RENDERED = 60_000
# Errors of which the provider's own words may quote its key or account, as in the API. Admins see
# them where they test the provider.
UNTOLD = ("misconfigured", "address_forbidden")


@dataclass(frozen=True, slots=True)
class Versions:
    """‹ 2/3 ›: this message among its siblings; the neighbours are message ids."""

    index: int
    count: int
    previous: int | None
    next: int | None


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message as it is shown. `state` is a turn's, or "waiting" before the first word."""

    id: int
    role: str
    state: str = "complete"
    author_name: str = ""
    source: str = ""
    html: str = ""
    reasoning: str = ""
    thought_seconds: float | None = None
    tool_calls: tuple[ToolCallView, ...] = ()
    answers: str = ""  # a tool's message: the function whose result it is
    is_long: bool = False
    running: bool = False
    turn_id: int | None = None
    model_label: str = ""
    first_token_seconds: float | None = None
    versions: Versions | None = None
    stopped_by: str = ""
    error: Words | None = None
    error_detail: str = ""
    truncated: bool = False
    left_out: int = 0
    info: tuple[tuple[str, str], ...] = ()
    may_regenerate: bool = False
    may_continue: bool = False
    may_choose: bool = False

    @property
    def dom_id(self) -> str:
        return f"message-{self.id}"


@dataclass(frozen=True, slots=True)
class AlternativesView:
    """The replies of a turn with n > 1 of which none is chosen yet."""

    id: int
    messages: tuple[MessageView, ...]

    @property
    def dom_id(self) -> str:
        return f"turn-{self.id}"


Item = MessageView | AlternativesView


@dataclass(frozen=True, slots=True)
class ConversationView:
    """All that the conversation's page shows, but the composer."""

    id: uuid.UUID
    title: str
    model: str
    is_owner: bool
    may_write: bool
    shared: bool
    owner_name: str
    running_turn: int | None
    last_state: str
    items: tuple[Item, ...] = field(default=())
    models: tuple[OfferedModel, ...] = ()  # what its reader may choose
    source: str = Source.PAGE
    token_name: str = ""  # a call's
    is_kept: bool = True  # False: a call whose texts are not
    system_prompt: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


def read_conversation(user: User | AnonymousUser, conversation_id: uuid.UUID) -> ConversationView:
    """Raises Conversation.DoesNotExist where the person may not see it (any more)."""
    view = _read(user, conversation_id)
    # An answer that ended between the reading of its turn and of its log, which is then empty,
    # would be shown without its text.
    if view.running_turn and not Turn.objects.running().filter(pk=view.running_turn).exists():
        view = _read(user, conversation_id)
    return view


def _read(user: User | AnonymousUser, conversation_id: uuid.UUID) -> ConversationView:
    conversation = (
        Conversation.objects.visible_to(user).select_related("owner").get(pk=conversation_id)
    )
    may_write = Conversation.objects.writable_by(user).filter(pk=conversation.pk).exists()
    participants = conversation.participants.exists()
    tree = Tree(conversation.messages.order_by("pk").values_list("pk", "parent_id"))
    path = tree.path(conversation.leaf_id)
    messages = _load(conversation, path)
    # Who wrote what is said wherever it is not all from the one who reads.
    shared = participants or any(m.author_id not in (None, user.pk) for m in messages)
    running = next((m.turn for m in messages if m.turn and m.turn.is_running), None)
    functions = call_names(message.extras for message in messages)
    items = [
        # What may be done is the same while an answer runs (the page hides it, the action refuses
        # it): else every message would change, and be sent again, with each start and end.
        _item(message, tree, messages[-1], may_write, shared, functions)
        for message in messages
    ]
    last_turn = messages[-1].turn if messages else None
    call = None
    if conversation.source == Source.API:
        call = ApiCall.objects.filter(turn__conversation=conversation).first()
    return ConversationView(
        id=conversation.pk,
        title=conversation.title,
        model=conversation.model,
        is_owner=conversation.owner_id == user.pk,
        may_write=may_write,
        shared=participants,
        owner_name=str(conversation.owner),
        running_turn=running.pk if running else None,
        last_state=last_turn.state if last_turn else "",
        items=tuple(items),
        models=_models(user, conversation),
        source=conversation.source,
        token_name=call.token_name if call else "",
        is_kept=call.stored if call else True,
        system_prompt=conversation.system_prompt,
        parameters=conversation.parameters,
    )


def _models(reader: User | AnonymousUser, conversation: Conversation) -> tuple[OfferedModel, ...]:
    if not reader.is_authenticated:
        return ()
    return offered_models(reader, conversation.organization_id)


def _load(conversation: Conversation, path: Sequence[int]) -> list[Message]:
    found = conversation.messages.select_related("author", "turn", "turn__stopped_by").in_bulk(
        list(path)
    )
    return [found[pk] for pk in path]


def _item(
    message: Message,
    tree: Tree,
    last: Message,
    may_act: bool,
    shared: bool,
    functions: Mapping[str, str],
) -> Item:
    turn = message.turn
    # Alternatives stand at the end: who goes on has chosen.
    if turn and turn.n > 1 and turn.chosen_id is None and message == last:
        replies = list(
            turn.replies.select_related("turn", "turn__stopped_by", "conversation").order_by("pk")
        )
        arrived = _arrived(replies)
        return AlternativesView(
            id=turn.pk,
            messages=tuple(
                replace(
                    _reply(reply, *arrived[reply.pk], may_act=False, is_last=False),
                    may_choose=may_act,
                )
                for reply in replies
            ),
        )
    if message.role != Role.ASSISTANT:
        return _said(message, tree, may_act, shared, functions)
    text, reasoning = _arrived([message])[message.pk]
    view = _reply(message, text, reasoning, may_act=may_act, is_last=message == last)
    return view if view.running else replace(view, versions=_versions(tree, message.pk, may_act))


def _said(
    message: Message, tree: Tree, may_act: bool, shared: bool, functions: Mapping[str, str]
) -> MessageView:
    """What a person or a program said to the model, or a tool answered."""
    recorded = message.conversation.source == Source.API
    name = message.extras.get("name", "")
    return MessageView(
        id=message.pk,
        role=message.role,
        author_name=(name or _("User")) if recorded else _author(message, shared),
        source=message.text,
        answers=functions.get(message.extras.get("tool_call_id", ""), name),
        is_long=recorded and is_long(message.text),
        versions=_versions(tree, message.pk, may_act),
    )


def _arrived(messages: Sequence[Message]) -> dict[int, tuple[str, str]]:
    """Text and reasoning by message, with what is in the log of those that are being written."""
    stored = {message.pk: (message.text, message.reasoning) for message in messages}
    running = [message for message in messages if message.turn and message.turn.is_running]
    return {**stored, **(logged(running) if running else {})}


def _reply(
    message: Message, text: str, reasoning: str, *, may_act: bool, is_last: bool
) -> MessageView:
    turn = message.turn
    if turn is None:
        return MessageView(
            message.pk,
            message.role,
            source=text,
            html=_html(message, text),
            tool_calls=tool_calls(message.extras),
        )
    state: str = turn.state
    if turn.is_running:
        state = "streaming" if text or reasoning.strip() else "waiting"
    label = model_label(message.conversation.organization_id, turn.model)
    words = _error(turn, label)
    can_go_on = state in (TurnState.STOPPED, TurnState.FAILED, TurnState.INTERRUPTED)
    truncated = state == TurnState.COMPLETE and message.finish_reason == "length"
    return MessageView(
        id=message.pk,
        role=message.role,
        state=state,
        source=text,
        html="" if turn.is_running else _html(message, text),
        # While it grows its end is not known, and what is appended must fit.
        reasoning=reasoning.lstrip() if turn.is_running else reasoning.strip(),
        thought_seconds=message.extras.get("thought_seconds"),
        tool_calls=tool_calls(message.extras),
        running=turn.is_running,
        turn_id=turn.pk,
        model_label=label,
        first_token_seconds=_seconds(turn),
        stopped_by=_stopped_by(turn),
        error=words,
        error_detail=turn.error_detail if words and turn.error_code not in UNTOLD else "",
        truncated=truncated,
        left_out=turn.left_out,
        info=_info(turn, message),
        may_regenerate=may_act,
        may_continue=may_act and is_last and bool(text) and (can_go_on or truncated),
    )


def _html(message: Message, text: str) -> str:
    """Its rendering; one that is missing or old is made, and stored for the next reader."""
    if message.renderer == RENDERER:
        return message.html
    if len(text) > MOST_RENDERED:
        return f"<p>{escape(text)}</p>"
    html = render(text)
    Message.objects.filter(pk=message.pk, text=text).update(html=html, renderer=RENDERER)
    return html


def _stopped_by(turn: Turn) -> str:
    if turn.state != TurnState.STOPPED:
        return ""
    if turn.error_code == "abandoned":
        return _("its program, which went away")
    return str(turn.stopped_by) if turn.stopped_by else ""


def _error(turn: Turn, model: str) -> Words | None:
    if turn.state in (TurnState.FAILED, TurnState.INTERRUPTED):
        return failure(turn.error_code, model=model)
    return None


def _seconds(turn: Turn) -> float | None:
    if turn.first_token_at is None or turn.started_at is None:
        return None
    return max(0.0, (turn.first_token_at - turn.started_at).total_seconds())


def _author(message: Message, shared: bool) -> str:
    if not shared:
        return _("You")
    return str(message.author) if message.author else _("Somebody who left")


def _versions(tree: Tree, message_id: int, may_act: bool) -> Versions | None:
    siblings = tree.siblings(message_id)
    if len(siblings) < 2:
        return None
    index = siblings.index(message_id)
    return Versions(
        index=index + 1,
        count=len(siblings),
        previous=siblings[index - 1] if may_act and index else None,
        next=siblings[index + 1] if may_act and index + 1 < len(siblings) else None,
    )


def _info(turn: Turn, message: Message) -> tuple[tuple[str, str], ...]:
    rows = [(_("Model"), turn.model), (_("Provider"), turn.provider)]
    rows += [(name.replace("_", " ").capitalize(), _value(value)) for name, value in _set(turn)]
    if turn.prompt_tokens is not None:
        rows.append((_("Prompt tokens"), f"{turn.prompt_tokens:,}"))
    if turn.completion_tokens is not None:
        rows.append((_("Answer tokens"), f"{turn.completion_tokens:,}"))
    if (seconds := _seconds(turn)) is not None:
        rows.append((_("First word after"), f"{seconds:.1f} s"))
    if turn.ended_at and turn.started_at:
        duration = (turn.ended_at - turn.started_at).total_seconds()
        rows.append((_("Duration"), f"{duration:.1f} s"))
    if message.finish_reason:
        rows.append((_("Finish reason"), message.finish_reason))
    return tuple((label, value) for label, value in rows if value)


def _set(turn: Turn) -> list[tuple[str, object]]:
    parameters: Mapping[str, object] = turn.parameters
    return [(name, value) for name, value in sorted(parameters.items()) if value is not None]


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
