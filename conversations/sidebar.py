"""A conversation's row in the list at the left: the page's, and the one that is pushed to it."""

import uuid
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _


def sidebar_row(
    conversation_id: uuid.UUID, title: str, *, running: bool, current: bool, shared_by: str
) -> dict[str, Any]:
    """What `_sidebar_item.html` shows; `shared_by` names the owner where that is somebody else."""
    return {
        "title": title or _("New chat"),
        "url": reverse("conversation_detail", args=[conversation_id]),
        "dom_id": f"conversation-item-{conversation_id}",
        "running": running,
        "current": current,
        "shared_by": shared_by,
    }
