"""Fixtures for tests on real weights; unit tests need none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from forethought.config import EngineConfig
from forethought.engine import Engine
from forethought.models import quantize, resolve

# the same examples in every run, and none that is late because the machine is busy
settings.register_profile("forethought", derandomize=True, deadline=None, database=None)
settings.load_profile("forethought")


@pytest.fixture(scope="session")
def smollm_path() -> Path:
    return resolve("smollm2-135m", quant="original")


@pytest.fixture(scope="session")
def smollm(smollm_path: Path) -> Iterator[Engine]:
    """SmolLM2 135M Q4_1, whose logits do not depend on the batch's shape, but do, in the second
    digit, on the order of cells that were freed and filled again."""
    with Engine(smollm_path, config=EngineConfig(context_size=4096, max_sequences=32)) as engine:
        yield engine


def variant(name: str, quant: str) -> Path:
    """A quantisation of a fetched model, made once and kept beside it."""
    return quantize(resolve(name, quant="original"), quant)


@pytest.fixture(scope="session")
def pair() -> Iterator[tuple[Engine, Engine]]:
    """The default draft and target as Q4_0."""
    with (
        Engine(variant("qwen2.5-coder-0.5b", "q4_0")) as draft,
        Engine(variant("qwen2.5-coder-1.5b", "q4_0")) as target,
    ):
        yield draft, target
