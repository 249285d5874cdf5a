"""The conditional edges of a chain of thought: pure functions of the state that say who goes on."""

from __future__ import annotations

from typing import Literal

from forethought.nodes.chain import ChainState


def after_opening(state: ChainState) -> Literal["begin", "draft"]:
    """The target where it is to open the chain."""
    return "begin" if state["owes_beginning"] else "draft"


def after_paragraph(state: ChainState) -> Literal["draft", "probe", "recheck", "answer"]:
    """Behind a delimiter the next sentence is tried, or the target rechecks; else the draft goes
    on."""
    if state["stop"] or state["is_ended"]:
        return "answer"
    if not state["at_delimiter"]:
        return "draft"
    return "recheck" if state["num_reflections"] >= state["reflection_limit"] else "probe"


def after_probe(
    state: ChainState,
) -> Literal["take_over", "draft", "probe", "recheck", "answer"]:
    """The target in place of the probe, else as behind a paragraph."""
    return "take_over" if state["probe"] else after_paragraph(state)


def after_take_over(state: ChainState) -> Literal["verify", "draft", "answer"]:
    """The target goes on where verification is due."""
    if state["stop"] or state["is_ended"]:
        return "answer"
    return "verify" if state["has_cue"] else "draft"


def after_target(state: ChainState) -> Literal["draft", "answer"]:
    """Back to the draft, mid-sentence if need be."""
    return "answer" if state["stop"] or state["is_ended"] else "draft"
