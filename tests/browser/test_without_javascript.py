"""Without JavaScript one can still sign in, send, wait, read and stop."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Desk
from tests.browser.pages import answers, body, button, composer, conversation_of, expect_state
from tests.sites import ALICE, PASSWORD, Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def test_sign_in_send_wait_read_and_stop(site: Site, desk: Desk) -> None:
    page = desk.seat(None, java_script_enabled=False)
    page.goto("/")
    page.get_by_label("E-mail").fill(ALICE)
    page.get_by_label("Password").fill(PASSWORD)
    button(page, "Sign in").click()
    held = site.upstream.hold()
    composer(page).fill("Without scripts")
    button(page, "Send").click()
    conversation = conversation_of(page)

    held.send("Text **so far**")
    expect(body(page).locator("strong")).to_have_text("so far")  # the page reloads by itself
    expect_state(page, "streaming")
    held.send(", and the end.")
    held.finish()
    expect_state(page, "complete")
    expect(body(page)).to_have_text("Text so far, and the end.")

    held = site.upstream.hold()
    composer(page).fill("And one to stop")
    button(page, "Send").click()
    held.send("Stays")
    expect(answers(page)).to_have_count(2)
    expect(body(page)).to_have_text("Stays")
    button(page, "Stop the answer").click()
    expect_state(page, "stopped")
    expect(body(page)).to_have_text("Stays")
    assert held.wait_closed(2)
    assert len(site.turns(conversation)) == 2


def test_what_is_refused_stays_in_the_composer(
    site: Site, desk: Desk, starts: Callable[..., str]
) -> None:
    desk.expect_problem("409")
    conversation = starts("First")
    page = desk.seat(java_script_enabled=False)
    page.goto(f"/c/{conversation}/")
    expect_state(page, "complete")
    composer(page).fill("Too late")
    held = site.upstream.hold()
    other = page.context.new_page()
    other.goto(f"/c/{conversation}/")
    composer(other).fill("Faster")
    button(other, "Send").click()
    held.request  # noqa: B018  # waits for it

    button(page, "Send").click()

    expect(page.locator("#notice")).to_contain_text("An answer is being written.")
    expect(composer(page)).to_have_value("Too late")
    held.finish()
