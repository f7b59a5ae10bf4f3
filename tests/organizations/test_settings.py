"""Settings: name, password, theme, and the members of the organization."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from completions.listing import ListedModel
from organizations.models import (
    AccessToken,
    Audience,
    Invitation,
    Membership,
    Organization,
    Provider,
    ProviderModel,
    Role,
    User,
)
from organizations.models.organization import LastAdmin
from tests.conftest import PASSWORD, Cast
from tests.organizations.test_entering import at_once, signed_in_as

pytestmark = pytest.mark.django_db

SignIn = Callable[[User], Client]
NEW_PASSWORD = "battery staple horse"


# The account.


def test_a_new_name_is_shown(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.bob)
    page = client.post("/settings/account/name/", {"name": " Robert "}, follow=True)
    assert "Your name is changed" in page.content.decode()
    cast.bob.refresh_from_db()
    assert cast.bob.name == "Robert"


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\x00b"])
def test_a_name_that_is_none_is_refused_and_the_old_one_kept(
    cast: Cast, sign_in: SignIn, name: str
) -> None:
    response = sign_in(cast.bob).post("/settings/account/name/", {"name": name})
    assert response.status_code == 422
    cast.bob.refresh_from_db()
    assert cast.bob.name == "Bob"
    assert "Bob · Example Org" in response.content.decode()


def change_password(client: Client, old: str = PASSWORD, new: str = NEW_PASSWORD) -> Any:
    fields = {"old_password": old, "new_password1": new, "new_password2": new}
    return client.post("/settings/account/password/", fields)


def test_a_new_password_signs_other_devices_out_and_not_this_one(
    cast: Cast, sign_in: SignIn
) -> None:
    here, elsewhere = sign_in(cast.alice), sign_in(cast.alice)
    assert here.get("/").status_code == elsewhere.get("/").status_code == 200
    assert change_password(here).status_code == 302
    assert here.get("/").status_code == 200
    assert elsewhere.get("/")["Location"].startswith("/sign-in/")
    for password, email in ((PASSWORD, ""), (NEW_PASSWORD, "alice@example.org")):
        client = Client()
        client.post("/sign-in/", {"username": "alice@example.org", "password": password})
        assert signed_in_as(client) == email


@pytest.mark.parametrize(
    ("old", "new"), [("wrong", NEW_PASSWORD), (PASSWORD, "short"), (PASSWORD, "alice@example.org")]
)
def test_a_wrong_old_or_a_weak_new_password_changes_nothing(
    cast: Cast, sign_in: SignIn, old: str, new: str
) -> None:
    here, elsewhere = sign_in(cast.alice), sign_in(cast.alice)
    assert change_password(here, old, new).status_code == 422
    assert elsewhere.get("/").status_code == 200
    cast.alice.refresh_from_db()
    assert cast.alice.check_password(PASSWORD)


# The theme.


@pytest.mark.parametrize("theme", ["dark", "light", "system"])
def test_the_theme_is_kept_in_a_cookie(cast: Cast, sign_in: SignIn, theme: str) -> None:
    client = sign_in(cast.alice)
    response = client.post("/settings/theme/", {"theme": theme, "next": "/c/"})
    assert response["Location"] == "/c/"
    assert response.cookies["theme"]["httponly"]
    assert response.cookies["theme"]["samesite"] == "Lax"
    assert f'data-theme="{theme}"' in client.get("/c/").content.decode()


def test_an_unknown_theme_is_ignored_also_in_the_cookie(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)
    assert "theme" not in client.post("/settings/theme/", {"theme": '"><b>'}).cookies
    client.cookies["theme"] = "neon"
    assert 'data-theme="system"' in client.get("/").content.decode()


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "http://testserver.evil.example/",
    ],
)
def test_the_theme_leads_to_no_other_site(cast: Cast, sign_in: SignIn, back: str) -> None:
    response = sign_in(cast.alice).post("/settings/theme/", {"theme": "dark", "next": back})
    assert response["Location"] == "/settings/account/"


@pytest.mark.parametrize("back", ["conversation_detail", "nothing", "members"])
def test_a_word_is_not_taken_for_the_name_of_a_page(cast: Cast, sign_in: SignIn, back: str) -> None:
    response = sign_in(cast.alice).post("/settings/theme/", {"theme": "dark", "next": back})
    assert response.status_code == 302


# Members.


def text_of(client: Client, address: str = "/settings/members/") -> str:
    return client.get(address).content.decode()


def test_members_see_who_belongs_and_only_admins_can_change_it(cast: Cast, sign_in: SignIn) -> None:
    Invitation.issue(cast.organization, Role.MEMBER, cast.alice)
    admins, members = text_of(sign_in(cast.alice)), text_of(sign_in(cast.bob))
    for page in (admins, members):
        assert "alice@example.org" in page
        assert "bob@example.org" in page
        assert "mallory@example.org" not in page
    for words in ("Invite somebody", "Remove Bob", "Role of Bob", "Withdraw"):
        assert words in admins
        assert words not in members


def invite(client: Client, role: str = "member") -> str:
    """The path of the link that is shown."""
    page = client.post("/settings/members/invite/", {"role": role}).content.decode()
    found = re.search(r'value="http://testserver(/join/[^"]+)"', page)
    return found[1] if found else ""


def test_an_invitation_is_shown_once_and_works(cast: Cast, sign_in: SignIn) -> None:
    admin = sign_in(cast.alice)
    link = invite(admin, "reviewer")
    assert "Join Example Org" in text_of(Client(), link)
    page = text_of(admin)
    assert "Invitation as Reviewer" in page
    assert link not in page


def test_an_invitation_for_an_unknown_role_is_refused(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)
    assert client.post("/settings/members/invite/", {"role": "owner"}).status_code == 422
    assert not Invitation.objects.exists()


def test_a_withdrawn_invitation_is_not_valid(cast: Cast, sign_in: SignIn) -> None:
    admin = sign_in(cast.alice)
    link = invite(admin)
    assert Client().get(link).status_code == 200
    number = Invitation.objects.get().pk
    admin.post(f"/settings/members/invitations/{number}/withdraw/")
    assert Client().get(link).status_code == 404


def test_an_accepted_invitation_is_not_listed_and_cannot_be_withdrawn(
    cast: Cast, sign_in: SignIn
) -> None:
    admin = sign_in(cast.alice)
    link = invite(admin)
    assert "Withdraw" in text_of(admin)
    Client().post(link, {"name": "C", "email": "c@example.org", "password": PASSWORD})
    assert "Withdraw" not in text_of(admin)
    number = Invitation.objects.get().pk
    assert admin.post(f"/settings/members/invitations/{number}/withdraw/").status_code == 404


def role_of(cast: Cast, user: User) -> str:
    membership = Membership.objects.filter(user=user, organization=cast.organization).first()
    return membership.role if membership else ""


def member_url(cast: Cast, user: User, what: str) -> str:
    return f"/settings/members/{cast.membership(user).pk}/{what}/"


def test_an_admin_changes_roles_and_removes_people(cast: Cast, sign_in: SignIn) -> None:
    admin = sign_in(cast.alice)
    admin.post(member_url(cast, cast.bob, "role"), {"role": "reviewer"})
    assert role_of(cast, cast.bob) == Role.REVIEWER
    assert admin.post(member_url(cast, cast.bob, "role"), {"role": "king"}).status_code == 400
    admin.post(member_url(cast, cast.bob, "remove"))
    assert role_of(cast, cast.bob) == ""
    assert User.objects.filter(pk=cast.bob.pk).exists()


@pytest.mark.parametrize("end", ["remove", "role"])
def test_links_of_who_is_no_admin_any_more_lead_nowhere(
    cast: Cast, sign_in: SignIn, end: str
) -> None:
    bob = cast.membership(cast.bob)
    bob.change_role(Role.ADMIN)
    links = {
        team: Invitation.issue(team, Role.ADMIN, cast.bob)
        for team in (cast.organization, cast.elsewhere)
    }
    alices = Invitation.issue(cast.organization, Role.MEMBER, cast.alice)
    sign_in(cast.alice).post(member_url(cast, cast.bob, end), {"role": "member"})
    assert Invitation.objects.by_token(links[cast.organization]) is None
    assert Invitation.objects.by_token(links[cast.elsewhere]) is not None
    assert Invitation.objects.by_token(alices) is not None


def test_who_is_invited_again_begins_anew(cast: Cast, sign_in: SignIn) -> None:
    """Neither tokens nor named models come back; what is elsewhere stays."""
    memberships = {cast.organization: cast.membership(cast.bob)}
    memberships[cast.elsewhere] = Membership.objects.create(
        organization=cast.elsewhere, user=cast.bob
    )
    secrets: dict[Organization, str] = {}
    for team, membership in memberships.items():
        _token, secrets[team] = AccessToken.issue(membership, "A")
        provider = Provider.objects.create(organization=team, name="A", base_url="https://a/")
        provider.add_models([ListedModel("named")])
        model = provider.models.get()
        model.audience = Audience.NAMED
        model.save()
        model.users.add(cast.bob, cast.alice)

    def is_let_in(team: Organization) -> tuple[bool, bool]:
        models = ProviderModel.objects.usable_by(cast.bob, team.pk)
        return AccessToken.objects.by_secret(secrets[team]) is not None, models.exists()

    assert is_let_in(cast.organization) == (True, True)
    address = f"/settings/members/{memberships[cast.organization].pk}/remove/"
    sign_in(cast.alice).post(address)
    Membership.objects.create(organization=cast.organization, user=cast.bob)
    assert is_let_in(cast.organization) == (False, False)
    assert is_let_in(cast.elsewhere) == (True, True)
    ended = AccessToken.objects.get(organization=cast.organization)
    assert ended.revoked_by == cast.alice
    users = ProviderModel.objects.get(organization=cast.organization).users
    assert list(users.all()) == [cast.alice]


def test_the_last_admin_stays(cast: Cast, sign_in: SignIn) -> None:
    admin = sign_in(cast.alice)
    for what, form in (("role", {"role": "member"}), ("remove", {})):
        page = admin.post(member_url(cast, cast.alice, what), form, follow=True)
        assert "needs an admin" in page.content.decode()
        assert role_of(cast, cast.alice) == Role.ADMIN
    admin.post(member_url(cast, cast.bob, "role"), {"role": "admin"})
    admin.post(member_url(cast, cast.alice, "role"), {"role": "member"})
    assert role_of(cast, cast.alice) == Role.MEMBER
    assert admin.post(member_url(cast, cast.bob, "remove")).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_demote_each_other_at_once_leave_one(cast: Cast) -> None:
    cast.membership(cast.bob).change_role(Role.ADMIN)
    people = [cast.alice, cast.bob]

    def demote(number: int) -> bool:
        try:
            Membership.objects.get(user=people[number]).change_role(Role.MEMBER)
        except LastAdmin:
            return False
        return True

    assert sorted(at_once(demote, 2)) == [False, True]
    assert (
        Membership.objects.filter(role=Role.ADMIN).filter(organization=cast.organization).count()
        == 1
    )
