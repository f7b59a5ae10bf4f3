"""A link that lets one person join."""

import secrets
from datetime import timedelta
from typing import Self

from django.db import models, transaction
from django.utils import timezone

from organizations.models.organization import Membership, Organization, Role
from organizations.models.user import User
from organizations.secrets import hash_token

VALID_FOR = timedelta(days=7)


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self) -> Self:
        """Those that can still be used."""
        return self.filter(accepted_at=None, expires_at__gt=timezone.now())

    def by_token(self, token: str) -> "Invitation | None":
        """The open invitation of this link, or None."""
        return self.open().select_related("organization").filter(digest=hash_token(token)).first()


class Invitation(models.Model):
    """One link, one person, seven days. Only the token's digest is stored."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="invitations"
    )
    digest = models.CharField(max_length=64, unique=True)
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    invited_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = InvitationQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.role} of {self.organization}"

    @classmethod
    def issue(cls, organization: Organization, role: Role, invited_by: User) -> str:
        """Make an invitation and return its token, which is not stored."""
        token = secrets.token_urlsafe(32)
        cls.objects.create(
            organization=organization,
            digest=hash_token(token),
            role=role,
            invited_by=invited_by,
            expires_at=timezone.now() + VALID_FOR,
        )
        return token

    def accept(self, user: User) -> bool:
        """Make the person a member. False where somebody else was faster with the same link."""
        with transaction.atomic():
            claimed = (
                Invitation.objects.open()
                .filter(pk=self.pk)
                .update(accepted_at=timezone.now(), accepted_by=user)
            )
            if claimed:
                Membership.objects.get_or_create(
                    organization=self.organization, user=user, defaults={"role": self.role}
                )
        return bool(claimed)
