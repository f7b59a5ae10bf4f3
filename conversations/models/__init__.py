"""Conversations, their messages, and the turns that write them."""

from conversations.models.call import Allowance, ApiCall
from conversations.models.conversation import Access, Conversation, Participant, Source
from conversations.models.message import RENDERER, Message, Role
from conversations.models.turn import RUNNING, WAITING, LogEntry, Turn, TurnState

__all__ = [
    "RENDERER",
    "RUNNING",
    "WAITING",
    "Access",
    "Allowance",
    "ApiCall",
    "Conversation",
    "LogEntry",
    "Message",
    "Participant",
    "Role",
    "Source",
    "Turn",
    "TurnState",
]
