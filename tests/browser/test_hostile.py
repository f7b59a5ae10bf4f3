"""What a model or a person writes is text: nothing of it runs, loads or leaves the page."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.browser.conftest import Desk
from tests.browser.pages import (
    answers,
    body,
    composer,
    conversation_of,
    expect_settled,
    expect_state,
    send,
)
from tests.sites import ALICE, Site
from tests.upstream import Answer
from tests.visitor import Visitor

pytestmark = pytest.mark.browser

# {spy}: an address that counts who connects.
PAYLOADS = """\
<script>window.hit = 1</script><SCRIPT SRC={spy}/script.js></SCRIPT>
<img src=x onerror="window.hit = 1"><ImG/src={spy}/img onload=window.hit=1>
![picture]({spy}/markdown.png) ![ref][pixel]

<svg onload="window.hit = 1"><image href="{spy}/svg"></image></svg>
<iframe src="{spy}/frame" srcdoc="<script>parent.hit = 1</script>"></iframe>
<div hx-get="{spy}/htmx" hx-trigger="load">a</div>
<div data-hx-get="/" data-hx-trigger="load" data-hx-target="body">b</div>
<div id="composer" hx-swap-oob="true">c</div><form id="actions" action="{spy}/form">
<div hx-on:htmx:load="window.hit = 1" hx-ext="ws" ws-connect="{spy}/ws">d</div>
<button formaction="{spy}/button" data-stop data-copy onclick="window.hit = 1">e</button>
<style>@import "{spy}/style.css"; body {{ background: url({spy}/css) }}</style>
<link rel=stylesheet href="{spy}/link.css"><meta http-equiv=refresh content="0;url={spy}/meta">
<base href="{spy}/"><object data="{spy}/object"></object><embed src="{spy}/embed">
<details open ontoggle="window.hit = 1"><video poster="{spy}/poster" src="{spy}/video"></video>
<a href="javascript:window.hit = 1">html link</a>

