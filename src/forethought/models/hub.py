"""The first source of model files: the Hugging Face hub, through its own client.

Knows what the hub promises about a file (size and SHA-256) and refuses one that is not the
registry's before a byte of it travels. Says soon when the hub cannot be reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

# Public names that lack the re-export mark. HTTPError is httpx's in 1.x and httpx2's in 2.x.
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from forethought.errors import DownloadError
from forethought.models.disk import require_space
from forethought.models.registry import ModelFile
from forethought.models.sources import Arrival, Report, watched

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Hub:
    """The Hugging Face hub. `timeout`: seconds until a hub that does not answer is given up."""

    timeout: float = 5.0
    name: str = "Hugging Face hub"

    def fetch(self, model: ModelFile, staging: Path, report: Report) -> Arrival:
        """See `Source`; a download that was cut off starts again from the beginning."""
        folder = staging / "hub"
        _forget_half_files(folder)
        try:
            meta = get_hf_file_metadata(hf_hub_url(model.repo, model.file), timeout=self.timeout)
            size, sha256 = _promised(model, meta.size, meta.etag)
            require_space(staging, size)
            with _quiet_hub(), watched(folder, self.name, size, report):
                path = hf_hub_download(
                    model.repo,
                    model.file,
                    revision=meta.commit_hash,
                    local_dir=folder,
                    etag_timeout=self.timeout,
                )
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            raise DownloadError(_first_line(error)) from error
        return Arrival(Path(path), sha256)


def _promised(model: ModelFile, size: int | None, etag: str | None) -> tuple[int, str]:
    """Size and SHA-256 of the hub's file; refuses a file that is not the registry's."""
    if size is None or etag is None or _SHA256.fullmatch(etag) is None:
        raise ValueError(f"it gives no size and SHA-256 for {model.repo}/{model.file}")
    if model.sha256 not in (None, etag):
        raise ValueError(f"{model.repo}/{model.file} is now another file, with SHA-256 {etag}")
    return size, etag


def _forget_half_files(folder: Path) -> None:
    """The hub's client never takes up a half file that a killed process left."""
    for path in folder.rglob("*.incomplete"):
        path.unlink(missing_ok=True)


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keep the hub's own progress bars off the screen, where ours is drawn."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
