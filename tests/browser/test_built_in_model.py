"""The built-in model answers in the browser, for real."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from completions.weights import check_platform
from tests.browser.pages import answer, body, composer, conversation_of, expect_state, send
from tests.sites import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ANSWER_MS = 90_000  # on a busy computer; otherwise 3 s


@pytest.fixture(scope="module")
def module_site() -> Iterator[Site]:
    if problem := check_platform():
        pytest.skip(f"NO BUILT-IN MODEL HERE: {problem}")
    with Site({"COMPLETIONS_URL": "", "COMPLETIONS_MODELS": "", "BUILT_IN_MODEL": "1"}) as site:
        yield site
        assert site.server.terminate() == 0


def test_the_built_in_model_answers_and_can_be_asked_again(site: Site, alice: Page) -> None:
    alice.goto("/")
    expect(composer(alice)).to_have_attribute("placeholder", "Message SmolLM2 135M")
    expect(alice.get_by_text("SmolLM2 135M, built in, for trying out")).to_be_visible()
    expect(alice.locator("#model-status")).to_have_text("", timeout=ANSWER_MS)

    alice.locator("#parameters summary").click()
    alice.get_by_label("Longest answer").fill("40")
    send(alice, "What is the capital of France?")
    conversation = conversation_of(alice)
    expect(answer(alice)).to_have_attribute("data-state", "complete", timeout=ANSWER_MS)
    expect(body(alice)).to_contain_text(re.compile(r"\w+ \w+"))  # so small a model may be wrong
    expect(answer(alice).locator(".byline")).to_contain_text("SmolLM2 135M")
    send(alice, "And which river is there?")
    expect(alice.locator("article.message--assistant")).to_have_count(2)
    expect(answer(alice)).to_have_attribute("data-state", "complete", timeout=ANSWER_MS)

    expect_state(alice, "complete")
    turns = site.turns(conversation)
    assert [turn["provider"] for turn in turns] == ["built in", "built in"]
    assert all(0 < turn["completion_tokens"] <= 40 for turn in turns)
