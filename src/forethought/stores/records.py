"""The stored form of thresholds: one writer's decayed sums for one key.

Knows the arithmetic of a decayed mean, the JSON of an item and of an export, and how to say what
is wrong with either. Refuses to know stores, locks and where items lie.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from hashlib import blake2b
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from forethought.errors import ConfigError, StoreError

SCHEMA: Final = 1
LIMIT: Final = 1e9  # far above any score, and no sum of such values overflows
RECENT: Final = 128  # ids remembered per depth: a retry comes soon after the first try, or never


@dataclass(frozen=True, slots=True, order=True)
class ThresholdKey:
    """What a threshold belongs to: two models, an evaluator and a task, by name.

    Any names that are not blank; a name in another spelling is another key. Raises ConfigError.
    """

    draft: str
    target: str
    evaluator: str
    task: str

    def __post_init__(self) -> None:
        for field in ("draft", "target", "evaluator", "task"):
            name = getattr(self, field)
            if not isinstance(name, str) or not name.strip():
                raise ConfigError(f"{field} of a threshold key is {name!r}; give it a name")
            if any("\ud800" <= character <= "\udfff" for character in name):
                raise ConfigError(f"{field} of a threshold key, {name!r}, is not valid Unicode")

    @property
    def label(self) -> str:
        """A readable, unique name without the dots that LangGraph namespaces may not have."""
        names = astuple(self)
        slug = "_".join(re.sub(r"[^A-Za-z0-9-]+", "-", name)[-40:] for name in names)
        return f"{slug}_{digest(json.dumps(names))}"


class Tally(BaseModel):
    """The decayed sum of one writer's observations at one depth.

    total / weight is their exponential moving average, free of the bias of its start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    total: float
    weight: float = Field(gt=0)
    count: int = Field(ge=1)
    updated: float = Field(ge=0)
    recent: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if self.weight > self.count:
            raise ValueError(f"weight {self.weight} is above count {self.count}")
        if abs(self.total) > LIMIT * self.weight:
            raise ValueError(f"total {self.total} is out of range for weight {self.weight}")
        return self


class Record(BaseModel):
    """One item of the store: all depths of one key, as one writer saw them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    draft: str = Field(pattern=r"\S")
    target: str = Field(pattern=r"\S")
    evaluator: str = Field(pattern=r"\S")
    task: str = Field(pattern=r"\S")
    writer: str = Field(pattern=r"\S")
    depths: dict[PositiveInt, Tally]

    @classmethod
    def empty(cls, key: ThresholdKey, writer: str) -> Record:
        draft, target, evaluator, task = astuple(key)
        return cls(
            draft=draft, target=target, evaluator=evaluator, task=task, writer=writer, depths={}
        )

    @property
    def key(self) -> ThresholdKey:
        return ThresholdKey(self.draft, self.target, self.evaluator, self.task)

    def has_seen(self, mark: str, *, depth: int) -> bool:
        return depth in self.depths and mark in self.depths[depth].recent

    def folded(self, value: float, *, depth: int, theta: float, mark: str) -> Record:
        """With one more observation, which leaves `theta` of the weight of the earlier ones."""
        now = time.time()
        old = self.depths.get(depth)
        if old is None:
            new = Tally(total=value, weight=1, count=1, updated=now, recent=(mark,))
        else:
            new = Tally(
                total=theta * old.total + value,
                weight=theta * old.weight + 1,
                count=old.count + 1,
                updated=max(old.updated, now),
                recent=(*old.recent, mark)[-RECENT:],
            )
        return self._with({depth: new})

    def caught_up(self, other: Record) -> Record:
        """With the depths at which `other`, a state of the same writer, has counted further."""
        ours = self.depths
        newer = {
            depth: theirs
            for depth, theirs in other.depths.items()
            if depth not in ours or theirs.count > ours[depth].count
        }
        return self._with(newer) if newer else self

    def document(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    def _with(self, depths: Mapping[int, Tally]) -> Record:
        return self.model_copy(update={"depths": {**self.depths, **depths}})


def digest(text: str) -> str:
    """Sixteen hexadecimal digits, the same in every process."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def parsed_records(document: object) -> list[Record]:
    """The records of an exported document. Raises StoreError that names the field."""
    advice = "nothing was imported; correct the document or export it again"
    if not isinstance(document, Mapping):
        raise StoreError(f"thresholds: must be an object, found {document!r:.60}; {advice}")
    _check_schema(document, where="thresholds", advice=advice)
    records = document.get("records")
    if not isinstance(records, list):
        raise StoreError(f"thresholds: records must be a list, found {records!r:.60}; {advice}")
    return [
        parsed_record(each, where=f"records.{index}", advice=advice)
        for index, each in enumerate(records)
    ]


def parsed_record(value: object, *, where: str, advice: str) -> Record:
    """One record. Raises StoreError that starts with `where` and ends with `advice`."""
    if isinstance(value, Mapping):
        _check_schema(value, where=where, advice=advice)
    try:
        return Record.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join((where, *map(str, first["loc"])))
        found = f"{first['input']!r:.60}"
        raise StoreError(f"{field}: {first['msg']}, found {found}; {advice}") from error


def _check_schema(value: Mapping[Any, Any], *, where: str, advice: str) -> None:
    found = value.get("schema")
    if found != SCHEMA:
        raise StoreError(
            f"{where}: schema is {found!r:.60}, this version reads {SCHEMA}; "
            f"if a newer forethought wrote it, update forethought; if not, {advice}"
        )
