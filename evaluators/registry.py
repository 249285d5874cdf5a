"""Evaluators by name, for command lines: what a spec means, and which models it needs.

SPEC    = MEMBER or MEMBER+MEMBER...      several are an ensemble, by the mean
MEMBER  = NAME[:ARGUMENT...][:ROLE][@HOW]
ROLE    = draft or target                 whose weights read
HOW     = min, mean or product            over the scores of a path's steps
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, get_args

from forethought.config import require
from forethought.errors import ConfigError
from forethought.evaluators.aggregate import Aggregate, Steps
from forethought.evaluators.ensemble import Ensemble
from forethought.evaluators.entries import ENTRIES, Entry, Opens, Parts, Role
from forethought.evaluators.evaluator import Evaluator

__all__ = [
    "DEFAULT_EVALUATOR",
    "ENTRIES",
    "Entry",
    "Opens",
    "Parts",
    "Role",
    "build_evaluator",
    "roles_needed",
    "roles_with_states",
]

DEFAULT_EVALUATOR: Final = "judge"
_BY_NAME: Final = {entry.name: entry for entry in ENTRIES}


@dataclass(frozen=True, slots=True)
class _Member:
    entry: Entry
    arguments: tuple[str, ...]
    role: Role | None
    how: Steps


def build_evaluator(spec: str, parts: Parts) -> Evaluator:
    """The evaluator that `spec` means.

    Raises:
        ConfigError: there is none of that name, its arguments do not fit, or a model is missing;
            MissingExtra and others as the evaluator itself.
    """
    members = [_built(member, parts) for member in _members(spec)]
    return members[0] if len(members) == 1 else Ensemble(tuple(members))


def roles_needed(spec: str) -> set[Role]:
    """Whose weights `spec` reads with. Raises ConfigError as `build_evaluator`."""
    members = _members(spec)
    asked: set[Role] = {member.role for member in members if member.role is not None}
    if any(member.entry.asks_draft for member in members):
        asked.add("draft")
    return asked


def roles_with_states(spec: str) -> set[Role]:
    """Whose hidden states `spec` reads. Raises ConfigError as `build_evaluator`."""
    members = (member for member in _members(spec) if member.entry.needs_states)
    return {member.role for member in members if member.role is not None}


def _built(member: _Member, parts: Parts) -> Evaluator:
    readers = []
    if member.role is not None:
        reader = parts.draft if member.role == "draft" else parts.target
        require(reader is not None, f"{member.entry.name} reads with the {member.role}: open it")
        readers.append(reader)
    built = member.entry.build(parts, *readers, *member.arguments)
    return built if member.how == "last" else Aggregate(built, member.how)


def _members(spec: str) -> list[_Member]:
    # a file's path may hold a plus sign: one joins only where a name follows
    names = "|".join(map(re.escape, _BY_NAME))
    return [_member(part) for part in re.split(rf"\+(?=(?:{names})(?:[:@+]|$))", spec)]


def _member(text: str) -> _Member:
    body, _, how = text.rpartition("@")
    if how not in get_args(Steps):  # an at sign in a path, or none
        body, how = text, "last"
    name, _, rest = body.partition(":")
    if name not in _BY_NAME:
        forms = ", ".join(entry.form for entry in ENTRIES)
        rest = "@min, @mean or @product takes all steps, + joins several"
        raise ConfigError(f"there is no evaluator {text!r}; known: {forms}; {rest}")
    entry = _BY_NAME[name]
    role = entry.reads_with
    num_colons = max(0, len(entry.arguments) + (role is not None) - 1)
    arguments = rest.split(":", num_colons) if ":" in body else []
    if role is not None and arguments and arguments[-1] in get_args(Role):
        role = "draft" if arguments.pop() == "draft" else "target"
    is_whole = entry.num_required <= len(arguments) <= len(entry.arguments) and all(arguments)
    require(is_whole, f"{text!r} is not of the form {entry.form}")
    steps: dict[str, Steps] = {one: one for one in get_args(Steps)}
    return _Member(entry, tuple(arguments), role, steps[how])
