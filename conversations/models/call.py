"""What only calls of programs have, and how many of them are allowed."""

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone

from conversations.models.turn import Turn
from organizations.models import AccessToken


class ApiCall(models.Model):
    """A turn that a program asked for, by its token.

    `id` is the completion's: "chatcmpl-" and its 32 hexadecimal digits.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    turn = models.OneToOneField(Turn, on_delete=models.CASCADE, related_name="call")
    token = models.ForeignKey(
        AccessToken, on_delete=models.SET_NULL, null=True, related_name="calls"
    )
    token_name = models.CharField(max_length=80)  # what it was called, should it go
    # The caller's Idempotency-Key, and the digest of the body that came with it first.
    key = models.CharField(max_length=255, null=True, blank=True)
    body_digest = models.CharField(max_length=64, blank=True)
    options = models.JSONField(default=dict, blank=True)  # tools, response_format, …: passed on
    streamed = models.BooleanField(default=False)
    # False: texts are removed once it has ended; times, tokens and states stay.
    stored = models.BooleanField(default=True)
    # The program went away before the end, and with it the turn.
    abandoned = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["token", "key"], name="one_call_per_key"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["token", "-created_at"], name="call_recent"),
        ]

    def __str__(self) -> str:
        return self.completion_id

    def is_allowed(self) -> bool:
        """Whether the token by which it was made could still make it."""
        if self.token_id is None:
            return False
        return AccessToken.objects.usable().filter(pk=self.token_id).exists()

    @property
    def completion_id(self) -> str:
        return f"chatcmpl-{self.id.hex}"


class Allowance(models.Model):
    """How far a caller has used up its rate: GCRA's theoretical arrival time, in Unix seconds."""

    name = models.CharField(max_length=80, primary_key=True)
    used_until = models.FloatField(default=0)

    def __str__(self) -> str:
        return self.name
