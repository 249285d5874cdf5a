"""The prompt by which one of several chains of thought is picked, or none of them.

Plain text and no conversation: instruction, question, the numbered chains, and as the last of them
the statement that all are wrong; behind it the model's assistant marker and a cue for one number
(Speculative Chain-of-Thought; the words are our own).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_INSTRUCTION: Final = (
    "Below are a Question and several Reasons for its answer. Give the serial Number of the best "
    "Reason directly, and only one Number."
)
_ANNOUNCEMENT: Final = "Here are the reasoning paths, each with its Number:"
_ALL_WRONG: Final = "All of the reasoning paths above are wrong."

SELECTION_CUE: Final = "The Number of the best Reason is "
CUT_MARK: Final = "..."


def selection_text(question: str, chains: Sequence[str]) -> str:
    """What is read before the assistant's marker: blocks parted by blank lines.

    The chains are numbered from 1; the number after the last of them says that all are wrong.
    """
    reasons = [*(chain.strip() for chain in chains), _ALL_WRONG]
    blocks = [_INSTRUCTION, f"Question: {question.strip()}", _ANNOUNCEMENT]
    blocks += [f"Reason {number}:\n{reason}" for number, reason in enumerate(reasons, 1)]
    return "\n\n".join(blocks)


def shortened(chain: str, length: int) -> str:
    """At most the last `length` characters of a chain, marked where that is not all of it."""
    if len(chain) <= length:
        return chain
    return CUT_MARK + chain[len(chain) - length :]
