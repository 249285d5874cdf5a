"""What a model reads, as token ids, from its file's header alone: no weights are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forethought.engine.template import ChatTemplate
from forethought.engine.vocabulary import Vocabulary
from forethought.engine.weights import Weights
from forethought.model import Message


class HeaderEncoder:
    """What of a `Model` computes nothing, for prompts that fit `context_size`; `open_encoder`
    makes it."""

    def __init__(self, header: Weights, context_size: int) -> None:
        self.name = header.path.stem
        self.context_size = context_size
        self._vocabulary = Vocabulary(header)
        self._template = ChatTemplate(header, self._vocabulary)

    @property
    def vocabulary(self) -> str:
        """Its fingerprint, as `Reader.vocabulary`."""
        return self._vocabulary.fingerprint

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`, no start token added; control tokens spelt out in it stay text
        unless `special`."""
        return self._vocabulary.encode(text, special=special)

    def decode(self, tokens: list[int]) -> str:
        """Text of token ids."""
        return self._vocabulary.decode(tokens)

    def start_tokens(self) -> list[int]:
        """The start token, where the model was trained with one."""
        return self._vocabulary.start_tokens()

    def end_tokens(self) -> list[int]:
        """The token with which the model ends its turn, where there is one."""
        return self._vocabulary.end_tokens()

    def chat(self, messages: list[Message]) -> list[int]:
        """Token ids of a conversation, assistant turn opened. Raises ConfigError where the
        template refuses it."""
        return self._template.tokens(messages)


@contextmanager
def open_encoder(path: Path, *, max_tokens: int) -> Iterator[HeaderEncoder]:
    """The encoder of a GGUF file for prompts of at most `max_tokens`, while the block runs.

    Raises:
        UnknownModel, ModelLoadError: the file is missing or damaged.
        MissingExtra: llama-cpp-python is not installed.
    """
    header = Weights.header(path)
    try:
        yield HeaderEncoder(header, max_tokens + 1)  # one more, for the token that is learned
    finally:
        header.close()
