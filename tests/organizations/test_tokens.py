"""Access tokens: made, shown once, listed, revoked; by page and by command."""

import hashlib
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from organizations.models import AccessToken, Membership, Organization, Role, Scope, User
from organizations.models.token import MOST_TOKENS, USE_NOTED_EVERY, TooManyTokens
from tests.conftest import Cast
from tests.organizations.test_entering import at_once

pytestmark = pytest.mark.django_db

SignIn = Callable[[User], Client]
LIST, CREATE = "/settings/tokens/", "/settings/tokens/create/"
FORM = {"name": "Nightly report", "expiry": "90", "scopes": ["chat", "models"]}


def create(client: Client, **fields: Any) -> tuple[Any, str]:
    """The answer, and the secret that it shows or ""."""
    response = client.post(CREATE, FORM | fields)
    found = re.search(r'value="(cs_[\w-]{43})"', response.content.decode())
    return response, found[1] if found else ""


def text_of(client: Client, address: str = LIST) -> str:
    return client.get(address).content.decode()


def issue(cast: Cast, user: User, name: str = "A", **fields: Any) -> tuple[AccessToken, str]:
    return AccessToken.issue(cast.membership(user), name, **fields)


def usable(secret: str) -> bool:
    return AccessToken.objects.by_secret(secret) is not None


# Making one.


def test_the_secret_is_shown_once_and_stored_nowhere(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.bob)
    response, secret = create(client)
    assert response.status_code == 200
    assert secret
    page = text_of(client)
    assert secret not in page
    assert f"{secret[:7]}…{secret[-4:]}" in page
    stored = AccessToken.objects.values().get()
    assert secret not in repr(stored)
    assert stored["digest"] == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(dict(client.session.items()))
    token = AccessToken.objects.by_secret(secret)
    assert token
    assert (token.user, token.organization) == (cast.bob, cast.organization)


@pytest.mark.parametrize(
    ("expiry", "days"),
    [
        pytest.param({"expiry": "30"}, 30, id="30 days"),
        pytest.param({"expiry": "365"}, 365, id="a year"),
        pytest.param({"expiry": "never"}, None, id="never"),
        pytest.param({"expiry": "never", "until": "2020-01-01"}, None, id="a date not asked for"),
    ],
)
def test_it_expires_when_it_was_said(
    cast: Cast, sign_in: SignIn, expiry: dict[str, str], days: int | None
) -> None:
    create(sign_in(cast.bob), **expiry)
    ends = AccessToken.objects.get().expires_at
    if days is None:
        assert ends is None
    else:
        assert ends
        assert abs(ends - timezone.now() - timedelta(days=days)) < timedelta(minutes=5)


def test_a_token_is_valid_through_its_last_day(
    cast: Cast, sign_in: SignIn, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TIME_ZONE = "Pacific/Auckland"
    moment = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: moment)  # or a day could end meanwhile
    today = timezone.localdate()
    response, secret = create(sign_in(cast.bob), expiry="date", until=today.isoformat())
    assert response.status_code == 200
    ends = AccessToken.objects.get().expires_at
    assert ends
    local = timezone.localtime(ends)
    assert (local.date(), local.hour, local.minute) == (today + timedelta(days=1), 0, 0)
    assert usable(secret)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        pytest.param({"name": " "}, "name", id="no name"),
        pytest.param({"name": "x" * 81}, "name", id="long name"),
        pytest.param({"name": "a\x00b"}, "name", id="NUL"),
        pytest.param({"expiry": "5"}, "expiry", id="unknown expiry"),
        pytest.param({"expiry": "date"}, "until", id="no date"),
        pytest.param({"expiry": "date", "until": "2020-01-01"}, "until", id="past"),
        pytest.param({"expiry": "date", "until": "9999-12-31"}, "until", id="far"),
        pytest.param({"expiry": "date", "until": "soon"}, "until", id="no date at all"),
        pytest.param({"scopes": []}, "scopes", id="no scope"),
        pytest.param({"scopes": ["chat", "root"]}, "scopes", id="unknown scope"),
    ],
)
def test_a_wrong_form_makes_none_and_names_the_field(
    cast: Cast, sign_in: SignIn, fields: dict[str, Any], wrong: str
) -> None:
    response, secret = create(sign_in(cast.bob), **fields)
    assert response.status_code == 422
    assert list(response.context["form"].errors) == [wrong]
    assert not secret
    assert not AccessToken.objects.exists()


def test_the_form_sent_again_by_a_reload_makes_no_second_one(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.bob)
    create(client)
    response, secret = create(client)
    assert (response.status_code, secret) == (422, "")
    assert "a token with this name" in response.content.decode()
    AccessToken.objects.get().revoke(cast.bob)
    assert create(client)[1], "the name is free again"


def test_the_scopes_are_those_chosen(cast: Cast, sign_in: SignIn) -> None:
    create(sign_in(cast.bob), scopes=["models"])
    token = AccessToken.objects.get()
    assert [scope for scope in Scope if token.allows(scope)] == [Scope.MODELS]


