"""The conversation: a tree of messages with an owner and participants."""

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from organizations.models import Membership, Organization, User

if TYPE_CHECKING:
    from django_stubs_ext.db.models.manager import RelatedManager

    from conversations.models.message import Message
    from conversations.models.turn import Turn

TITLE_LENGTH = 120
RESTORABLE_FOR = timedelta(days=30)


class Access(models.TextChoices):
    READ = "read", _("Can read")
    WRITE = "write", _("Can write")


class Source(models.TextChoices):
    """Where it came from: people at the page, or their programs at the completions endpoint."""

    PAGE = "page", _("Page")
    API = "api", _("API")


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: User | AnonymousUser) -> Self:
        """What the person may read now; what is not in here does not exist for them."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self._of_member(user).filter(
            Q(owner=user) | Exists(_participation(user)), deleted_at=None
        )

    def writable_by(self, user: User | AnonymousUser) -> Self:
        """Where the person may send, stop, regenerate and choose now."""
        if not user.is_authenticated:
            return self.none()
        writing = _participation(user).filter(access=Access.WRITE)
        mine = self.visible_to(user).filter(Q(owner=user) | Exists(writing))
        return mine.filter(source=Source.PAGE)  # what a program said is a record

    def owned_by(self, user: User | AnonymousUser) -> Self:
        """What the person may share, delete and restore: their own, also the deleted."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self._of_member(user).filter(owner=user)

    def restorable(self) -> Self:
        """Deleted less than 30 days ago, newest first."""
        return self.filter(deleted_at__gt=timezone.now() - RESTORABLE_FOR).order_by("-deleted_at")

    def recent(self) -> Self:
        """Newest activity first."""
        return self.order_by("-updated_at", "id")

    def _of_member(self, user: User) -> Self:
        # Somebody who left the organization loses every conversation in it at once.
        member = Membership.objects.filter(user=user, organization=OuterRef("organization"))
        return self.filter(Exists(member))


def _participation(user: User) -> models.QuerySet["Participant"]:
    return Participant.objects.filter(conversation=OuterRef("pk"), user=user)


class Conversation(models.Model):
    """A tree of messages. `leaf` is the end of the branch that is shown and goes on."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="conversations"
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="conversations"
    )
    title = models.CharField(max_length=TITLE_LENGTH, blank=True)
    # A title that a person typed is never replaced by an automatic one.
    title_is_own = models.BooleanField(default=False)
    leaf = models.ForeignKey(
        "Message", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    source = models.CharField(max_length=4, choices=Source.choices, default=Source.PAGE)
    model = models.CharField(max_length=200)
    system_prompt = models.TextField(blank=True)
    # temperature, top_p, max_tokens, stop, n: only what was set. `parameters.py` reads and checks.
    parameters = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = ConversationQuerySet.as_manager()

    if TYPE_CHECKING:
        messages: RelatedManager["Message"]
        turns: RelatedManager["Turn"]
        participants: RelatedManager["Participant"]

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["owner", "source", "-updated_at"], name="conversation_recent"),
        ]

    def __str__(self) -> str:
        return self.title or str(self.pk)

    def rename(self, title: str) -> None:
        self.title, self.title_is_own = title[:TITLE_LENGTH], True
        self.save(update_fields=["title", "title_is_own"])

    def suggest_title(self, title: str) -> bool:
        """Set an automatic title, unless a person has named the conversation meanwhile."""
        return bool(
            Conversation.objects.filter(pk=self.pk, title_is_own=False).update(
                title=title[:TITLE_LENGTH]
            )
        )

    def show(self, leaf: "Message") -> None:
        """Make this message the end of the shown branch."""
        self.leaf = leaf
        self.updated_at = timezone.now()
        self.save(update_fields=["leaf", "updated_at"])

    def set_model(self, model: str) -> None:
        self.model = model
        self.save(update_fields=["model"])

    def set_parameters(self, system_prompt: str, parameters: dict[str, Any]) -> None:
        self.system_prompt, self.parameters = system_prompt, parameters
        self.save(update_fields=["system_prompt", "parameters"])

    def delete_for_now(self) -> None:
        """Hide it from everybody; it can be restored for 30 days."""
        self.deleted_at = timezone.now()
        self.save(update_fields=["deleted_at"])

    def restore(self) -> None:
        self.deleted_at = None
        self.save(update_fields=["deleted_at"])


class Participant(models.Model):
    """A named person to whom the owner opened the conversation."""

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="participants"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="participations"
    )
    access = models.CharField(max_length=5, choices=Access.choices, default=Access.READ)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "user"], name="one_participation_each")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.conversation} ({self.access})"
