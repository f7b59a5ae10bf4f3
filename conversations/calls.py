"""Calls of programs: each is a turn of its own, in a conversation that is its record.

Every function is one short transaction, as in `actions`; what has to wake up is woken after it.
"""

import hashlib
import uuid

from django.db import IntegrityError, transaction
from django.utils import timezone

from completions.apierrors import ApiError, api_error_of_code
from completions.parsing import ServedRequest
from completions.types import ChatMessage, CompletionRequest
from conversations import wakeups
from conversations.actions import title_words
from conversations.models import (
    WAITING,
    ApiCall,
    Conversation,
    Message,
    Role,
    Source,
    Turn,
    TurnState,
)
from conversations.providers import OfferedModel, find_usable
from conversations.queue import end_queued
from conversations.transcript import stored_calls
from organizations.models import AccessToken

ENDED_BADLY = (TurnState.FAILED, TurnState.INTERRUPTED, TurnState.STOPPED)
ABANDONED = "abandoned"
PARAMETERS = ("temperature", "top_p", "max_tokens", "stop")


def start_call(
    call_id: uuid.UUID,
    token: AccessToken,
    asked: ServedRequest,
    *,
    owner: str,
    key: str | None = None,
    body: bytes = b"",
) -> ApiCall:
    """Store the call and queue its turn; with a key that was used before, find the first one.

    owner is the runner of the process in which the program waits. A first one that has failed, or
    of which no text is there any more, is no answer: it is asked anew.
    Raises ApiError: 404 (the model), 422 (the key came with another body).
    """
    digest = hashlib.sha256(body).hexdigest() if key else ""
    if key and (earlier := _earlier(token, key, digest)):
        return earlier
    model = find_usable(token.user, token.organization_id, asked.request.model)
    if model is None:
        raise api_error_of_code("model_gone", model=asked.request.model)
    title = title_words(_question(asked.request.messages))
    made = ApiCall(id=call_id, token=token, token_name=token.name, key=key, body_digest=digest)
    try:
        with transaction.atomic():
            return _store(made, title, asked, model, owner)
    except IntegrityError:
        # The same key at the same moment: the database let one of them through.
        if key and (earlier := _earlier(token, key, digest)):
            return earlier
        raise


def find_call(token: AccessToken, call_id: uuid.UUID) -> ApiCall:
    """A call of the token's owner. Raises ApiCall.DoesNotExist."""
    calls = ApiCall.objects.select_related("turn", "turn__conversation")
    return calls.get(
        pk=call_id,
        turn__conversation__owner=token.user_id,
        turn__conversation__organization=token.organization_id,
        turn__conversation__deleted_at=None,
    )


def asked_of(call: ApiCall, *, stream: bool) -> ServedRequest:
    """What was asked for, read from its record; the answer to be given as the reader wants it."""
    messages = Message.objects.filter(conversation=call.turn.conversation_id)
    prompt = messages.exclude(turn=call.turn).order_by("pk").values_list("role", "text")
    request = CompletionRequest(
        model=call.turn.model,
        messages=tuple(ChatMessage(role, text) for role, text in prompt),
        n=call.turn.n,
    )
    return ServedRequest(request, stream=stream, include_usage=False, store=call.stored)


def abandon(call: ApiCall) -> None:
    """Its program has gone away: end the turn, so that nobody pays for what nobody reads."""
    with transaction.atomic():
        running = Turn.objects.running().filter(pk=call.turn_id)
        ended = end_queued(running, TurnState.STOPPED, error_code=ABANDONED)
        if ended or running.update(stopped_by=call.turn.author_id):
            ApiCall.objects.filter(pk=call.pk).update(abandoned=True)
        transaction.on_commit(lambda: wakeups.wake(wakeups.RUNNER))


def abandon_unless_allowed(call: ApiCall) -> None:
    """End the turn if the token that made the call could not make it any more."""
    if not call.is_allowed():
        abandon(call)


def refuse_queued(owner: str) -> int:
    """This process ends: nobody will wait in it for what is still queued. Returns how many."""
    with transaction.atomic():
        queued = Turn.objects.of_programs().filter(lease_owner=owner)
        return end_queued(queued, TurnState.INTERRUPTED, error_code="server_stopped")


def keep_waiting(call: ApiCall) -> None:
    """Say that somebody still waits for the call, should it be queued."""
    Turn.objects.wait(call.turn_id)


def abandon_left_behind() -> int:
    """End queued calls that nobody waits for; returns how many."""
    found = ApiCall.objects.filter(turn__in=Turn.objects.left_behind()).select_related("turn")
    for call in found:
        abandon(call)
    return len(found)


def _earlier(token: AccessToken, key: str, digest: str) -> ApiCall | None:
    """The call with this key, if its answer still counts."""
    calls = ApiCall.objects.select_related("turn", "turn__conversation")
    earlier = calls.filter(token=token, key=key).first()
    if earlier is None:
        return None
    if earlier.body_digest != digest:
        raise ApiError(
            422,
            "This Idempotency-Key was used before, with another body.",
            code="idempotency_mismatch",
        )
    is_deleted = earlier.turn.conversation.deleted_at is not None
    is_there = not is_deleted and (earlier.stored or earlier.turn.is_running)
    if earlier.turn.state in ENDED_BADLY or not is_there:
        ApiCall.objects.filter(pk=earlier.pk).update(key=None)
        return None
    return earlier


def _store(
    call: ApiCall, title: str, asked: ServedRequest, model: OfferedModel, owner: str
) -> ApiCall:
    request, token = asked.request, call.token
    assert token is not None  # noqa: S101 (it was made with one)
    conversation = Conversation.objects.create(
        id=call.id,
        organization=token.organization,
        owner=token.user,
        source=Source.API,
        title=title,
        model=model.id,
    )
    prompt = Message.objects.create_chain(
        conversation,
        [
            Message(
                role=message.role,
                author=token.user if message.role == Role.USER else None,
                text=message.content,
                extras=_extras(message),
            )
            for message in request.messages
        ],
    )
    call.turn = Turn.objects.create(
        conversation=conversation,
        client_id=call.id,
        author=token.user,
        prompt=prompt,
        model=model.id,
        provider=model.provider,
        prompt_price=model.prompt_price,
        completion_price=model.completion_price,
        lease_owner=owner,
        lease_until=timezone.now() + WAITING,
        parameters={
            name: value
            for name in PARAMETERS
            if (value := getattr(request, name)) not in (None, ())
        },
        n=request.n,
    )
    replies = Message.objects.bulk_create(
        Message(conversation=conversation, parent=prompt, role=Role.ASSISTANT, turn=call.turn)
        for _ in range(request.n)
    )
    Conversation.objects.filter(pk=call.id).update(leaf=replies[0])
    call.options = dict(request.options)
    call.streamed = asked.stream
    call.stored = asked.store or not token.organization.allows_unstored_calls
    call.save(force_insert=True)
    transaction.on_commit(lambda: wakeups.wake(wakeups.RUNNER))
    return call


def _extras(message: ChatMessage) -> dict[str, object]:
    extras: dict[str, object] = {}
    if message.tool_calls:
        extras["tool_calls"] = stored_calls(message.tool_calls)
    if message.tool_call_id:
        extras["tool_call_id"] = message.tool_call_id
    if message.name:
        extras["name"] = message.name
    return extras


def _question(messages: tuple[ChatMessage, ...]) -> str:
    """What the call is about: the last thing said by a user, else the last thing said."""
    said = [message.content for message in messages if message.role == Role.USER]
    return (said or [messages[-1].content])[-1]
