"""Settings > Account: name, password, theme."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from organizations.access import member_required
from organizations.forms import NameForm, NewPasswordForm
from organizations.middleware import MemberRequest

THEMES = {"system", "light", "dark"}
YEAR_SECONDS = 60 * 60 * 24 * 365


@require_GET
@member_required
def account(request: MemberRequest) -> HttpResponse:
    return _page(request)


@require_POST
@member_required
def change_name(request: MemberRequest) -> HttpResponse:
    form = NameForm(request.POST, instance=request.membership.user)
    if not form.is_valid():
        return _page(request, name_form=form)
    form.save()
    messages.success(request, _("Your name is changed."))
    return redirect("account")


@sensitive_post_parameters()
@sensitive_variables()
@require_POST
@member_required
def change_password(request: MemberRequest) -> HttpResponse:
    form = NewPasswordForm(request.membership.user, request.POST)
    if not form.is_valid():
        return _page(request, password_form=form)
    user = form.save()
    update_session_auth_hash(request, user)
    messages.success(request, _("Your password is changed. Other devices are signed out."))
    return redirect("account")


@require_POST
def change_theme(request: HttpRequest) -> HttpResponse:
    """Keep the theme in a cookie: it is needed before signing in, too."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        back = ""
    # Not `redirect`: it takes a word for the name of a page.
    response = HttpResponseRedirect(back or reverse("account"))
    theme = request.POST.get("theme", "")
    if theme in THEMES:
        response.set_cookie(
            "theme",
            theme,
            max_age=YEAR_SECONDS,
            samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
        )
    return response


def _page(
    request: MemberRequest,
    *,
    name_form: NameForm | None = None,
    password_form: NewPasswordForm | None = None,
) -> HttpResponse:
    user = request.membership.user
    # An invalid model form has already changed the object it was given.
    user.refresh_from_db(fields=["name"])
    return render(
        request,
        "organizations/settings/account.html",
        {
            "name_form": name_form or NameForm(instance=user),
            "password_form": password_form or NewPasswordForm(user),
            "section": "account",
        },
        status=422 if name_form or password_form else 200,
    )
