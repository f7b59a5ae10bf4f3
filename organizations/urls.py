"""Paths of the account, the team and the way in."""

from django.contrib.auth.views import LogoutView
from django.urls import path
from django.views.generic import RedirectView

from organizations.views import (
    account,
    entering,
    members,
    organization,
    provider_models,
    providers,
    tokens,
)

urlpatterns = [
    path("sign-in/", entering.SignInView.as_view(), name="sign_in"),
    path("sign-out/", LogoutView.as_view(), name="sign_out"),
    path("setup/<str:token>/", entering.setup, name="setup"),
    path("join/<str:token>/", entering.join, name="join"),
    path("settings/", RedirectView.as_view(pattern_name="account"), name="settings"),
    path("settings/account/", account.account, name="account"),
    path("settings/account/name/", account.change_name, name="change_name"),
    path("settings/account/password/", account.change_password, name="change_password"),
    path("settings/theme/", account.change_theme, name="change_theme"),
    path("settings/members/", members.members, name="members"),
    path("settings/members/invite/", members.invite, name="invite"),
    path(
        "settings/members/invitations/<int:invitation_id>/withdraw/",
        members.withdraw,
        name="withdraw_invitation",
    ),
    path("settings/members/<int:membership_id>/role/", members.change_role, name="change_role"),
    path("settings/members/<int:membership_id>/remove/", members.remove, name="remove_member"),
    path("settings/organization/", organization.organization, name="organization"),
    path("settings/tokens/", tokens.tokens, name="tokens"),
    path("settings/tokens/create/", tokens.create_token, name="create_token"),
    path("settings/tokens/<int:token_id>/revoke/", tokens.revoke_token, name="revoke_token"),
    path("settings/providers/", providers.providers, name="providers"),
    path("settings/providers/new/", providers.new_provider, name="new_provider"),
    path("settings/providers/<int:provider_id>/", providers.provider, name="provider"),
    path(
        "settings/providers/<int:provider_id>/delete/",
        providers.delete_provider,
        name="delete_provider",
    ),
    path(
        "settings/providers/<int:provider_id>/fetch/",
        provider_models.fetch_models,
        name="fetch_models",
    ),
    path(
        "settings/providers/<int:provider_id>/test/",
        provider_models.test_provider,
        name="test_provider",
    ),
    path(
        "settings/providers/<int:provider_id>/models/",
        provider_models.add_models,
        name="add_models",
    ),
    path(
        "settings/providers/<int:provider_id>/models/<int:model_id>/",
        provider_models.provider_model,
        name="provider_model",
    ),
    path(
        "settings/providers/<int:provider_id>/models/<int:model_id>/remove/",
        provider_models.remove_model,
        name="remove_model",
    ),
]
