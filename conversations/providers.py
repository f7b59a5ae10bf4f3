"""Which models are offered, to whom, and where each answers."""

import time
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import PurePath
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from completions.endpoint import AuthStyle, Endpoint
from completions.weights import CONTEXT_TOKENS, MODEL_ALIAS
from organizations.models import Provider, ProviderModel, User

# Of the built-in model. Measured: at temperature 0 this model gets the
# capital of France wrong, at 0.2 and top_p 0.9 it answers best.
BUILT_IN_DEFAULTS = {"temperature": 0.2, "top_p": 0.9}
# Names above answers are read with every change of a page; a renamed model may be late there.
LABELS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model that people can choose."""

    id: str  # in this organization
    name: str  # as its provider calls it
    label: str  # for the selector
    short_label: str  # above an answer
    provider: str
    context_tokens: int
    prefill: bool  # continues an answer that ends the request in place
    built_in: bool = False
    defaults: dict[str, Any] = field(default_factory=dict)
    provider_id: int | None = None  # None: from the environment, or built in
    prompt_price: Decimal | None = None  # per million tokens
    completion_price: Decimal | None = None
    offered_since: int = 0  # Unix seconds, where it is known


def uses_built_in() -> bool:
    """Whether the built-in model is there: wherever the environment names no endpoint."""
    return not settings.COMPLETIONS_URL


def offered_models(user: User, organization_id: uuid.UUID) -> tuple[OfferedModel, ...]:
    """What the member may choose, first the default: a real provider before the built-in model."""
    own = tuple(map(_of_row, ProviderModel.objects.usable_by(user, organization_id)))
    return (*own, *_of_environment()) if uses_built_in() else (*_of_environment(), *own)


def find_usable(user: User, organization_id: uuid.UUID, model_id: str) -> OfferedModel | None:
    """The model, if it is offered and this member may use it."""
    if found := _find_of_environment(model_id):
        return found
    row = ProviderModel.objects.usable_by(user, organization_id).filter(public_id=model_id).first()
    return _of_row(row) if row else None


def find_model(organization_id: uuid.UUID, model_id: str) -> OfferedModel | None:
    """The model, if it is offered, whoever may use it: for what is queued already."""
    if found := _find_of_environment(model_id):
        return found
    row = ProviderModel.objects.offered_by(organization_id).filter(public_id=model_id).first()
    return _of_row(row) if row else None


def endpoint_of(model: OfferedModel) -> Endpoint | None:
    """Where it answers; None for the built-in one, whose address its process knows.

    Raises SecretLost where the provider's key can't be decrypted any more, and
    Provider.DoesNotExist where it has just been deleted.
    """
    if model.built_in:
        return None
    if model.provider_id is None:
        return Endpoint(
            settings.COMPLETIONS_URL,
            settings.COMPLETIONS_API_KEY,
            cast("AuthStyle", settings.COMPLETIONS_AUTH),  # settings.py has checked it
        )
    return Provider.objects.get(pk=model.provider_id).endpoint()


_labels: dict[uuid.UUID, tuple[float, dict[str, str]]] = {}


def model_label(organization_id: uuid.UUID, model_id: str) -> str:
    """What stands above an answer, also of a model that is not offered any more."""
    if found := _find_of_environment(model_id):
        return found.short_label
    read_at, labels = _labels.get(organization_id, (float("-inf"), {}))
    if time.monotonic() - read_at > LABELS_SECONDS:
        rows = ProviderModel.objects.filter(organization=organization_id).exclude(label="")
        labels = dict(rows.values_list("public_id", "label"))
        _labels[organization_id] = (time.monotonic(), labels)
    return labels.get(model_id, model_id)


def _of_row(row: ProviderModel) -> OfferedModel:
    label = row.label or row.public_id
    return OfferedModel(
        id=row.public_id,
        name=row.name,
        label=label,
        short_label=label,
        provider=row.provider.name,
        context_tokens=row.context_tokens,
        prefill=row.provider.prefill,
        defaults=row.defaults,
        provider_id=row.provider_id,
        prompt_price=row.prompt_price,
        completion_price=row.completion_price,
        offered_since=int(row.provider.created_at.timestamp()),
    )


def _find_of_environment(model_id: str) -> OfferedModel | None:
    return next((model for model in _of_environment() if model.id == model_id), None)


def _of_environment() -> tuple[OfferedModel, ...]:
    if uses_built_in():
        return (_built_in(),) if settings.BUILT_IN_MODEL else ()
    return tuple(
        OfferedModel(
            id=name,
            name=name,
            label=name,
            short_label=name,
            provider=urlsplit(settings.COMPLETIONS_URL).hostname or "COMPLETIONS_URL",
            context_tokens=settings.COMPLETIONS_CONTEXT_TOKENS,
            prefill=settings.COMPLETIONS_CONTINUE == "prefill",
        )
        for name in settings.COMPLETIONS_MODELS
    )


def _built_in() -> OfferedModel:
    name = PurePath(settings.LOCAL_MODEL_PATH).stem if settings.LOCAL_MODEL_PATH else MODEL_ALIAS
    own = bool(settings.LOCAL_MODEL_PATH)
    return OfferedModel(
        id=name,
        name=name,
        label=_("%s, built in") % name if own else _("SmolLM2 135M, built in, for trying out"),
        short_label=name if own else "SmolLM2 135M",
        provider="built in",
        context_tokens=CONTEXT_TOKENS,
        prefill=True,
        built_in=True,
        defaults={} if own else BUILT_IN_DEFAULTS,
    )
