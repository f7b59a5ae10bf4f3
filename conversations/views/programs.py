"""What programs do in a person's name: their calls, and how to make one."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from conversations.blocks import render as render_markdown
from conversations.examples import EXAMPLES, EXPORT
from conversations.models import ApiCall
from conversations.providers import model_label, offered_models
from conversations.usage import Month, Row, read_usage
from organizations.access import member_required
from organizations.middleware import MemberRequest

PAGE_LENGTH = 50


@require_GET
@member_required
def api_docs(request: MemberRequest) -> HttpResponse:
    """How to call the endpoint, with the reader's own organization in each example."""
    organization = request.membership.organization
    site = settings.PUBLIC_URL or f"{request.scheme}://{request.get_host()}"
    models = offered_models(request.membership.user, organization.pk)
    base_url = f"{site}/api/organizations/{organization.pk}/ai"
    model = models[0].id if models else "MODEL"
    context = {
        "section": "api",
        "base_url": base_url,
        "openapi_url": f"{site}/api/openapi.json",
        "models": models,
        "export": render_markdown(EXPORT),
        "examples": [
            {
                "title": example.title,
                "lead": example.lead,
                "html": render_markdown(example.markdown(base_url, model)),
            }
            for example in EXAMPLES
        ],
        "token_limit": settings.API_TOKEN_REQUESTS_PER_MINUTE,
        "organization_limit": settings.API_ORGANIZATION_REQUESTS_PER_MINUTE,
        "allows_unstored": organization.allows_unstored_calls,
    }
    return render(request, "conversations/api_docs.html", context)


@require_GET
@member_required
def api_calls(request: MemberRequest) -> HttpResponse:
    """The person's own calls, newest first, a page at a time."""
    calls = (
        ApiCall.objects.filter(
            turn__author=request.membership.user,
            turn__conversation__organization=request.membership.organization,
            turn__conversation__deleted_at=None,
        )
        .select_related("turn", "turn__conversation")
        .order_by("-created_at", "-pk")
    )
    tokens = request.membership.user.access_tokens.filter(
        organization=request.membership.organization
    )
    names = sorted(set(tokens.values_list("name", flat=True)))
    chosen = request.GET.get("token", "")
    if chosen:
        # Names alone: PostgreSQL refuses what is no text, as NUL.
        calls = calls.filter(token_name=chosen) if chosen in names else calls.none()
    before = _time(request.GET.get("before", ""))
    rows = list((calls.filter(created_at__lt=before) if before else calls)[: PAGE_LENGTH + 1])
    more = len(rows) > PAGE_LENGTH
    rows = rows[:PAGE_LENGTH]
    context = {
        "section": "api_calls",
        "items": [_item(call) for call in rows],
        "older": rows[-1].created_at.isoformat() if more else "",
        "chosen": chosen,
        "is_first_page": before is None,
        "tokens": names,
    }
    return render(request, "conversations/api_calls.html", context)


@require_GET
@member_required
def usage(request: MemberRequest) -> HttpResponse:
    """What was used in a month: one's own, for admins also the organization's."""
    membership = request.membership
    is_all = membership.is_admin and request.GET.get("of") == "all"
    month = Month.read(request.GET.get("month", ""))
    found = read_usage(membership.organization_id, month, only=None if is_all else membership.user)
    tables = [(_("By model"), [_named(membership.organization_id, row) for row in found.by_model])]
    if is_all:
        tables.append((_("By person"), [_person(row) for row in found.by_person]))
    tables.append((_("By page or API"), list(found.by_source)))
    context = {
        "section": "usage",
        "month": month.first,
        "previous": str(month.previous),
        "next": str(month.next) if month.next.first <= timezone.localdate() else "",
        "is_all": is_all,
        "may_see_all": membership.is_admin,
        "total": found.total,
        "tables": tables,
        "has_cost": found.total.cost is not None,
    }
    return render(request, "conversations/usage.html", context)


def _named(organization_id: uuid.UUID, row: Row) -> Row:
    return replace(row, name=model_label(organization_id, row.name))


def _person(row: Row) -> Row:
    return row if row.name else replace(row, name=_("Somebody who left"))


def _item(call: ApiCall) -> dict[str, Any]:
    turn = call.turn
    conversation = turn.conversation
    ended, started = turn.ended_at, turn.started_at
    return {
        "title": conversation.title or (_("(no text)") if call.stored else _("Text not kept")),
        "url": reverse("conversation_detail", args=[conversation.pk]) if call.stored else "",
        "at": call.created_at,
        "token_name": call.token_name,
        "model": model_label(conversation.organization_id, turn.model),
        "state": "left" if call.abandoned else turn.state,
        "state_label": _("Left by the program") if call.abandoned else turn.get_state_display(),
        "tokens": (turn.prompt_tokens or 0) + (turn.completion_tokens or 0),
        "seconds": (ended - started).total_seconds() if ended and started else None,
    }


def _time(text: str) -> datetime | None:
    """The moment, in UTC as it is stored; None for what is none."""
    try:
        found = parse_datetime(text)
        return found.astimezone(UTC) if found and found.tzinfo else None
    except (ValueError, OverflowError):  # in UTC before the year 1, or after 9999
        return None