[one](javascript:window.hit=1) [two](JaVaScRiPt:window.hit=1) [three](&#106;avascript:window.hit=1)
[four](data:text/html,<script>window.hit=1</script>) [five](vbscript:x) [six](java\tscript:hit)
<javascript:window.hit=1> [seven]({spy}/harmless "a title\\" onclick=\\"window.hit=1")

```"><script>window.hit=1</script>
</code></pre><script>window.hit = 1</script>
```

| <img src={spy}/cell onerror=window.hit=1> |
|---|
| <script>window.hit = 1</script> |

[pixel]: {spy}/reference.png
"""

# Everything that could do something: elements and attributes that no answer may bring along.
ACTIVE = """() => [...document.querySelectorAll("#thread .body *, #thread .bubble *")].flatMap(
  (element) => {
    const bad = "script,img,svg,iframe,style,link,meta,base,object,embed,video,audio,form,button," +
      "input:not([type=checkbox][disabled]),template,details,textarea,select";
    if (element.closest(".code-bar") || element.matches(".zone")) return [];
    const found = element.matches(bad) ? [element.outerHTML] : [];
    for (const { name, value } of element.attributes) {
      const scheme = name === "href" ? new URL(value, location.href).protocol : "https:";
      if (/^(on|hx-|data-|ws-|style$|src|id$|form)/.test(name) ||
          !["http:", "https:", "mailto:"].includes(scheme)) found.push(`${name}=${value}`);
    }
    return found;
  })"""


@pytest.fixture
def spy() -> Iterator["Spy"]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Spy(listening)


class Spy:
    """Listens, and counts who comes."""

    def __init__(self, listening: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.visits = 0
        self._listening = listening
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.visits += 1
            connection.close()


def _watch(page: Page) -> list[str]:
    """What would show that something ran: dialogs, new windows, navigations."""
    happened: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        happened.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", on_dialog)
    page.on("popup", lambda popup: happened.append(popup.url))
    return happened


def test_nothing_in_an_answer_runs_or_loads(
    site: Site, alice: Page, starts: Callable[..., str], spy: Spy
) -> None:
    text = PAYLOADS.format(spy=spy.url)
    held = site.upstream.hold()
    alice.goto(f"/c/{starts('Attack')}/")
    happened = _watch(alice)
    alice.evaluate("window.sameDocument = true")

    # In small pieces: what is harmless as a whole may not be so while it is open, or the reverse.
    for start in range(0, len(text), 7):
        held.send(text[start : start + 7])
        if start % 350 == 0:
            assert alice.evaluate(ACTIVE) == []
    held.send("\n\nThe very end.")
    expect(body(alice)).to_contain_text("The very end.")
    assert alice.evaluate(ACTIVE) == []
    held.finish()
    expect_state(alice, "complete")
    assert alice.evaluate(ACTIVE) == []
    assert alice.evaluate("window.sameDocument")
    alice.reload()
    assert alice.evaluate(ACTIVE) == []

    assert alice.evaluate("window.hit") is None
    assert (happened, spy.visits) == ([], 0)
    expect(composer(alice)).to_be_visible()
    links = body(alice).locator("a")
    for link in links.all():
        assert set((link.get_attribute("rel") or "").split()) >= {"noopener", "noreferrer"}
    held = site.upstream.hold()
    send(alice, "The page still works")
    held.send("It does")
    held.finish()
    expect(body(alice)).to_have_text("It does")


def test_nothing_that_people_type_runs(site: Site, desk: Desk, alice: Page, spy: Spy) -> None:
    text = PAYLOADS.format(spy=spy.url)
    alice.goto("/")
    happened = _watch(alice)
    composer(alice).fill(text)
    composer(alice).press("Enter")
    conversation = conversation_of(alice)
    expect_settled(alice)
    expect(alice.locator(".bubble")).to_contain_text("<script>window.hit = 1</script>")
    title = f"<img src={spy.url}/title onerror=window.hit=1>"
    alice.locator("#conversation-title").fill(title)
    alice.locator("#conversation-title").press("Enter")
    expect(alice.locator(".item-title").first).to_have_text(title)

    for url in (alice.url, "/c/", f"/c/{conversation}/sharing/"):
        alice.goto(url)
        assert alice.evaluate(ACTIVE) == []
        assert alice.locator(f'img[src^="{spy.url}"]').count() == 0
        assert alice.evaluate("window.hit") is None
    assert (happened, spy.visits) == ([], 0)
    assert answers(alice).count() == 0


def test_a_failure_s_words_are_text(
    site: Site, alice: Page, starts: Callable[..., str], spy: Spy
) -> None:
    words = f'<img src="{spy.url}/error" onerror="window.hit=1">'
    site.upstream.enqueue(Answer(status=400, body={"error": {"message": words}}))
    alice.goto(f"/c/{starts('Fail')}/")
    expect_state(alice, "failed")
    alice.get_by_text("What the provider said").click()

    expect(alice.get_by_text(words)).to_be_visible()
    assert (alice.evaluate("window.hit"), spy.visits) == (None, 0)


def test_another_organization_sees_nothing(site: Site, starts: Callable[..., str]) -> None:
    conversation = starts("Secret")
    with Visitor(site, "mallory@example.org") as mallory, Visitor(site, ALICE) as alice:
        (answer,) = site.answers(conversation)
        paths = [f"/c/{conversation}/", f"/c/{conversation}/sharing/"]
        assert [mallory.http.get(path).status_code for path in paths] == [404, 404]
        posts = [
            *(f"/c/{conversation}/{action}/" for action in ("messages", "stop", "delete", "title")),
            *(f"/messages/{answer['id']}/{action}/" for action in ("regenerate", "show")),
        ]
        assert {mallory.post(path, text="x", title="x").status_code for path in posts} == {404}
        assert alice.http.get(f"/c/{conversation}/").status_code == 200
