"""Paths of thoughts without tokens, for evaluators that read text alone."""

from __future__ import annotations

from forethought.thoughts import Thought


def path(*texts: str, is_terminal: bool = True) -> list[Thought]:
    return [
        Thought(
            id=depth,
            parent=depth - 1,
            depth=depth,
            text=text,
            tokens=[],
            vocabulary="",
            source="draft",
            is_terminal=is_terminal and depth == len(texts),
        )
        for depth, text in enumerate(texts, 1)
    ]
