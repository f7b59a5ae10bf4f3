"""Settings > Providers: one provider's models: found, added, described, tried."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from organizations.access import admin_required
from organizations.forms import ModelForm, NewModelsForm
from organizations.forms.provider_models import encode_listed, is_id
from organizations.middleware import MemberRequest
from organizations.models import Audience, ProviderModel
from organizations.models.provider import MODEL_NAME_CHARS, MOST_MODELS, TooManyModels
from organizations.probing import ProbeFailed, list_models, try_model
from organizations.views.confirming import confirm
from organizations.views.providers import find_provider, provider_page

MOST_LISTED = 500


@sensitive_variables()
@require_POST
@admin_required
def fetch_models(request: MemberRequest, provider_id: int) -> HttpResponse:
    """Ask the provider for its list, and show it to choose from."""
    provider = find_provider(request, provider_id)
    try:
        listed = list_models(provider)
    except ProbeFailed as failure:
        return provider_page(request, provider, fetch_failure=failure)
    have = set(provider.models.values_list("name", flat=True))
    choices = [
        {"model": model, "value": encode_listed(model), "is_there": model.id in have}
        for model in listed[:MOST_LISTED]
        if len(model.id) <= MODEL_NAME_CHARS
    ]
    return provider_page(request, provider, fetched=True, listed=choices)


@require_POST
@admin_required
def add_models(request: MemberRequest, provider_id: int) -> HttpResponse:
    provider = find_provider(request, provider_id)
    form = NewModelsForm(request.POST)
    if form.is_valid():
        try:
            count = provider.add_models(form.cleaned_data["models"])
        except TooManyModels:
            form.add_error("typed", _("A provider can have %d models.") % MOST_MODELS)
        else:
            text = ngettext("%d model is added.", "%d models are added.", count) % count
            messages.success(request, text)
            return redirect("provider", provider.pk)
    return provider_page(request, provider, new_models_form=form, status=422)


@require_http_methods(["GET", "POST"])
@admin_required
def provider_model(request: MemberRequest, provider_id: int, model_id: int) -> HttpResponse:
    model = _find_model(request, provider_id, model_id)
    organization = request.membership.organization
    form = ModelForm(request.POST or None, instance=model, organization=organization)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _saved(request, model))
        return redirect("provider", provider_id)
    return render(
        request,
        "organizations/settings/model.html",
        {
            "form": form,
            # An invalid form has already changed the object it was given.
            "model": _find_model(request, provider_id, model_id),
            "section": "providers",
        },
        status=422 if request.method == "POST" else 200,
    )


@require_http_methods(["GET", "POST"])
@admin_required
def remove_model(request: MemberRequest, provider_id: int, model_id: int) -> HttpResponse:
    model = _find_model(request, provider_id, model_id)
    if request.method == "POST":
        model.delete()
        messages.success(request, _("“%s” is removed.") % model)
        return redirect("provider", provider_id)
    return confirm(
        request,
        title=_("Remove “%s”?") % model,
        text=_(
            "It is no longer offered. Conversations keep their text, and go on with another model."
        ),
        button=_("Remove model"),
        url=reverse("remove_model", args=[provider_id, model_id]),
        back=reverse("provider", args=[provider_id]),
        section="providers",
    )


@sensitive_variables()
@require_POST
@admin_required
def test_provider(request: MemberRequest, provider_id: int) -> HttpResponse:
    """Really ask a model, with what is saved, and say what came back."""
    provider = find_provider(request, provider_id)
    models = provider.models.order_by("id")
    wanted = request.POST.get("model", "")
    chosen = models.filter(pk=wanted).first() if is_id(wanted) else None
    model = chosen or models.first()
    trial = try_model(provider, model) if model else None
    return provider_page(request, provider, trial=trial, tried=model)


def _saved(request: MemberRequest, model: ProviderModel) -> str:
    """Also say it where admins have left themselves out: their own list no longer has it."""
    named = model.audience == Audience.NAMED
    if named and not model.users.filter(pk=request.membership.user.pk).exists():
        return _("Saved. You are not one of the chosen members, so you do not see it yourself.")
    return _("Saved.")


def _find_model(request: MemberRequest, provider_id: int, model_id: int) -> ProviderModel:
    """The provider's model, or 404."""
    models = find_provider(request, provider_id).models.select_related("provider")
    return get_object_or_404(models, pk=model_id)
