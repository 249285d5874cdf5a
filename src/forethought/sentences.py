"""What a sentence of a chain of thought does, told by keywords: it affirms, reflects, or states.

Classes, words and hint are those of Speculative Thinking (arXiv 2504.12329, appendix A.2, and its
published code).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Stance = Literal["affirmation", "reflection", "statement"]

HINT: Final = "Let me check whether there are some wrong steps:"


@dataclass(frozen=True, slots=True)
class Keywords:
    """Lower-case words by class; `verification` counts as reflection, too."""

    affirmation: tuple[str, ...] = ("yeah", "yes", "final answer", "confident")
    reflection: tuple[str, ...] = ("wait", "alternatively", "hold on", "another")
    verification: tuple[str, ...] = ("verify", "think again", "recap", "check")


KEYWORDS: Final = Keywords()


def stance_of(text: str, *, word_boundary: bool = False, keywords: Keywords = KEYWORDS) -> Stance:
    """The class whose keywords occur more often in `text`, in any case; reflection where both
    occur equally often, statement where none does.

    As published, words are looked for as parts of others: "yesterday" affirms and "awaits"
    reflects, unless `word_boundary`.
    """
    affirming = _count(text, keywords.affirmation, word_boundary)
    reflecting = _count(text, keywords.reflection + keywords.verification, word_boundary)
    if affirming > reflecting:
        return "affirmation"
    return "reflection" if reflecting else "statement"


def asks_to_verify(
    text: str, *, word_boundary: bool = False, keywords: Keywords = KEYWORDS
) -> bool:
    """Whether `text` has a keyword of verification, in any case."""
    return _count(text, keywords.verification, word_boundary) > 0


def contradicts(draft: Stance, target: Stance) -> bool:
    """Whether the target's sentence takes back the draft's: no reflection where the draft reflects,
    or a reflection where the draft affirms."""
    return (draft == "reflection" and target != "reflection") or (
        draft == "affirmation" and target == "reflection"
    )


def _count(text: str, words: tuple[str, ...], word_boundary: bool) -> int:
    lowered = text.lower()
    if not word_boundary:
        return sum(lowered.count(word) for word in words)
    return sum(len(re.findall(rf"\b{re.escape(word)}\b", lowered)) for word in words)
