"""The start page, a conversation's page, and the deleted ones."""

import uuid
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from conversations import actions, parameters, runtime
from conversations.fragments import (
    Page,
    conversation_context,
    fill_running,
    model_choices,
    refusal_notice,
    render_page,
)
from conversations.fragments import render as render_fragment
from conversations.models import Conversation, Source
from conversations.models.conversation import RESTORABLE_FOR
from conversations.providers import offered_models
from conversations.reading import ConversationView, read_conversation
from conversations.views.forms import client_id_of, parameter_form
from organizations.access import member_required
from organizations.middleware import MemberRequest

LIST_LENGTH = 500


@require_http_methods(["GET", "POST"])
@member_required
def conversation_new(request: MemberRequest) -> HttpResponse:
    """The start page; POST makes the conversation with its first message."""
    if request.method != "POST":
        return _start_page(request)
    read = parameters.read(request.POST.dict())
    if not read.valid:
        return _start_page(request, read=read, status=422)
    try:
        conversation = _create(request, read)
    except actions.Refused as error:
        return _start_page(request, read=read, refused=error, status=422)
    return redirect("conversation_detail", conversation.pk)


@require_GET
@member_required
def conversation_detail(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    try:
        view = read_conversation(request.user, conversation_id)
    except Conversation.DoesNotExist as error:
        raise Http404 from error
    return conversation_page(request, view)


@require_GET
@member_required
def conversation_list(request: MemberRequest) -> HttpResponse:
    """All conversations of the person, for those that the sidebar does not show."""
    visible = Conversation.objects.visible_to(request.user).filter(source=Source.PAGE)
    conversations = visible.recent()[:LIST_LENGTH]
    items = [
        {
            "title": conversation.title or _("New chat"),
            "url": reverse("conversation_detail", args=[conversation.pk]),
            "updated_at": conversation.updated_at,
        }
        for conversation in conversations
    ]
    return render(request, "conversations/conversation_list.html", {"items": items})


@require_GET
@member_required
def conversation_deleted(request: MemberRequest) -> HttpResponse:
    """What was deleted in the last 30 days, to be restored."""
    conversations = Conversation.objects.owned_by(request.user).restorable()
    items = [_deleted_item(conversation) for conversation in conversations]
    return render(request, "conversations/deleted.html", {"items": items})


@require_GET
@member_required
def model_status(request: MemberRequest) -> HttpResponse:
    """The start page has no socket: while there is something to say of the model, it asks."""
    return HttpResponse(_model_status())


def conversation_page(
    request: HttpRequest,
    view: ConversationView,
    *,
    notice: dict[str, Any] | None = None,
    text: str = "",
    read: parameters.Parameters | None = None,
    status: int = 200,
) -> HttpResponse:
    """The whole page; with `notice` and `text` after something that was refused."""
    page = render_page(view, runtime.model_status())
    # The digest is the page's own: what is being written counts by its place alone.
    digest = page.digest
    fill_running(page, view, None)
    conversation = conversation_context(view)
    conversation["socket_url"] = f"/ws/conversations/{view.id}/?seen={digest}"
    context = {
        "page": {
            **_common(page),
            "conversation": conversation,
            "running": view.running_turn is not None,
            "models": model_choices(view.models, view.model),
            "parameters": parameter_form(view, read),
            "notice": notice,
            "composer": {"client_id": uuid.uuid4(), "text": text},
            "fine_print": _fine_print(),
        },
    }
    return render(request, "conversations/conversation_detail.html", context, status=status)


def _common(page: Page) -> dict[str, Any]:
    return {
        "header": page.regions["conversation-header"],
        "thread": list(page.items.values()),
        "composer_action": page.regions["composer-action"],
        "model_status": page.regions["model-status"],
        "announcer": page.regions["announcer"],
    }


def _create(request: MemberRequest, read: parameters.Parameters) -> Conversation:
    """Make the conversation and its first turn; a repeated form finds the first one's."""
    return actions.create_with_turn(
        request.membership,
        request.POST.get("text", ""),
        client_id_of(request),
        model=request.POST.get("model", ""),
        parameters=read,
    )


def _start_page(
    request: MemberRequest,
    *,
    read: parameters.Parameters | None = None,
    refused: actions.Refused | None = None,
    status: int = 200,
) -> HttpResponse:
    models = offered_models(request.membership.user, request.membership.organization_id)
    chosen = request.POST.get("model", "") or (models[0].id if models else "")
    context = {
        "page": {
            "model_status": _model_status(),
            "models": model_choices(models, chosen),
            "parameters": parameter_form(None, read),
            "suggestions": _suggestions(),
            "notice": refusal_notice(refused) if refused else None,
            "composer": {
                # A refused form made nothing; sent again, it is a new one.
                "client_id": uuid.uuid4() if refused else client_id_of(request),
                "action_url": reverse("conversation_new"),
                "text": request.POST.get("text", ""),
            },
            "fine_print": _fine_print(),
        }
    }
    return render(request, "conversations/conversation_new.html", context, status=status)


def _model_status() -> str:
    url = reverse("model_status")
    return render_fragment("_model_status.html", status=runtime.model_status(), status_url=url)


def _fine_print() -> str:
    return _("Answers can be wrong. Check what matters.")


def _suggestions() -> list[dict[str, str]]:
    return [
        {
            "title": _("Explain a term"),
            "text": _("Explain what a database index is, with one example."),
        },
        {
            "title": _("Draft a message"),
            "text": _("Draft a short, friendly e-mail that moves a meeting to next week."),
        },
        {
            "title": _("Write some code"),
            "text": _("Write a Python function that removes duplicates and keeps the order."),
        },
        {
            "title": _("Compare options"),
            "text": _("Compare tea and coffee in a small table."),
        },
    ]


def _deleted_item(conversation: Conversation) -> dict[str, Any]:
    deleted_at = conversation.deleted_at or timezone.now()
    left = deleted_at + RESTORABLE_FOR - timezone.now()
    return {
        "title": conversation.title or _("New chat"),
        "deleted_at": deleted_at,
        "days_left": max(1, left.days),
        "restore_url": reverse("conversation_restore", args=[conversation.pk]),
    }
