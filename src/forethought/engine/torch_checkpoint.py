"""A Hugging Face checkpoint, opened with transformers, and torch's errors told as ours.

No code that comes with a checkpoint is run.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forethought.errors import (
    DecodeError,
    MissingExtra,
    ModelLoadError,
    NotEnoughMemory,
    UnknownModel,
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`model` is a causal language model where `is_causal`, else the bare one below a head of
    another kind; `context_size` is the length that it was trained for, in tokens."""

    model: Any
    tokenizer: Any
    is_causal: bool
    context_size: int


@functools.cache
def libraries() -> tuple[Any, Any]:
    """The modules torch and transformers.

    Raises:
        MissingExtra: one is not installed.
    """
    try:
        return importlib.import_module("torch"), importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra(
            "torch or transformers is not installed: pip install 'forethought[transformers]'"
        ) from error


def load_checkpoint(source: str | Path, *, dtype: str, device: str) -> Checkpoint:
    """Open a directory, or a name on the hub. `dtype` and `device` as in `TorchReader`.

    Raises:
        MissingExtra: torch or transformers is not installed.
        UnknownModel: there is no such checkpoint.
        ModelLoadError: transformers does not know its kind, or weights are missing or damaged.
        NotEnoughMemory: the weights do not fit the device.
    """
    torch, transformers = libraries()
    with _load_errors(source):
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        is_causal = _is_causal(config)
        kind = transformers.AutoModelForCausalLM if is_causal else transformers.AutoModel
        model, report = kind.from_pretrained(
            source, trust_remote_code=False, dtype=dtype, output_loading_info=True
        )
        model = model.to(_device(torch) if device == "auto" else device).eval()
    # transformers would go on with random numbers in their place
    if missing := sorted(report["missing_keys"]):
        raise ModelLoadError(f"{source} lacks weights of its own model: {', '.join(missing)}")
    size = int(config.get_text_config().max_position_embeddings)
    return Checkpoint(model, tokenizer, is_causal, size)


@contextmanager
def decode_errors() -> Iterator[None]:
    """What torch raises in the block, as `NotEnoughMemory` or `DecodeError`."""
    torch, _ = libraries()
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise NotEnoughMemory(f"a batch does not fit, lower batch_tokens: {error}") from error
    except (RuntimeError, IndexError) as error:
        raise DecodeError(f"torch could not compute a batch: {error}") from error


@contextmanager
def _load_errors(source: str | Path) -> Iterator[None]:
    torch, _ = libraries()
    damaged = importlib.import_module("safetensors").SafetensorError
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise NotEnoughMemory(f"{source} does not fit the device's memory: {error}") from error
    except OSError as error:
        raise UnknownModel(f"there is no checkpoint {source}: {error}") from error
    except (ValueError, KeyError, RuntimeError, ImportError, damaged) as error:
        raise ModelLoadError(f"transformers cannot open {source}: {error}") from error


def _is_causal(config: Any) -> bool:
    """Whether the checkpoint has an output layer over tokens; one that does not say is taken to."""
    names = config.architectures or ["ForCausalLM"]
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names)


def _device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
