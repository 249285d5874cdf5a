"""Model files: known by name, downloaded, checked, and requantised for the machine at hand."""

from forethought.models.download import fetch, pull
from forethought.models.files import InstalledModel, installed, models_dir, resolve, verify
from forethought.models.quantize import QUANTS, quantize
from forethought.models.registry import Mirror, ModelFile, find, load_registry
from forethought.models.sources import Progress
from forethought.models.speed import decode_speed
from forethought.models.tune import TuneRow, tune

__all__ = [
    "QUANTS",
    "InstalledModel",
    "Mirror",
    "ModelFile",
    "Progress",
    "TuneRow",
    "decode_speed",
    "fetch",
    "find",
    "installed",
    "load_registry",
    "models_dir",
    "pull",
    "quantize",
    "resolve",
    "tune",
    "verify",
]
