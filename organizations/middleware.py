"""Find the signed-in person's membership once a request."""

from collections.abc import Callable
from typing import cast

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject
from django_htmx.middleware import HtmxDetails

from organizations.models import Membership


class MemberRequest(HttpRequest):
    """A request whose view is guarded by `member_required`."""

    membership: Membership
    htmx: HtmxDetails


def _membership(request: HttpRequest) -> Membership | None:
    if not request.user.is_authenticated:
        return None
    return Membership.objects.of(request.user).first()


def current_membership(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        # None, lazily, for people who are not signed in or belong to no organization.
        lazy = SimpleLazyObject(lambda: _membership(request))
        cast("MemberRequest", request).membership = cast("Membership", lazy)
        return get_response(request)

    return middleware
