"""The weights of a GGUF file as a torch model, to train an adapter on."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

from forethought.engine.weights import Weights
from forethought.errors import MissingExtra, ModelLoadError

EXTRA = "pip install 'forethought[train]' (torch, transformers, peft, gguf, scikit-learn)"


def load_base(path: Path) -> Any:
    """A `transformers` causal language model in bfloat16 with the file's weights, dequantised.

    Raises:
        MissingExtra: torch, transformers or gguf is not installed.
        UnknownModel, ModelLoadError: the file is missing or damaged, or transformers cannot read
            this architecture or quantisation.
    """
    torch, transformers = module("torch"), module("transformers")
    module("gguf")
    Weights.header(path).close()  # what is no model is told in one line
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # progress bars and notes on dequantisation
            return transformers.AutoModelForCausalLM.from_pretrained(
                str(path.parent),
                gguf_file=path.name,
                dtype=torch.bfloat16,
                # packed weights, which some machines would keep, let no gradient through
                quantization_config=transformers.GgufConfig(dequantize=True),
                trust_remote_code=False,
            )
    except (ValueError, NotImplementedError, KeyError, OSError) as error:
        raise ModelLoadError(f"transformers cannot read {path}: {error}") from error


def module(name: str) -> Any:
    """An optional library of the extra `train`.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(f"{name.partition('.')[0]} is not installed: {EXTRA}") from error
