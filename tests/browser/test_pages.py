"""The rest of the page: parameters, models, titles, sharing, invitations, keys, small screens."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Desk
from tests.browser.pages import (
    answer,
    answers,
    body,
    button,
    composer,
    conversation_of,
    expect_settled,
    expect_state,
    send,
)
from tests.sites import BOB, Site

pytestmark = pytest.mark.browser

Starts = Callable[..., str]
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
}
SIDEWAYS = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"


def test_parameters_are_saved_and_wrong_ones_are_named(
    site: Site, alice: Page, starts: Starts
) -> None:
    alice.goto(f"/c/{starts('Hello')}/")
    expect_settled(alice)
    summary = alice.locator("#parameters summary")

    summary.click()
    alice.get_by_label("Temperature").fill("0.7")
    alice.get_by_label("System prompt").fill("Answer in rhymes.")
    alice.get_by_label("Stop words").fill("one\ntwo\nthree\nfour\nfive")
    button(alice, "Save").click()
    expect(alice.get_by_text("At most 4 lines of 100 characters.")).to_be_visible()
    expect(alice.get_by_label("Stop words")).to_have_value("one\ntwo\nthree\nfour\nfive")
    alice.get_by_label("Stop words").fill("one")
    button(alice, "Save").click()
    expect(summary).to_contain_text("System prompt · Temperature 0.7 · 1 stop word")
    alice.reload()
    expect(summary).to_contain_text("System prompt · Temperature 0.7 · 1 stop word")

    send(alice, "With parameters")
    request = site.upstream.wait_for_request(2)
    assert request.json["temperature"] == 0.7
    assert request.json["stop"] == ["one"]
    assert request.messages[0] == {"role": "system", "content": "Answer in rhymes."}


def test_the_chosen_model_answers(site: Site, alice: Page, starts: Starts) -> None:
    alice.goto(f"/c/{starts('Hello')}/")
    expect_settled(alice)

    alice.get_by_label("Model", exact=True).select_option("other-model")
    expect(composer(alice)).to_have_attribute("placeholder", "Message other-model")
    send(alice, "And you?")
    expect(answers(alice)).to_have_count(2)

    assert site.upstream.wait_for_request(2).json["model"] == "other-model"
    expect(answer(alice).locator(".byline")).to_contain_text("other-model")
    expect_state(alice, "complete")


def test_a_title_is_changed_and_stays(site: Site, alice: Page, starts: Starts) -> None:
    conversation = starts("Hello")
    alice.goto(f"/c/{conversation}/")
    expect_settled(alice)

    alice.get_by_label("More").click()
    button(alice, "Rename").click()
    expect(alice.locator("#conversation-title")).to_be_focused()
    alice.keyboard.type("Our plans")
    alice.keyboard.press("Enter")

    item = alice.locator(f"#conversation-item-{conversation}")
    expect(item).to_contain_text("Our plans")
    expect(alice).to_have_title("Our plans · Chatsite")
    alice.reload()
    expect(alice.locator("#conversation-title")).to_have_value("Our plans")


def test_a_deleted_conversation_comes_back_by_undo(alice: Page, starts: Starts) -> None:
    conversation = starts("Delete me")
    alice.goto(f"/c/{conversation}/")
    expect_settled(alice)

    alice.get_by_label("More").click()
    button(alice, "Delete chat").click()
    dialog = alice.get_by_role("dialog")
    expect(dialog).to_contain_text("You can restore it for 30 days.")
    dialog.get_by_role("button", name="Delete chat").click()
    alice.get_by_text("Chat deleted.").hover()  # it stays while somebody is at it
    expect(alice.locator(f"#conversation-item-{conversation}")).to_have_count(0)
    button(alice, "Undo").click()

    assert conversation_of(alice) == conversation
    expect(alice.get_by_text("Chat restored.")).to_be_visible()
    expect(alice.locator(".bubble")).to_have_text("Delete me")


def test_sharing_opens_it_to_a_member_and_closes_it_again(
    desk: Desk, alice: Page, starts: Starts
) -> None:
    conversation = starts("For both")
    alice.goto(f"/c/{conversation}/")
    expect_settled(alice)

    alice.get_by_role("link", name="Share").click()
    dialog = alice.get_by_role("dialog")
    dialog.get_by_label("Person").select_option(label=f"Bob · {BOB}")
    dialog.get_by_label("Access").select_option("read")
    button(alice, "Add").click()
    expect(dialog.get_by_role("list")).to_contain_text("Bob")
    bob = desk.seat(BOB)
    bob.goto(f"/c/{conversation}/")
    expect(body(bob)).to_be_visible()

    button(alice, "Remove Bob").click()
    expect(dialog.get_by_role("list")).to_have_count(0)
    expect(bob.get_by_text("This conversation is no longer open to you.")).to_be_visible()
    alice.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_an_invited_person_joins_by_the_link(desk: Desk, alice: Page) -> None:
    alice.goto("/settings/members/")
    button(alice, "Make a link").click()
    link = alice.locator("#new-link").input_value()
    alice.reload()
    expect(alice.locator("#new-link")).to_have_count(1 if "invite" in alice.url else 0)

    carol = desk.seat(None)
    carol.goto(link)
    expect(carol.get_by_role("heading", name="Join Example Org")).to_be_visible()
    carol.get_by_label("Your name").fill("Carol")
    carol.get_by_label("E-mail").fill("carol@example.org")
    carol.get_by_label("Password").fill("long enough words")
    button(carol, "Join").click()
    expect(composer(carol)).to_be_visible()
    expect(carol.locator(".profile-name")).to_have_text("Carol · Example Org")

    again = desk.seat(None)
    desk.expect_problem("404")
    again.goto(link)
    expect(again.get_by_text("This invitation is not valid any more").first).to_be_visible()


def test_the_theme_is_switched_and_kept(alice: Page) -> None:
    alice.emulate_media(color_scheme="light")
    alice.goto("/settings/account/")
    ink = "getComputedStyle(document.body).color"
    light = alice.evaluate(ink)

    alice.get_by_label("Dark").check()
    button(alice, "Save appearance").click()
    expect(alice.locator("html")).to_have_attribute("data-theme", "dark")
    alice.goto("/")

    expect(alice.locator("html")).to_have_attribute("data-theme", "dark")
    assert alice.evaluate(ink) != light


def test_all_can_be_done_by_keyboard(site: Site, alice: Page, starts: Starts) -> None:
    alice.goto(f"/c/{starts('Hello')}/")
    expect_settled(alice)
    expect(composer(alice)).to_be_focused()
    focused = """() => {
      const element = document.activeElement;
      const box = element.getBoundingClientRect();
      return { name: element.id || element.textContent.trim() || element.ariaLabel,
               seen: box.width > 0 && box.bottom > 0 && box.right > 0 };
    }"""

    composer(alice).evaluate("element => element.blur()")
    alice.evaluate("document.body.tabIndex = -1; document.body.focus()")
    visited = []
    for _ in range(60):
        alice.keyboard.press("Tab")
        visited.append(alice.evaluate(focused))
        if visited[-1]["name"] == "composer-text":
            break
    assert visited[0]["name"] == "Skip to the content"
    assert visited[-1]["name"] == "composer-text"
    assert all(element["seen"] for element in visited)
    names = [element["name"] for element in visited]
    assert names.index("conversation-title") < names.index("composer-text")

    alice.keyboard.type("first line")
    alice.keyboard.press("Shift+Enter")
    alice.keyboard.type("second line")
    expect(composer(alice)).to_have_value("first line\nsecond line")
    alice.keyboard.press("Enter")
    expect(alice.locator(".bubble").last).to_have_text("first line\nsecond line")
    expect(answers(alice)).to_have_count(2)
    expect_state(alice, "complete")
    alice.get_by_label("More").focus()
    alice.keyboard.press("Enter")
    expect(button(alice, "Rename")).to_be_visible()
    alice.keyboard.press("Escape")
    expect(button(alice, "Rename")).to_be_hidden()
    alice.keyboard.press("Shift+Escape")
    expect(composer(alice)).to_be_focused()
    alice.keyboard.press("Control+/")
    expect(alice.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    alice.keyboard.press("Escape")
    alice.keyboard.press("Control+Shift+O")
    alice.wait_for_url(re.compile(r":\d+/$"))


def test_on_a_phone_the_drawer_opens_and_the_composer_stays(
    site: Site, desk: Desk, starts: Starts
) -> None:
    site.upstream.default.text = "A wide answer: " + "word" * 80 + "\n\n```\n" + "x" * 300 + "\n```"
    conversation = starts("Hello")
    phone = desk.seat(**PHONE)
    phone.goto(f"/c/{conversation}/")
    expect_state(phone, "complete")

    expect(composer(phone)).to_be_in_viewport(ratio=1)
    assert phone.evaluate(SIDEWAYS) == 0
    sidebar = phone.get_by_role("navigation", name="Chats")
    expect(sidebar).not_to_be_in_viewport()
    phone.get_by_label("Open the sidebar").tap()
    expect(sidebar).to_be_in_viewport()
    phone.keyboard.press("Escape")
    expect(sidebar).not_to_be_in_viewport()

    composer(phone).tap()
    phone.keyboard.type("one")
    phone.keyboard.press("Enter")
    phone.keyboard.type("two")
    expect(composer(phone)).to_have_value("one\ntwo")
    button(phone, "Send").tap()
    expect(phone.locator(".bubble").last).to_have_text("one\ntwo")
    expect(answers(phone)).to_have_count(2)
    expect_state(phone, "complete")


def test_on_a_phone_the_parameters_are_done_with_before_sending(desk: Desk, site: Site) -> None:
    phone = desk.seat(**PHONE)
    phone.goto("/")
    phone.locator("#parameters > summary").tap()
    phone.get_by_label("Temperature").fill("0.3")
    button(phone, "Done").tap()
    expect(phone.get_by_label("Temperature")).to_be_hidden()
    composer(phone).fill("Hello")
    button(phone, "Send").tap()
    expect_state(phone, "complete")
    assert site.upstream.requests[-1].json["temperature"] == 0.3


@pytest.mark.parametrize("path", ["/", "/settings/account/", "/settings/members/", "conversation"])
def test_nothing_scrolls_sideways_at_320_pixels(desk: Desk, starts: Starts, path: str) -> None:
    narrow = desk.seat(viewport={"width": 320, "height": 640})
    narrow.goto(f"/c/{starts('w' * 200)}/" if path == "conversation" else path)
    expect(narrow.locator("main")).to_be_visible()

    assert narrow.evaluate(SIDEWAYS) == 0
