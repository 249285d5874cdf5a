"""A LoRA adapter (Hu et al. 2021): how it is trained, put on a model, and how training went."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from forethought.config import require, require_at_least, require_between
from forethought.errors import ConfigError
from forethought.training.base_model import module


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """How an adapter is trained; the defaults are those of Speculative Chain-of-Thought's draft
    (Wang et al. 2025, its code where the paper is silent).

    The update of each of `projections` has `rank` and is scaled by `alpha / rank`; `dropout` is the
    share of its inputs left out in training. `layers` counts the adapted blocks from the top, None
    adapts all. `rate` is the peak of a linear warm-up over the share `warm_up` of the steps and a
    linear decay to 0. A batch holds up to `batch_tokens` tokens, padding included, and at least one
    example; examples longer than `max_tokens` are left out. `recompute` keeps no activations for
    the backward pass but those between blocks: a step takes a third longer and needs a fraction of
    the memory.
    """

    rank: int = 8
    alpha: float = 32.0
    dropout: float = 0.1
    projections: tuple[str, ...] = ("q_proj", "v_proj")
    layers: int | None = None
    rate: float = 5e-5
    warm_up: float = 0.0
    epochs: int = 5
    batch_tokens: int = 1
    max_tokens: int = 2048
    recompute: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "epochs", "batch_tokens", "max_tokens"):
            require_at_least(name, getattr(self, name), 1)
        require_at_least("layers", 1 if self.layers is None else self.layers, 1)
        require_between("rate", self.rate, (1e-6, 1e-1))
        require(self.alpha > 0, f"alpha must be above 0, not {self.alpha}")
        require(0 <= self.dropout < 1, f"dropout must lie in 0..1 and below 1, not {self.dropout}")
        require_between("warm_up", self.warm_up, (0.0, 1.0))
        require(bool(self.projections), "projections must name a weight to adapt")
        require_at_least("seed", self.seed, 0)

    def rate_at(self, step: int, num_steps: int) -> float:
        """The learning rate of step `step` in 1..`num_steps`."""
        rising = step / (self.warm_up * num_steps) if self.warm_up else 1.0
        return self.rate * min(rising, 1.0, 1 - (step - 1) / num_steps)


@dataclass(frozen=True, slots=True)
class Progress:
    """After a step: the running mean of the loss."""

    step: int
    num_steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class Losses:
    """The mean loss on `num_examples` of questions held out, before and after training."""

    num_examples: int
    before: float
    after: float

    def figures(self) -> dict[str, str]:
        """What a file says of them."""
        return {"loss_before": f"{self.before:.4f}", "loss_after": f"{self.after:.4f}"}


def adapted(base: Any, config: LoraConfig) -> Any:
    """The model with an adapter that changes nothing yet."""
    peft = module("peft")
    depth = base.config.num_hidden_layers
    lowest = 0 if config.layers is None else max(0, depth - config.layers)
    lora = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=list(config.projections),
        layers_to_transform=list(range(lowest, depth)),
        lora_dropout=config.dropout,
    )
    with warnings.catch_warnings():
        # peft asks transformers by an old name; the new one of the other is not in all of 5.x
        warnings.simplefilter("ignore", FutureWarning)
        if config.recompute:
            base.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            return peft.get_peft_model(base, lora, autocast_adapter_dtype=False)
        except ValueError as error:
            named = ", ".join(config.projections)
            raise ConfigError(f"cannot adapt {named} of this model: {error}") from error
