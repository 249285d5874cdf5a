"""Training the small PRM: a LoRA adapter on the draft that says `+` or `-` where a step ends.

The loss is the binary cross entropy of the two tokens' shares at every step's end, all steps of a
chain in one pass. By default only the upper blocks are adapted: what lies below needs no gradient,
which halves the time of a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forethought.chains import Chain
from forethought.config import require
from forethought.evaluators.small_prm import Encoder, opening_tokens
from forethought.prompts_prm import SMALL_PRM
from forethought.training.labels import Labels, step_labels
from forethought.training.lora import LoraConfig
from forethought.training.trainer import LoraTrainer, packed


@dataclass(frozen=True, slots=True)
class PrmConfig(LoraConfig):
    """How the small PRM is trained, and on which `labels`."""

    alpha: float = 16.0
    dropout: float = 0.0
    # not the two that widen: their outputs are the largest, and a step took twice as long with them
    projections: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "down_proj")
    layers: int | None = 12
    rate: float = 3e-4
    warm_up: float = 0.05
    epochs: int = 2
    batch_tokens: int = 4096
    max_tokens: int = 768
    labels: Labels = "outcome"


@dataclass(frozen=True, slots=True)
class Example:
    """Chain number `chain` as the model reads it: `ends[i]` is the place of step i's last token,
    `values[i]` what the step is worth."""

    chain: int
    tokens: list[int]
    ends: list[int]
    values: list[float]


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


class PrmTrainer(LoraTrainer[Example]):
    """Trains an adapter on `base`; `answers` are the good and the bad token."""

    def __init__(self, base: Any, answers: tuple[int, int], config: PrmConfig) -> None:
        super().__init__(base, config)
        self._answers = list(answers)

    def loss(self, batch: list[Example]) -> Any:
        """The mean binary cross entropy over all ends of all examples."""
        margins, _ = self._margins(batch)
        values = self._torch.tensor([v for example in batch for v in example.values])
        return self._torch.nn.functional.binary_cross_entropy_with_logits(margins, values)

    def score(self, examples: list[Example]) -> list[list[float]]:
        """P(good) at every step's end of every example."""
        self.model.eval()
        scores: dict[int, list[float]] = {}
        order = sorted(range(len(examples)), key=lambda i: len(examples[i].tokens))
        with self._torch.no_grad():
            for group in packed(order, examples, self._config.batch_tokens):
                margins, lengths = self._margins([examples[i] for i in group])
                parts = self._torch.sigmoid(margins).split(lengths)
                scores |= {i: part.tolist() for i, part in zip(group, parts, strict=True)}
        return [scores[i] for i in range(len(examples))]

    def _margins(self, batch: list[Example]) -> tuple[Any, list[int]]:
        """Log-odds of good against bad at all ends of a batch, and the number of ends of each."""
        base = self.model.base_model.model
        states = base.model(input_ids=self._padded(batch), use_cache=False).last_hidden_state
        rows = self._torch.tensor([row for row, e in enumerate(batch) for _ in e.ends])
        places = self._torch.tensor([end for e in batch for end in e.ends])
        # of the whole vocabulary two rows are enough
        answers = base.get_output_embeddings().weight[self._answers].float()
        logits = states[rows, places].float() @ answers.T
        return logits[:, 0] - logits[:, 1], [len(e.ends) for e in batch]
