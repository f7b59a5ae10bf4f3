"""Chromium, and people who sit in front of it.

Every page is watched: an error in the console, an uncaught exception, a violation of the content
security policy or a request that leaves the server fails the test, unless the test expects it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.conftest import chromium_path
from tests.sites import ALICE, BOB, Site
from tests.visitor import Visitor

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
    "--disable-smooth-scrolling",  # the wheel's way is gone at once: a test can read where it is
]
# A computer whose cores are busy; an assertion that holds ends its wait at once.
PATIENCE_MS = 60_000
LAUNCH_MS = 120_000


# Not for the whole run: while it lives, no event loop can be started in this thread.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_path(), args=ARGUMENTS, timeout=LAUNCH_MS
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def module_site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def site(module_site: Site) -> Site:
    """The module's site, running, with nothing scripted."""
    module_site.reset()
    return module_site


class Desk:
    """Opens browsers for people, and keeps what went wrong in them."""

    def __init__(self, browser: Browser, site: Site, cookies: dict[str, httpx.Cookies]) -> None:
        self._browser = browser
        self._site = site
        self._cookies = cookies
        self._contexts: list[BrowserContext] = []
        self._expected: list[str] = []
        self.problems: list[str] = []

    def expect_problem(self, pattern: str) -> None:
        """A console message that matches is part of what the test shows."""
        self._expected.append(pattern)

    def seat(self, email: str | None = ALICE, *, url: str = "", **options: Any) -> Page:
        """A browser of their own for this person, signed in; None: for a stranger."""
        context = self._browser.new_context(base_url=url or self._site.url, **options)
        context.set_default_timeout(PATIENCE_MS)
        self._contexts.append(context)
        if email:
            context.add_cookies(
                [
                    {"name": cookie.name, "value": cookie.value or "", "url": url or self._site.url}
                    for cookie in self.cookies_of(email).jar
                ]
            )
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.problems.append(f"uncaught: {error.error}"))
        context.on("request", self._on_request)
        return context.new_page()

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    @property
    def unexpected(self) -> list[str]:
        return [
            problem
            for problem in self.problems
            if not any(re.search(pattern, problem) for pattern in self._expected)
        ]

    def cookies_of(self, email: str) -> httpx.Cookies:
        if email not in self._cookies:
            with Visitor(self._site, email) as visitor:
                self._cookies[email] = visitor.http.cookies
        return self._cookies[email]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text} ({message.location['url']})")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "blob:", "about:")):
            self.problems.append(f"request to {request.url}")


@pytest.fixture(scope="module")
def module_cookies(module_site: Site) -> dict[str, httpx.Cookies]:
    """Who has signed in at this module's site."""
    return {}


@pytest.fixture
def desk(browser: Browser, site: Site, module_cookies: dict[str, httpx.Cookies]) -> Iterator[Desk]:
    opened = Desk(browser, site, module_cookies)
    yield opened
    opened.close()
    assert opened.unexpected == []


@pytest.fixture
def alice(desk: Desk) -> Page:
    """Alice's browser, signed in, no page opened yet."""
    return desk.seat()


@pytest.fixture
def starts(site: Site, desk: Desk) -> Callable[..., str]:
    """`starts("text")`: Alice has sent that from the start page; returns the conversation's id."""

    def start(text: str, email: str = ALICE, **parameters: str) -> str:
        with Visitor(site, email, cookies=desk.cookies_of(email)) as visitor:
            return visitor.start(text, **parameters)

    return start


@pytest.fixture
def opened_to_bob(site: Site, desk: Desk) -> Callable[[str, str], None]:
    """`opened_to_bob(conversation, "read" or "write")`."""

    def open_it(conversation: str, access: str) -> None:
        (bob,) = site.rows("SELECT id FROM organizations_user WHERE email = ?", BOB)
        with Visitor(site, ALICE, cookies=desk.cookies_of(ALICE)) as alice:
            alice.post(f"/c/{conversation}/sharing/", member=str(bob["id"]), access=access)

    return open_it
