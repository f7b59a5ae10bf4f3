"""End turns that have not begun, and remove the words of calls that are not to be kept."""

from collections.abc import Mapping
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from conversations import wakeups
from conversations.models import RENDERER, ApiCall, Conversation, Turn, TurnState
from organizations.models import User


def end_queued(
    turns: models.QuerySet[Turn],
    state: TurnState,
    *,
    error_code: str = "",
    stopped_by: User | None = None,
) -> int:
    """End those of `turns` that are queued; returns how many. Call in a transaction."""
    ended = 0
    for turn in turns.filter(state=TurnState.QUEUED).select_related("conversation"):
        # Again by condition: a runner may have claimed it meanwhile.
        ended += Turn.objects.filter(pk=turn.pk, state=TurnState.QUEUED).update(
            state=state, error_code=error_code, stopped_by=stopped_by, ended_at=timezone.now()
        )
        forget_unstored(turn)
        _wake(turn)
    return ended


def forget_unstored(turn: Turn) -> None:
    """Where a call is not to be kept, remove every word of it, once it has ended.

    Call in the ending's transaction.
    """
    if Turn.objects.running().filter(pk=turn.pk).exists():
        return
    if not ApiCall.objects.filter(turn=turn, stored=False).update(options={}):
        return
    conversation = turn.conversation
    conversation.messages.update(text="", html="", renderer=RENDERER, reasoning="", extras={})
    Conversation.objects.filter(pk=conversation.pk).update(
        title="", system_prompt="", parameters=_without_words(conversation.parameters)
    )
    Turn.objects.filter(pk=turn.pk).update(
        error_detail="", system_prompt="", parameters=_without_words(turn.parameters)
    )


def _without_words(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != "stop"}


def _wake(turn: Turn) -> None:
    transaction.on_commit(lambda: wakeups.wake(wakeups.conversation_topic(turn.conversation_id)))
