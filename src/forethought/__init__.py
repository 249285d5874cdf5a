"""Forethought: speculative reasoning in LangGraph.

A small local model drafts thoughts, an evaluator scores them, a large model writes what was not
good enough. Start with `solve` and `spec_search`; everything importable is listed in `__all__`.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from forethought.config import EngineConfig, SamplingParams, SearchConfig
from forethought.config_thinking import ThinkingConfig
from forethought.engine import Engine, ScriptedModel
from forethought.errors import ForethoughtError
from forethought.evaluators import Evaluator, Judge
from forethought.graphs import spec_search, speculative_thinking
from forethought.model import Model, Scope
from forethought.models import resolve
from forethought.prompts import TASKS
from forethought.solve import Solution, solve
from forethought.stores import ThresholdStore
from forethought.thoughts import Answer, Thought

if TYPE_CHECKING:
    from forethought.chat import ChatForethought, ChatLlama

__version__ = version("forethought")
_LATE = {"ChatForethought": "forethought.chat", "ChatLlama": "forethought.chat"}

__all__ = [
    "TASKS",
    "Answer",
    "ChatForethought",
    "ChatLlama",
    "Engine",
    "EngineConfig",
    "Evaluator",
    "ForethoughtError",
    "Judge",
    "Model",
    "SamplingParams",
    "Scope",
    "ScriptedModel",
    "SearchConfig",
    "Solution",
    "ThinkingConfig",
    "Thought",
    "ThresholdStore",
    "resolve",
    "solve",
    "spec_search",
    "speculative_thinking",
]


def __getattr__(name: str) -> Any:
    """Chat models are imported when they are asked for: LangChain's take a second."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
