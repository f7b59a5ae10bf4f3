"""Actions by HTTP: each works without JavaScript, and for htmx answers 204: the socket shows it."""

import uuid
from collections.abc import Callable

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from conversations import actions, parameters
from conversations.actions import Refused
from conversations.fragments import refusal_notice
from conversations.fragments import render as render_fragment
from conversations.models import Access, Conversation, Message
from conversations.reading import ConversationView, read_conversation
from conversations.views.forms import client_id_of, parameter_form
from conversations.views.pages import conversation_page
from organizations.access import member_required
from organizations.middleware import MemberRequest
from organizations.models import User


@require_POST
@member_required
def send(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """The composer where there is no socket; a refused text stays in it."""
    conversation = _visible(request, conversation_id)
    text = request.POST.get("text", "")
    try:
        actions.start_turn(conversation, _person(request), text, client_id_of(request))
    except Refused as error:
        if request.htmx:
            return _notice(error)
        view = _read(request, conversation_id)
        return conversation_page(request, view, notice=refusal_notice(error), text=text, status=409)
    return _done(request, conversation)


@require_POST
@member_required
def stop(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    conversation = _visible(request, conversation_id)
    return _act(request, conversation, lambda: actions.stop(conversation, _person(request)))


@require_POST
@member_required
def fork(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Go on in a new conversation with a copy of this one's shown branch."""
    conversation = _visible(request, conversation_id)
    try:
        copy = actions.fork(conversation, _person(request))
    except Refused as error:
        messages.warning(request, refusal_notice(error)["text"])
        return redirect("conversation_detail", conversation.pk)
    return redirect("conversation_detail", copy.pk)


@require_POST
@member_required
def title(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    conversation = _visible(request, conversation_id)
    new = request.POST.get("title", "")
    return _act(request, conversation, lambda: actions.rename(conversation, _person(request), new))


@require_POST
@member_required
def model(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    conversation = _visible(request, conversation_id)
    chosen = request.POST.get("model", "")
    return _act(
        request, conversation, lambda: actions.set_model(conversation, _person(request), chosen)
    )


@require_POST
@member_required
def set_parameters(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Store the parameters; htmx gets the form again, saved or with what is wrong."""
    conversation = _visible(request, conversation_id)
    read = parameters.read(request.POST.dict())
    if read.valid:
        try:
            actions.set_parameters(conversation, _person(request), read)
        except Refused as error:
            return _refused(request, conversation, error)
    if request.htmx:
        conversation.refresh_from_db(fields=["system_prompt", "parameters"])
        form = parameter_form(conversation, read, saved=read.valid)
        return HttpResponse(render_fragment("_parameters.html", parameters=form))
    if read.valid:
        return _done(request, conversation)
    view = _read(request, conversation_id)
    return conversation_page(request, view, read=read, status=422)


@require_POST
@member_required
def regenerate(request: MemberRequest, message_id: int) -> HttpResponse:
    message = _message(request, message_id)
    chosen = request.POST.get("model", "")
    return _act(
        request,
        message.conversation,
        lambda: actions.regenerate(message, _person(request), model=chosen),
    )


@require_POST
@member_required
def continue_answer(request: MemberRequest, message_id: int) -> HttpResponse:
    message = _message(request, message_id)
    return _act(
        request, message.conversation, lambda: actions.continue_answer(message, _person(request))
    )


@require_POST
@member_required
def show(request: MemberRequest, message_id: int) -> HttpResponse:
    """Go to this version, or use this alternative."""
    message = _message(request, message_id)
    return _act(request, message.conversation, lambda: actions.show(message, _person(request)))


@require_http_methods(["GET", "POST"])
@member_required
def sharing(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Who can see the conversation; the owner opens it to members."""
    conversation = _visible(request, conversation_id)
    if request.method == "POST":
        _own(request, conversation_id)
        member = get_object_or_404(_members(request), pk=_number(request.POST.get("member", "")))
        access = request.POST.get("access", "")
        if access in Access.values and member.pk != conversation.owner_id:
            actions.share(conversation, member, access)
        if not request.htmx:
            return redirect("conversation_sharing", conversation_id)
    return _sharing_page(request, conversation)


@require_POST
@member_required
def unshare(request: MemberRequest, conversation_id: uuid.UUID, user_id: int) -> HttpResponse:
    conversation = _own(request, conversation_id)
    # Whether there is such a person is nobody's business: who does not take part is passed over.
    if member := User.objects.filter(participations__conversation=conversation, pk=user_id).first():
        actions.unshare(conversation, member)
    if not request.htmx:
        return redirect("conversation_sharing", conversation_id)
    return _sharing_page(request, conversation)


@require_POST
@member_required
def delete(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Hide it, with an undo on the next page."""
    conversation = _own(request, conversation_id)
    actions.delete(conversation, _person(request))
    messages.success(
        request,
        _("Chat deleted. You can restore it for 30 days."),
        extra_tags=f"undo:{reverse('conversation_restore', args=[conversation_id])}",
    )
    return _go(request, reverse("conversation_new"))


@require_POST
@member_required
def restore(request: MemberRequest, conversation_id: uuid.UUID) -> HttpResponse:
    deleted = Conversation.objects.owned_by(request.user).restorable()
    conversation = get_object_or_404(deleted, pk=conversation_id)
    actions.restore(conversation)
    messages.success(request, _("Chat restored."))
    return _go(request, reverse("conversation_detail", args=[conversation_id]))


def _act(
    request: MemberRequest, conversation: Conversation, action: Callable[[], object]
) -> HttpResponse:
    try:
        action()
    except Refused as error:
        return _refused(request, conversation, error)
    return _done(request, conversation)


def _done(request: MemberRequest, conversation: Conversation) -> HttpResponse:
    if request.htmx:
        return HttpResponse(status=204)
    return redirect("conversation_detail", conversation.pk)


def _refused(request: MemberRequest, conversation: Conversation, error: Refused) -> HttpResponse:
    if request.htmx:
        return _notice(error)
    view = _read(request, conversation.pk)
    return conversation_page(request, view, notice=refusal_notice(error), status=409)


def _notice(error: Refused) -> HttpResponse:
    """htmx swaps only what succeeded: the notice comes with 200, into its own place."""
    response = HttpResponse(render_fragment("_notice.html", notice=refusal_notice(error)))
    response["HX-Retarget"], response["HX-Reswap"] = "#notice", "outerHTML"
    return response


def _go(request: MemberRequest, url: str) -> HttpResponse:
    if not request.htmx:
        return redirect(url)
    response = HttpResponse(status=204)
    response["HX-Redirect"] = url
    return response


def _read(request: MemberRequest, conversation_id: uuid.UUID) -> ConversationView:
    try:
        return read_conversation(request.user, conversation_id)
    except Conversation.DoesNotExist as error:  # deleted, or closed to the person, meanwhile
        raise Http404 from error


def _visible(request: MemberRequest, conversation_id: uuid.UUID) -> Conversation:
    return get_object_or_404(Conversation.objects.visible_to(request.user), pk=conversation_id)


def _own(request: MemberRequest, conversation_id: uuid.UUID) -> Conversation:
    mine = Conversation.objects.owned_by(request.user).filter(deleted_at=None)
    return get_object_or_404(mine, pk=conversation_id)


def _message(request: MemberRequest, message_id: int) -> Message:
    visible = Conversation.objects.visible_to(request.user)
    messages_ = Message.objects.select_related("conversation", "turn", "parent")
    return get_object_or_404(messages_.filter(conversation__in=visible), pk=message_id)


def _person(request: MemberRequest) -> User:
    return request.membership.user


def _members(request: MemberRequest) -> QuerySet[User]:
    return User.objects.filter(
        memberships__organization=request.membership.organization, is_active=True
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Http404
    return int(text)


def _sharing_page(request: MemberRequest, conversation: Conversation) -> HttpResponse:
    participants = conversation.participants.select_related("user").order_by("user__name", "pk")
    is_owner = conversation.owner_id == request.user.pk
    taken = [participant.user_id for participant in participants] + [conversation.owner_id]
    candidates = _members(request).exclude(pk__in=taken).order_by("name", "pk")
    context = {
        "conversation": {
            "id": conversation.pk,
            "title": conversation.title or _("New chat"),
            "url": reverse("conversation_detail", args=[conversation.pk]),
            "is_owner": is_owner,
            "owner_name": str(conversation.owner),
        },
        "people": [
            {
                "id": participant.user_id,
                "name": str(participant.user),
                "email": participant.user.email,
                "access": participant.access,
                "access_label": participant.get_access_display(),
                "remove_url": reverse(
                    "conversation_unshare", args=[conversation.pk, participant.user_id]
                )
                if is_owner
                else "",
            }
            for participant in participants
        ],
        "candidates": candidates if is_owner else [],
        "accesses": Access.choices,
        "add_url": reverse("conversation_sharing", args=[conversation.pk]),
    }
    template = "_sharing.html" if request.htmx else "sharing.html"
    return render(request, f"conversations/{template}", context)
