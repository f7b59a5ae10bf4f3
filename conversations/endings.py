"""Store how a turn ended: texts, usage and state in one transaction, and the log's rows gone."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from conversations import wakeups
from conversations.blocks import render
from conversations.database import UNAVAILABLE
from conversations.live import Ending
from conversations.log import logged
from conversations.models import RENDERER, LogEntry, Message, Turn, TurnState
from conversations.queue import forget_unstored

MOST_TOKENS = 2**31 - 1

__all__ = ["Ending", "Written", "end_turn", "reap_orphans"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Written:
    """What a reply is in the end. `extras` are added to what is in the message's row."""

    text: str
    html: str
    reasoning: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)


def end_turn(turn: Turn, owner: str, ending: Ending, written: Mapping[int, Written]) -> bool:
    """Store the ending, if the turn is still this runner's; `written` is by message.

    Returns False, with nothing written, where somebody else has ended it meanwhile.
    """
    if _store(Turn.objects.held_by(owner).filter(pk=turn.pk), turn, ending, written):
        return True
    # Where a connection broke in COMMIT, the first try may have done it.
    same = Turn.objects.filter(state=ending.state, error_code=ending.error_code[:40])
    return same.filter(pk=turn.pk, lease_owner=owner).exists()


def reap_orphans(running: Collection[int] = ()) -> int:
    """Mark what dead runners left as interrupted, with the log's text; returns how many.

    `running` are the turns of this process, which are not dead however late it looked at them.
    """
    count = 0
    for turn in Turn.objects.orphaned().exclude(pk__in=running):
        try:
            count += _reap(turn)
        except UNAVAILABLE:
            raise
        except Exception:  # one that can't be marked must not keep the others from it
            logger.exception("turn %d not marked as interrupted", turn.pk)
    return count


def _reap(turn: Turn) -> bool:
    ending = Ending(TurnState.INTERRUPTED, error_code="server_killed")
    # Rendered before the transaction, which keeps others from writing; nobody writes these now.
    written = {
        pk: Written(text, render(text), reasoning)
        for pk, (text, reasoning) in logged(turn.replies.all()).items()
    }
    # Claimed by condition: of several reapers one wins, and a lease renewed meanwhile holds.
    orphan = Turn.objects.orphaned().filter(pk=turn.pk, lease_owner=turn.lease_owner)
    return _store(orphan, turn, ending, written)


def _store(
    turns: models.QuerySet[Turn], turn: Turn, ending: Ending, written: Mapping[int, Written]
) -> bool:
    """Store it all, if `turns` still has the turn; else False, with nothing written."""
    with transaction.atomic():
        if not _finish(turns, ending):
            return False
        for message_id, reply in written.items():
            Message.objects.filter(pk=message_id).update(
                text=reply.text,
                html=reply.html,
                renderer=RENDERER,
                reasoning=reply.reasoning,
                finish_reason=ending.finish_reasons.get(message_id, "")[:40],
            )
            if reply.extras:
                _add_extras(message_id, reply.extras)
        forget_unstored(turn)
        _clear(turn)
    return True


def _add_extras(message_id: int, extras: Mapping[str, Any]) -> None:
    message = Message.objects.only("extras").get(pk=message_id)
    message.extras = {**message.extras, **extras}
    message.save(update_fields=["extras"])


def _finish(turns: models.QuerySet[Turn], ending: Ending) -> int:
    return turns.update(
        state=ending.state,
        error_code=ending.error_code[:40],
        error_detail=ending.error_detail[:500],
        prompt_tokens=_bounded(ending.prompt_tokens),
        completion_tokens=_bounded(ending.completion_tokens),
        first_token_at=ending.first_token_at,
        ended_at=timezone.now(),
        lease_until=None,
    )


def _clear(turn: Turn) -> None:
    LogEntry.objects.filter(message__turn=turn).delete()
    transaction.on_commit(lambda: wakeups.wake(wakeups.conversation_topic(turn.conversation_id)))


def _bounded(tokens: int | None) -> int | None:
    return None if tokens is None else min(max(tokens, 0), MOST_TOKENS)
