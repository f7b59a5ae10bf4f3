"""Who may open what: each address of the site for each kind of person.

Every address of the resolver has to stand in `TABLE`: one that is not there fails the test.
"""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from chatsite.headers import POLICY
from completions.listing import ListedModel
from conversations import actions
from conversations.actions import start_turn
from conversations.models import Access, Conversation, Message, TurnState
from organizations.models import AccessToken, Audience, Invitation, Role
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

WHO = ("anonymous", "mallory", "bob", "reader", "writer", "alice")
ACCESS = {"reader": Access.READ, "writer": Access.WRITE}
ENTER = "302 sign-in"  # to the sign-in page, and back from there

# Method and address: the status for each of WHO. Bob is in Alice's organization: not invited,
# invited to read, invited to write. Alice owns the conversation and is an admin; so is Mallory,
# elsewhere.
TABLE: dict[str, tuple[Any, Any, Any, Any, Any, Any]] = {
    "GET healthz": (200,) * 6,
    # The way in.
    "GET sign-in/": (200, *(302,) * 5),
    "POST sign-in/": (200, *(302,) * 5),  # an empty form, shown again
    "POST sign-out/": (302,) * 6,
    "GET setup/<token>/": (404,) * 6,
    "POST setup/<token>/": (404,) * 6,
    "GET join/<token>/": (200,) * 6,
    "POST join/<token>/": (200, *(302,) * 5),
    # The account: one's own.
    "GET settings/": (302,) * 6,
    "GET settings/account/": (ENTER, *(200,) * 5),
    "POST settings/account/name/": (ENTER, *(302,) * 5),
    "POST settings/account/password/": (ENTER, *(422,) * 5),
    "POST settings/theme/": (302,) * 6,
    # The team. Mallory acts in her own; the ids are of Alice's.
    "GET settings/members/": (ENTER, *(200,) * 5),
    "POST settings/members/invite/": (ENTER, 200, 403, 403, 403, 200),
    "POST settings/members/invitations/<invitation_id>/withdraw/": (ENTER, 404, 403, 403, 403, 302),
    "POST settings/members/<membership_id>/role/": (ENTER, 404, 403, 403, 403, 302),
    "POST settings/members/<membership_id>/remove/": (ENTER, 404, 403, 403, 403, 302),
    "GET settings/organization/": (ENTER, 200, 403, 403, 403, 200),
    "POST settings/organization/": (ENTER, 302, 403, 403, 403, 302),
    # Access tokens: one's own, and for admins all of the organization's. The id is of Alice's.
    "GET settings/tokens/": (ENTER, *(200,) * 5),
    "POST settings/tokens/create/": (ENTER, *(200,) * 5),
    "GET settings/tokens/<token_id>/revoke/": (ENTER, 404, 404, 404, 404, 200),
    "POST settings/tokens/<token_id>/revoke/": (ENTER, 404, 404, 404, 404, 302),
    # Providers: admins only; the ids are of Alice's organization.
    "GET settings/providers/": (ENTER, 200, 403, 403, 403, 200),
    "GET settings/providers/new/": (ENTER, 200, 403, 403, 403, 200),
    "POST settings/providers/new/": (ENTER, 302, 403, 403, 403, 302),
    "GET settings/providers/<provider_id>/": (ENTER, 404, 403, 403, 403, 200),
    "POST settings/providers/<provider_id>/": (ENTER, 404, 403, 403, 403, 302),
    "GET settings/providers/<provider_id>/delete/": (ENTER, 404, 403, 403, 403, 200),
    "POST settings/providers/<provider_id>/delete/": (ENTER, 404, 403, 403, 403, 302),
    "POST settings/providers/<provider_id>/fetch/": (ENTER, 404, 403, 403, 403, 200),
    "POST settings/providers/<provider_id>/test/": (ENTER, 404, 403, 403, 403, 200),
    "POST settings/providers/<provider_id>/models/": (ENTER, 404, 403, 403, 403, 302),
    "GET settings/providers/<provider_id>/models/<model_id>/": (ENTER, 404, 403, 403, 403, 200),
    "POST settings/providers/<provider_id>/models/<model_id>/": (ENTER, 404, 403, 403, 403, 302),
    "GET settings/providers/<provider_id>/models/<model_id>/remove/": (
        *(ENTER, 404, 403, 403, 403, 200),
    ),
    "POST settings/providers/<provider_id>/models/<model_id>/remove/": (
        *(ENTER, 404, 403, 403, 403, 302),
    ),
    # One's own calls, and how to make one.
    "GET settings/api/": (ENTER, *(200,) * 5),
    "GET settings/api/calls/": (ENTER, *(200,) * 5),
    "GET settings/usage/": (ENTER, *(200,) * 5),
    # Conversations.
    "GET ": (ENTER, *(200,) * 5),
    "POST ": (ENTER, *(302,) * 5),
    "GET model-status/": (ENTER, *(200,) * 5),
    "GET c/": (ENTER, *(200,) * 5),
    "GET c/deleted/": (ENTER, *(200,) * 5),
    "GET c/<conversation_id>/": (ENTER, 404, 404, 200, 200, 200),
    "POST c/<conversation_id>/messages/": (ENTER, 404, 404, 409, 302, 302),
    "POST c/<conversation_id>/stop/": (ENTER, 404, 404, 409, 302, 302),
    "POST c/<conversation_id>/title/": (ENTER, 404, 404, 409, 302, 302),
    "POST c/<conversation_id>/model/": (ENTER, 404, 404, 409, 302, 302),
    "POST c/<conversation_id>/parameters/": (ENTER, 404, 404, 409, 302, 302),
    "GET c/<conversation_id>/sharing/": (ENTER, 404, 404, 200, 200, 200),
    "POST c/<conversation_id>/sharing/": (ENTER, 404, 404, 404, 404, 302),
    "POST c/<conversation_id>/sharing/<user_id>/remove/": (ENTER, 404, 404, 404, 404, 302),
    "POST c/<conversation_id>/delete/": (ENTER, 404, 404, 404, 404, 302),
    "POST c/<conversation_id>/fork/": (ENTER, 404, 404, 302, 302, 302),
    "POST c/<conversation_id>/restore/": (ENTER, 404, 404, 404, 404, 302),
    "POST messages/<message_id>/regenerate/": (ENTER, 404, 404, 409, 302, 302),
    "POST messages/<message_id>/continue/": (ENTER, 404, 404, 409, 302, 302),
    "POST messages/<message_id>/show/": (ENTER, 404, 404, 409, 302, 302),
}

