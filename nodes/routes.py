"""The conditional edges: pure functions of the state that say who writes next."""

from __future__ import annotations

from typing import Literal

from forethought.nodes.cot_state import CotState, is_all_wrong
from forethought.nodes.state import SearchState


def after_start(state: SearchState) -> Literal["gauge", "draft", "revise"]:
    """The gauge where no step was opened yet."""
    return after_gauge(state) if state["plans"] else "gauge"


def after_gauge(state: SearchState) -> Literal["draft", "revise"]:
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


def after_chains(state: CotState) -> Literal["choose", "think_again", "answer"]:
    """The selector, where the draft has written any chain and nothing says stop."""
    if state["stop"]:
        return "answer"
    return "choose" if state["chains"] else "think_again"


def after_choice(state: CotState) -> Literal["think_again", "answer"]:
    """The target from scratch where all chains are wrong, else its answer from the one picked."""
    return "think_again" if is_all_wrong(state) and not state["stop"] else "answer"
