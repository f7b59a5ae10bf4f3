"""What the frame of every page needs: the person's organization and their conversations."""

from datetime import date, datetime, timedelta
from typing import Any, cast

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from conversations.models import Conversation, Source, Turn
from conversations.sidebar import sidebar_row
from organizations.middleware import MemberRequest

SIDEBAR_LENGTH = 200


def sidebar(request: HttpRequest) -> dict[str, Any]:
    """Context processor. The list is read only where a template shows it."""
    membership = getattr(cast("MemberRequest", request), "membership", None)
    return {
        "organization": membership.organization if membership else None,
        "role": membership.role if membership else "",
        "sidebar": SimpleLazyObject(lambda: _sidebar(request)),
    }


def _sidebar(request: HttpRequest) -> dict[str, Any]:
    match = request.resolver_match
    current = match.kwargs.get("conversation_id") if match else None
    visible = Conversation.objects.visible_to(request.user).filter(source=Source.PAGE).recent()
    rows = list(visible.select_related("owner")[: SIDEBAR_LENGTH + 1])
    more = len(rows) > SIDEBAR_LENGTH
    rows = rows[:SIDEBAR_LENGTH]
    if current and all(row.pk != current for row in rows):
        # The open one always has its row: what is pushed to it needs a place.
        rows += visible.select_related("owner").filter(pk=current)
    turns = Turn.objects.running().filter(conversation__in=[row.pk for row in rows])
    running = set(turns.values_list("conversation", flat=True))
    today = timezone.localdate()
    groups: list[dict[str, Any]] = []
    for row in rows:
        label = _day(timezone.localdate(row.updated_at), today)
        if not groups or groups[-1]["label"] != label:
            groups.append({"label": label, "items": []})
        groups[-1]["items"].append(
            sidebar_row(
                row.pk,
                row.title,
                running=row.pk in running,
                current=row.pk == current,
                shared_by="" if row.owner_id == request.user.pk else str(row.owner),
            )
        )
    return {"groups": groups, "more_url": reverse("conversation_list") if more else None}


def _day(day: date, today: date) -> str:
    if day >= today:
        return _("Today")
    if day == today - timedelta(days=1):
        return _("Yesterday")
    if day > today - timedelta(days=7):
        return _("Previous 7 days")
    if day > today - timedelta(days=30):
        return _("Previous 30 days")
    return date_format(datetime(day.year, day.month, 1), "F Y")
