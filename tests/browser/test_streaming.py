"""An answer in the browser: it streams in, is stopped, fails, comes again, and is seen by all."""

import re
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Desk
from tests.browser.pages import (
    answer,
    answers,
    body,
    button,
    client_id,
    composer,
    conversation_of,
    eventually,
    expect_same_after_reload,
    expect_state,
    first_where,
    send,
    thread_html,
)
from tests.sites import BOB, Site
from tests.upstream import Answer

pytestmark = pytest.mark.browser

Starts = Callable[..., str]
MOST_TO_CLOSED_SECONDS = 30.0  # on a busy computer; well before the site's own time limits


def test_sign_in_send_and_watch_formatted_text_stream_in(site: Site, desk: Desk) -> None:
    page = desk.seat(None)
    page.goto("/")
    page.get_by_label("E-mail").fill("Alice@Example.org")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_label("Password").press("Enter")
    expect(composer(page)).to_be_visible()
    held = site.upstream.hold()

    send(page, "Show me Markdown")
    conversation_of(page)
    expect(page.locator(".message--user .bubble")).to_have_text("Show me Markdown")
    expect_state(page, "waiting")
    held.send("Some **bold text**")
    expect(body(page).locator("strong")).to_have_text("bold text")
    expect_state(page, "streaming")
    held.send(" and\n\n```python\nprint(1)\n")
    expect(body(page).locator(".code pre")).to_have_text("print(1)\n")
    held.send("```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    expect(body(page).locator("table td").last).to_have_text("2")
    expect(body(page).locator(".code .nb")).to_have_text("print")
    expect_state(page, "streaming")
    held.send("\n- [x] done\n\nThe end.")
    held.finish()

    expect_state(page, "complete")
    expect(button(page, "Regenerate")).to_be_visible()
    expect(page.locator("#conversation-title")).to_have_value("A fitting title")
    expect(page).to_have_title("A fitting title · Chatsite")
    expect(body(page).locator("li input[type=checkbox]")).to_be_checked()
    expect(body(page).locator("p").last).to_have_text("The end.")
    expect_same_after_reload(page)


def test_the_second_message_goes_over_the_socket_and_leaves_the_composer_empty(
    site: Site, alice: Page, starts: Starts
) -> None:
    alice.goto(f"/c/{starts('First')}/")
    expect_state(alice, "complete")
    before = client_id(alice)
    posts: list[str] = []
    alice.on("request", lambda request: posts.append(request.url))

    held = site.upstream.hold()
    send(alice, "Second")
    expect(composer(alice)).to_have_value("")
    expect(alice.locator(".message--user")).to_have_count(2)
    held.send("Over the socket")
    expect(body(alice)).to_have_text("Over the socket")
    composer(alice).fill("typed while it is being written")
    held.finish()

    expect_state(alice, "complete")
    expect(composer(alice)).to_have_value("typed while it is being written")
    assert client_id(alice) != before
    assert posts == []


def test_enter_pressed_twice_and_a_double_click_are_one_turn(
    site: Site, alice: Page, starts: Starts
) -> None:
    conversation = starts("First")
    alice.goto(f"/c/{conversation}/")
    expect_state(alice, "complete")

    composer(alice).fill("Once")
    alice.evaluate(
        """() => {
          const field = document.getElementById("composer-text");
          const press = () => field.dispatchEvent(
            new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
          press();
          press();
          document.querySelector("[data-send]").click();
        }"""
    )
    expect(answers(alice)).to_have_count(2)
    expect_state(alice, "complete")

    assert [r.messages[-1]["content"] for r in site.upstream.requests] == ["First", "Once"]
    assert len(site.turns(conversation)) == 2


def test_what_is_refused_stays_in_the_composer(
    site: Site, desk: Desk, alice: Page, starts: Starts
) -> None:
    conversation = starts("First")
    alice.goto(f"/c/{conversation}/")
    expect_state(alice, "complete")
    second = alice.context.new_page()
    second.goto(f"/c/{conversation}/")
    composer(second).fill("Of the second tab")
    held = site.upstream.hold()

    # At the same moment: neither tab has heard of the other's message.
    composer(alice).fill("Of the first tab")
    alice.evaluate("document.getElementById('composer').requestSubmit()")
    second.evaluate("document.getElementById('composer').requestSubmit()")
    refused = first_where([alice, second], "document.querySelector('#notice').innerText !== ''")
    taken = second if refused is alice else alice
    expect(composer(taken)).to_have_value("")
    held.send("For one of them")
    held.finish()
    for tab in (alice, second):
        expect(body(tab)).to_have_text("For one of them")
        expect_state(tab, "complete")

    draft = "Of the first tab" if refused is alice else "Of the second tab"
    expect(composer(refused)).to_have_value(draft)
    expect(composer(taken)).to_have_value("")
    expect(refused.locator("#notice")).to_contain_text("An answer is being written.")
    assert len(site.upstream.requests) == 2
    assert len(site.turns(conversation)) == 2
    expect(button(refused, "Send")).to_be_enabled()


def test_a_refresh_midway_shows_the_text_so_far_and_goes_on(
    site: Site, alice: Page, starts: Starts
) -> None:
    held = site.upstream.hold()
    conversation = starts("Go on")
    alice.goto(f"/c/{conversation}/")
    held.send("# A title\n\nBefore the *refresh*, ")
    expect(body(alice)).to_contain_text("Before the refresh,")

    alice.reload()
    expect(body(alice).locator("h1")).to_have_text("A title")
    expect(body(alice)).to_contain_text("Before the refresh,")
    held.send("after it, ")
    expect(body(alice)).to_contain_text("Before the refresh, after it,")
    alice.close()
    held.send("while nobody looked, ")
    returned = alice.context.new_page()
    returned.goto(f"/c/{conversation}/")
    expect(body(returned)).to_contain_text("while nobody looked,")
    held.send("and at the end.")
    held.finish()

    expect_state(returned, "complete")
    expected = "Before the refresh, after it, while nobody looked, and at the end."
    expect(body(returned).locator("p")).to_have_text(expected)
    expect_same_after_reload(returned)


def test_two_people_see_the_same_stream_from_the_first_to_the_last_character(
    site: Site,
    desk: Desk,
    alice: Page,
    starts: Starts,
    opened_to_bob: Callable[[str, str], None],
) -> None:
    conversation = starts("First")
    opened_to_bob(conversation, "write")
    bob = desk.seat(BOB)
    for page in (alice, bob):
        page.goto(f"/c/{conversation}/")
        expect_state(page, "complete")
    held = site.upstream.hold()

    send(bob, "From Bob")
    for page in (alice, bob):
        expect(page.locator(".message--user").last).to_contain_text("From Bob")
        expect(page.locator(".message--user .author").last).to_have_text("Bob")
    for number in range(5):
        held.send(f"- item **{number}**\n")
        for page in (alice, bob):
            expect(body(page).locator("li")).to_have_count(number + 1)
            expect(body(page).locator("strong").last).to_have_text(str(number))
    held.finish()

    for page in (alice, bob):
        expect_state(page, "complete")
    assert thread_html(alice) == thread_html(bob)
    expect(bob.get_by_text("Shared by Alice").first).to_be_visible()


def test_who_may_only_read_sees_it_live_and_finds_no_composer(
    site: Site,
    desk: Desk,
    starts: Starts,
    opened_to_bob: Callable[[str, str], None],
) -> None:
    held = site.upstream.hold()
    conversation = starts("Watch this")
    opened_to_bob(conversation, "read")
    bob = desk.seat(BOB)
    bob.goto(f"/c/{conversation}/")

    held.send("Live")
    expect(body(bob)).to_have_text("Live")
    expect(composer(bob)).to_have_count(0)
    expect(bob.locator("[data-stop]")).to_have_count(0)
    expect(bob.get_by_text("You can read this conversation, not write in it.")).to_be_visible()
    held.finish()
    expect_state(bob, "complete")
    expect(button(bob, "Regenerate")).to_have_count(0)


def test_stop_keeps_the_text_and_continue_goes_on_in_place(
    site: Site, alice: Page, starts: Starts
) -> None:
    held = site.upstream.hold()
    alice.goto(f"/c/{starts('Go on and on')}/")
    held.send("Half an ans")
    expect(body(alice)).to_have_text("Half an ans")

    button(alice, "Stop the answer").click()
    assert held.wait_closed(MOST_TO_CLOSED_SECONDS)
    expect_state(alice, "stopped")
    expect(answer(alice)).to_contain_text("Stopped by Alice.")
    expect(body(alice)).to_have_text("Half an ans")
    expect(button(alice, "Send")).to_be_visible()

    held = site.upstream.hold()
    button(alice, "Continue").click()
    assert held.request.messages[-2] == {"role": "assistant", "content": "Half an ans"}
    expect(body(alice)).to_have_text("Half an ans")
    held.send("wer, the whole.")
    held.finish()
    expect_state(alice, "complete")
    expect(body(alice)).to_have_text("Half an answer, the whole.")
    expect(answers(alice)).to_have_count(1)
    expect_same_after_reload(alice)


def test_escape_stops_the_answer(site: Site, alice: Page, starts: Starts) -> None:
    held = site.upstream.hold()
    alice.goto(f"/c/{starts('Go on and on')}/")
    held.send("Text")
    expect(body(alice)).to_have_text("Text")

    composer(alice).press("Escape")

    assert held.wait_closed(MOST_TO_CLOSED_SECONDS)
    expect_state(alice, "stopped")


def test_regenerate_makes_a_second_version_and_one_can_go_back(
    site: Site, alice: Page, starts: Starts
) -> None:
    site.upstream.enqueue(Answer("The first version"))
    alice.goto(f"/c/{starts('Twice')}/")
    expect_state(alice, "complete")
    held = site.upstream.hold()

    button(alice, "Regenerate").click()
    expect_state(alice, "waiting")
    held.send("The second version")
    expect(body(alice)).to_have_text("The second version")
    held.finish()
    versions = alice.get_by_role("group", name="Versions")
    expect(versions).to_contain_text("2/2")
    expect_state(alice, "complete")

    button(alice, "Previous version").click()
    expect(body(alice)).to_have_text("The first version")
    expect(versions).to_contain_text("1/2")
    expect_same_after_reload(alice)
    button(alice, "Next version").click()
    expect(body(alice)).to_have_text("The second version")


@pytest.mark.parametrize(
    ("failure", "words", "detail"),
    [
        (
            Answer(status=400, body={"error": {"message": "temperature is odd"}}),
            "The provider did not accept the request.",
            "temperature is odd",
        ),
        (
            Answer(status=401, body={"error": {"message": "bad key"}}),
            "The provider refused the site's key or address.",
            "",  # its words may be about the account, and are not for everybody
        ),
        (
            Answer(status=500, body={"error": {"message": "it is broken"}}),
            "The provider failed.",
            "it is broken",
        ),
    ],
    ids=["400", "401", "500"],
)
def test_a_failure_is_said_in_words_and_tried_again(
    site: Site, alice: Page, starts: Starts, failure: Answer, words: str, detail: str
) -> None:
    site.upstream.enqueue(failure)
    alice.goto(f"/c/{starts('Try this')}/")

    expect_state(alice, "failed")
    expect(answer(alice)).to_contain_text(words)
    said = alice.get_by_text("What the provider said")
    if detail:
        said.click()
        expect(alice.get_by_text(detail)).to_be_visible()
    else:
        expect(said).to_have_count(0)
        expect(alice.get_by_text("bad key")).to_have_count(0)
    held = site.upstream.hold()
    button(alice, "Try again").click()
    held.send("It works now")
    held.finish()

    expect(body(alice)).to_have_text("It works now")
    expect_state(alice, "complete")


def test_a_provider_that_hangs_up_is_tried_again_and_then_reported(
    site: Site, alice: Page, starts: Starts
) -> None:
    site.upstream.enqueue(*[Answer(wire=[])] * 3)
    alice.goto(f"/c/{starts('Try this')}/")

    expect_state(alice, "failed")
    expect(answer(alice)).to_contain_text("The model's provider could not be reached.")
    assert len(site.upstream.requests) == 3
    button(alice, "Try again").click()
    expect_state(alice, "complete")


def test_an_answer_cut_midway_is_interrupted_and_can_be_continued(
    site: Site, alice: Page, starts: Starts
) -> None:
    held = site.upstream.hold()
    alice.goto(f"/c/{starts('Try this')}/")
    held.send("It breaks in")
    expect(body(alice)).to_have_text("It breaks in")
    held.drop()

    expect_state(alice, "interrupted")
    expect(body(alice)).to_have_text("It breaks in")
    expect(answer(alice)).to_contain_text("Interrupted: the connection to the provider broke.")
    held = site.upstream.hold()
    button(alice, "Continue").click()
    assert held.request.messages[-2]["content"] == "It breaks in"
    held.send(" no more")
    held.finish()

    expect_state(alice, "complete")
    expect(body(alice)).to_have_text("It breaks in no more")


def test_alternatives_stream_side_by_side_and_one_is_chosen(site: Site, alice: Page) -> None:
    held = site.upstream.hold()
    alice.goto("/")
    alice.locator("#parameters summary").click()
    alice.get_by_label("Answers", exact=True).fill("3")
    send(alice, "Three of them")
    conversation = conversation_of(alice)
    expect(answers(alice)).to_have_count(3)
    assert held.request.json["n"] == 3

    for index in range(3):
        held.send(f"Answer **{index}** ", index)
    for index in range(3):
        expect(answers(alice).nth(index).locator(".body strong")).to_have_text(str(index))
    boxes = [answers(alice).nth(index).bounding_box() for index in range(3)]
    lefts = [box["x"] for box in boxes if box]
    tops = {box["y"] for box in boxes if box}
    assert lefts == sorted(set(lefts))
    assert len(tops) == 1
    for index in (2, 0, 1):
        held.send("whole", index)
    held.finish()
    for index in range(3):
        expect(answers(alice).nth(index)).to_have_attribute("data-state", "complete")
        expect(answers(alice).nth(index).locator(".body")).to_have_text(f"Answer {index} whole")
    expect_same_after_reload(alice)

    button(alice, "Use this one").nth(1).click()
    expect(answers(alice)).to_have_count(1)
    expect(body(alice)).to_have_text("Answer 1 whole")
    expect(alice.get_by_role("group", name="Versions")).to_contain_text("2/3")
    site.upstream.enqueue(Answer("Going on", n=1))
    alice.locator("#parameters summary").click()
    alice.get_by_label("Answers", exact=True).fill("1")
    button(alice, "Save").click()
    expect(alice.locator("#parameters .saved")).to_have_count(1)
    send(alice, "Go on")
    expect(body(alice)).to_have_text("Going on")
    contents = [message["content"] for message in site.upstream.requests[-1].messages]
    assert contents == ["Three of them", "Answer **1** whole", "Go on"]
    assert len(site.turns(conversation)) == 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_reasoning_streams_folded_and_stays_as_the_reader_has_it(
    site: Site, desk: Desk, starts: Starts, theme: Literal["light", "dark"]
) -> None:
    held = site.upstream.hold()
    page = desk.seat(
        viewport={"width": 390, "height": 844}, color_scheme=theme, reduced_motion="reduce"
    )
    page.goto(f"/c/{starts('Think hard')}/")
    thought, text = answer(page).locator(".thought"), answer(page).locator(".reasoning-text")
    held.send_reasoning("First, <b>consider</b> the question.\n")
    expect(thought).to_have_text("Thinking…")
    expect(text).to_be_hidden()
    expect(button(page, "Stop the answer")).to_be_visible()
    expect_state(page, "streaming")

    thought.click()
    expect(text).to_have_text("First, <b>consider</b> the question.")
    for number in range(40):
        held.send_reasoning(f"\nLine {number}")
    expect(text).to_contain_text("Line 39")
    expect(text).to_be_visible()
    assert is_at_end(text)  # who is at the end stays there
    text.evaluate("element => { element.scrollTop = 90; }")
    held.send_reasoning("\nLine 40")
    expect(text).to_contain_text("Line 40")
    assert text.evaluate("element => element.scrollTop") == 90

    held.send("The *answer*")
    expect(body(page).locator("em")).to_have_text("answer")
    expect(thought).to_have_text(re.compile(r"Thought for \d+ s"))
    held.finish()
    expect_state(page, "complete")
    expect(text).to_be_visible()
    assert text.evaluate("element => element.scrollTop") == 90
    expect(answer(page).locator(".source")).to_have_value("The *answer*")
    thought.press("Enter")
    expect(text).to_be_hidden()
    expect_same_after_reload(page)


def is_at_end(box: Locator) -> bool:
    return bool(box.evaluate("e => e.scrollHeight - e.clientHeight - e.scrollTop < 2"))


def test_the_page_follows_the_end_only_while_the_reader_is_there(
    site: Site, alice: Page, starts: Starts
) -> None:
    held = site.upstream.hold()
    alice.goto(f"/c/{starts('A long one')}/")
    jump = button(alice, "Jump to the end")
    at_end = (
        "(({scrollHeight, clientHeight, scrollTop}) => scrollHeight - clientHeight - scrollTop < 5)"
        "(document.scrollingElement)"
    )

    held.send("".join(f"Paragraph {number}.\n\n" for number in range(60)))
    expect(body(alice).locator("p")).to_have_count(60)
    eventually(alice, at_end)
    held.send("".join(f"Paragraph {number}.\n\n" for number in range(60, 90)))
    expect(body(alice).locator("p")).to_have_count(90)
    eventually(alice, at_end)
    expect(jump).to_be_hidden()

    alice.mouse.move(400, 300)
    alice.mouse.wheel(0, -900)
    expect(jump).to_be_visible()
    first = alice.evaluate("document.scrollingElement.scrollTop")
    held.send("".join(f"Paragraph {number}.\n\n" for number in range(90, 120)))
    expect(body(alice).locator("p")).to_have_count(120)
    assert alice.evaluate("document.scrollingElement.scrollTop") == first
    expect(jump).to_be_visible()

    jump.click()
    eventually(alice, at_end)
    held.send("".join(f"Paragraph {number}.\n\n" for number in range(120, 150)))
    held.finish()
    expect_state(alice, "complete")
    eventually(alice, at_end)
    expect(jump).to_be_hidden()
