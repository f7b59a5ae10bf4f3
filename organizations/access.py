"""Who may open a page: members, admins."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from organizations.middleware import MemberRequest

P = ParamSpec("P")
View = Callable[Concatenate[MemberRequest, P], HttpResponse]
DjangoView = Callable[Concatenate[HttpRequest, P], HttpResponse]


def member_required(view: View[P]) -> DjangoView[P]:
    """Signed in, and a member of an organization; `request.membership` is then set."""

    @wraps(view)
    def guarded(request: MemberRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if is_outsider(request):
            return render(
                request,
                "organizations/link_invalid.html",
                {
                    "title": "You don't belong to an organization",
                    "text": "Ask an admin of your organization for a new invitation link.",
                },
                status=403,
            )
        return view(request, *args, **kwargs)

    return login_required(guarded)  # type: ignore[return-value]  # a MemberRequest is an HttpRequest


def admin_required(view: View[P]) -> DjangoView[P]:
    """A member whose role is admin; others are told so (403)."""

    @wraps(view)
    def guarded(request: MemberRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if is_outsider(request) or not request.membership.is_admin:
            raise PermissionDenied("Only admins of your organization can open this page.")
        return view(request, *args, **kwargs)

    return member_required(guarded)  # type: ignore[arg-type]  # functools' own wrapper type


def is_outsider(request: MemberRequest) -> bool:
    """Whether the person belongs to no organization (the lazy membership is None)."""
    return not bool(cast("object", request.membership))
