"""The conditional edges: pure functions of the state that say who writes next."""

from __future__ import annotations

from typing import Literal

from forethought.nodes.state import SearchState


def after_start(state: SearchState) -> Literal["draft", "revise"]:
    """The target where it owes the root its thoughts, else the draft."""
    return "revise" if state["needs"] else "draft"


def after_accept(state: SearchState) -> Literal["revise", "select"]:
    """The target where drafts were rejected or extra thoughts are due."""
    return "revise" if state["needs"] else "select"


def after_select(state: SearchState) -> Literal["draft", "revise", "answer"]:
    """Another step while paths are open and nothing says stop."""
    if state["stop"] or not state["frontier"]:
        return "answer"
    return "revise" if state["needs"] else "draft"
