"""Settings that have a browser's part: a token that is seen once, a provider that is tried."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Desk
from tests.browser.pages import button
from tests.browser.test_pages import PHONE, SIDEWAYS
from tests.sites import BOB, Site
from tests.upstream import Answer

pytestmark = pytest.mark.browser


def create_token(page: Page, name: str) -> str:
    """Make one by the form; returns its secret."""
    page.goto("/settings/tokens/")
    page.get_by_label("Name", exact=True).fill(name)
    button(page, "Create token").click()
    expect(page.get_by_text("You won't see it again.")).to_be_visible()
    return page.get_by_label("You won't see it again.").input_value()


def test_a_token_is_seen_once_and_revoked(desk: Desk) -> None:
    bob = desk.seat(BOB)
    secret = create_token(bob, "Nightly report")
    assert secret.startswith("cs_")
    shown = bob.get_by_text(f"{secret[:7]}…{secret[-4:]}")
    expect(shown).to_be_visible()

    bob.reload()
    expect(shown).to_be_visible()
    expect(bob.get_by_text("You won't see it again.")).to_have_count(0)
    assert secret not in bob.content()
    expect(bob.get_by_role("link", name="Revoke Nightly report")).to_have_count(1)

    bob.get_by_role("link", name="Revoke Nightly report").click()
    dialog = bob.get_by_role("dialog")
    expect(dialog).to_contain_text("Revoke “Nightly report”?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    bob.get_by_role("link", name="Revoke Nightly report").click()
    dialog.get_by_role("button", name="Revoke").click()
    expect(bob.get_by_text("“Nightly report” is revoked.")).to_be_visible()
    expect(bob.locator(".row", has_text="Nightly report")).to_contain_text("Revoked")
    expect(bob.get_by_role("link", name="Revoke Nightly report")).to_have_count(0)


def test_a_token_can_be_made_without_javascript(desk: Desk) -> None:
    bob = desk.seat(BOB, java_script_enabled=False)
    secret = create_token(bob, "By hand")
    bob.goto("/settings/tokens/")
    assert secret not in bob.content()
    bob.get_by_role("link", name="Revoke By hand").click()
    expect(bob.get_by_role("heading", name="Revoke “By hand”?")).to_be_visible()
    button(bob, "Revoke").click()
    expect(bob.get_by_text("“By hand” is revoked.")).to_be_visible()


def test_the_last_day_is_asked_where_it_is_needed(desk: Desk, alice: Page) -> None:
    desk.expect_problem("422")
    alice.goto("/settings/tokens/")
    day = alice.get_by_label("Last day")
    expect(day).to_be_hidden()
    alice.get_by_label("Name", exact=True).fill("Until then")
    alice.get_by_label("On a date").check()
    expect(day).to_be_visible()
    button(alice, "Create token").click()
    expect(alice.get_by_text("Give the last day")).to_be_visible()
    expect(alice.get_by_label("Name", exact=True)).to_have_value("Until then")
    day.fill("2020-01-01")
    button(alice, "Create token").click()
    expect(alice.get_by_text("Give a day from today on")).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_a_provider_is_added_fetched_tried_and_deleted(
    desk: Desk, site: Site, javascript: bool
) -> None:
    alice = desk.seat(java_script_enabled=javascript)
    key = "provider-key-9Q2w"
    alice.goto("/settings/providers/")
    expect(alice.get_by_text("From the environment")).to_be_visible()
    alice.get_by_role("link", name="Add a provider").click()
    alice.get_by_role("link", name="vLLM").click()
    expect(alice.get_by_label("Base URL")).to_have_value("http://localhost:8000/v1")
    alice.get_by_label("Name", exact=True).fill("Down the hall")
    alice.get_by_label("Base URL").fill(site.upstream.url)
    alice.get_by_label("Key", exact=True).fill(key)
    own_network = alice.get_by_label("This is an address in our own network")
    expect(own_network).to_be_checked()  # vLLM rarely stands elsewhere
    own_network.uncheck()
    desk.expect_problem("422")
    button(alice, "Add provider").click()
    expect(alice.get_by_text("If it is meant, tick the box below.")).to_be_visible()
    expect(alice.get_by_label("Key", exact=True)).to_have_value("")
    own_network.check()
    alice.get_by_label("Key", exact=True).fill(key)
    button(alice, "Add provider").click()
    expect(alice.get_by_text("Key …9Q2w")).to_be_visible()

    button(alice, "Fetch models").click()
    # Both stand for the environment's provider already, so that they get longer ids here.
    alice.get_by_label("other-model").check()
    button(alice, "Add models").click()
    expect(alice.get_by_text("1 model is added.")).to_be_visible()
    expect(alice.get_by_text("down-the-hall/other-model").first).to_be_visible()

    asked = len(site.upstream.requests)
    site.upstream.default = Answer("Hello from down the hall.")
    button(alice, "Test").click()
    expect(alice.get_by_text("Hello from down the hall.")).to_be_visible()
    expect(alice.get_by_text("first word after")).to_be_visible()
    request = site.upstream.wait_for_request(asked + 1)
    assert request.json["model"] == "other-model"
    assert request.headers["authorization"] == f"Bearer {key}"
    assert key not in alice.content()

    alice.get_by_role("link", name="Delete this provider").click()
    within = alice.get_by_role("dialog") if javascript else alice.locator("main")
    expect(within.get_by_text("Conversations keep their text")).to_be_visible()
    within.get_by_role("button", name="Delete provider").click()
    expect(alice.get_by_text("“Down the hall” is deleted.")).to_be_visible()
    assert not site.rows("SELECT * FROM organizations_provider")


def test_settings_fit_a_phone(desk: Desk) -> None:
    phone = desk.seat(**PHONE)
    create_token(phone, "A rather long name of a token that hardly fits beside its button")
    for address in (
        "/settings/tokens/",
        "/settings/providers/",
        "/settings/providers/new/?preset=kodexa",
        "/settings/organization/",
    ):
        phone.goto(address)
        assert phone.evaluate(SIDEWAYS) == 0, address
