"""Settings written as text, KEY=VALUE, and read as what a settings class says they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from forethought.config import require
from forethought.errors import ConfigError


def assigned(texts: Sequence[str], settings: type, *, where: str) -> dict[str, Any]:
    """Values by name of `KEY=VALUE` texts, read as the types of the fields of `settings`; in names
    `-` stands for `_`. `where` says whose settings they are, for messages.

    Raises:
        ConfigError: a text is not of that form, names no setting, or its value is of another type.
    """
    hints, values = get_type_hints(settings), {}
    for text in texts:
        name, is_set, value = text.partition("=")
        require(bool(is_set), f"{where} takes KEY=VALUE, not {text!r}")
        name = name.strip().replace("-", "_")
        require(name in hints, f"{where} has no setting {name!r}; it has {', '.join(hints)}")
        try:
            values[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(f"{name} cannot be {value!r}: {reason}") from error
    return values