def test_there_is_a_most(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.bob)
    first, _ = issue(cast, cast.bob, "0")
    for number in range(1, MOST_TOKENS):
        issue(cast, cast.bob, str(number))
    response, secret = create(client)
    assert (response.status_code, secret) == (422, "")
    assert "revoke one first" in response.content.decode()
    assert create(sign_in(cast.alice))[1], "others are not concerned"
    first.revoke(cast.bob)
    assert create(client)[1]


@pytest.mark.django_db(transaction=True)
def test_two_at_once_do_not_pass_the_most(cast: Cast) -> None:
    for number in range(MOST_TOKENS - 1):
        issue(cast, cast.bob, str(number))

    def one_more(number: int) -> bool:
        try:
            issue(cast, cast.bob, f"last {number}")
        except TooManyTokens:
            return False
        return True

    assert sorted(at_once(one_more, 3)) == [False, False, True]


def test_none_is_made_for_who_was_removed_meanwhile(cast: Cast) -> None:
    membership = cast.membership(cast.bob)
    cast.membership(cast.bob).end()
    with pytest.raises(Membership.DoesNotExist):
        AccessToken.issue(membership, "Late")
    assert not AccessToken.objects.exists()


# Using one.


def leave(cast: Cast, token: AccessToken) -> None:
    cast.membership(cast.bob).end()


def close(cast: Cast, token: AccessToken) -> None:
    User.objects.filter(pk=cast.bob.pk).update(is_active=False)


def revoke(cast: Cast, token: AccessToken) -> None:
    token.revoke(cast.alice)


def expire(cast: Cast, token: AccessToken) -> None:
    AccessToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())


def join_elsewhere(cast: Cast, token: AccessToken) -> None:
    leave(cast, token)
    Membership.objects.create(user=cast.bob, organization=cast.elsewhere)


@pytest.mark.parametrize("end", [leave, close, revoke, expire, join_elsewhere])
def test_what_ends_a_token_ends_it_at_once(cast: Cast, end: Any) -> None:
    token, secret = issue(cast, cast.bob)
    _other, others = issue(cast, cast.alice)
    assert usable(secret)
    end(cast, token)
    assert not usable(secret)
    assert usable(others)


def sign_out(cast: Cast, client: Client) -> None:
    client.post("/sign-out/")


def change_role(cast: Cast, client: Client) -> None:
    cast.membership(cast.bob).change_role(Role.REVIEWER)


@pytest.mark.parametrize("happening", [sign_out, change_role])
def test_what_does_not_end_it(cast: Cast, sign_in: SignIn, happening: Any) -> None:
    client = sign_in(cast.bob)
    secret = create(client)[1]
    happening(cast, client)
    assert usable(secret)


@pytest.mark.parametrize("secret", ["", "cs_", "cs_" + "x" * 43, "\udce4", "\x00", "x" * 10_000])
def test_what_is_no_secret_finds_nothing(cast: Cast, secret: str) -> None:
    _token, real = issue(cast, cast.bob)
    assert usable(real)
    assert not usable(secret)
    assert not usable(real[:-1])
    assert not usable(real.upper())


def test_use_is_noted_at_most_once_a_minute(cast: Cast) -> None:
    token, _ = issue(cast, cast.bob)
    token.note_use()
    first = AccessToken.objects.get().last_used_at
    assert first
    token.note_use()
    assert AccessToken.objects.get().last_used_at == first
    token.last_used_at = first - USE_NOTED_EVERY
    token.note_use()
    assert AccessToken.objects.get().last_used_at != first


# The lists.


def test_members_see_their_own_and_admins_all(cast: Cast, sign_in: SignIn) -> None:
    issue(cast, cast.alice, "Of Alice")
    issue(cast, cast.bob, "Of Bob")
    issue(cast, cast.mallory, "Of Mallory")
    for user, seen in (
        (cast.alice, {"Alice", "Bob"}),
        (cast.bob, {"Bob"}),
        (cast.mallory, {"Mallory"}),
    ):
        page = text_of(sign_in(user))
        assert set(re.findall(r"Of (\w+)", page)) == seen
        assert ("All tokens of the organization" in page) is (user != cast.bob)


def test_the_states_are_named_and_only_usable_ones_can_be_revoked(
    cast: Cast, sign_in: SignIn
) -> None:
    made = {name: issue(cast, cast.bob, name)[0] for name in ("Usable", "Gone", "Late")}
    made["Gone"].revoke(cast.bob)
    expire(cast, made["Late"])
    page = text_of(sign_in(cast.bob))
    assert re.findall(r'aria-label="Revoke (\w+)"', page) == ["Usable"]
    assert re.findall(r'class="tag">(\w+)<', page) == ["Expired", "Revoked"]
    assert "Never used" in page
    assert "All tokens" not in page


def test_without_one_the_page_says_what_they_are_for(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.bob)
    assert "instead of your password" in text_of(client)
    create(client)
    assert "instead of your password" not in text_of(client)


