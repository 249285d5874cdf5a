"""Chat templates: the GGUF's own jinja, rendered in a sandbox, contents kept apart from control.

The template is rendered with placeholders where the contents belong; the frame around them is
tokenised with control tokens, the contents without. So `<|im_start|>` in a question stays text.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any, NoReturn

from forethought.engine.vocabulary import Vocabulary
from forethought.engine.weights import Weights
from forethought.errors import ConfigError, MissingExtra, ModelLoadError
from forethought.model import Message

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ChatTemplate:
    """The chat template of an opened model file; ChatML where the file has none."""

    def __init__(self, weights: Weights, vocabulary: Vocabulary) -> None:
        source = weights.metadata("tokenizer.chat_template") or CHATML
        try:
            self._template = compiled(source, str(weights.path))
        except ConfigError as error:
            raise ModelLoadError(str(error)) from error
        self._vocabulary = vocabulary

    def tokens(self, messages: list[Message]) -> list[int]:
        """Token ids of the conversation, assistant turn opened.

        Raises:
            ConfigError: the template refuses these messages (e.g. no system turn allowed).
        """
        marks = [f"\ue000{i}\ue001" for i in range(len(messages))]
        frame = self._render(marks, messages)
        vocabulary = self._vocabulary
        tokens: list[int] = []
        for part in re.split("(\ue000\\d+\ue001)", frame):
            if part in marks:
                tokens += vocabulary.encode(messages[marks.index(part)]["content"].strip())
            else:
                tokens += vocabulary.encode(part, special=True)
        start = vocabulary.start_tokens()
        return tokens if tokens[: len(start)] == start else start + tokens

    def _render(self, marks: list[str], messages: list[Message]) -> str:
        from jinja2 import TemplateError  # noqa: PLC0415

        turns = [
            {"role": message["role"], "content": mark}
            for message, mark in zip(messages, marks, strict=True)
        ]
        control: dict[str, Any] = {
            f"{name}_token": self._vocabulary.control_text(name) for name in ("bos", "eos")
        }
        try:
            return self._template.render(messages=turns, add_generation_prompt=True, **control)
        except TemplateError as error:
            raise ConfigError(f"the model's chat template refuses the messages: {error}") from error


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
    return json.dumps(value, ensure_ascii=False, indent=indent)
