"""Where things are on a conversation's page, in the words of who uses it."""

import re
import time

from playwright.sync_api import Locator, Page, expect

PATIENCE_SECONDS = 60.0
TITLE = "A fitting title"  # what the provider answers when it is asked for one

# What differs between a page that was followed and one that was loaded, and is no difference: the
# order of attributes' quotes, room between elements, and what JavaScript adds to code blocks.
_NORMAL_THREAD = """() => {
  const thread = document.getElementById("thread").cloneNode(true);
  thread.querySelectorAll(".code-bar button").forEach((button) => button.remove());
  thread.querySelectorAll("[tabindex]").forEach((element) => element.removeAttribute("tabindex"));
  return thread.innerHTML.replace(/\\s+/g, " ").replace(/> </g, "><").trim();
}"""


def composer(page: Page) -> Locator:
    return page.locator("#composer-text")


def send(page: Page, text: str) -> None:
    """Type and press Enter."""
    composer(page).fill(text)
    composer(page).press("Enter")


def answers(page: Page) -> Locator:
    return page.locator("article.message--assistant")


def answer(page: Page) -> Locator:
    """The last answer."""
    return answers(page).last


def body(page: Page) -> Locator:
    """The last answer's text."""
    return answer(page).locator(".body")


def expect_state(page: Page, state: str) -> None:
    expect(answer(page)).to_have_attribute("data-state", state)


def expect_settled(page: Page) -> None:
    """The first answer is there, and its title, which comes later and replaces the page's head."""
    expect_state(page, "complete")
    expect(page.locator("#conversation-title")).to_have_value(TITLE)
    expect(page.locator(".item[aria-current] .item-title")).to_have_text(TITLE)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def thread_html(page: Page) -> str:
    """The thread as HTML, for comparing."""
    return str(page.evaluate(_NORMAL_THREAD))


def expect_same_after_reload(page: Page) -> None:
    before = thread_html(page)
    page.reload()
    expect(page.locator("#thread")).to_be_visible()
    assert thread_html(page) == before


def client_id(page: Page) -> str:
    return page.locator("#composer input[name=client_id]").input_value()


def conversation_of(page: Page) -> str:
    """The id in the address, once the page is a conversation's."""
    page.wait_for_url(re.compile(r"/c/[0-9a-f-]{36}/$"))
    return page.url.rstrip("/").rpartition("/")[2]


def eventually(page: Page, expression: str) -> None:
    """Wait until it is true. (`wait_for_function` needs eval, which the page forbids.)"""
    first_where([page], expression)


def first_where(pages: list[Page], expression: str) -> Page:
    """Wait until it is true in one of the pages; returns that one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        for page in pages:
            if page.evaluate(expression):
                return page
        assert time.monotonic() < deadline, f"never true: {expression}"
        pages[0].wait_for_timeout(20)