# A public address, since those for documentation are not; nothing is sent to it.
PROVIDER = {"name": "Ours", "base_url": "http://[2606:4700::1]:9/v1", "auth": "none"}


def no_fields(scene: "Scene") -> dict[str, Any]:
    return {}


FORMS: dict[str, Callable[["Scene"], dict[str, Any]]] = {
    "c/<conversation_id>/messages/": lambda scene: {"text": "Hello"},
    "c/<conversation_id>/title/": lambda scene: {"title": "Another"},
    "c/<conversation_id>/model/": lambda scene: {"model": "other-model"},
    "c/<conversation_id>/sharing/": lambda scene: {
        "member": scene.cast.bob.pk,
        "access": Access.READ,
    },
    "": lambda scene: {"text": "Hello", "client_id": uuid.uuid4()},
    "settings/members/invite/": lambda scene: {"role": Role.MEMBER},
    "settings/members/<membership_id>/role/": lambda scene: {"role": Role.REVIEWER},
    "settings/account/name/": lambda scene: {"name": "New name"},
    "settings/organization/": lambda scene: {"name": "New name"},
    "settings/tokens/create/": lambda scene: {
        "name": "Another",
        "expiry": "30",
        "scopes": ["chat"],
    },
    "settings/providers/new/": lambda scene: PROVIDER | {"name": "Another"},
    "settings/providers/<provider_id>/": lambda scene: PROVIDER,
    "settings/providers/<provider_id>/models/": lambda scene: {"typed": "another"},
    "settings/providers/<provider_id>/models/<model_id>/": lambda scene: {
        "context_tokens": 8192,
        "audience": "everyone",
    },
}


