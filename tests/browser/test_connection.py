"""The connection goes away and comes back: the page says so, and nothing is missing or doubled."""

import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Desk
from tests.browser.pages import (
    answers,
    body,
    button,
    composer,
    expect_same_after_reload,
    expect_state,
    send,
)
from tests.proxy import Wire
from tests.sites import ALICE, Site, wait_until

pytestmark = pytest.mark.browser

Starts = Callable[..., str]
LOST = "Connection lost. Reconnecting…"
# On a busy computer; otherwise 2 s, and a lease of 8 s.
MOST_TO_BAR_MS = 15_000
MOST_TO_INTERRUPTED_SECONDS = 25.0


@pytest.fixture
def wire(site: Site) -> Iterator[Wire]:
    with Wire(site.server.port) as opened:
        yield opened


@pytest.fixture
def far_alice(desk: Desk, wire: Wire) -> Page:
    """Alice at the other end of a wire that can be cut."""
    _expect_losses(desk)
    return desk.seat(ALICE, url=wire.url)


def _expect_losses(desk: Desk) -> None:
    desk.expect_problem(r"WebSocket connection to 'ws://127\.0\.0\.1:\d+/.*' failed")
    desk.expect_problem(r"Failed to load resource: net::ERR_")
    desk.expect_problem(r"^error: \[object Event\] .*/htmx")  # htmx:wsError


@pytest.mark.parametrize("lose", [Wire.cut, Wire.silence], ids=["reset", "silence"])
def test_a_lost_connection_is_said_and_nothing_is_missing_after_it(
    site: Site, far_alice: Page, wire: Wire, starts: Starts, lose: Callable[[Wire], None]
) -> None:
    held = site.upstream.hold()
    far_alice.goto(f"/c/{starts('Go on')}/")
    held.send_reasoning("Where was I?")
    far_alice.locator(".thought").click()
    held.send("# Title\n\nBefore it, ")
    expect(body(far_alice)).to_contain_text("Before it,")

    lose(wire)
    bar = far_alice.get_by_text(LOST)
    # A silence is told from a slow answer by the server's beat.
    expect(bar).to_be_visible(timeout=MOST_TO_BAR_MS)
    composer(far_alice).press_sequentially("typed meanwhile")
    held.send("while it was away, ")
    wire.mend()
    expect(bar).to_be_hidden()
    expect(body(far_alice)).to_contain_text("Before it, while it was away,")
    held.send("after it.")
    held.finish()

    expect_state(far_alice, "complete")
    expect(body(far_alice).locator("p")).to_have_text("Before it, while it was away, after it.")
    expect(body(far_alice).locator("h1")).to_have_count(1)
    expect(far_alice.locator(".reasoning-text")).to_be_visible()  # opened before, open still
    expect(far_alice.locator(".reasoning-text")).to_have_text("Where was I?")
    far_alice.locator(".thought").click()
    expect(composer(far_alice)).to_have_value("typed meanwhile")
    expect_same_after_reload(far_alice)


@pytest.mark.parametrize("lose", [Wire.cut, Wire.silence], ids=["reset", "silence"])
def test_a_message_sent_while_it_is_lost_is_sent_once(
    site: Site, far_alice: Page, wire: Wire, starts: Starts, lose: Callable[[Wire], None]
) -> None:
    conversation = starts("First")
    far_alice.goto(f"/c/{conversation}/")
    expect_state(far_alice, "complete")

    lose(wire)
    if lose is Wire.cut:
        expect(far_alice.get_by_text(LOST)).to_be_visible()
    send(far_alice, "While it was away")
    expect(composer(far_alice)).to_have_value("While it was away")
    if lose is Wire.cut:
        expect(far_alice.get_by_text("Will be sent when the connection is back.")).to_be_visible()
    wire.mend()

    expect(answers(far_alice)).to_have_count(2)
    expect_state(far_alice, "complete")
    expect(composer(far_alice)).to_have_value("")
    expect(button(far_alice, "Send")).to_be_disabled()
    asked = [request.messages[-1]["content"] for request in site.upstream.requests]
    assert asked == ["First", "While it was away"]
    assert len(site.turns(conversation)) == 2


def test_a_message_that_died_with_its_connection_is_sent_again_and_stands_once(
    site: Site, far_alice: Page, wire: Wire, starts: Starts
) -> None:
    conversation = starts("First")
    far_alice.goto(f"/c/{conversation}/")
    expect_state(far_alice, "complete")

    wire.silence()
    send(far_alice, "Into the void")  # the socket takes it; the network does not
    wire.cut()
    expect(far_alice.get_by_text(LOST)).to_be_visible()
    wire.mend()

    expect(answers(far_alice)).to_have_count(2)
    expect_state(far_alice, "complete")
    expect(composer(far_alice)).to_have_value("")
    assert len(site.turns(conversation)) == 2


def test_the_page_comes_back_by_itself_after_a_crash_of_the_server(
    site: Site, desk: Desk, alice: Page, starts: Starts
) -> None:
    _expect_losses(desk)
    held = site.upstream.hold()
    conversation = starts("Go on")
    alice.goto(f"/c/{conversation}/")
    held.send("What was **seen** ")
    expect(body(alice)).to_contain_text("What was seen")
    # The last half second may be lost: what is seen at once is stored a little later.
    wait_until(lambda: site.logged(conversation) == "What was **seen** ", "the text in the log")
    alice.evaluate("window.sameDocument = true")

    site.server.kill()
    expect(alice.get_by_text(LOST)).to_be_visible(timeout=MOST_TO_BAR_MS)
    composer(alice).fill("a draft")
    site.server.start()
    started_at = time.monotonic()
    expect_state(alice, "interrupted")

    assert time.monotonic() - started_at < MOST_TO_INTERRUPTED_SECONDS
    assert alice.evaluate("window.sameDocument")
    expect(alice.get_by_text(LOST)).to_be_hidden()
    expect(body(alice)).to_contain_text("What was seen")
    expect(composer(alice)).to_have_value("a draft")
    held = site.upstream.hold()
    button(alice, "Continue").click()
    held.send("and goes on.")
    held.finish()
    expect_state(alice, "complete")
    expect(body(alice)).to_have_text("What was seen and goes on.")
