"""Training the small PRM: a LoRA adapter (Hu et al. 2021) on the draft that says `+` or `-` where a
step ends.

The loss is the binary cross entropy of the two tokens' shares at every step's end, all steps of a
chain in one pass. Only the upper blocks are adapted: what lies below needs no gradient, which
halves the time of a step. Checkpoints make a run that was cut off go on.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forethought.chains import Chain
from forethought.config import require, require_at_least, require_between
from forethought.evaluators.small_prm import Encoder, opening_tokens
from forethought.models.disk import replacing
from forethought.prompts import SMALL_PRM
from forethought.training.adapter import LoraPair
from forethought.training.base_model import module
from forethought.training.labels import Labels, step_labels

# not the two that widen: their outputs are the largest, and a step took twice as long with them
_PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
_SAVE_EVERY = 25


@dataclass(frozen=True, slots=True)
class PrmConfig:
    """How the adapter is trained. `num_layers` counts the adapted blocks from the top; a batch
    holds up to `batch_tokens` tokens, padding included; `rate` is the peak of a linear warm-up over
    a twentieth of the steps and a linear decay."""

    rank: int = 8
    alpha: float = 16.0
    num_layers: int = 12
    rate: float = 3e-4
    epochs: int = 2
    batch_tokens: int = 4096
    max_tokens: int = 768
    labels: Labels = "outcome"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "num_layers", "epochs", "batch_tokens", "max_tokens"):
            require_at_least(name, getattr(self, name), 1)
        require_between("rate", self.rate, (1e-6, 1e-1))
        require(self.alpha > 0, f"alpha must be above 0, not {self.alpha}")


@dataclass(frozen=True, slots=True)
class Example:
    """Chain number `chain` as the model reads it: `ends[i]` is the place of step i's last token,
    `values[i]` what the step is worth."""

    chain: int
    tokens: list[int]
    ends: list[int]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Progress:
    """After a step: the running mean of the loss per scored step."""

    step: int
    num_steps: int
    loss: float


def make_examples(chains: list[Chain], encoder: Encoder, config: PrmConfig) -> list[Example]:
    """Chains as token ids and labels; those longer than `max_tokens` are left out."""
    values = iter(step_labels(chains, config.labels))
    examples = []
    for number, chain in enumerate(chains):
        tokens = opening_tokens(encoder, chain.question, SMALL_PRM)
        ends = []
        for step in chain.steps:
            is_closed = step.text.endswith(SMALL_PRM.delimiter)
            tokens = tokens + step.tokens
            tokens += [] if is_closed else encoder.encode(SMALL_PRM.delimiter)
            ends.append(len(tokens) - 1)
        own = [float(next(values)) for _ in chain.steps]
        if len(tokens) <= config.max_tokens:
            examples.append(Example(number, tokens, ends, own))
    require(bool(examples), f"no chain has at most {config.max_tokens} tokens")
    return examples


class PrmTrainer:
    """Trains an adapter on `base`, a transformers model; `answers` are the good and the bad token.

    Raises:
        MissingExtra: torch or peft is not installed.
    """

    def __init__(self, base: Any, answers: tuple[int, int], config: PrmConfig) -> None:
        self._torch = module("torch")
        peft = module("peft")
        self._config = config
        self._answers = list(answers)
        self._torch.manual_seed(config.seed)
        depth = base.config.num_hidden_layers
        adapted = list(range(max(0, depth - config.num_layers), depth))
        lora = peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            target_modules=_PROJECTIONS,
            layers_to_transform=adapted,
            lora_dropout=0.0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
            self.model = peft.get_peft_model(base, lora, autocast_adapter_dtype=False)
        self._weights = [p for p in self.model.parameters() if p.requires_grad]
        # computed in the base's type, kept in float32: bfloat16 loses small updates
        self._masters = [weight.detach().float().clone() for weight in self._weights]
        self._optimizer = self._torch.optim.AdamW(self._masters, lr=config.rate, weight_decay=0.0)

    def train(
        self, examples: list[Example], checkpoint: Path, report: Callable[[Progress], None]
    ) -> None:
        """All epochs; goes on from `checkpoint` where that exists, and removes it at the end."""
        batches = [
            b for epoch in range(self._config.epochs) for b in self._batches(examples, epoch)
        ]
        start = self._resume(checkpoint, len(batches))
        self.model.train()
        mean = 0.0
        for number, batch in enumerate(batches[start:], start + 1):
            loss = self._step(batch, number / len(batches))
            mean = loss if number == start + 1 else 0.95 * mean + 0.05 * loss
            report(Progress(number, len(batches), mean))
            if number % _SAVE_EVERY == 0:
                self._save(checkpoint, number, len(batches))
        checkpoint.unlink(missing_ok=True)

    def score(self, examples: list[Example]) -> list[list[float]]:
        """P(good) at every step's end of every example."""
        self.model.eval()
        scores: dict[int, list[float]] = {}
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].tokens))
        with self._torch.no_grad():
            for group in _packed(order, examples, self._config.batch_tokens):
                margins, lengths = self._margins([examples[i] for i in group])
                parts = self._torch.sigmoid(margins).split(lengths)
                scores |= {i: part.tolist() for i, part in zip(group, parts, strict=True)}
        return [scores[i] for i in range(len(examples))]

    def pairs(self) -> dict[str, LoraPair]:
        """The trained updates by the weights' names."""
        state = {k: v.float().numpy() for k, v in self.model.state_dict().items() if "lora_" in k}
        found = {}
        for key, a in state.items():
            if ".lora_A." in key:
                name = key.split("base_model.model.", 1)[1].split(".lora_A.", 1)[0]
                found[name] = LoraPair(a, state[key.replace(".lora_A.", ".lora_B.")])
        return found

    def _step(self, batch: list[Example], done: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.rate * min(20 * done, 1.0, 1.05 - done)
        margins, _ = self._margins(batch)
        values = self._torch.tensor([v for example in batch for v in example.values])
        loss = self._torch.nn.functional.binary_cross_entropy_with_logits(margins, values)
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

    def _margins(self, batch: list[Example]) -> tuple[Any, list[int]]:
        """Log-odds of good against bad at all ends of a batch, and the number of ends of each."""
        torch, base = self._torch, self.model.base_model.model
        width = max(len(example.tokens) for example in batch)
        # padded behind: causal attention keeps what comes later out of what is read
        tokens = torch.tensor([e.tokens + [0] * (width - len(e.tokens)) for e in batch])
        states = base.model(input_ids=tokens, use_cache=False).last_hidden_state
        rows = torch.tensor([row for row, e in enumerate(batch) for _ in e.ends])
        places = torch.tensor([end for e in batch for end in e.ends])
        answers = base.get_output_embeddings().weight[self._answers].float()
        logits = states[rows, places].float() @ answers.T
        return logits[:, 0] - logits[:, 1], [len(e.ends) for e in batch]

    def _batches(self, examples: list[Example], epoch: int) -> Iterator[list[Example]]:
        """One epoch: chains of like length together, the batches in random order."""
        chance = random.Random(f"{self._config.seed}/{epoch}")  # noqa: S311
        noise = [chance.uniform(0.9, 1.1) for _ in examples]
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].tokens) * noise[i])
        groups = list(_packed(order, examples, self._config.batch_tokens))
        chance.shuffle(groups)
        for group in groups:
            yield [examples[i] for i in group]

    def _save(self, path: Path, step: int, num_steps: int) -> None:
        facts = {"config": asdict(self._config), "num_steps": num_steps, "step": step}
        state = {"weights": self._masters, "optimizer": self._optimizer.state_dict(), **facts}
        with replacing(path) as temporary:
            self._torch.save(state, temporary)

    def _resume(self, path: Path, num_steps: int) -> int:
        if not path.exists():
            return 0
        state = self._torch.load(path, weights_only=True)
        expected = {"config": asdict(self._config), "num_steps": num_steps}
        is_same = all(state[key] == value for key, value in expected.items())
        require(is_same, f"{path} is of a run with other settings or chains: remove it to start")
        for master, weight in zip(self._masters, state["weights"], strict=True):
            master.copy_(weight)
        self._copy_masters()
        self._optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])


def _packed(order: list[int], examples: list[Example], batch_tokens: int) -> Iterator[list[int]]:
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
