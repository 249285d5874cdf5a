"""Conversations as prompts: turns merged as templates want them, tools told of, blocks opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from forethought.errors import ConfigError
from forethought.model import FunctionCall, Message, Model, Speaker
from forethought.prompts_chat import told_of_schema, told_of_tools, written_call, written_result
from forethought.replies import Ask, Tool, Turn
from forethought.thinking_tags import with_open_block


def merged(turns: tuple[Turn, ...]) -> list[Turn]:
    """One system turn at most, the first; no two turns of one role in a row but results of tools
    and what follows a call. Many templates refuse anything else."""
    systems = [turn.content for turn in turns if turn.role == "system"]
    kept = [Turn("system", "\n\n".join(filter(None, systems)))] if any(systems) else []
    for turn in turns:
        last = kept[-1] if kept else None
        if turn.role == "system":
            continue
        if last and last.role == turn.role in ("user", "assistant") and not last.tool_calls:
            content = "\n\n".join(filter(None, (last.content, turn.content)))
            kept[-1] = replace(turn, content=content)
        else:
            kept.append(turn)
    return kept


def prompt_of(model: Model, ask: Ask, *, is_reasoning: bool) -> list[int]:
    """Token ids of the conversation, the assistant's turn opened, and with `is_reasoning` one think
    block.

    Raises:
        ConfigError: the model's template refuses the conversation.
    """
    turns = merged(ask.turns)
    tools = [described(tool) for tool in ask.tools] if ask.tool_choice != "none" else []
    if ask.schema is not None:
        turns = _told(turns, told_of_schema(ask.schema))
    if isinstance(model, Speaker) and model.knows_tools:
        tokens = model.chat([_message(turn) for turn in turns], tools=tools)
    else:
        plain = _told(turns, told_of_tools(tools)) if tools else turns
        tokens = _plain(model, [_spelt(turn) for turn in plain])
    return with_open_block(model, tokens) if is_reasoning else tokens


def described(tool: Tool) -> Mapping[str, Any]:
    """A tool as in the OpenAI API."""
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}


def _plain(model: Model, turns: list[Turn]) -> list[int]:
    """The prompt of turns without tools; a template that takes no system turn gets what it says in
    the first turn of the user's."""
    turns = merged(tuple(turns))  # results have become turns of the user's
    try:
        return model.chat([_message(turn) for turn in turns])
    except ConfigError:
        if turns[0].role != "system" or len(turns) == 1:
            raise
        as_user = replace(turns[0], role="user")
        return model.chat([_message(turn) for turn in merged((as_user, *turns[1:]))])


def _told(turns: list[Turn], instructions: str) -> list[Turn]:
    return merged((*turns, Turn("system", instructions)))


def _message(turn: Turn) -> Message:
    message = Message(role=turn.role, content=turn.content)
    if turn.tool_calls:
        calls = [FunctionCall(name=c.name, arguments=c.arguments) for c in turn.tool_calls]
        message["tool_calls"] = calls
    return message


def _spelt(turn: Turn) -> Turn:
    """A turn whose calls and results stand in its text."""
    if turn.role == "tool":
        return Turn("user", written_result(turn.content))
    calls = [written_call(call.name, call.arguments) for call in turn.tool_calls]
    return Turn(turn.role, "\n".join(filter(None, (turn.content, *calls))))
