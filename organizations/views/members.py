"""Settings > Members: who belongs to the organization, and invitation links."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from organizations.access import admin_required, member_required
from organizations.forms import InvitationForm
from organizations.middleware import MemberRequest
from organizations.models import Invitation, Membership, Role
from organizations.models.organization import LastAdmin

LAST_ADMIN = gettext_lazy("An organization needs an admin. Make somebody else admin first.")


@require_GET
@member_required
def members(request: MemberRequest) -> HttpResponse:
    return _page(request)


@require_POST
@admin_required
def invite(request: MemberRequest) -> HttpResponse:
    """Make a link and show it once."""
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _page(request, form=form)
    token = Invitation.issue(
        request.membership.organization, Role(form.cleaned_data["role"]), request.membership.user
    )
    return _page(request, new_link=request.build_absolute_uri(reverse("join", args=[token])))


@require_POST
@admin_required
def withdraw(request: MemberRequest, invitation_id: int) -> HttpResponse:
    invitations = Invitation.objects.open().filter(organization=request.membership.organization)
    get_object_or_404(invitations, pk=invitation_id).delete()
    messages.success(request, _("The invitation is withdrawn."))
    return redirect("members")


@require_POST
@admin_required
def change_role(request: MemberRequest, membership_id: int) -> HttpResponse:
    membership = _membership(request, membership_id)
    role = request.POST.get("role", "")
    if role not in Role.values:
        return HttpResponse(status=400)
    try:
        membership.change_role(Role(role))
    except LastAdmin:
        messages.error(request, LAST_ADMIN)
    else:
        messages.success(request, _("The role is changed."))
    return redirect("members")


@require_POST
@admin_required
def remove(request: MemberRequest, membership_id: int) -> HttpResponse:
    membership = _membership(request, membership_id)
    try:
        membership.end(by=request.membership.user)
    except LastAdmin:
        messages.error(request, LAST_ADMIN)
    else:
        messages.success(
            request,
            _("%(name)s is not a member any more.") % {"name": membership.user},
        )
    return redirect("members")


def _membership(request: MemberRequest, membership_id: int) -> Membership:
    return get_object_or_404(
        request.membership.organization.memberships.select_related("user"), pk=membership_id
    )


def _page(
    request: MemberRequest, *, form: InvitationForm | None = None, new_link: str = ""
) -> HttpResponse:
    me = request.membership
    memberships = me.organization.memberships.select_related("user").order_by("user__name", "id")
    invitations = Invitation.objects.open().filter(organization=me.organization)
    return render(
        request,
        "organizations/settings/members.html",
        {
            "members": [_member(membership, me) for membership in memberships],
            "invitations": [
                {
                    "role": invitation.get_role_display(),
                    "expires_at": invitation.expires_at,
                    "revoke_url": reverse("withdraw_invitation", args=[invitation.pk]),
                }
                for invitation in invitations.order_by("-created_at")
            ]
            if me.is_admin
            else [],
            "form": form or InvitationForm(),
            "invite_url": reverse("invite"),
            "new_link": new_link,
            "roles": Role.choices,
            "is_admin": me.is_admin,
            "section": "members",
        },
        status=422 if form else 200,
    )


def _member(membership: Membership, me: Membership) -> dict[str, object]:
    return {
        "name": membership.user.name,
        "email": membership.user.email,
        "role": membership.role,
        "role_label": membership.get_role_display(),
        "is_you": membership.pk == me.pk,
        "role_url": reverse("change_role", args=[membership.pk]) if me.is_admin else "",
        "remove_url": reverse("remove_member", args=[membership.pk])
        if me.is_admin and membership.pk != me.pk
        else "",
    }
