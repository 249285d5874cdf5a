"""Tiny random models for tests: as a Hugging Face checkpoint, and the same weights as GGUF.

Their numbers are large for their size, so that scores spread over 0..1, and exact in float16, so
that a file of either type holds the same model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tiny_vocabularies import Kind, vocabulary_of
from transformers import AutoConfig, AutoModelForCausalLM

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]

WIDTH, NUM_BLOCKS, NUM_HEADS, NUM_KV_HEADS, CONTEXT = 64, 3, 4, 2, 512

_ARCHITECTURES: dict[Kind, gguf.MODEL_ARCH] = {
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
}


def write_checkpoint(kind: Kind, directory: Path, seed: int = 0) -> Path:
    """A causal language model of a kind, and its tokenizer."""
    tokenizer = vocabulary_of(kind).for_transformers()
    tokenizer.save_pretrained(directory)
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": NUM_BLOCKS,
        "num_attention_heads": NUM_HEADS,
        "num_key_value_heads": NUM_KV_HEADS,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": None,
    }
    config = AutoConfig.for_model(kind, **sizes)
    model = AutoModelForCausalLM.from_config(config)
    make_lively(model)
    model.save_pretrained(directory)
    return directory


def make_lively(model: torch.nn.Module) -> None:
    """Random numbers of a size that tells inputs apart, exact in float16."""
    with torch.no_grad():
        for name, values in model.named_parameters():
            noise = torch.randn_like(values)
            if values.ndim == 2:
                lively = noise / WIDTH**0.5
            else:
                lively = 0.2 * noise + (1 if "norm" in name else 0)
            values.copy_(lively.half().float())


def add_head(checkpoint: Path, directory: Path, architecture: str, head: Arrays) -> Path:
    """A checkpoint whose output layer gives way to a head, as process reward models are stored: of
    a class that transformers does not know, with code of its own that must not be needed."""
    directory.mkdir()
    for file in checkpoint.iterdir():
        if file.suffix != ".safetensors":
            (directory / file.name).write_bytes(file.read_bytes())
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"architectures": [architecture], "auto_map": {"AutoModel": "modeling_x.Model"}}
    (directory / "config.json").write_text(json.dumps(config))
    weights = load_file(checkpoint / "model.safetensors")
    del weights["lm_head.weight"]
    save_file({**weights, **head}, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def write_gguf(kind: Kind, checkpoint: Path, path: Path, numbers: Literal["F32", "F16"]) -> Path:
    """The checkpoint's language model as GGUF; a head is left out."""
    architecture = _ARCHITECTURES[kind]
    config = json.loads((checkpoint / "config.json").read_text())
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    vocabulary_of(kind).add_to(writer)
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    for name, values in load_file(checkpoint / "model.safetensors").items():
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored is None:
            continue  # of a head
        if architecture == gguf.MODEL_ARCH.LLAMA and ".q_proj." in name:
            values = _interleaved(values, NUM_HEADS)
        if architecture == gguf.MODEL_ARCH.LLAMA and ".k_proj." in name:
            values = _interleaved(values, NUM_KV_HEADS)
        is_small = values.ndim == 1 or numbers == "F32"
        writer.add_tensor(stored, values.astype(np.float32 if is_small else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _interleaved(values: Any, num_heads: int) -> Any:
    """Rows of a rotary projection for llama.cpp's llama: the halves of a head by turns."""
    rows, *rest = values.shape
    halves = values.reshape(num_heads, 2, rows // num_heads // 2, *rest)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
