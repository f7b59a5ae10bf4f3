"""Coming in: the one-time set-up, signing in and out, and joining by invitation."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from django.utils import timezone

from organizations.models import Invitation, Membership, Organization, Role, User
from organizations.setup import AlreadySetUp, is_setup_token, set_up, setup_token
from tests.conftest import PASSWORD, Cast

pytestmark = pytest.mark.django_db

FIRST = {
    "name": "Ada",
    "email": "Ada@Example.org",
    "password": PASSWORD,
    "organization": "Analytical Engines",
}
NEW = {"name": "Carol", "email": "carol@example.org", "password": PASSWORD}


def signed_in_as(client: Client) -> str:
    """The address of the client's person, or nothing."""
    number = client.session.get("_auth_user_id")
    return User.objects.get(pk=number).email if number else ""


# Set-up.


def test_the_set_up_link_makes_the_first_admin_and_lets_them_in() -> None:
    client = Client()
    address = f"/setup/{setup_token()}/"
    assert client.get(address).status_code == 200
    response = client.post(address, FIRST, follow=True)
    membership = Membership.objects.get()
    assert (membership.user.email, membership.user.name) == ("ada@example.org", "Ada")
    assert (membership.organization.name, membership.role) == ("Analytical Engines", Role.ADMIN)
    assert response.redirect_chain == [("/", 302)]
    assert signed_in_as(client) == "ada@example.org"
    assert 'id="composer"' in response.content.decode()


def test_the_set_up_link_works_once() -> None:
    address = f"/setup/{setup_token()}/"
    Client().post(address, FIRST)
    stranger = Client()
    for response in (
        stranger.get(address),
        stranger.post(address, FIRST | {"email": "eve@example.org"}),
    ):
        assert response.status_code == 404
        assert "set up already" in response.content.decode()
    assert User.objects.count() == Organization.objects.count() == 1
    assert not is_setup_token(setup_token())


@pytest.mark.parametrize("token", ["x", "0" * 40, "ünïcode"])
def test_a_wrong_set_up_link_shows_no_form(token: str) -> None:
    response = Client().post(f"/setup/{token}/", FIRST)
    assert response.status_code == 404
    assert "not valid" in response.content.decode()
    assert not User.objects.exists()


def test_the_set_up_link_depends_on_the_sites_secret(settings: Any) -> None:
    token = setup_token()
    assert is_setup_token(token)
    settings.SECRET_KEY = "another secret"
    assert not is_setup_token(token)


@pytest.mark.parametrize("password", ["short", "password123", "ada@example.org"])
def test_a_weak_first_password_is_shown_as_wrong(password: str) -> None:
    response = Client().post(f"/setup/{setup_token()}/", FIRST | {"password": password})
    assert response.context["form"].errors["password"]
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_set_ups_at_once_one_is_done() -> None:
    def first(number: int) -> bool:
        try:
            set_up(email=f"{number}@example.org", name="A", password=PASSWORD, organization="B")
        except AlreadySetUp:
            return False
        return True

    assert sorted(at_once(first, 4)) == [False, False, False, True]
    assert User.objects.count() == Organization.objects.count() == 1


def at_once(action: Callable[[int], Any], count: int) -> list[Any]:
    """Call it in so many threads at the same moment, each with its own connection."""
    together = threading.Barrier(count)

    def call(number: int) -> Any:
        together.wait(60)
        try:
            return action(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def setup_command(monkeypatch: pytest.MonkeyPatch, password: str = PASSWORD, **how: str) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\nmore\n"))
    printed = io.StringIO()
    options = {"email": "Ada@Example.org", "organization": "Engines"} | how
    call_command("setup", password_stdin=True, stdout=printed, **options)
    return printed.getvalue()


def test_the_set_up_command_prints_the_organizations_id_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed = setup_command(monkeypatch)
    membership = Membership.objects.get()
    assert printed.splitlines()[-1] == str(membership.organization_id)
    assert (membership.role, membership.user.name) == (Role.ADMIN, "ada")
    client = Client()
    client.post("/sign-in/", {"username": "ada@example.org", "password": PASSWORD})
    assert signed_in_as(client) == "ada@example.org"


def test_the_set_up_command_is_refused_once_somebody_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup_command(monkeypatch)
    with pytest.raises(CommandError, match="set up already"):
        setup_command(monkeypatch, email="eve@example.org")
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"password": "short"}, "too short"),
        ({"password": ""}, "too short"),
        ({"email": "no address"}, "valid email"),
        ({"organization": "  "}, "organization's name"),
        ({"organization": "x" * 81}, "organization's name"),
        ({"name": "x" * 81}, "organization's name"),
    ],
)
def test_the_set_up_command_refuses_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, how: dict[str, str], words: str
) -> None:
    with pytest.raises(CommandError, match=words):
        setup_command(monkeypatch, **how)
    assert not User.objects.exists()


