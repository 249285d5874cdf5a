"""Training a LoRA adapter on a frozen model: batches, optimiser, checkpoint and file.

What is learned is a subclass's business, which says what a batch of examples loses. Only adapted
blocks and those above them compute gradients. Checkpoints make a run that was cut off go on, and
end as if it had not been: what is drawn in a step depends on the seed and the step alone.
"""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from forethought.config import require
from forethought.evaluators.trained import AdapterKind, adapter_prefix
from forethought.models.disk import replacing
from forethought.training.adapter import LoraPair, shape_of, write_adapter
from forethought.training.base_model import module
from forethought.training.lora import LoraConfig, Losses, Progress, adapted

_SAVE_EVERY = 25
_STRIDE = 1_000_003  # parts the seeds of two runs by more steps than a run has


class Tokenized(Protocol):
    """What every example has: the ids that the model reads."""

    @property
    def tokens(self) -> list[int]: ...


Example = TypeVar("Example", bound=Tokenized)


class LoraTrainer(ABC, Generic[Example]):
    """Trains an adapter on `base`, a transformers model, which it changes.

    Raises:
        MissingExtra: torch or peft is not installed.
        ConfigError: the model has none of the config's projections.
    """

    def __init__(self, base: Any, config: LoraConfig) -> None:
        self._torch = module("torch")
        self._config = config
        self._torch.manual_seed(config.seed)
        self.model = adapted(base, config)
        self._weights = [p for p in self.model.parameters() if p.requires_grad]
        # computed in the base's type, kept in float32: bfloat16 loses small updates
        self._masters = [weight.detach().float().clone() for weight in self._weights]
        self._optimizer = self._torch.optim.AdamW(self._masters, lr=config.rate, weight_decay=0.0)

    @abstractmethod
    def loss(self, batch: list[Example]) -> Any:
        """What a batch loses: a tensor of one number, with its gradient where one is wanted."""

    def train(
        self,
        epochs: Sequence[Sequence[Example]],
        checkpoint: Path,
        report: Callable[[Progress], None],
    ) -> None:
        """One pass over the examples of each epoch; goes on from `checkpoint` where that exists,
        and removes it at the end.

        Raises:
            ConfigError: the checkpoint is of another run.
        """
        batches = [b for number, all_ in enumerate(epochs) for b in self._batches(all_, number)]
        facts = self._facts(batches)
        start = self._resume(checkpoint, facts)
        self.model.train()
        mean = 0.0
        for number, batch in enumerate(batches[start:], start + 1):
            loss = self._step(batch, number, len(batches))
            mean = loss if number == start + 1 else 0.95 * mean + 0.05 * loss
            report(Progress(number, len(batches), mean))
            if number % _SAVE_EVERY == 0:
                self._save(checkpoint, number, facts)
        checkpoint.unlink(missing_ok=True)

    def mean_loss(self, examples: Sequence[Example]) -> float:
        """The mean of the examples' losses, each read on its own and without dropout."""
        require(bool(examples), "there are no examples to take the loss of")
        self.model.eval()
        with self._torch.no_grad():
            return sum(float(self.loss([example])) for example in examples) / len(examples)

    def losses(self, examples: Sequence[Example]) -> Losses:
        """The mean loss with the adapter and, as before training, without it."""
        with self.model.disable_adapter():
            before = self.mean_loss(examples)
        return Losses(len(examples), before, self.mean_loss(examples))

    def pairs(self) -> dict[str, LoraPair]:
        """The trained updates by the weights' names."""
        state = {k: v.float().numpy() for k, v in self.model.state_dict().items() if "lora_" in k}
        found = {}
        for key, a in state.items():
            if ".lora_A." in key:
                name = key.split("base_model.model.", 1)[1].split(".lora_A.", 1)[0]
                found[name] = LoraPair(a, state[key.replace(".lora_A.", ".lora_B.")])
        return found

    def export(self, path: Path, kind: AdapterKind, info: Mapping[str, str]) -> None:
        """Write the adapter as GGUF, with what it is under `forethought.KIND.`.

        Raises:
            MissingExtra, ModelLoadError: as `write_adapter`.
        """
        prefix = adapter_prefix(kind)
        write_adapter(
            path,
            self.pairs(),
            shape=shape_of(self.model.config),
            alpha=self._config.alpha,
            metadata={prefix + key: value for key, value in {"kind": kind, **info}.items()},
        )

    def _padded(self, batch: list[Example]) -> Any:
        """Token ids, one example a row; causal attention keeps the padding behind out of sight."""
        width = max(len(example.tokens) for example in batch)
        rows = [example.tokens + [0] * (width - len(example.tokens)) for example in batch]
        return self._torch.tensor(rows)

    def _logits(self, batch: list[Example], places: list[int]) -> Any:
        """What follows each place of each example, in float32: [examples, places, vocabulary].
        Only these are computed, because over all places of a long prompt they fill the memory."""
        kept = self._torch.tensor(places)
        output = self.model(input_ids=self._padded(batch), logits_to_keep=kept, use_cache=False)
        return output.logits.float()

    def _step(self, batch: list[Example], number: int, num_steps: int) -> float:
        # dropout draws the same however often the run was cut off
        self._torch.manual_seed(self._config.seed * _STRIDE + number)
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.rate_at(number, num_steps)
        loss = self.loss(batch)
        loss.backward()
        for master, weight in zip(self._masters, self._weights, strict=True):
            master.grad, weight.grad = weight.grad.float(), None
        self._torch.nn.utils.clip_grad_norm_(self._masters, 1.0)
        self._optimizer.step()
        self._copy_masters()
        return float(loss.detach())

    def _copy_masters(self) -> None:
        with self._torch.no_grad():
            for master, weight in zip(self._masters, self._weights, strict=True):
                weight.copy_(master)

    def _batches(self, examples: Sequence[Example], epoch: int) -> Iterator[list[Example]]:
        """One epoch: examples of like length together, the batches in random order."""
        chance = random.Random(f"{self._config.seed}/{epoch}")  # noqa: S311
        noise = [chance.uniform(0.9, 1.1) for _ in examples]
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].tokens) * noise[i])
        groups = list(packed(order, examples, self._config.batch_tokens))
        chance.shuffle(groups)
        for group in groups:
            yield [examples[i] for i in group]

    def _facts(self, batches: list[list[Example]]) -> dict[str, Any]:
        """What two runs share exactly if one may go on where the other stopped."""
        digest = hashlib.sha256()
        for batch in batches:
            digest.update(repr(batch).encode())
        shapes = [list(master.shape) for master in self._masters]
        return {"config": asdict(self._config), "examples": digest.hexdigest(), "shapes": shapes}

    def _save(self, path: Path, step: int, facts: dict[str, Any]) -> None:
        state = {"weights": self._masters, "optimizer": self._optimizer.state_dict()}
        with replacing(path) as temporary:
            self._torch.save({**state, **facts, "step": step}, temporary)

    def _resume(self, path: Path, facts: dict[str, Any]) -> int:
        if not path.exists():
            return 0
        state = self._torch.load(path, weights_only=True)
        is_same = all(state.get(key) == value for key, value in facts.items())
        require(is_same, f"{path} is of a run with other settings or chains: remove it to start")
        for master, weight in zip(self._masters, state["weights"], strict=True):
            master.copy_(weight)
        self._copy_masters()
        self._optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])


def packed(
    order: Sequence[int], examples: Sequence[Tokenized], batch_tokens: int
) -> Iterator[list[int]]:
    """Neighbours in `order` in groups whose padded size stays within `batch_tokens`."""
    group: list[int] = []
    width = 0
    for index in order:
        wider = max(width, len(examples[index].tokens))
        if group and wider * (len(group) + 1) > batch_tokens:
            yield group
            group, wider = [], len(examples[index].tokens)
        group.append(index)
        width = wider
    if group:
        yield group
