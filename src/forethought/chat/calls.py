"""Tool calls: the grammar they are written under, and where a model begins one on its own."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator

from forethought.engine.json_grammar import Rules
from forethought.model import Delta
from forethought.prompts_chat import CALL_CLOSE, CALL_OPEN
from forethought.replies import Tool, ToolCall

OPENING = CALL_OPEN.strip()
_MOST_CALLS = 8
_BETWEEN = f"{CALL_CLOSE}\n{CALL_OPEN}"
# small models leave the tags out, and put the call at the answer's beginning or into a block
_BARE = re.compile(r'\s*(?:```(?:json)?\s*)?\{+\s*"name"')
_BEGINNING = re.compile(
    r'\s*(?:`{1,2}|```(?:j|js|jso|json)?\s*)?(?:\{+\s*(?:"(?:n(?:a(?:me?)?)?)?)?)?'
)


def calls_grammar(tools: Iterable[Tool], *, most: int = _MOST_CALLS) -> str:
    """GBNF of one to `most` calls of any of the tools, from behind the first opening tag up to the
    last closing one.

    Raises:
        ConfigError: a grammar cannot hold a tool's schema.
    """
    rules = Rules()
    calls = []
    for tool in tools:
        arguments = rules.schema({"type": "object", **(tool.parameters or {"properties": {}})})
        head = _literal(f'{{"name": {json.dumps(tool.name)}, "arguments": ')
        calls.append(f'{head} {arguments} "}}"')
    call = rules.add(" | ".join(calls))
    more = f"({_literal(_BETWEEN)} {call}){{0,{most - 1}}} " if most > 1 else ""
    return rules.grammar(f"{call} {more}{_literal(CALL_CLOSE)}")


class CallParser:
    """Takes the text of calls piece by piece, and gives each call once it is whole."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, text: str) -> list[ToolCall]:
        """Calls that this text has completed: no JSON string holds a line break, so that a closing
        tag behind one closes a call."""
        *whole, self._text = (self._text + text).split(CALL_CLOSE)
        return [_call(one.strip().removeprefix(OPENING)) for one in whole]


def before_bare_call(deltas: Iterable[Delta]) -> Iterator[Delta]:
    """What is written, held back while it may be a call without its tags at an answer's beginning;
    ends without a completion where it is one."""
    held: list[Delta] = []
    is_decided = False
    for delta in deltas:
        if is_decided:
            yield delta
            continue
        held.append(delta)
        text = "".join(one.text for one in held)
        if _BARE.match(text):
            return
        if delta.completion or not _BEGINNING.fullmatch(text):
            is_decided = True
            yield from held


def _call(text: str) -> ToolCall:
    call = json.loads(text)
    arguments = json.dumps(call["arguments"], ensure_ascii=False)
    return ToolCall(f"call_{uuid.uuid4().hex[:24]}", call["name"], arguments)


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
