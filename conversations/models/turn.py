"""The turn: one prompt, its replies, and how it went. The table is also the queue."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from conversations.models.conversation import Conversation, Source
from conversations.models.message import Message

if TYPE_CHECKING:
    from django_stubs_ext.db.models.manager import RelatedManager


class TurnState(models.TextChoices):
    """queued → streaming → one of the four final states."""

    QUEUED = "queued"
    STREAMING = "streaming"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


RUNNING = (TurnState.QUEUED, TurnState.STREAMING)
LEASE = timedelta(seconds=8)
WAITING = timedelta(seconds=30)  # renewed by whoever waits, every 5 s


class TurnQuerySet(models.QuerySet["Turn"]):
    def running(self) -> Self:
        return self.filter(state__in=RUNNING)

    def of_people(self) -> Self:
        return self.filter(conversation__source=Source.PAGE)

    def of_programs(self) -> Self:
        return self.filter(conversation__source=Source.API)

    def waited_for(self, owner: str) -> Self:
        """Calls whose programs wait in this process, and those left behind that have a key.

        Others run where their programs wait: only there an answer that is not kept can be read.
        """
        left = Q(lease_until__lt=timezone.now(), call__key__isnull=False)
        return self.of_programs().filter(Q(lease_owner=owner) | left)

    def wait(self, turn_id: int) -> None:
        """Say for a while that somebody waits for the queued call."""
        until = timezone.now() + WAITING
        self.filter(pk=turn_id, state=TurnState.QUEUED).update(lease_until=until)

    def left_behind(self) -> Self:
        """Queued calls that nobody waits for: their process was killed."""
        return self.of_programs().filter(
            state=TurnState.QUEUED, lease_until__lt=timezone.now(), call__key=None
        )

    def held_by(self, owner: str) -> Self:
        """Those that this runner may write: a runner thought dead finds nothing here."""
        return self.filter(state=TurnState.STREAMING, lease_owner=owner)

    def claim(self, owner: str, most: int) -> list["Turn"]:
        """Take up to `most` of its queued turns, oldest first; each goes to exactly one runner."""
        claimed = []
        now = timezone.now()
        for turn in self.filter(state=TurnState.QUEUED).order_by("id")[:most]:
            # Not self.filter: a condition on another table would be a subquery, which PostgreSQL
            # does not look at again after it has waited for the row.
            taken = Turn.objects.filter(pk=turn.pk, state=TurnState.QUEUED).update(
                state=TurnState.STREAMING,
                lease_owner=owner,
                lease_until=now + LEASE,
                started_at=now,
            )
            if taken:
                turn.state, turn.lease_owner, turn.started_at = TurnState.STREAMING, owner, now
                claimed.append(turn)
        return claimed

    def renew(self, owner: str, turns: Iterable[int]) -> int:
        """Renew the leases; returns how many of `turns` are still this runner's."""
        return (
            self.held_by(owner)
            .filter(pk__in=list(turns))
            .update(lease_until=timezone.now() + LEASE)
        )

    def orphaned(self) -> Self:
        """Their runner has not renewed the lease: it is dead, or cut off from the database."""
        return self.filter(state=TurnState.STREAMING, lease_until__lt=timezone.now())


class Turn(models.Model):
    """One prompt message and its n replies, with model, parameters, state, usage, errors."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="turns")
    # Made with the form: a double click, a second tab or a replayed frame is the same turn.
    client_id = models.UUIDField()
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="turns"
    )
    prompt = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="turns")
    continues = models.ForeignKey(
        Message, on_delete=models.CASCADE, null=True, blank=True, related_name="continuations"
    )
    chosen = models.ForeignKey(
        Message, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    state = models.CharField(max_length=11, choices=TurnState.choices, default=TurnState.QUEUED)
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=200, blank=True)
    system_prompt = models.TextField(blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    n = models.PositiveSmallIntegerField(default=1)
    left_out = models.PositiveIntegerField(default=0)  # older messages that did not fit
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    first_token_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    stopped_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    error_code = models.CharField(max_length=40, blank=True)
    error_detail = models.CharField(max_length=500, blank=True)  # the provider's own words
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    # Per million tokens, as they were when it began: a changed price changes no past cost.
    prompt_price = models.DecimalField(max_digits=10, decimal_places=4, null=True, blank=True)
    completion_price = models.DecimalField(max_digits=10, decimal_places=4, null=True, blank=True)
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    objects = TurnQuerySet.as_manager()

    if TYPE_CHECKING:
        replies: RelatedManager[Message]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "client_id"], name="one_turn_per_form"),
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(state__in=["queued", "streaming"]),
                name="one_running_turn",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["state", "lease_until"],
                condition=Q(state__in=["queued", "streaming"]),
                name="turn_queue",
            ),
            models.Index(fields=["author", "created_at"], name="turn_rate"),
            models.Index(fields=["created_at"], name="turn_usage"),
        ]

    def __str__(self) -> str:
        return f"turn {self.pk} ({self.state})"

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    def choose(self, reply: Message) -> None:
        self.chosen = reply
        self.save(update_fields=["chosen"])


class LogEntry(models.Model):
    """What arrived of a running answer: `text` stands at `offset` (characters) of the message.

    What is reasoning is counted apart from the text.
    """

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="log")
    is_reasoning = models.BooleanField(default=False)
    offset = models.PositiveIntegerField()
    text = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message", "is_reasoning", "offset"], name="one_entry_per_offset"
            )
        ]

    def __str__(self) -> str:
        return f"{self.message} at {self.offset}"
