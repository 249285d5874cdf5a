"""Training the selector of Speculative Chain-of-Thought: the target with an adapter that reads a
question and several drafts, and says the number of a right one, or the next number where all are
wrong (Wang et al. 2025, "Efficient Reasoning for LLMs through Speculative
Chain-of-Thought").

Several drafts may be right, and any of their numbers will do: the loss is the least over them of
-log p(number) at the prompt's last place, over the full vocabulary.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from forethought.bench.selections import Choices, counted
from forethought.chains import Chain
from forethought.config import require, require_between
from forethought.config_cot import MAX_CHAINS
from forethought.model import Reader
from forethought.nodes.selection import Selector, picked
from forethought.training.about import about
from forethought.training.base_model import load_base
from forethought.training.encoder import open_encoder
from forethought.training.lora import LoraConfig, Losses, Progress
from forethought.training.split import Split
from forethought.training.trainer import LoraTrainer


@dataclass(frozen=True, slots=True)
class SelectorConfig(LoraConfig):
    """How the selector is trained: on `num_drafts` chains a question, in the order in which they
    stand or, with `shuffle`, in another one every epoch, so that no place is learned for its own
    sake. Prompts are long, so activations are recomputed by default."""

    rate: float = 1e-4
    max_tokens: int = 4096
    recompute: bool = True
    num_drafts: int = 5
    shuffle: bool = True

    def __post_init__(self) -> None:
        LoraConfig.__post_init__(self)
        require_between("num_drafts", self.num_drafts, (1, MAX_CHAINS))


@dataclass(frozen=True, slots=True)
class Selection:
    """A question and the chains to choose from."""

    question: str
    drafts: list[Chain]

    @property
    def right(self) -> list[int]:
        """The numbers that are right to say, from 1: those of right drafts; of none, the next."""
        numbers = [n for n, draft in enumerate(self.drafts, 1) if draft.is_right]
        return numbers or [len(self.drafts) + 1]

    def texts(self) -> list[str]:
        """The drafts as they were written, without white space at the ends."""
        return ["".join(step.text for step in draft.steps).strip() for draft in self.drafts]

    def shuffled(self, chance: random.Random) -> Selection:
        """The same drafts in an order drawn from `chance`."""
        return Selection(self.question, chance.sample(self.drafts, len(self.drafts)))


def selections(chains: list[Chain], num_drafts: int) -> list[Selection]:
    """The draft's first `num_drafts` chains of each question that has so many.

    Raises:
        ConfigError: no question has.
    """
    groups: dict[str, list[Chain]] = defaultdict(list)
    for chain in chains:
        if chain.source == "draft" and chain.steps:
            groups[chain.question].append(chain)
    found = [
        Selection(question, drafts[:num_drafts])
        for question, drafts in groups.items()
        if len(drafts) >= num_drafts
    ]
    require(
        bool(found),
        f"no question has {num_drafts} drafts: make them with `forethought train sample "
        f"--samples-draft {num_drafts}`, or choose among fewer",
    )
    return found


@dataclass(frozen=True, slots=True)
class SelectionExample:
    """A prompt, and the tokens of which any is right to follow it."""

    tokens: list[int]
    answers: list[int]


def selection_examples(
    found: Sequence[Selection],
    asks: Selector,
    config: SelectorConfig,
    epoch: int | None = None,
) -> list[SelectionExample]:
    """Prompts as the graph asks them, with the drafts in the order of an epoch (None: as they
    stand). Drafts that do not fit `max_tokens` together are shortened, as they are by the graph.

    Raises:
        ConfigError: a number is more than one token of the model's.
        PromptTooLong: a question leaves the drafts no room.
    """
    numbers = asks.numbers(config.num_drafts + 1)
    chance = random.Random(f"{config.seed}/{epoch}/order")  # noqa: S311
    examples = []
    for selection in found:
        is_shuffled = config.shuffle and epoch is not None
        shown = selection.shuffled(chance) if is_shuffled else selection
        tokens = asks.prompt(shown.question, shown.texts())
        answers = [token for number in shown.right for token in numbers[number - 1]]
        examples.append(SelectionExample(tokens, answers))
    return examples


class SelectorTrainer(LoraTrainer[SelectionExample]):
    """Trains an adapter to say the number of a right draft."""

    def loss(self, batch: list[SelectionExample]) -> Any:
        """The mean over the examples of the least -log p of a right answer, in nats."""
        ends = [len(example.tokens) - 1 for example in batch]
        places = sorted(set(ends))
        logprobs = self._logits(batch, places).log_softmax(-1)
        losses = [
            -logprobs[row, places.index(end), example.answers].max()
            for row, (end, example) in enumerate(zip(ends, batch, strict=True))
        ]
        return self._torch.stack(losses).mean()


def train_selector(
    base: Path,
    data: Split,
    *,
    config: SelectorConfig,
    out: Path,
    report: Callable[[Progress], None],
) -> Losses:
    """Train an adapter for the GGUF file `base`, take the loss on the questions held out, and write
    it to `out` with what it is. Goes on from `out`'s checkpoint if there is one.

    Raises:
        ConfigError: too few drafts, or the checkpoint is of another run.
        MissingExtra, ModelLoadError: see `forethought.training.base_model`.
    """
    kept, held = (selections(chains, config.num_drafts) for chains in (data.kept, data.held))
    with open_encoder(base, max_tokens=config.max_tokens) as encoder:
        asks = Selector(cast("Reader", encoder))  # to ask computes nothing
        epochs = [selection_examples(kept, asks, config, e) for e in range(config.epochs)]
        tests = selection_examples(held, asks, config)
    trainer = SelectorTrainer(load_base(base), config)
    trainer.train(epochs, out.with_suffix(".checkpoint"), report)
    losses = trainer.losses(tests)
    shown = [draft for selection in kept for draft in selection.drafts]
    info = {**about(base, shown), "num_drafts": str(config.num_drafts), **losses.figures()}
    trainer.export(out, "selector", info)
    return losses


def check_selector(reader: Reader, found: Sequence[Selection]) -> Choices:
    """Let the reader choose as the graph does, one prefill a question.

    Raises:
        ConfigError: a number is more than one token of the reader's.
        RunStopped: the caller's run has stopped.
        EvaluatorError, EngineError: see `forethought.errors`.
    """
    asks = Selector(reader)
    return counted(
        (
            [draft.is_right for draft in one.drafts],
            picked(asks.shares(one.question, one.texts()), bias=0.0, correction=True),
        )
        for one in found
    )