class Scene:
    """Everything the addresses name, and the six people."""

    cast: Cast
    conversation: Conversation

    def __init__(self, cast: Cast, conversation: Conversation) -> None:
        self.cast, self.conversation = cast, conversation
        turn = start_turn(conversation, cast.alice, "A secret question", uuid.uuid4())
        self.reply: Message = turn.replies.get()
        self.reply.text = "A secret answer"
        self.reply.save()
        conversation.turns.update(state=TurnState.INTERRUPTED)
        self.token = Invitation.issue(cast.organization, Role.MEMBER, cast.alice)
        self.access_token, _secret = AccessToken.issue(cast.membership(cast.alice), "A secret name")
        # Nothing listens there: what asks it fails at once.
        self.provider = cast.organization.providers.create(
            name="A secret provider",
            base_url="http://127.0.0.1:9",
            auth="none",
            allows_private=True,
        )
        self.provider.add_models([ListedModel("big-model")])
        self.provider.models.update(audience=Audience.ADMINS)

        self.browser = Client()

    def client(self, who: str) -> Client:
        client = self.browser
        client.cookies.clear()
        if who in ACCESS:
            actions.share(self.conversation, self.cast.bob, ACCESS[who])
        if who != "anonymous":
            client.force_login(getattr(self.cast, who, self.cast.bob))
        return client

    def address(self, pattern: str) -> str:
        values = {
            "conversation_id": self.conversation.pk,
            "message_id": self.reply.pk,
            "user_id": self.cast.bob.pk,
            "membership_id": self.cast.membership(self.cast.bob).pk,
            "invitation_id": Invitation.objects.get().pk,
            "token": self.token,
            "token_id": self.access_token.pk,
            "provider_id": self.provider.pk,
            "model_id": self.provider.models.get().pk,
        }
        return "/" + re.sub(r"<(\w+)>", lambda match: str(values[match[1]]), pattern)


@pytest.fixture
def scene(cast: Cast, conversation: Conversation) -> Scene:
    return Scene(cast, conversation)


