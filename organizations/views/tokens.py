"""Settings > Access tokens: one's own, and for admins all of the organization's."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import F, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from organizations.access import member_required
from organizations.forms import TokenForm
from organizations.middleware import MemberRequest
from organizations.models import AccessToken, Membership, Scope
from organizations.models.token import MOST_TOKENS, TooManyTokens
from organizations.views.confirming import confirm

PAGE_SIZE = 50
MOST_ENDED = 20  # shown of one's own


@require_GET
@member_required
def tokens(request: MemberRequest) -> HttpResponse:
    return _page(request)


@sensitive_variables()
@require_POST
@member_required
def create_token(request: MemberRequest) -> HttpResponse:
    """Make a token and show it in this answer, the only place where it ever stands."""
    form = TokenForm(request.membership, request.POST)
    if not form.is_valid():
        return _page(request, form=form)
    try:
        _token, secret = AccessToken.issue(
            request.membership,
            form.cleaned_data["name"],
            scopes=form.scopes_chosen,
            expires_at=form.expires_at,
        )
    except Membership.DoesNotExist as error:  # just removed
        raise PermissionDenied("You don't belong to this organization any more.") from error
    except TooManyTokens:
        form.add_error(
            None, _("You have %d tokens, and can't have more: revoke one first.") % MOST_TOKENS
        )
        return _page(request, form=form)
    return _page(request, secret=secret)


@require_http_methods(["GET", "POST"])
@member_required
def revoke_token(request: MemberRequest, token_id: int) -> HttpResponse:
    """Ask, then do it. Others' tokens are there for admins only."""
    me = request.membership
    ours = AccessToken.objects.filter(organization=me.organization).select_related("user")
    token = get_object_or_404(ours if me.is_admin else ours.of(me), pk=token_id)
    if request.method == "POST":
        token.revoke(me.user)
        messages.success(request, _("“%s” is revoked.") % token.name)
        return redirect("tokens")
    whose = "" if token.user_id == me.user_id else _(" of %s") % token.user
    return confirm(
        request,
        title=_("Revoke “%(name)s”%(whose)s?") % {"name": token.name, "whose": whose},
        text=_("Programs that use it are refused from now on. This can't be undone."),
        button=_("Revoke"),
        url=reverse("revoke_token", args=[token.pk]),
        back=reverse("tokens"),
        section="tokens",
    )


def _page(
    request: MemberRequest, *, form: TokenForm | None = None, secret: str = ""
) -> HttpResponse:
    me = request.membership
    own = AccessToken.objects.of(me).select_related("user").order_by("-created_at", "-id")
    usable = own.usable()
    ended = own.exclude(pk__in=usable.values("pk"))[:MOST_ENDED]
    return render(
        request,
        "organizations/settings/tokens.html",
        {
            "tokens": [_token(token) for token in [*usable, *ended]],
            "all_tokens": _all(request) if me.is_admin else None,
            "form": form or TokenForm(me),
            "secret": secret,
            "section": "tokens",
        },
        status=422 if form else 200,
    )


def _all(request: MemberRequest) -> dict[str, object]:
    """Every usable token of the organization, the last used first."""
    rows: QuerySet[AccessToken] = (
        AccessToken.objects.filter(organization=request.membership.organization)
        .usable()
        .select_related("user")
        .order_by(F("last_used_at").desc(nulls_last=True), "-id")
    )
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    return {"page": page, "tokens": [_token(token) for token in page]}


def _token(token: AccessToken) -> dict[str, object]:
    return {
        "name": token.name,
        "shown": token.shown,
        "owner": token.user,
        "scopes": [scope.label for scope in Scope if token.allows(scope)],
        "created_at": token.created_at,
        "last_used_at": token.last_used_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "is_usable": token.is_usable,
        "revoke_url": reverse("revoke_token", args=[token.pk]) if token.is_usable else "",
    }