def test_the_organizations_list_has_pages(cast: Cast, sign_in: SignIn) -> None:
    for number in range(MOST_TOKENS):
        issue(cast, cast.bob, f"Number {number:02}")
    issue(cast, cast.alice, "Mine")
    client = sign_in(cast.alice)
    first, second = text_of(client), text_of(client, f"{LIST}?page=2")
    assert "1 of 2" in first
    assert "Number 00" not in first
    assert "Number 00" in second
    assert "2 of 2" in text_of(client, f"{LIST}?page=99")


def test_many_cost_as_many_queries_as_one(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            text_of(client)
        return len(asked)

    issue(cast, cast.alice)[0].revoke(cast.alice)
    issue(cast, cast.bob)
    issue(cast, cast.alice)
    few = queries()
    for number in range(20):
        issue(cast, cast.alice, f"Ended {number}")[0].revoke(cast.alice)
        issue(cast, cast.alice, f"Usable {number}")
        issue(cast, cast.bob, f"Of Bob {number}")
    assert queries() == few


# Revoking.


@pytest.mark.parametrize(
    ("who", "whose", "status"),
    [
        ("bob", "bob", 302),
        ("alice", "bob", 302),
        ("bob", "alice", 404),
        ("mallory", "bob", 404),
        ("alice", "mallory", 404),
    ],
)
def test_who_may_revoke(cast: Cast, sign_in: SignIn, who: str, whose: str, status: int) -> None:
    token, secret = issue(cast, getattr(cast, whose))
    client = sign_in(getattr(cast, who))
    address = f"{LIST}{token.pk}/revoke/"
    assert client.get(address).status_code == (200 if status == 302 else 404)
    assert usable(secret), "the question alone does nothing"
    assert client.post(address).status_code == status
    assert usable(secret) is (status == 404)
    if status == 302:
        assert AccessToken.objects.get(pk=token.pk).revoked_by == getattr(cast, who)


def test_the_question_is_a_page_or_for_htmx_a_part(cast: Cast, sign_in: SignIn) -> None:
    token, _ = issue(cast, cast.bob, "Nightly")
    client = sign_in(cast.alice)
    page = text_of(client, f"{LIST}{token.pk}/revoke/")
    part = client.get(f"{LIST}{token.pk}/revoke/", headers={"HX-Request": "true"}).content.decode()
    for text in (page, part):
        assert "Revoke “Nightly” of Bob?" in text
    assert "<main" in page
    assert "<main" not in part


def test_a_second_revocation_keeps_the_first(cast: Cast) -> None:
    token, _ = issue(cast, cast.bob)
    token.revoke(cast.bob)
    first = AccessToken.objects.get()
    token.revoke(cast.alice)
    assert AccessToken.objects.get().revoked_by == cast.bob
    assert AccessToken.objects.get().revoked_at == first.revoked_at


# The command.


def by_command(**options: Any) -> tuple[str, str]:
    """What it prints: to the output, and beside it."""
    printed, beside = io.StringIO(), io.StringIO()
    known = {"email": "bob@example.org", "organization": "Example Org", "name": "CI"}
    call_command("create_token", stdout=printed, stderr=beside, **known | options)
    return printed.getvalue(), beside.getvalue()


def test_the_command_prints_the_token_alone(cast: Cast) -> None:
    printed, beside = by_command(email="Bob@Example.org")
    secret = printed.splitlines()[-1]
    assert printed == f"{secret}\n"
    assert secret not in beside
    assert "CI" in beside
    token = AccessToken.objects.by_secret(secret)
    assert token
    assert (token.user, token.expires_at) == (cast.bob, None)
    assert token.allows(Scope.CHAT)
    assert token.allows(Scope.MODELS)


def test_the_command_takes_an_id_an_end_and_scopes(cast: Cast) -> None:
    secret, _ = by_command(organization=str(cast.organization.pk).upper(), days=7, scope=["models"])
    token = AccessToken.objects.by_secret(secret.strip())
    assert token
    assert token.scopes == ["models"]
    assert token.expires_at
    assert timedelta(days=6) < token.expires_at - timezone.now() < timedelta(days=8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"email": "eve@example.org"}, "Nobody here", id="unknown person"),
        pytest.param({"organization": "Nowhere"}, "no organization", id="unknown name"),
        pytest.param({"organization": "0" * 32}, "no organization", id="unknown id"),
        pytest.param({"organization": "Elsewhere"}, "not a member", id="not a member"),
        pytest.param({"organization": "Twice"}, "give the id", id="two of that name"),
        pytest.param({"email": "carol@example.org"}, "closed", id="closed account"),
        pytest.param({"name": " "}, "name", id="no name"),
        pytest.param({"name": "a\x00"}, "name", id="NUL"),
        pytest.param({"days": 0}, "--days", id="no days"),
        pytest.param({"days": 10**9}, "--days", id="too many days"),
    ],
)
def test_the_command_says_what_is_wrong(cast: Cast, options: dict[str, Any], words: str) -> None:
    for _ in range(2):
        Organization.objects.create(name="Twice")
    User.objects.create_user("carol@example.org", is_active=False)
    with pytest.raises(CommandError, match=words):
        by_command(**options)
    assert not AccessToken.objects.exists()
