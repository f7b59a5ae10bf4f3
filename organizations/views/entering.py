"""Come in: sign in, set up the site, join by link."""

from contextlib import suppress

from django.contrib.auth import login
from django.contrib.auth.views import LoginView
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from organizations.forms import PersonForm, SetupForm, SignInForm
from organizations.models import Invitation, User
from organizations.setup import AlreadySetUp, is_set_up, is_setup_token, set_up


class SignInView(LoginView):
    """Sign in by e-mail and password."""

    form_class = SignInForm
    template_name = "organizations/sign_in.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        context = super().get_context_data(set_up=is_set_up(), **kwargs)
        context.pop("site", None)  # contrib's word for the host name hides ours
        return context


@sensitive_post_parameters("password")
@sensitive_variables()
@require_http_methods(["GET", "POST"])
def setup(request: HttpRequest, token: str) -> HttpResponse:
    """The one-time link of a new site: makes its first person and organization."""
    if is_set_up():
        return _invalid(
            request,
            _("This site is set up already"),
            _("Sign in, or ask an admin of your organization for an invitation link."),
        )
    if not is_setup_token(token):
        return _invalid(
            request,
            _("This set-up link is not valid"),
            _("The server prints the right one when it starts."),
        )
    form = SetupForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            membership = set_up(**form.cleaned_data)
        except AlreadySetUp:
            return redirect("sign_in")
        login(request, membership.user)
        return redirect("conversation_new")
    return render(request, "organizations/setup.html", {"form": form})


@sensitive_post_parameters("password")
@sensitive_variables()
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """An invitation's link: makes an account, or adds the signed-in person."""
    invitation = Invitation.objects.by_token(token)
    if invitation is None:
        return _used(request)
    form = PersonForm(request.POST or None)
    if request.method == "POST":
        if request.user.is_authenticated:
            # Who belongs to it already leaves the link to whom it is meant for.
            if not request.user.memberships.filter(organization=invitation.organization).exists():
                invitation.accept(request.user)
            return redirect("conversation_new")
        if form.is_valid():
            user = _join_anew(invitation, form)
            if user is None:
                return _used(request)
            login(request, user)
            return redirect("conversation_new")
    return render(request, "organizations/join.html", {"form": form, "invitation": invitation})


def _join_anew(invitation: Invitation, form: PersonForm) -> User | None:
    """Make the account and its membership; None where somebody was faster with the same link.

    Also where it was the same person: a double click.
    """
    with suppress(IntegrityError), transaction.atomic():
        user = User.objects.create_user(**form.cleaned_data)
        if invitation.accept(user):
            return user
        transaction.set_rollback(True)
    return None


def _used(request: HttpRequest) -> HttpResponse:
    return _invalid(
        request,
        _("This invitation is not valid any more"),
        _("It was used, withdrawn, or is older than 7 days. Ask for a new one."),
    )


def _invalid(request: HttpRequest, title: str, text: str) -> HttpResponse:
    return render(
        request, "organizations/link_invalid.html", {"title": title, "text": text}, status=404
    )
