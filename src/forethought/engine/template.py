"""Chat templates: the GGUF's own jinja, rendered in a sandbox, contents kept apart from control.

The template is rendered with placeholders where the contents belong; the frame around them is
tokenised with control tokens, the contents without. So `<|im_start|>` in a question stays text.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from forethought.engine.vocabulary import Vocabulary
from forethought.engine.weights import Weights
from forethought.errors import ConfigError, MissingExtra, ModelLoadError
from forethought.model import Message

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_MARK = re.compile("(\ue000\\d+\ue001)")
_TOOL = {"type": "function", "function": {"name": "probe", "description": "", "parameters": {}}}
_TALK: list[Message] = [
    {"role": "user", "content": "asked"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"name": "probe", "arguments": '{"at": 1}'}],
    },
    {"role": "tool", "content": "found"},
]
_CALL = '<tool_call>\n{"name": "probe", "arguments": {"at": 1}}\n</tool_call>'


class ChatTemplate:
    """The chat template of an opened model file; ChatML where the file has none."""

    def __init__(self, weights: Weights, vocabulary: Vocabulary) -> None:
        source = weights.metadata("tokenizer.chat_template") or CHATML
        try:
            self._template = compiled(source, str(weights.path))
        except ConfigError as error:
            raise ModelLoadError(str(error)) from error
        self._vocabulary = vocabulary

    @functools.cached_property
    def knows_tools(self) -> bool:
        """Whether tools, results and calls show in the template's text, the latter in the form that
        Hermes brought up and Qwen uses."""
        try:
            frame, marks = self._framed(_TALK, [_TOOL])
        except ConfigError:
            return False
        text = _MARK.sub(lambda mark: marks[mark[0]], frame)
        return all(part in text for part in (json.dumps(_TOOL), _CALL, "found"))

    def tokens(self, messages: list[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Token ids of the conversation, assistant turn opened.

        Raises:
            ConfigError: the template refuses these messages (e.g. no system turn allowed).
        """
        frame, marks = self._framed(messages, tools)
        vocabulary = self._vocabulary
        tokens: list[int] = []
        for part in _MARK.split(frame):
            if part in marks:
                tokens += vocabulary.encode(marks[part])
            else:
                tokens += vocabulary.encode(part, special=True)
        start = vocabulary.start_tokens()
        return tokens if tokens[: len(start)] == start else start + tokens

    def _framed(
        self, messages: list[Message], tools: Sequence[Mapping[str, Any]]
    ) -> tuple[str, dict[str, str]]:
        """The template's text with marks in it, and what they stand for."""
        from jinja2 import TemplateError  # noqa: PLC0415

        marks = _Marks()
        control: dict[str, Any] = {
            f"{name}_token": self._vocabulary.control_text(name) for name in ("bos", "eos")
        }
        if tools:
            control["tools"] = [_Marked(dict(tool), marks) for tool in tools]
        turns = [_turn(message, marks) for message in messages]
        try:
            frame = self._template.render(messages=turns, add_generation_prompt=True, **control)
        except (TemplateError, TypeError) as error:
            raise ConfigError(f"the model's chat template refuses the messages: {error}") from error
        return frame, marks.contents


class _Marks:
    """Hands out a mark for every content."""

    def __init__(self) -> None:
        self.contents: dict[str, str] = {}

    def __call__(self, content: str) -> str:
        mark = f"\ue000{len(self.contents)}\ue001"
        self.contents[mark] = content
        return mark


class _Marked(dict[str, Any]):
    """Data that a template may look into, and that it writes out as a mark."""

    def __init__(self, data: dict[str, Any], marks: _Marks) -> None:
        super().__init__(data)
        self.mark = marks(_to_json(data))


def _turn(message: Message, marks: _Marks) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message["role"], "content": ""}
    calls = message.get("tool_calls", [])
    if message["content"].strip() or not calls:  # templates leave out what is empty beside calls
        turn["content"] = marks(message["content"].strip())
    if calls:
        turn["tool_calls"] = [
            {
                "type": "function",
                "function": {
                    "name": marks(call["name"]),
                    "arguments": _Marked(json.loads(call["arguments"]), marks),
                },
            }
            for call in calls
        ]
    return turn


def compiled(source: str, place: str) -> Any:
    """The jinja template `source`, found at `place`, to be rendered in a sandbox.

    Raises:
        ConfigError: it is no template.
        MissingExtra: jinja2 is not installed.
    """
    try:
        from jinja2 import TemplateSyntaxError  # noqa: PLC0415
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("jinja2 is not installed: pip install 'forethought[remote]'") from error
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = time.strftime
    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise ConfigError(f"{place} has a broken chat template: {error}") from error


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError  # noqa: PLC0415

    raise TemplateError(message)


def _to_json(value: object, indent: int | None = None) -> str:
    if isinstance(value, _Marked):
        return value.mark
    return json.dumps(value, ensure_ascii=False, indent=indent)
