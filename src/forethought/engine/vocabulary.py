"""Text to token ids and back, byte-exact. Knows no template and no model weights."""

from __future__ import annotations

import codecs
import ctypes
import functools
import hashlib

from forethought.engine.bindings import llama
from forethought.engine.weights import Weights


class Vocabulary:
    """The vocabulary of an opened model file; safe to read from threads."""

    def __init__(self, weights: Weights) -> None:
        self._vocab = weights.vocab
        self.size = int(llama().llama_vocab_n_tokens(self._vocab))
        self.piece = functools.cache(self._piece)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text`, no start token added. With `special`, control tokens spelt out in
        the text become control tokens: for templates, never for what a user wrote."""
        data = text.encode("utf-8", "replace")
        # a token covers at least one byte; two spare for vocabularies that add a leading space
        buffer = (ctypes.c_int32 * (len(data) + 2))()
        count = llama().llama_tokenize(
            self._vocab, data, len(data), buffer, len(buffer), False, special
        )
        assert count >= 0, f"{len(data)} bytes gave {-count} tokens"
        return list(buffer[:count])

    def decode(self, tokens: list[int]) -> str:
        """Text of `tokens`; bytes that form no character become U+FFFD."""
        return self.to_bytes(tokens).decode("utf-8", "replace")

    def to_bytes(self, tokens: list[int]) -> bytes:
        """The bytes that `tokens` stand for; control tokens stand for none."""
        return b"".join(map(self.piece, tokens))

    def whole_characters(self, tokens: list[int]) -> list[int]:
        """`tokens` without those at the end that leave a character unfinished."""
        end = len(tokens)
        # a character has at most four bytes, so the last token that ends on one is near
        while end and not _ends_on_character(self.to_bytes(tokens[max(0, end - 4) : end])):
            end -= 1
        return tokens[:end]

    def is_end(self, token: int) -> bool:
        """Whether the token ends a text or a turn."""
        return bool(llama().llama_vocab_is_eog(self._vocab, token))

    def start_tokens(self) -> list[int]:
        """The start token, where the model was trained with one."""
        if not llama().llama_vocab_get_add_bos(self._vocab):
            return []
        return [int(llama().llama_vocab_bos(self._vocab))]

    def end_tokens(self) -> list[int]:
        """The token that ends a turn, else the one that ends a text, where there is one."""
        found = (llama().llama_vocab_eot(self._vocab), llama().llama_vocab_eos(self._vocab))
        return [int(token) for token in found if token >= 0][:1]

    def control_text(self, which: str) -> str:
        """How the `bos` or `eos` token is written, or nothing where there is none."""
        token = getattr(llama(), f"llama_vocab_{which}")(self._vocab)
        return self._piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    @functools.cached_property
    def fingerprint(self) -> str:
        """Equal for two models exactly where their token ids mean the same."""
        get_text = llama().llama_vocab_get_text
        texts = b"\0".join(get_text(self._vocab, token) for token in range(self.size))
        return hashlib.sha256(texts).hexdigest()[:16]

    def _piece(self, token: int, special: bool = False) -> bytes:
        # llama-cpp-python's own detokeniser loses tokens of more than 32 bytes; ask twice instead
        size = 32
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama().llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if length >= 0:
                return buffer.raw[:length]
            size = -length


def _ends_on_character(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    return not decoder.getstate()[0]
