"""Without JavaScript one can still sign in, send, wait, read and stop."""

import contextlib
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import Desk
from tests.browser.pages import (
    PATIENCE_SECONDS,
    answer,
    answers,
    body,
    button,
    composer,
    conversation_of,
    expect_state,
)
from tests.sites import ALICE, PASSWORD, Site

pytestmark = pytest.mark.browser


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
    stop(page)
    expect(body(page)).to_have_text("Stays")
    assert held.wait_closed(30)
    assert len(site.turns(conversation)) == 2


def stop(page: Page) -> None:
    """Press Stop until it takes: the page reloads by itself, now and then under the mouse."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(Error):
            button(page, "Stop the answer").click(timeout=5000)
        with contextlib.suppress(AssertionError):
            expect(answer(page)).to_have_attribute("data-state", "stopped", timeout=5000)
            return
    raise AssertionError("it cannot be stopped")


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
