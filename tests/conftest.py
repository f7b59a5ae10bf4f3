"""The cast and the fixtures that all tests share.

Alice owns, Bob is in her organization, Mallory is in another one and should see nothing.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.test import Client
from hypothesis import HealthCheck, settings

from conversations.models import Conversation
from organizations.models import Membership, Organization, Role, User
from tests.upstream import Upstream

# On a busy computer anything may take long; that says nothing about what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

PASSWORD = "correct horse battery"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Cast:
    """People, and their organizations."""

    alice: User
    bob: User
    mallory: User
    organization: Organization
    elsewhere: Organization

    def membership(self, user: User) -> Membership:
        return user.memberships.get()


@pytest.fixture
def cast(db: None) -> Cast:
    organization = Organization.objects.create(name="Example Org")
    elsewhere = Organization.objects.create(name="Elsewhere")
    people = {}
    for name, team, role in (
        ("alice", organization, Role.ADMIN),
        ("bob", organization, Role.MEMBER),
        ("mallory", elsewhere, Role.ADMIN),
    ):
        user = User.objects.create_user(f"{name}@example.org", PASSWORD, name=name.capitalize())
        Membership.objects.create(user=user, organization=team, role=role)
        people[name] = user
    return Cast(**people, organization=organization, elsewhere=elsewhere)


@pytest.fixture
def conversation(cast: Cast) -> Conversation:
    """An empty conversation of Alice's, with the model of `completions`."""
    return Conversation.objects.create(
        organization=cast.organization, owner=cast.alice, model="test-model", title="Importer"
    )


@pytest.fixture(autouse=True)
def completions(settings: object) -> None:
    """A configured provider by default; `upstream` gives it an address that answers."""
    settings.COMPLETIONS_URL = "http://127.0.0.1:9/v1"  # type: ignore[attr-defined]
    settings.COMPLETIONS_API_KEY = "test-key"  # type: ignore[attr-defined]
    settings.COMPLETIONS_MODELS = ["test-model", "other-model"]  # type: ignore[attr-defined]


@pytest.fixture
def upstream(settings: object) -> Iterator[Upstream]:
    """The scriptable provider, answering at COMPLETIONS_URL."""
    with Upstream() as running:
        settings.COMPLETIONS_URL = running.url  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def sign_in() -> Iterator[object]:
    """`sign_in(user)` gives a Django test client of that person."""

    def client_of(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return client_of  # type: ignore[return-value]


def chromium_path() -> Path | None:
    """The system's Chromium, or the one that CHROMIUM names."""
    names = (os.environ.get("CHROMIUM", ""), *CHROMIUM_NAMES)
    return next((Path(found) for name in names if name and (found := shutil.which(name))), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a Chromium, browser tests are skipped with their count, or fail where required."""
    browser_items = [item for item in items if item.get_closest_marker("browser")]
    if not browser_items or chromium_path():
        return
    reason = f"NO CHROMIUM: {len(browser_items)} browser tests not run (install chromium)"
    if os.environ.get("REQUIRE_BROWSER") == "1":
        raise pytest.UsageError(f"REQUIRE_BROWSER=1, but {reason}")
    for item in browser_items:
        item.add_marker(pytest.mark.skip(reason=reason))
