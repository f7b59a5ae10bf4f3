"""The access token: what a person's programs show instead of a password."""

import secrets
from datetime import datetime, timedelta
from typing import Self

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from organizations.models.organization import Membership, Organization
from organizations.models.user import User
from organizations.secrets import hash_token

PREFIX = "cs_"
SHOWN_CHARS = 4
NAME_CHARS = 80
MOST_TOKENS = 50  # usable ones of a person in an organization
# A program that asks 50 times a second should not cost 50 writes a second.
USE_NOTED_EVERY = timedelta(minutes=1)


class TooManyTokens(Exception):
    """The person has MOST_TOKENS usable tokens in this organization."""


class Scope(models.TextChoices):
    CHAT = "chat", _("Ask for completions")
    MODELS = "models", _("List models")


class AccessTokenQuerySet(models.QuerySet["AccessToken"]):
    def of(self, membership: Membership) -> Self:
        """The member's own in that organization."""
        return self.filter(user=membership.user_id, organization=membership.organization_id)

    def usable(self) -> Self:
        """Neither revoked nor expired, of an active person who is still a member."""
        now = timezone.now()
        members = Membership.objects.filter(
            user=models.OuterRef("user"), organization=models.OuterRef("organization")
        )
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=now),
            models.Exists(members),
            revoked_at=None,
            user__is_active=True,
        )

    def revoke(self, by: User | None) -> None:
        """End them at once; those that are revoked stay as they are."""
        self.filter(revoked_at=None).update(revoked_at=timezone.now(), revoked_by=by)

    def by_secret(self, secret: str) -> "AccessToken | None":
        """The usable token with this secret, or None. Its digest is looked up, so timing tells
        nothing about a secret."""
        return (
            self.usable()
            .select_related("user", "organization")
            .filter(digest=hash_token(secret))
            .first()
        )


class AccessToken(models.Model):
    """Acts for one person in one organization. The secret is shown once; its sha256 is stored."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="access_tokens"
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=NAME_CHARS)
    digest = models.CharField(max_length=64, unique=True)
    prefix = models.CharField(max_length=16)  # "cs_Ab3d", to be recognized by
    last_four = models.CharField(max_length=4)
    scopes = models.JSONField(default=list)  # of Scope's values
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = AccessTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} ({self.shown})"

    @classmethod
    def issue(
        cls,
        membership: Membership,
        name: str,
        *,
        scopes: tuple[Scope, ...] = (Scope.CHAT, Scope.MODELS),
        expires_at: datetime | None = None,
    ) -> tuple["AccessToken", str]:
        """Make a token; returns it with its secret, which is not stored.

        Raises TooManyTokens, and Membership.DoesNotExist where it has ended meanwhile.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        with transaction.atomic():
            # The membership's row is the lock: two programs at once must not both be the last, and
            # none is made for who is just being removed.
            Membership.objects.select_for_update().get(pk=membership.pk)
            if cls.objects.of(membership).usable().count() >= MOST_TOKENS:
                raise TooManyTokens
            token = cls.objects.create(
                organization=membership.organization,
                user=membership.user,
                name=name,
                digest=hash_token(secret),
                prefix=secret[: len(PREFIX) + SHOWN_CHARS],
                last_four=secret[-SHOWN_CHARS:],
                scopes=[scope.value for scope in scopes],
                expires_at=expires_at,
            )
        return token, secret

    @property
    def shown(self) -> str:
        """What stands for the secret in lists: "cs_Ab3d…x9Yz"."""
        return f"{self.prefix}…{self.last_four}"

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_usable(self) -> bool:
        """Neither revoked nor expired (its owner's membership is not looked at)."""
        return self.revoked_at is None and not self.is_expired

    def allows(self, scope: Scope) -> bool:
        return scope.value in self.scopes

    def revoke(self, by: User) -> None:
        """End it at once; again: nothing."""
        AccessToken.objects.filter(pk=self.pk).revoke(by)

    def note_use(self) -> None:
        """Remember that it was used, at most once a minute."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at >= USE_NOTED_EVERY:
            AccessToken.objects.filter(pk=self.pk).update(last_used_at=now)
            self.last_used_at = now
