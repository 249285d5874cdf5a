"""Which model files are on this machine, and which of them a name means.

Knows the models folder; fetches nothing and makes nothing. The folder holds, for every model:

    NAME.gguf            the published file        NAME.gguf.sha256   its mark (checksums.py)
    NAME.QUANT.gguf      a variant made here       NAME.partial/      a download under way
    tuned.json           the fastest variant of each model, as `tune` measured it
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from forethought.config import require_one_of
from forethought.errors import ChecksumMismatch, ModelFileError, UnknownModel
from forethought.models import checksums
from forethought.models.disk import one_writer, write_whole
from forethought.models.quantize import QUANTS, variant_path
from forethought.models.registry import ModelFile, find, load_registry, unknown

ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class Original:
    """A published or local model file, before any variant of it.

    `key` is what `tuned.json` calls it; `file` is its published name, which tells its quantisation.
    """

    key: str
    path: Path
    file: str

    def is_already(self, quant: str) -> bool:
        """Whether the file itself is of this quantisation, going by its published name."""
        return quant in (ORIGINAL, *_quants_in(self.file))


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A known model on this machine: `size` in bytes, the variants made here, the fastest one."""

    model: ModelFile
    path: Path
    size: int
    verified: bool
    variants: tuple[str, ...]
    fastest: str | None


def models_dir() -> Path:
    """The folder of model files: `FORETHOUGHT_MODELS` where it is set, else in the user's data."""
    override = os.environ.get("FORETHOUGHT_MODELS")
    if override:
        return Path(override).expanduser()
    return user_data_path("forethought", appauthor=False) / "models"


def path_of(name: str) -> Path:
    """Where the published file of `name` is kept, whether or not it is there."""
    return models_dir() / f"{name}.gguf"


def resolve(name_or_path: str | Path, *, quant: str | None = "auto") -> Path:
    """The GGUF file that a registry name or a path means.

    `quant` "auto" takes the variant that `tune` found fastest, if there is one; None takes the
    file itself; anything else is a quantisation such as "q4_0". Raises `UnknownModel` where there
    is no such name or path, and `ModelFileError` where the file or variant is not there yet or is
    no GGUF file.
    """
    original = find_original(name_or_path)
    wanted = remembered(original) if quant == "auto" else quant
    if wanted is None or original.is_already(wanted):
        return original.path
    require_one_of("quant", wanted, tuple(QUANTS))
    variant = variant_path(original.path, wanted)
    if variant.is_file():
        _require_gguf(variant)
        return variant
    if quant == "auto":
        return original.path
    raise ModelFileError(
        f"{name_or_path} has no {wanted} variant here: "
        f"run `forethought models tune {name_or_path} --quant {wanted}`"
    )


def find_original(name_or_path: str | Path) -> Original:
    """The published or local file itself; raises as `resolve` does."""
    text = str(name_or_path)
    if text in load_registry():
        path = path_of(text)
        if not path.is_file():
            raise ModelFileError(f"{text} is not here yet: run `forethought models pull {text}`")
        original = Original(text, path, find(text).file)
    else:
        path = Path(text).expanduser()
        if not path.is_file():
            looks_like_path = text.endswith(".gguf") or path.name != text
            raise UnknownModel(f"there is no file {text}") if looks_like_path else unknown(text)
        original = Original(str(path.resolve()), path, path.name)
    _require_gguf(original.path)
    return original


def is_verified(model: ModelFile) -> bool:
    """Whether the file is here, was checked against its SHA-256, and was not touched since."""
    path = path_of(model.name)
    known = checksums.marked(path)
    if known is None or not checksums.is_unchanged(path):
        return False
    return model.sha256 in (None, known) and model.size in (None, path.stat().st_size)


def verify(name: str) -> str:
    """Read the file of `name` again and return its SHA-256.

    Raises `ChecksumMismatch` where the bytes are wrong, `ModelFileError` where the file is not here
    or no checksum is known for it, and `UnknownModel` for a name that is not in the registry.
    """
    model, path = find(name), find_original(name).path
    expected = model.sha256 or checksums.marked(path)
    if expected is None:
        raise ModelFileError(f"no checksum is known for {path}: delete it and pull {name} again")
    with one_writer(path):
        if not checksums.confirm(path, expected):
            raise ChecksumMismatch(
                f"{path} is damaged, its SHA-256 is not {expected}: "
                f"run `forethought models pull {name}`"
            )
    return expected


def installed() -> list[InstalledModel]:
    """The known models whose files are on this machine, in the registry's order."""
    models = [model for model in load_registry().values() if path_of(model.name).is_file()]
    return [_installed(model) for model in models]


def remembered(original: Original) -> str | None:
    """The quantisation that `tune` found fastest for this file; None where it never ran."""
    return _tuned().get(original.key)


def remember(original: Original, quant: str) -> None:
    """Make `quant` what `resolve` with "auto" takes for this file from now on."""
    path = models_dir() / "tuned.json"
    with one_writer(path):
        tuned = _tuned() | {original.key: quant}
        write_whole(path, json.dumps(tuned, indent=2, sort_keys=True) + "\n")


def _tuned() -> dict[str, str]:
    path = models_dir() / "tuned.json"
    try:
        tuned = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelFileError(f"{path} is damaged, delete it: {error}") from error
    if not isinstance(tuned, dict):
        raise ModelFileError(f"{path} is damaged, delete it: it holds no table")
    return {str(key): str(quant) for key, quant in tuned.items()}


def _installed(model: ModelFile) -> InstalledModel:
    path = path_of(model.name)
    original = Original(model.name, path, model.file)
    return InstalledModel(
        model=model,
        path=path,
        size=path.stat().st_size,
        verified=is_verified(model),
        variants=tuple(quant for quant in QUANTS if variant_path(path, quant).is_file()),
        fastest=remembered(original),
    )


def _require_gguf(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error}") from error
    if magic != b"GGUF":
        raise ModelFileError(f"{path} is no GGUF file: it starts with {magic!r}, not b'GGUF'")


def _quants_in(file: str) -> list[str]:
    return [quant for quant in QUANTS if quant in file.lower()]
