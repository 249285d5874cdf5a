"""Tiny vocabularies of the kinds that process reward models have, for transformers and as GGUF.

Llama 3's and Qwen2's are byte-level; Mistral's is of SentencePiece's kind, with a blank that grows
into the word behind it and bytes for what it does not know.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Literal

import gguf
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

Kind = Literal["mistral", "qwen2", "llama"]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BLANK = "▁"  # as SentencePiece writes it
_KA, _I = "\u043a", "\u0438"  # the letters of Math-Shepherd's tag


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`plain` tokens, then `control` ones, in the order of their ids, and how they are put
    together: `merges`, the earliest first."""

    pre: str
    plain: list[str]
    control: list[str]
    merges: list[tuple[str, str]]
    start: str | None
    end: str
    chat: str

    @property
    def tokens(self) -> list[str]:
        return self.plain + self.control

    def for_transformers(self) -> PreTrainedTokenizerFast:
        tokenizer = _pieces(self) if self.pre == "default" else _byte_level(self)
        tokenizer.add_special_tokens([AddedToken(token, special=True) for token in self.control])
        if self.start:
            start = (self.start, self.tokens.index(self.start))
            tokenizer.post_processor = processors.TemplateProcessing(
                single=f"{self.start} $A", special_tokens=[start]
            )
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token=self.start,
            eos_token=self.end,
            chat_template=self.chat,
        )

    def add_to(self, writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("llama" if self.pre == "default" else "gpt2")
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types([_type(token, self.control) for token in self.tokens])
        if self.pre == "default":
            ranks = {"".join(pair): rank for rank, pair in enumerate(self.merges)}
            writer.add_token_scores([float(-ranks.get(token, 1000)) for token in self.tokens])
        else:
            writer.add_token_merges([" ".join(pair) for pair in self.merges])
        writer.add_eos_token_id(self.tokens.index(self.end))
        writer.add_add_bos_token(self.start is not None)
        if self.start is not None:
            writer.add_bos_token_id(self.tokens.index(self.start))
        writer.add_chat_template(self.chat)


def vocabulary_of(kind: Kind) -> Vocabulary:
    """The vocabulary of a kind of model."""
    if kind == "mistral":
        return _mistral()
    pairs = [
        *[("\n", "\n"), ("\n\n", "\n\n"), ("\n\n\n\n", "\n"), (" ", "\n\n\n\n\n"), (" ", "+")],
        *[(" ", "-"), ("t", "h"), ("th", "e"), (" ", "the"), ("i", "n"), ("e", "r")],
    ]
    merges = [(_spelt(left), _spelt(right)) for left, right in pairs]
    plain = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(pair) for pair in merges]
    if kind == "qwen2":
        control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"]
        return Vocabulary("qwen2", plain, control, merges, None, "<|im_end|>", CHATML)
    start, end = "<|begin_of_text|>", "<|eot_id|>"
    control = [start, "<|start_header_id|>", "<|end_header_id|>", end]
    return Vocabulary("llama-bpe", plain, control, merges, start, end, LLAMA_CHAT)


def _mistral() -> Vocabulary:
    pairs = [
        *[(_BLANK, _KA), (_BLANK + _KA, _I), (_BLANK, "+"), (_BLANK, "-"), (_BLANK, _BLANK)],
        *[("t", "h"), ("th", "e"), (_BLANK, "the"), ("i", "n"), ("e", "r"), (_BLANK, "in")],
    ]
    letters = string.ascii_letters + string.digits + string.punctuation + _BLANK + _KA + _I
    plain = [
        "<unk>",
        *(f"<0x{number:02X}>" for number in range(256)),
        *letters,
        *("".join(pair) for pair in pairs),
    ]
    return Vocabulary("default", plain, ["<s>", "</s>"], pairs, "<s>", "</s>", CHATML)


def _spelt(text: str) -> str:
    """A text as byte-level vocabularies write it, a visible character for every byte."""
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "".join(piece for piece, _ in bytewise.pre_tokenize_str(text))


def _byte_level(vocabulary: Vocabulary) -> Tokenizer:
    numbers = {token: number for number, token in enumerate(vocabulary.plain)}
    is_llama = vocabulary.pre == "llama-bpe"
    tokenizer = Tokenizer(BPE(numbers, vocabulary.merges, ignore_merges=is_llama))
    digits = r"\p{N}{1,3}" if is_llama else r"\p{N}"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES % digits), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _pieces(vocabulary: Vocabulary) -> Tokenizer:
    numbers = {token: number for number, token in enumerate(vocabulary.plain)}
    model = BPE(numbers, vocabulary.merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(_BLANK), normalizers.Replace(" ", _BLANK)]
    )
    return tokenizer


def _type(token: str, control: list[str]) -> gguf.TokenType:
    if token in control:
        return gguf.TokenType.CONTROL
    if token == "<unk>":
        return gguf.TokenType.UNKNOWN
    is_byte = token.startswith("<0x") and token.endswith(">")
    return gguf.TokenType.BYTE if is_byte else gguf.TokenType.NORMAL
