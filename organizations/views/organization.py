"""Settings > Organization: its name, and what it allows its programs."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from organizations.access import admin_required
from organizations.forms import OrganizationForm
from organizations.middleware import MemberRequest


@require_http_methods(["GET", "POST"])
@admin_required
def organization(request: MemberRequest) -> HttpResponse:
    ours = request.membership.organization
    form = OrganizationForm(request.POST or None, instance=ours)
    if request.method == "POST":
        if form.is_valid():
            form.save()
            messages.success(request, _("Saved."))
            return redirect("organization")
        ours.refresh_from_db()  # an invalid form has already changed the object
    return render(
        request,
        "organizations/settings/organization.html",
        {"form": form, "section": "organization"},
        status=422 if request.method == "POST" else 200,
    )
