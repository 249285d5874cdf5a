"""What Forethought trains: what its files say, and which model they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

from forethought.engine.header import BASE, header_texts, weights_identity
from forethought.errors import ModelFileError
from forethought.model import Reader

AdapterKind = Literal["prm", "draft", "selector"]

_NAMES: Final[dict[AdapterKind, str]] = {
    "prm": "small PRM",
    "draft": "aligned draft",
    "selector": "selector of drafts",
}


@runtime_checkable
class FromFile(Protocol):
    """A model that was opened from a GGUF file."""

    path: Path


def adapter_prefix(kind: AdapterKind) -> str:
    """What the keys begin with under which an adapter says what it is."""
    return f"forethought.{kind}."


def check_adapter(adapter: Path, kind: AdapterKind) -> None:
    """Refuse a file that is no adapter of this kind. That it belongs to the model it is applied to
    is checked by the engine.

    Raises:
        UnknownModel, ModelLoadError, ModelFileError: with the reason.
    """
    if header_texts(adapter, adapter_prefix(kind)).get("kind") != kind:
        raise ModelFileError(
            f"{adapter} is no {_NAMES[kind]}: make one with `forethought train {kind}`"
        )


def check_base(info: Mapping[str, str], reader: Reader, file: Path) -> None:
    """Refuse an evaluator that was trained on another model than `reader`.

    Raises:
        ModelFileError: it was, or it cannot be told.
    """
    if not isinstance(reader, FromFile):
        raise ModelFileError(f"{file} reads with a model from a GGUF file, not with {reader.name}")
    expected, given = info.get(BASE), weights_identity(reader.path)
    if expected != given:
        raise ModelFileError(
            f"{file} was trained on {info.get('base', 'another model')} and reads nothing in "
            f"{reader.name}: train one for it (forethought train), or use the judge"
        )


def ships(kind: str, reader: Reader) -> bool:
    """Whether a file of `kind` (`probe`, `prm`) ships for `reader`'s model."""
    return _shipped(kind, reader) is not None


def shipped(kind: str, reader: Reader) -> Path:
    """The file of `kind` that ships for `reader`'s model.

    Raises:
        ModelFileError: none does.
    """
    path = _shipped(kind, reader)
    if path is None:
        raise ModelFileError(
            f"no {kind} ships for {reader.name}: train one (forethought train {kind}) and name its "
            "file"
        )
    return path


def _shipped(kind: str, reader: Reader) -> Path | None:
    if not isinstance(reader, FromFile):
        return None
    stem = f"{kind}-{weights_identity(reader.path)[:16]}"
    folder = Path(__file__).parent / "shipped"
    files = (folder / f"{stem}.safetensors", folder / f"{stem}.gguf")
    return next((path for path in files if path.is_file()), None)
