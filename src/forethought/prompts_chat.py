"""What models are told of tools and schemas, where their own chat template does not tell them.

The form of tools, calls and results is that of the Hermes models, which many others were trained
on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

CALL_OPEN: Final = "<tool_call>\n"
CALL_CLOSE: Final = "\n</tool_call>"

_TOOLS = """\
You may call functions to answer. Their signatures are within <tools></tools>:
<tools>
{tools}
</tools>
To call one, answer with nothing but a JSON object with its name and arguments, within tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""
_SCHEMA = "Answer with JSON that fits this JSON schema, and nothing else:\n{schema}"
_JSON = "Answer with one JSON object, and nothing else."


def told_of_tools(tools: Sequence[Mapping[str, Any]]) -> str:
    """Instructions for models whose template knows no tools; `tools` as in the OpenAI API."""
    return _TOOLS.format(tools="\n".join(_text(tool) for tool in tools))


def told_of_schema(schema: Mapping[str, Any]) -> str:
    """Instructions to answer with such JSON."""
    return _JSON if schema == {"type": "object"} else _SCHEMA.format(schema=_text(schema))


def written_call(name: str, arguments: str) -> str:
    """A call as a model writes it; `arguments` is JSON text."""
    return f'{CALL_OPEN}{{"name": {json.dumps(name)}, "arguments": {arguments}}}{CALL_CLOSE}'


def written_result(content: str) -> str:
    """What a call gave, as a user's turn tells it."""
    return f"<tool_response>\n{content}\n</tool_response>"


def _text(data: object) -> str:
    return json.dumps(data, ensure_ascii=False)
