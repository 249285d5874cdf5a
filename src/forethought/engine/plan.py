"""What a model and its context will take, told before anything is allocated.

llama.cpp does not fail fast on a huge context: Linux hands out memory that it does not have. So the
KV cache is computed from the file's metadata and compared with the memory that is free.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from forethought.config import EngineConfig, KvType
from forethought.engine.weights import Weights, offloaded_layers
from forethought.errors import NotEnoughMemory

DEFAULT_CONTEXT = 8192
_CELL_PADDING = 256
_HEADROOM = 256 * 2**20
# bytes per element; block formats carry a 16-bit scale per 32 elements
_KV_BYTES: dict[KvType, float] = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q4_0": 18 / 32,
}


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes by purpose. `context_size` is the KV cells after defaults and padding."""

    context_size: int
    weights: int
    kv_cache: int
    outputs: int
    offloaded: bool

    @property
    def total(self) -> int:
        """Bytes of everything; weights are mapped from the file and may be paged."""
        return self.weights + self.kv_cache + self.outputs

    def __str__(self) -> str:
        parts = (("weights", self.weights), ("KV cache", self.kv_cache), ("logits", self.outputs))
        listed = ", ".join(f"{name} {size / 2**20:,.0f} MiB" for name, size in parts)
        return f"{self.total / 2**20:,.0f} MiB for {self.context_size:,} tokens ({listed})"


def plan_engine(path: Path, config: EngineConfig, *, has_weights: bool = False) -> MemoryPlan:
    """What an engine would take, from the file's metadata; refused if it does not fit.

    Weights that are in memory already (`has_weights`) are not counted.

    Raises:
        UnknownModel, ModelLoadError: the file is missing or no model.
        NotEnoughMemory: with the estimate.
    """
    header = Weights.header(path)
    try:
        plan = plan_memory(header, config)
        plan = replace(plan, weights=0) if has_weights else plan
    finally:
        header.close()
    check_memory(plan)
    return plan


def plan_memory(header: Weights, config: EngineConfig) -> MemoryPlan:
    """Estimate from metadata; `header` may be opened without tensors."""
    cells = config.context_size or min(
        DEFAULT_CONTEXT, header.number("context_length", DEFAULT_CONTEXT)
    )
    cells = -(-cells // _CELL_PADDING) * _CELL_PADDING
    heads = header.number("attention.head_count", 1)
    head_size = header.number("embedding_length") // max(heads, 1)
    kv_heads = header.number("attention.head_count_kv", heads)
    key_size = header.number("attention.key_length", head_size)
    value_size = header.number("attention.value_length", head_size)
    elements = cells * header.number("block_count") * kv_heads * (key_size + value_size)
    vocabulary = header.number("vocab_size", 0) or 160_000
    return MemoryPlan(
        context_size=cells,
        weights=_file_bytes(header.path),
        kv_cache=int(elements * _KV_BYTES[config.kv_type]),
        outputs=2 * 4 * vocabulary * num_sequence_ids(config),
        offloaded=offloaded_layers(config) != 0,
    )


def num_sequence_ids(config: EngineConfig) -> int:
    """Sequence ids of the context: those that decode, and as many that only hold cached prefixes.

    llama.cpp allows 256 and sizes its logits buffer by this number.
    """
    return min(256, 2 * config.max_sequences)


def check_memory(plan: MemoryPlan) -> None:
    """Refuse a plan that the free memory cannot hold; offloaded weights are the GPU's to refuse.

    Raises:
        NotEnoughMemory: with the estimate, what is free, and what to change.
    """
    free = free_memory()
    needed = (plan.kv_cache + plan.outputs if plan.offloaded else plan.total) + _HEADROOM
    if free is not None and needed > free:
        raise NotEnoughMemory(
            f"the model would take {plan}, but {free / 2**20:,.0f} MiB are free: choose a smaller "
            "context (--context), a smaller model or quantisation, or kv_type q8_0"
        )


def free_memory() -> int | None:
    """Bytes that new allocations can have, or None where the system does not tell."""
    try:
        with Path("/proc/meminfo").open() as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _file_bytes(path: Path) -> int:
    """Bytes of a model file, all shards of a split one."""
    stem, mark, count = path.stem.rpartition("-of-")
    if not (mark and count.isdigit() and stem[-5:].isdigit()):
        return path.stat().st_size
    return sum(
        shard.stat().st_size for shard in path.parent.glob(f"{stem[:-5]}?????-of-{count}.gguf")
    )
