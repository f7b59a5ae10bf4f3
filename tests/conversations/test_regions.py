"""The regions of a conversation's page: each has its place, for whoever looks at it."""

from typing import Any

import pytest
from bs4 import BeautifulSoup

from conversations import actions, runtime
from conversations.fragments import render_page
from conversations.models import Access, Conversation, Source
from conversations.reading import read_conversation
from conversations.upstream import ModelStatus
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("who", ["owner", "writer", "reader", "owner of a call"])
def test_what_is_pushed_has_a_place_in_the_page(
    conversation: Conversation, cast: Cast, sign_in: Any, who: str
) -> None:
    """A push without one is an error in the browser's console, at each reconnect."""
    if who == "owner of a call":
        Conversation.objects.filter(pk=conversation.pk).update(source=Source.API)
    user = cast.alice if who.startswith("owner") else cast.bob
    if user == cast.bob:
        access = Access.READ if who == "reader" else Access.WRITE
        actions.share(conversation, cast.bob, access)
    response = sign_in(user).get(f"/c/{conversation.pk}/")
    page = BeautifulSoup(response.content, "html.parser")
    view = read_conversation(user, conversation.pk)
    for dom_id in render_page(view, None).regions:
        assert len(page.find_all(id=dom_id)) == 1, dom_id


@pytest.mark.parametrize(("model", "is_said"), [("test-model", False), ("smollm", True)])
def test_the_built_in_models_state_is_said_where_it_is_used(
    conversation: Conversation,
    cast: Cast,
    sign_in: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    is_said: bool,
) -> None:
    starting = ModelStatus("info", "The built-in model is starting.")
    monkeypatch.setattr(runtime, "model_status", lambda: starting)
    Conversation.objects.filter(pk=conversation.pk).update(model=model)
    response = sign_in(cast.alice).get(f"/c/{conversation.pk}/")
    page = BeautifulSoup(response.content, "html.parser")
    assert (starting.text in str(page.find(id="model-status"))) is is_said
