"""Models without weights under the templates of public reasoning models, shortened to what opens
and closes a turn, DeepSeek's wide bars written as plain ones. Control tokens and think tags are one
token each, everything else code points.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from forethought.engine import ScriptedModel
from forethought.engine.template import ChatTemplate
from forethought.model import Message

_R1 = (
    "{{bos_token}}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{'<|User|>' + message['content']}}{% endif %}"
    "{% if message['role'] == 'assistant' %}{% set content = message['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{'<|Assistant|>' + content + '<|end_of_sentence|>'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|Assistant|>'}}{% endif %}"
)
_CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message.role + '\\n' + message.content"
    " + '<|im_end|>\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\\n'}}"
)
_EMPTY = "{{'<think>\\n\\n</think>\\n\\n'}}"

TEMPLATES = {
    "r1-distill, first": _R1,
    "r1-distill": _R1.replace("{{'<|Assistant|>'}}", "{{'<|Assistant|><think>\\n'}}"),
    "qwq": _CHATML + "{{'<think>\\n'}}{% endif %}",
    "qwen3": _CHATML
    + "{% if enable_thinking is defined and enable_thinking is false %}"
    + _EMPTY
    + "{% endif %}{% endif %}",
    "thinking switched off": _CHATML + _EMPTY + "{% endif %}",
}
CONTROL = (
    "<|begin_of_sentence|>",
    "<|end_of_sentence|>",
    "<|User|>",
    "<|Assistant|>",
    "<|im_start|>",
    "<|im_end|>",
)
BOS = CONTROL[0]
_TAGS = ("<think>", "</think>")
_FIRST = 0x110000  # behind the code points
_IDS = {text: _FIRST + place for place, text in enumerate((*_TAGS, *CONTROL))}
_TEXTS = {number: text for text, number in _IDS.items()}


class TaggedModel(ScriptedModel):
    """A scripted model under one of `TEMPLATES`. Control tokens decode to nothing."""

    def __init__(self, template: str, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._source = TEMPLATES[template]
        self._has_start = BOS if template.startswith("r1") else ""
        fakes = cast("Any", self)
        self.path = template
        self._template = ChatTemplate(fakes, fakes)

    def metadata(self, key: str) -> str:
        assert key == "tokenizer.chat_template"
        return self._source

    def control_text(self, which: str) -> str:
        return self._has_start if which == "bos" else ""

    def start_tokens(self) -> list[int]:
        return [_IDS[BOS]] if self._has_start else []

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        whole = (*_TAGS, *CONTROL) if special else _TAGS
        pattern = "|".join(map(re.escape, whole)) + "|."
        return [_IDS[p] if p in whole else ord(p) for p in re.findall(pattern, text, re.DOTALL)]

    def decode(self, tokens: list[int]) -> str:
        return "".join(self._text(token) for token in tokens)

    def shown(self, tokens: list[int]) -> str:
        """Text with control tokens."""
        return "".join(_TEXTS.get(t) or chr(t) for t in tokens)

    def chat(
        self, messages: list[Message], *, tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        return self._template.tokens(messages)

    def _text(self, token: int) -> str:
        text = _TEXTS.get(token)
        return chr(token) if text is None else text if text in _TAGS else ""
