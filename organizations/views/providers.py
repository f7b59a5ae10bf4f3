"""Settings > Providers: where completions come from, for admins."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.db import DatabaseError, IntegrityError, transaction
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods

from completions.weights import MODEL_ALIAS
from organizations.access import admin_required
from organizations.forms import NewModelsForm, ProviderForm
from organizations.middleware import MemberRequest
from organizations.models import Auth, Provider
from organizations.presets import OTHER, PRESETS, find_preset
from organizations.probing import KEY_LOST
from organizations.secrets import SecretLost
from organizations.views.confirming import confirm

AUTH_LABELS = dict(Auth.choices)


@require_GET
@admin_required
def providers(request: MemberRequest) -> HttpResponse:
    rows = request.membership.organization.providers.prefetch_related("models").order_by("id")
    return render(
        request,
        "organizations/settings/providers.html",
        {
            "environment": _environment(),
            "providers": [_row(provider) for provider in rows],
            "section": "providers",
        },
    )


@sensitive_post_parameters("key")
@sensitive_variables()
@require_http_methods(["GET", "POST"])
@admin_required
def new_provider(request: MemberRequest) -> HttpResponse:
    """A form filled by the preset of the address's query."""
    me = request.membership
    preset = find_preset(request.GET.get("preset", ""))
    provider = Provider(organization=me.organization, created_by=me.user)
    if request.method == "POST":
        form = ProviderForm(provider, me.user, request.POST)
        if form.is_valid() and _save(form):
            messages.success(request, _("Saved. Now add the models that it should offer."))
            return redirect("provider", provider.pk)
    else:
        known = {
            "name": "" if preset.id == OTHER else preset.name,
            "base_url": preset.base_url,
            "auth": preset.auth,
            "prefill": preset.prefill,
            "is_private": preset.is_private,
        }
        form = ProviderForm(provider, me.user, initial=known)
    return render(
        request,
        "organizations/settings/provider_new.html",
        {"form": form, "presets": PRESETS, "preset": preset, "section": "providers"},
        status=422 if request.method == "POST" else 200,
    )


@sensitive_post_parameters("key")
@sensitive_variables()
@require_http_methods(["GET", "POST"])
@admin_required
def provider(request: MemberRequest, provider_id: int) -> HttpResponse:
    found = find_provider(request, provider_id)
    if request.method == "GET":
        return provider_page(request, found)
    form = ProviderForm(found, request.membership.user, request.POST)
    if form.is_valid() and _save(form):
        messages.success(request, _("Saved."))
        return redirect("provider", found.pk)
    # Saving that failed has changed the object.
    return provider_page(request, find_provider(request, provider_id), form=form, status=422)


@require_http_methods(["GET", "POST"])
@admin_required
def delete_provider(request: MemberRequest, provider_id: int) -> HttpResponse:
    found = find_provider(request, provider_id)
    if request.method == "POST":
        found.delete()
        messages.success(request, _("“%s” is deleted.") % found.name)
        return redirect("providers")
    return confirm(
        request,
        title=_("Delete “%s”?") % found.name,
        text=_(
            "Its models are no longer offered, and its key is deleted. Conversations keep "
            "their text, and go on with another model."
        ),
        button=_("Delete provider"),
        url=reverse("delete_provider", args=[found.pk]),
        back=reverse("provider", args=[found.pk]),
        section="providers",
    )


def find_provider(request: MemberRequest, provider_id: int) -> Provider:
    """The organization's provider with that id, or 404."""
    return get_object_or_404(
        request.membership.organization.providers.select_related("organization"), pk=provider_id
    )


def provider_page(
    request: MemberRequest,
    found: Provider,
    *,
    form: ProviderForm | None = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    """One provider with its models; `more` is what was just listed or tried."""
    known = {
        "name": found.name,
        "base_url": found.base_url,
        "is_private": found.allows_private,
        "auth": found.auth,
        "prefill": found.prefill,
        "enabled": found.enabled,
    }
    models = found.models.order_by("id")
    context = {
        "provider": _row(found),
        "models": models,
        "form": form or ProviderForm(found, request.membership.user, initial=known),
        "new_models_form": NewModelsForm(),
        "section": "providers",
    }
    page = "organizations/settings/provider.html"
    return render(request, page, context | more, status=status)


def _save(form: ProviderForm) -> bool:
    """Store what is valid. False where somebody took the name at the same moment."""
    try:
        with transaction.atomic():
            form.save()
    except IntegrityError:
        form.add_error("name", _("There is a provider with this name already."))
        return False
    except DatabaseError as error:  # deleted meanwhile: the forced update found no row
        raise Http404 from error
    return True


def _row(provider: Provider) -> dict[str, object]:
    """What may be shown of it: everything but the key."""
    try:
        provider.key()
        is_lost = False
    except SecretLost:
        is_lost = True
    return {
        "id": provider.pk,
        "name": provider.name,
        "base_url": provider.base_url,
        "host": urlsplit(provider.base_url).netloc,
        "auth_label": provider.get_auth_display(),
        "sends_key": provider.auth != Auth.NONE,
        "has_key": provider.has_key,
        "key_last_four": provider.key_last_four,
        "key_lost": str(KEY_LOST) if is_lost else "",
        "enabled": provider.enabled,
        "is_private": provider.allows_private,
        "model_count": len(provider.models.all()),
    }


def _environment() -> dict[str, object]:
    """What the environment has set, read-only; neither keys nor a name in the address."""
    if settings.COMPLETIONS_URL:
        parts = urlsplit(settings.COMPLETIONS_URL)
        place = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        return {
            "kind": "endpoint",
            "base_url": place.geturl(),
            "auth_label": AUTH_LABELS[settings.COMPLETIONS_AUTH],
            "sends_key": settings.COMPLETIONS_AUTH != Auth.NONE,
            "has_key": bool(settings.COMPLETIONS_API_KEY),
            "models": settings.COMPLETIONS_MODELS,
        }
    if settings.BUILT_IN_MODEL:
        return {"kind": "built_in", "models": [settings.LOCAL_MODEL_PATH or MODEL_ALIAS]}
    return {"kind": "none"}
