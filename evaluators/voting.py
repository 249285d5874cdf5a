"""Which of several solutions to take where all that is known are their answers."""

from __future__ import annotations

from collections.abc import Callable

from forethought.evaluators.final_answer import same_answer
from forethought.prompts import Task


def majority(texts: list[str], task: Task) -> int:
    """The place of the first text that states the answer stated most often; of answers stated as
    often the one stated first, and 0 where none is. Code is the same where its text is."""
    is_same: Callable[[str, str], bool] = same_answer if task.answers_compare else str.__eq__
    groups: list[list[int]] = []
    stated = [task.find_answer(text) for text in texts]
    for place, answer in enumerate(stated):
        if answer is None:
            continue
        own = next((group for group in groups if is_same(stated[group[0]] or "", answer)), None)
        if own is None:
            groups.append([place])
        else:
            own.append(place)
    return max(groups, key=len)[0] if groups else 0