def patterns(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each address, with `<int:name>` written as `<name>`."""
    for entry in resolver.url_patterns:
        path = prefix + re.sub(r"<\w+:(\w+)>", r"<\1>", str(entry.pattern))
        if isinstance(entry, URLPattern):
            yield path, entry.callback
        else:
            yield from patterns(entry, path)


def test_every_address_stands_in_the_table() -> None:
    addresses = {path for path, _view in patterns(get_resolver())}
    assert {row.partition(" ")[2] for row in TABLE} == addresses


@contextmanager
def undone() -> Iterator[None]:
    """What is stored inside is taken back, so that each person finds the same scene."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.mark.parametrize("row", TABLE)
def test_status(scene: Scene, row: str) -> None:
    method, _, pattern = row.partition(" ")
    form = FORMS.get(pattern, no_fields)(scene)
    address = scene.address(pattern)
    answers = []
    for who in WHO:
        with undone():
            client = scene.client(who)
            if pattern.endswith("restore/"):
                actions.delete(scene.conversation, scene.cast.alice)
            response = client.get(address) if method == "GET" else client.post(address, form)
            to_enter = response.get("Location", "") == f"/sign-in/?next={address}"
            answers.append(ENTER if to_enter else response.status_code)
            if who in ("anonymous", "mallory", "bob"):
                assert "secret" not in response.content.decode()
    assert dict(zip(WHO, answers, strict=True)) == dict(zip(WHO, TABLE[row], strict=True))


@pytest.mark.parametrize("who", ["reader", "writer", "alice"])
def test_those_who_may_read_see_the_text(scene: Scene, who: str) -> None:
    page = scene.client(who).get(scene.address("c/<conversation_id>/")).content.decode()
    assert "A secret question" in page
    assert "A secret answer" in page


def test_other_methods_are_not_allowed(scene: Scene) -> None:
    client = scene.client("alice")
    for row in TABLE:
        method, _, pattern = row.partition(" ")
        other = "POST" if method == "GET" else "GET"
        if f"{other} {pattern}" in TABLE or pattern in ("healthz", "settings/"):
            continue
        assert client.generic(other, scene.address(pattern)).status_code == 405, row


def test_a_form_without_its_token_changes_nothing(scene: Scene) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(scene.cast.alice)
    for row in TABLE:
        method, _, pattern = row.partition(" ")
        if method == "POST":
            form = FORMS.get(pattern, no_fields)(scene)
            assert client.post(scene.address(pattern), form).status_code == 403, row


@pytest.mark.parametrize("who", ["anonymous", "alice"])
def test_no_answer_is_kept_by_caches_or_runs_foreign_code(scene: Scene, who: str) -> None:
    assert "'unsafe" not in POLICY
    for row in TABLE:
        method, _, pattern = row.partition(" ")
        with undone():
            client = scene.client(who)
            address = scene.address(pattern)
            response = client.get(address) if method == "GET" else client.post(address)
            assert "private" in response["Cache-Control"], row
            assert "no-store" in response["Cache-Control"], row
            assert response["Content-Security-Policy"] == POLICY, row
            assert response["X-Frame-Options"] == "DENY", row
            assert response["X-Content-Type-Options"] == "nosniff", row
            assert response["Referrer-Policy"] == "same-origin", row


@pytest.mark.parametrize(
    "address",
    [
        "/nothing/",
        "/c/not-a-uuid/",
        "/messages/99999999999999999999999999/show/",
        "/c/00000000-0000-0000-0000-000000000000/sharing/99999999999999999999999/remove/",
        "/settings/members/99999999999999999999999/role/",
        "/settings/tokens/99999999999999999999999/revoke/",
        "/settings/providers/99999999999999999999999/",
        "/c/%00/",
        "/join/%00/",
    ],
)
def test_addresses_of_nothing_are_404_for_everybody(scene: Scene, address: str) -> None:
    for who in WHO:
        response = scene.client(who).post(address)
        # Strangers are not told whether something is there.
        expected = {302, 404} if who == "anonymous" else {403, 404}
        assert response.status_code in expected, (who, response.status_code)


def test_the_lists_show_what_one_may_see_and_nothing_else(scene: Scene) -> None:
    for who, expected in (("alice", True), ("reader", True), ("mallory", False)):
        client = scene.client(who)
        for address in ("/", "/c/"):
            assert ("Importer" in client.get(address).content.decode()) is expected, (who, address)


def test_a_person_without_an_organization_is_told_so(scene: Scene) -> None:
    client = scene.client("writer")
    address = scene.address("c/<conversation_id>/")
    assert client.get(address).status_code == 200
    scene.cast.bob.memberships.all().delete()
    for path in ("/", address, "/settings/account/", "/settings/members/"):
        response = client.get(path)
        assert response.status_code == 403
        assert "belong to an organization" in response.content.decode()


def test_a_bad_host_name_is_refused(scene: Scene) -> None:
    assert scene.client("alice").get("/", headers={"host": "localhost"}).status_code == 200
    assert scene.client("alice").get("/", headers={"host": "evil.example"}).status_code == 400


def test_a_refusal_is_a_line_in_the_log_without_a_stack(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.client("bob").get("/settings/providers/")
    (record,) = [each for each in caplog.records if each.name == "django.request"]
    assert "Forbidden" in record.getMessage()
    assert record.exc_info is None
