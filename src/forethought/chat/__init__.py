"""Conversations: replies of one model, and LangChain chat models over whatever replies."""

from forethought.chat.forethought import ChatForethought
from forethought.chat.llama import ChatLlama
from forethought.chat.plain import PlainReplier

__all__ = ["ChatForethought", "ChatLlama", "PlainReplier"]
