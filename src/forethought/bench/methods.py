"""Methods as `--methods` names them: a system, settings put over its own, and its evaluator.

    METHOD = NAME [ "[" KEY=VALUE { ";" KEY=VALUE } "]" ] [ "@" EVALUATOR ]

A value `A|B` stands for two methods, one with each: a sweep in one word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from typing import Any, Final

from forethought.assignments import assigned
from forethought.bench.systems import SYSTEMS, System
from forethought.config import require
from forethought.errors import ConfigError
from forethought.graphs import RunConfig

_FORM: Final = re.compile(r"([^\[\]@]*)(?:\[([^\[\]]*)\])?(?:@(.*))?", re.DOTALL)
_BETWEEN: Final = re.compile(r",(?![^\[]*\])")  # commas that stand in no brackets


@dataclass(frozen=True, slots=True)
class Method:
    """A system under a name of its own: `label` is NAME[SETTINGS]@SPEC, `settings` those in
    brackets, `spec` the evaluator's, None for a system that asks none."""

    label: str
    system: System
    spec: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def config(self, given: Mapping[str, Any]) -> RunConfig:
        """A run's settings: those `given` that it has, the system's over them, and its own.

        Raises:
            ConfigError: a value is out of range.
        """
        kind = self.system.run_settings
        names = {one.name for one in fields(kind)}
        known = {name: value for name, value in given.items() if name in names}
        return kind(**known | {**self.system.settings, **self.settings})


def parse_methods(text: str, default_spec: str) -> list[Method]:
    """The methods of a list `METHOD,...`; searches without SPEC take the default evaluator.

    Raises:
        ConfigError: a name is unknown or given twice, a method that asks no evaluator has a SPEC,
            or its system has no such setting.
    """
    labels = [label for one in _BETWEEN.split(text) for label in _expanded(one.strip())]
    methods = [_method(label, default_spec) for label in labels]
    twice = [label for label in labels if labels.count(label) > 1]
    require(not twice, f"method {twice[:1]} is given twice: every method runs once")
    return methods


def _expanded(label: str) -> Iterator[str]:
    """One label for every choice among the alternatives of its settings."""
    name, settings, spec = _parts(label)
    if settings is None:
        yield label
        return
    split = [text.partition("=") for text in settings.split(";")]
    choices = [[f"{key}{sign}{one}" for one in values.split("|")] for key, sign, values in split]
    for chosen in product(*choices):
        yield f"{name}[{';'.join(chosen)}]" + ("" if spec is None else f"@{spec}")


def _parts(label: str) -> tuple[str, str | None, str | None]:
    found = _FORM.fullmatch(label)
    require(found is not None, f"{label!r} is not of the form NAME[KEY=VALUE;...]@EVALUATOR")
    assert found is not None
    return found[1], found[2], found[3]


def _method(label: str, default_spec: str) -> Method:
    name, settings, spec = _parts(label)
    system = next((one for one in SYSTEMS if one.name == name), None)
    if system is None:
        known = ", ".join(one.name for one in SYSTEMS)
        raise ConfigError(f"there is no method {name!r}; known: {known}; NAME@EVALUATOR chooses")
    texts = [] if settings is None else settings.split(";")
    own = assigned(texts, system.run_settings, where=f"method {name}")
    if not system.asks_evaluator:
        require(spec is None, f"method {name} asks no evaluator: leave @{spec} out")
        return Method(label, system, None, own)
    require(spec != "", f"{label!r} names no evaluator behind @")
    return Method(label, system, spec or system.evaluator or default_spec, own)
