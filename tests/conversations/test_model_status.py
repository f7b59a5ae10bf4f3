"""What the start page says of the built-in model, and that it does not go on saying it."""

from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag

from conversations import runtime
from conversations.upstream import ModelStatus
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


def test_the_start_page_asks_until_there_is_nothing_to_say(
    sign_in: Any, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(cast.alice)

    def status_of(address: str, said: ModelStatus | None) -> Tag:
        monkeypatch.setattr(runtime, "model_status", lambda: said)
        found = BeautifulSoup(client.get(address).content, "html.parser").find(id="model-status")
        assert isinstance(found, Tag)
        return found

    starting = ModelStatus("info", "The built-in model is starting.")
    for address in ("/", "/model-status/"):
        shown = status_of(address, starting)
        assert shown.get_text().strip() == starting.text
        assert (shown["hx-get"], shown["hx-swap"]) == ("/model-status/", "outerHTML")
        shown = status_of(address, None)
        assert shown.get_text() == ""
        assert not shown.has_attr("hx-get")