def test_the_set_up_command_does_not_take_a_password_by_accident(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    with pytest.raises(CommandError, match="--password-stdin"):
        call_command("setup", email="ada@example.org", organization="Engines")


# Signing in and out.


@pytest.mark.parametrize(
    "email", ["alice@example.org", "Alice@Example.ORG", "  alice@example.org "]
)
def test_signing_in_with_any_letter_case_of_the_address(cast: Cast, email: str) -> None:
    client = Client()
    response = client.post("/sign-in/", {"username": email, "password": PASSWORD})
    assert response["Location"] == "/"
    assert signed_in_as(client) == "alice@example.org"


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("alice@example.org", "wrong"),
        ("alice@example.org", PASSWORD.upper()),
        ("nobody@example.org", PASSWORD),
        ("alice@example.org", ""),
        ("", ""),
        ("alice\x00@example.org", PASSWORD),
        ("alice@example.org", f"{PASSWORD}\x00"),
    ],
)
def test_a_wrong_pair_is_refused_in_the_same_words(cast: Cast, email: str, password: str) -> None:
    client = Client()
    response = client.post("/sign-in/", {"username": email, "password": password})
    assert response.status_code == 200
    assert signed_in_as(client) == ""
    if email and password and "\x00" not in email + password:
        assert "match. Check both" in response.content.decode()


def test_people_whose_account_is_closed_cannot_sign_in_and_are_out_at_once(cast: Cast) -> None:
    client = Client()
    client.post("/sign-in/", {"username": "bob@example.org", "password": PASSWORD})
    assert client.get("/").status_code == 200
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)
    assert client.get("/")["Location"].startswith("/sign-in/")
    again = Client()
    again.post("/sign-in/", {"username": "bob@example.org", "password": PASSWORD})
    assert signed_in_as(again) == ""


def test_signing_in_goes_back_to_where_one_was_sent_from(cast: Cast) -> None:
    form = {"username": "alice@example.org", "password": PASSWORD}
    response = Client().post("/sign-in/", form | {"next": "/settings/members/"})
    assert response["Location"] == "/settings/members/"
    for foreign in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        assert Client().post("/sign-in/", form | {"next": foreign})["Location"] == "/"


def test_signing_out_ends_the_session_for_every_tab(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.alice)
    other_tab = Client()
    other_tab.cookies = SimpleCookie(client.cookies)
    assert other_tab.get("/").status_code == 200
    other_tab.cookies = SimpleCookie(client.cookies)
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert other_tab.get("/")["Location"].startswith("/sign-in/")


def test_signing_out_needs_a_form(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.alice)
    assert client.get("/sign-out/").status_code == 405
    assert signed_in_as(client) == "alice@example.org"


def test_before_the_set_up_the_sign_in_page_says_what_to_do() -> None:
    assert "not set up yet" in Client().get("/sign-in/").content.decode()


def test_after_the_set_up_it_does_not(cast: Cast) -> None:
    assert "not set up yet" not in Client().get("/sign-in/").content.decode()


# Joining.


@pytest.fixture
def link(cast: Cast) -> str:
    return f"/join/{Invitation.issue(cast.organization, Role.REVIEWER, cast.alice)}/"


def test_a_new_person_joins_by_the_link(cast: Cast, link: str) -> None:
    client = Client()
    assert "Join Example Org" in client.get(link).content.decode()
    assert client.post(link, NEW)["Location"] == "/"
    membership = Membership.objects.get(user__email="carol@example.org")
    assert (membership.organization, membership.role) == (cast.organization, Role.REVIEWER)
    assert signed_in_as(client) == "carol@example.org"
    assert client.get("/").status_code == 200


def test_a_signed_in_person_joins_as_themselves(cast: Cast, link: str) -> None:
    client = Client()
    client.force_login(cast.mallory)
    assert "signed in as mallory@example.org" in client.get(link).content.decode()
    client.post(link)
    assert cast.mallory.memberships.filter(organization=cast.organization).exists()
    assert User.objects.count() == 3


def test_the_link_works_once(cast: Cast, link: str) -> None:
    Client().post(link, NEW)
    second = NEW | {"email": "dave@example.org"}
    for response in (Client().get(link), Client().post(link, second)):
        assert response.status_code == 404
        assert "not valid any more" in response.content.decode()
    assert not User.objects.filter(email="dave@example.org").exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_use_the_link_at_once_one_joins_and_the_other_has_no_account(
    cast: Cast, link: str
) -> None:
    def join(number: int) -> int:
        return Client().post(link, NEW | {"email": f"{number}@example.org"}).status_code

    assert sorted(at_once(join, 3)) == [302, 404, 404]
    assert cast.organization.memberships.count() == 3
    assert User.objects.count() == 4


def test_an_expired_link_is_not_valid(cast: Cast, link: str) -> None:
    assert Client().get(link).status_code == 200
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Client().get(link).status_code == 404
    assert Client().post(link, NEW).status_code == 404
    assert not User.objects.filter(email=NEW["email"]).exists()


def test_a_link_is_valid_for_seven_days(cast: Cast, link: str) -> None:
    left = Invitation.objects.get().expires_at - timezone.now()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


def test_an_address_that_has_an_account_is_asked_to_sign_in(cast: Cast, link: str) -> None:
    response = Client().post(link, NEW | {"email": "BOB@example.org"})
    assert "Sign in instead" in response.content.decode()
    assert User.objects.count() == 3
    assert Client().get(link).status_code == 200  # not used up


@pytest.mark.parametrize(
    "wrong", [{"password": "short"}, {"email": "none"}, {"name": ""}, {"name": "a\x00b"}]
)
def test_a_wrong_form_does_not_use_the_link_up(
    cast: Cast, link: str, wrong: dict[str, str]
) -> None:
    client = Client()
    assert client.post(link, NEW | wrong).context["form"].errors
    assert client.post(link, NEW).status_code == 302


def test_the_stored_digest_is_not_the_token(cast: Cast, link: str) -> None:
    assert Invitation.objects.get().digest not in link
