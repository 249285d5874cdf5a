"""The vocabulary of models that are reached by text: words, cut into pieces that fit an integer.

A server's own token ids are not known here, so a prompt is kept as pieces of text that stand in
their ids: nothing has to be looked up, and ids mean the same in every process. Words with the space
before them, single digits, and runs of other signs or white space make about as many pieces as a
model's tokens. Turns of a conversation begin with ids that no text can spell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from forethought.model import Message
from forethought.prompts import GO_ON

VOCABULARY: Final = "text pieces of 6 bytes"
PIECE_BYTES: Final = 6  # with the mark before them below 2**53, which JSON readers keep exact
_MARK: Final = b"\x01"  # keeps leading zero bytes, and ids of text above those of roles
_WORD: Final = re.compile(r" ?[^\W\d]+|\d| ?[^\w\s]+|\s+(?!\S)|\s+")
_ROLES: Final = {1: "system", 2: "user", 3: "assistant"}
_IDS: Final = {role: number for number, role in _ROLES.items()}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a prompt says: `messages`, and the `prefix` of the assistant's turn after them."""

    messages: tuple[Message, ...]
    prefix: str

    def asked(self) -> list[Message]:
        """It with the prefix as a turn of its own, and the wish that it be gone on with."""
        if not self.prefix:
            return list(self.messages)
        begun: Message = {"role": "assistant", "content": self.prefix}
        return [*self.messages, begun, {"role": "user", "content": GO_ON}]


def encode(text: str) -> list[int]:
    """Ids of the pieces of `text`; what UTF-8 cannot hold becomes a question mark."""
    return [_id(piece) for word in _WORD.findall(text) for piece in _cut(_bytes(word))]


def decode(tokens: list[int]) -> str:
    """The text of pieces; roles have none."""
    return b"".join(_piece(token) for token in tokens).decode("utf-8", "replace")


def opened(messages: list[Message]) -> list[int]:
    """A conversation with the assistant's turn opened."""
    tokens: list[int] = []
    for message in messages:
        tokens += [_IDS[message["role"]], *encode(message["content"])]
    return [*tokens, _IDS["assistant"]]


def conversation(tokens: list[int]) -> Conversation:
    """What `opened` and text behind it mean; text before any role is a user's turn."""
    starts = [place for place, token in enumerate(tokens) if token in _ROLES]
    if not starts or starts[0] > 0:
        return conversation([_IDS["user"], *tokens])
    turns: list[Message] = []
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        content = decode(tokens[start + 1 : end])
        match tokens[start]:
            case 1:
                turns.append({"role": "system", "content": content})
            case 2:
                turns.append({"role": "user", "content": content})
            case _:
                turns.append({"role": "assistant", "content": content})
    prefix = turns.pop()["content"] if turns[-1]["role"] == "assistant" else ""
    return Conversation(tuple(turns), prefix)


def is_told_by(piece: int, token: str) -> bool:
    """Whether a server's `token` begins as the word of this piece does: white space, case, and the
    signs that vocabularies write for a leading space do not count."""
    wanted, given = _bare(decode([piece])), _bare(token)
    is_cut = len(_piece(piece)) == PIECE_BYTES
    return bool(wanted and given) and (
        wanted.startswith(given) or (is_cut and given.startswith(wanted))
    )


def _bare(text: str) -> str:
    return text.strip(" \t\r\n\u0120\u010a\u2581").casefold()


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "replace")


def _cut(data: bytes) -> list[bytes]:
    """`data` in parts of at most `PIECE_BYTES`, none of which ends within a character."""
    parts = []
    while len(data) > PIECE_BYTES:
        end = PIECE_BYTES
        while data[end] & 0xC0 == 0x80:
            end -= 1
        parts.append(data[:end])
        data = data[end:]
    return [*parts, data]


def _id(piece: bytes) -> int:
    return int.from_bytes(_MARK + piece)


def _piece(token: int) -> bytes:
    return b"" if token in _ROLES else token.to_bytes(PIECE_BYTES + 1).lstrip(b"\0")[1:]
