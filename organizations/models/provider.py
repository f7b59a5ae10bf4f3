"""Providers that an organization's admins have set up, and the models they offer."""

from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Self, cast

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from completions.endpoint import AuthStyle, Endpoint
from completions.listing import ListedModel
from completions.weights import MODEL_ALIAS
from organizations.models.organization import Membership, Organization, Role
from organizations.models.user import User
from organizations.secrets import decrypt, encrypt, reencrypt

if TYPE_CHECKING:
    from django_stubs_ext.db.models.manager import RelatedManager

DEFAULT_CONTEXT_TOKENS = 128_000
# With its provider's name before it, it still fits into public_id.
MODEL_NAME_CHARS = 150
PROVIDER_SLUG_CHARS = 40
LABEL_CHARS = 120
MOST_MODELS = 300  # of a provider
LAST_CHARS = 4
# Of a shorter key four characters would be too much to show.
SHORTEST_SHOWN_KEY_CHARS = 12


class Auth(models.TextChoices):
    """How the key is sent; the values are those of completions.endpoint.Endpoint."""

    X_API_KEY = "x-api-key", _("x-api-key header")
    BEARER = "bearer", _("Authorization: Bearer")
    NONE = "none", _("No key")


class Audience(models.TextChoices):
    EVERYONE = "everyone", _("Everyone")
    ADMINS = "admins", _("Admins only")
    NAMED = "named", _("Chosen members")


class TooManyModels(Exception):
    """The provider would have more than MOST_MODELS."""


class Provider(models.Model):
    """An endpoint that answers completions for one organization.

    The key is encrypted (organizations/secrets.py) and never leaves by a form, a log or an
    export; `key_last_four` is what can be shown of it.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="providers"
    )
    name = models.CharField(max_length=80)
    base_url = models.CharField(max_length=500)
    auth = models.CharField(max_length=10, choices=Auth.choices, default=Auth.BEARER)
    encrypted_key = models.TextField(blank=True)
    key_last_four = models.CharField(max_length=4, blank=True)
    # Set where an instance admin has saved an address that is not public.
    allows_private = models.BooleanField(default=False)
    # Continues an answer that ends the request in place.
    prefill = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    if TYPE_CHECKING:
        models: RelatedManager["ProviderModel"]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="one_provider_name_each")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_key(self) -> bool:
        return bool(self.encrypted_key)

    def key(self) -> str:
        """The key, or "" where there is none. Raises SecretLost (organizations/secrets.py)."""
        return decrypt(self.encrypted_key) if self.encrypted_key else ""

    def endpoint(self) -> Endpoint:
        """Where and how to ask it. Raises SecretLost."""
        auth = cast("AuthStyle", self.auth)
        return Endpoint(self.base_url, self.key(), auth, allow_private=self.allows_private)

    def set_key(self, key: str) -> None:
        """Set it on this object, "" for none; to be saved by the caller."""
        self.encrypted_key = encrypt(key) if key else ""
        self.key_last_four = key[-LAST_CHARS:] if len(key) >= SHORTEST_SHOWN_KEY_CHARS else ""

    def reencrypt_key(self) -> None:
        """Encrypt it with the site's first key; to be saved by the caller. Raises SecretLost."""
        self.encrypted_key = reencrypt(self.encrypted_key)

    def add_models(self, listed: Iterable[ListedModel]) -> int:
        """Offer these too; returns how many are new. Raises TooManyModels."""
        with transaction.atomic():
            # The organization's row is the lock: ids are unique among all its providers.
            Organization.objects.select_for_update().get(pk=self.organization_id)
            have = set(self.models.values_list("name", flat=True))
            new = [model for model in listed if model.id not in have]
            if len(have) + len(new) > MOST_MODELS:
                raise TooManyModels
            taken = _ids_taken(self.organization_id)
            for model in new:
                row = ProviderModel(
                    organization_id=self.organization_id,
                    provider=self,
                    name=model.id,
                    public_id=_public_id(model.id, self.name, taken),
                    label=model.label[:LABEL_CHARS] if model.label != model.id else "",
                )
                if model.context_tokens:
                    row.context_tokens = model.context_tokens
                row.save(force_insert=True)
                taken.add(row.public_id)
        return len(new)


def _ids_taken(organization_id: Any) -> set[str]:
    """Those of the organization's models, and of what the environment offers or once may."""
    own = ProviderModel.objects.filter(organization=organization_id)
    taken = {MODEL_ALIAS, *settings.COMPLETIONS_MODELS, *own.values_list("public_id", flat=True)}
    return taken | {PurePath(settings.LOCAL_MODEL_PATH).stem}


def _public_id(name: str, provider_name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    slug = slugify(provider_name)[:PROVIDER_SLUG_CHARS] or "provider"
    found, number = f"{slug}/{name}", 2
    while found in taken:
        found, number = f"{slug}-{number}/{name}", number + 1
    return found


class ProviderModelQuerySet(models.QuerySet["ProviderModel"]):
    def offered_by(self, organization_id: Any) -> Self:
        """What the organization's providers offer now, in the order that admins see."""
        return (
            self.filter(organization=organization_id, enabled=True, provider__enabled=True)
            .select_related("provider")
            .order_by("provider_id", "id")
        )

    def usable_by(self, user: User, organization_id: Any) -> Self:
        """Of those, what the person may use as a member of that organization."""
        membership = Membership.objects.filter(
            user=user, organization=models.OuterRef("organization")
        )
        chosen = ProviderModel.users.through.objects.filter(
            providermodel=models.OuterRef("pk"), user=user
        )
        return self.offered_by(organization_id).filter(
            Q(audience=Audience.EVERYONE) & models.Exists(membership)
            | Q(audience=Audience.ADMINS) & models.Exists(membership.filter(role=Role.ADMIN))
            | Q(audience=Audience.NAMED) & models.Exists(membership) & models.Exists(chosen)
        )


class ProviderModel(models.Model):
    """A model of a provider. `public_id` names it in this organization, also to programs.

    It is `name`, or "provider/name" where another provider had that name first; it never changes,
    so that conversations and programs go on with the model that they chose.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=200)  # as the provider calls it
    public_id = models.CharField(max_length=200)
    label = models.CharField(max_length=LABEL_CHARS, blank=True)
    context_tokens = models.PositiveIntegerField(default=DEFAULT_CONTEXT_TOKENS)
    defaults = models.JSONField(default=dict, blank=True)  # temperature, top_p, max_tokens
    # Per million tokens, in the organization's own currency.
    prompt_price = models.DecimalField(max_digits=10, decimal_places=4, null=True, blank=True)
    completion_price = models.DecimalField(max_digits=10, decimal_places=4, null=True, blank=True)
    audience = models.CharField(max_length=8, choices=Audience.choices, default=Audience.EVERYONE)
    users = models.ManyToManyField(User, blank=True, related_name="+")
    enabled = models.BooleanField(default=True)

    objects = ProviderModelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "public_id"], name="one_model_id_each"),
            models.UniqueConstraint(fields=["provider", "name"], name="one_model_name_each"),
        ]

    def __str__(self) -> str:
        return self.label or self.public_id
