"""The page of a program's call: every role, tool calls, and what is said about it."""

import uuid
from collections.abc import Callable

import pytest
from bs4 import BeautifulSoup, Tag
from django.test import Client

from conversations.blocks import render
from conversations.models import RENDERER, ApiCall, Conversation, Message, Role, Source, Turn
from organizations.models import User
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

LONG = "\n".join(f"line {number}" for number in range(30))
CALLS = [
    {"id": "c1", "name": "weather", "arguments": '{"city":"<b>Oslo</b>"}'},
    {"id": "c2", "name": "time", "arguments": '{"city": "Os'},
]


@pytest.fixture
def record(conversation: Conversation, cast: Cast) -> Conversation:
    """A call with all that a program may send, and its answer."""
    Conversation.objects.filter(pk=conversation.pk).update(source=Source.API)
    end: Message | None = None
    said = [
        (Role.SYSTEM, "<i>Be brief</i>", {}),
        (Role.DEVELOPER, LONG, {}),
        (Role.USER, "Weather?", {"name": "importer"}),
        (Role.USER, LONG, {}),
        (Role.ASSISTANT, "I *look*", {"tool_calls": CALLS}),
        (Role.TOOL, "*4* degrees", {"tool_call_id": "c1"}),
    ]
    for role, text, extras in said:
        end = Message.objects.create(
            conversation=conversation, parent=end, role=role, text=text, extras=extras
        )
    assert end is not None
    turn = Turn.objects.create(
        conversation=conversation,
        client_id=uuid.uuid4(),
        author=cast.alice,
        prompt=end,
        model="model",
        state="complete",
    )
    reply = Message.objects.create(
        conversation=conversation,
        parent=end,
        role=Role.ASSISTANT,
        turn=turn,
        text="Four",
        html=render("Four"),
        renderer=RENDERER,
        reasoning="\n<script>Cold</script>",
        extras={"thought_seconds": 74.2, "tool_calls": CALLS[:1]},
    )
    conversation.refresh_from_db()
    conversation.show(reply)
    ApiCall.objects.create(turn=turn, token_name="Nightly <report>")
    return conversation


@pytest.fixture
def page(record: Conversation, cast: Cast, sign_in: Callable[[User], Client]) -> BeautifulSoup:
    return load(record, sign_in(cast.alice))


def load(record: Conversation, client: Client) -> BeautifulSoup:
    response = client.get(f"/c/{record.pk}/")
    assert response.status_code == 200
    return BeautifulSoup(response.content, "html.parser")


def messages(page: BeautifulSoup) -> list[Tag]:
    return list(page.select("#thread > article"))


def test_what_was_sent_stands_there_by_role_as_it_was_written(page: BeautifulSoup) -> None:
    system, developer, user, second, assistant, tool, answer = messages(page)
    labels = [str(message["aria-label"]) for message in (system, developer, user, tool)]
    assert labels == ["System", "Developer", "importer", "Tool result"]
    assert str(second["aria-label"]) == "User"
    texts = [message.select_one(".card-text") for message in (system, developer, tool)]
    assert [text and text.get_text() for text in texts] == ["<i>Be brief</i>", LONG, "*4* degrees"]
    assert tool.select_one(".card-title code") is not None
    assert "weather" in tool.get_text()
    assert str(assistant.select_one(".body em")) == "<em>look</em>"
    assert answer.select_one(".body") is not None


def test_long_texts_are_folded_and_short_ones_are_not(page: BeautifulSoup) -> None:
    folded = [message.select_one(".long--folded") is not None for message in messages(page)]
    assert folded == [False, True, False, True, False, False, False]


def test_tool_calls_are_shown_by_name_with_their_arguments(page: BeautifulSoup) -> None:
    assistant, answer = messages(page)[4], messages(page)[6]
    assert [code.get_text() for code in assistant.select(".tool-name code")] == ["weather", "time"]
    assert [pre.get_text() for pre in assistant.select(".tool-call pre")] == [
        '{\n  "city": "<b>Oslo</b>"\n}',
        '{"city": "Os',
    ]
    assert len(answer.select(".tool-call")) == 1


def test_reasoning_is_folded_apart_from_text_and_source(page: BeautifulSoup) -> None:
    answer = messages(page)[6]
    reasoning, source = answer.select_one("details.reasoning"), answer.select_one(".source")
    assert reasoning is not None
    assert not reasoning.has_attr("open")
    assert reasoning.get_text(" ", strip=True) == "Thought for 1 min 14 s <script>Cold</script>"
    assert source is not None
    assert source.get_text().strip() == "Four"
    assert "Cold" not in str(answer.select_one(".body"))
    assert messages(page)[4].select_one(".reasoning") is None


def test_the_record_says_what_it_is_and_cannot_be_written_in(page: BeautifulSoup) -> None:
    assert "API call" in str(page.select_one("#conversation-header"))
    dock = page.select_one(".record")
    assert dock is not None
    assert "a call by the token “Nightly <report>”." in dock.get_text()
    assert "not kept" not in dock.get_text()
    assert page.select_one("#composer") is None
    assert page.select("[data-stop], [aria-label=Regenerate]") == []


def test_a_record_without_texts_says_so(
    record: Conversation, cast: Cast, sign_in: Callable[[User], Client]
) -> None:
    ApiCall.objects.update(stored=False)
    record.messages.update(text="", html="", reasoning="", extras={})
    page = load(record, sign_in(cast.alice))
    dock = page.select_one(".record")
    assert dock is not None
    assert "Its texts were not kept, as the call asked." in dock.get_text()
    assert dock.select("button") == []
    assert len(messages(page)) == 7
