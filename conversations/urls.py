"""Paths of conversations."""

from django.urls import path

from conversations.views import doing, pages, programs

urlpatterns = [
    path("", pages.conversation_new, name="conversation_new"),
    path("settings/api/", programs.api_docs, name="api_docs"),
    path("settings/api/calls/", programs.api_calls, name="api_calls"),
    path("settings/usage/", programs.usage, name="usage"),
    path("model-status/", pages.model_status, name="model_status"),
    path("c/", pages.conversation_list, name="conversation_list"),
    path("c/deleted/", pages.conversation_deleted, name="conversation_deleted"),
    path("c/<uuid:conversation_id>/", pages.conversation_detail, name="conversation_detail"),
    path("c/<uuid:conversation_id>/messages/", doing.send, name="conversation_send"),
    path("c/<uuid:conversation_id>/stop/", doing.stop, name="conversation_stop"),
    path("c/<uuid:conversation_id>/title/", doing.title, name="conversation_title"),
    path("c/<uuid:conversation_id>/model/", doing.model, name="conversation_model"),
    path(
        "c/<uuid:conversation_id>/parameters/",
        doing.set_parameters,
        name="conversation_parameters",
    ),
    path("c/<uuid:conversation_id>/sharing/", doing.sharing, name="conversation_sharing"),
    path(
        "c/<uuid:conversation_id>/sharing/<int:user_id>/remove/",
        doing.unshare,
        name="conversation_unshare",
    ),
    path("c/<uuid:conversation_id>/delete/", doing.delete, name="conversation_delete"),
    path("c/<uuid:conversation_id>/fork/", doing.fork, name="conversation_fork"),
    path("c/<uuid:conversation_id>/restore/", doing.restore, name="conversation_restore"),
    path("messages/<int:message_id>/regenerate/", doing.regenerate, name="message_regenerate"),
    path("messages/<int:message_id>/continue/", doing.continue_answer, name="message_continue"),
    path("messages/<int:message_id>/show/", doing.show, name="message_show"),
]
