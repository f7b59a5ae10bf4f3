"""The organization, and who belongs to it in which role."""

import uuid
from typing import TYPE_CHECKING

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from organizations.models.user import User

if TYPE_CHECKING:
    from django_stubs_ext.db.models.manager import RelatedManager


class Role(models.TextChoices):
    MEMBER = "member", _("Member")
    REVIEWER = "reviewer", _("Reviewer")
    ADMIN = "admin", _("Admin")


class Organization(models.Model):
    """A team: its people see each other, and nobody else's conversations."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80)
    # Whether programs may ask for a call's texts not to be kept ("store": false).
    allows_unstored_calls = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    if TYPE_CHECKING:
        memberships: RelatedManager["Membership"]

    def __str__(self) -> str:
        return self.name


class LastAdmin(Exception):
    """An organization keeps at least one admin."""


class MembershipQuerySet(models.QuerySet["Membership"]):
    def of(self, user: User) -> "MembershipQuerySet":
        """The person's memberships, oldest first."""
        return self.filter(user=user).select_related("organization", "user").order_by("id")


class Membership(models.Model):
    """One person's place in one organization."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(default=timezone.now)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_membership_each")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.role})"

    @property
    def is_admin(self) -> bool:
        return self.role == Role.ADMIN

    def change_role(self, role: Role) -> None:
        """Give another role. Raises LastAdmin where no admin would be left."""
        with transaction.atomic():
            self._keep_an_admin(unless=role == Role.ADMIN)
            self.role = role
            self.save(update_fields=["role"])
            if not self.is_admin:
                self._withdraw_invitations()

    def end(self, by: User | None = None) -> None:
        """Leave the organization, or be removed from it by `by`.

        The person's tokens there are revoked, their invitations withdrawn, and nobody chose them
        for a model any more: who is invited again begins anew. Raises LastAdmin where no admin
        would be left.
        """
        # These modules import this one.
        from organizations.models.provider import ProviderModel
        from organizations.models.token import AccessToken

        with transaction.atomic():
            self._keep_an_admin(unless=False)
            tokens = AccessToken.objects.of(self)
            chosen = ProviderModel.users.through.objects.filter(
                user=self.user_id, providermodel__organization=self.organization_id
            )
            # First, as its row is the lock for issuing a token.
            self.delete()
            tokens.revoke(by)
            chosen.delete()
            self._withdraw_invitations()

    def _withdraw_invitations(self) -> None:
        """Delete the open links that the person made: one may lead back in, as an admin."""
        from organizations.models.invitation import Invitation

        links = Invitation.objects.open().filter(organization=self.organization_id)
        links.filter(invited_by=self.user_id).delete()

    def _keep_an_admin(self, *, unless: bool) -> None:
        if unless or not self.is_admin:
            return
        # The organization's row is the lock: two admins who demote each other at once must not
        # both succeed.
        Organization.objects.select_for_update().get(pk=self.organization_id)
        others = Membership.objects.filter(
            organization_id=self.organization_id, role=Role.ADMIN
        ).exclude(pk=self.pk)
        if not others.exists():
            raise LastAdmin
