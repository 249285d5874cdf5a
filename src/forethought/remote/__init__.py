"""Models elsewhere: behind an OpenAI-compatible server, or any LangChain chat model."""

from forethought.remote.backend import Backend
from forethought.remote.fallback import FallbackModel
from forethought.remote.langchain_chat import LangChainChat
from forethought.remote.model import RemoteModel
from forethought.remote.openai_server import OpenAIServer
from forethought.remote.settings import Capabilities, RemoteConfig

__all__ = [
    "Backend",
    "Capabilities",
    "FallbackModel",
    "LangChainChat",
    "OpenAIServer",
    "RemoteConfig",
    "RemoteModel",
]
