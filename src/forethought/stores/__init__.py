"""Acceptance thresholds across runs."""

from forethought.stores.records import ThresholdKey
from forethought.stores.sqlite import (
    SqliteStore,
    SqliteThresholdStore,
    data_folder,
    default_store,
)
from forethought.stores.thresholds import ThresholdRecord, ThresholdStore

__all__ = [
    "SqliteStore",
    "SqliteThresholdStore",
    "ThresholdKey",
    "ThresholdRecord",
    "ThresholdStore",
    "data_folder",
    "default_store",
]
