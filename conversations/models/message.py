"""One entry of a conversation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import connection, models
from django.utils import timezone

from conversations.models.conversation import Conversation

# Raise it when `blocks.render` gives other HTML: stored renderings are then made anew when read.
RENDERER = 1


# One statement for all: as a CASE of each message's parent it took 0.25 ms a message.
CHAIN = """
    UPDATE {table} SET parent_id = chain.previous
    FROM (
        SELECT id, LAG(id) OVER (ORDER BY id) AS previous
        FROM {table} WHERE conversation_id = %s
    ) AS chain
    WHERE {table}.id = chain.id
"""


class Role(models.TextChoices):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    # Only programs send these.
    DEVELOPER = "developer"
    TOOL = "tool"


class MessageQuerySet(models.QuerySet["Message"]):
    def create_chain(self, conversation: Conversation, messages: Sequence["Message"]) -> "Message":
        """Store them as the first of a new conversation, each the parent of the next.

        There is at least one; returns the last. To be called within a transaction.
        """
        for message in messages:
            message.conversation = conversation
        stored = self.bulk_create(messages)
        if len(stored) > 1:
            key = Conversation._meta.pk.get_db_prep_value(conversation.pk, connection)
            table = self.model._meta.db_table
            with connection.cursor() as cursor:
                cursor.execute(CHAIN.format(table=table), [key])
        return stored[-1]


class Message(models.Model):
    """A node of the tree: a regeneration or an alternative is a sibling.

    `text` is the source. `html` is its rendering, stored when an answer ends, and valid while
    `renderer` equals the current renderer's version. While a turn runs, what arrived is in the
    log, and `text` is what stood there before (empty, or the part that is being continued).
    """

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="messages"
    )
    parent = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="children"
    )
    role = models.CharField(max_length=9, choices=Role.choices)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    # The turn that wrote it last; earlier ones (before a Continue) point here by `continues`.
    turn = models.ForeignKey(
        "Turn", on_delete=models.SET_NULL, null=True, blank=True, related_name="replies"
    )
    text = models.TextField(blank=True)
    html = models.TextField(blank=True)
    renderer = models.PositiveSmallIntegerField(default=0)
    # What the model said to itself before it answered: shown apart, never sent back to it.
    reasoning = models.TextField(blank=True)
    # What a program's message has beside its text, as in the protocol: tool_calls (a list of
    # {"id", "name", "arguments"}), tool_call_id, name. And thought_seconds: how long it reasoned.
    extras = models.JSONField(default=dict, blank=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    if TYPE_CHECKING:
        turn_id: int | None
        parent_id: int | None

    objects = MessageQuerySet.as_manager()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["conversation", "parent"], name="message_tree")
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"
