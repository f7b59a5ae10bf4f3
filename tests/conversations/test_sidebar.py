"""The list at the left: conversations by the day of their last change."""

from datetime import timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.utils import timezone

from conversations.models import Conversation
from tests.conftest import Cast

pytestmark = pytest.mark.django_db


def test_conversations_stand_under_their_day(
    cast: Cast, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now().replace(hour=12)
    monkeypatch.setattr(timezone, "now", lambda: now)
    for days in (0, 1, 3, 20, 60):
        Conversation.objects.create(
            organization=cast.organization,
            owner=cast.alice,
            model="test-model",
            title=f"{days} days old",
            updated_at=now - timedelta(days=days),
        )
    page = BeautifulSoup(sign_in(cast.alice).get("/").content, "html.parser")
    found = {
        heading.get_text(strip=True): [
            title.get_text(strip=True)
            for title in page.select(f"ul[aria-labelledby={heading['id']}] .item-title")
        ]
        for heading in page.select(".sidebar-list h2")
    }
    month = (now - timedelta(days=60)).strftime("%B %Y")
    assert found == {
        "Today": ["0 days old"],
        "Yesterday": ["1 days old"],
        "Previous 7 days": ["3 days old"],
        "Previous 30 days": ["20 days old"],
        month: ["60 days old"],
    }
