"""Training the draft of Speculative Chain-of-Thought to think as the target does (Wang et al. 2025,
"Efficient Reasoning for LLMs through Speculative Chain-of-Thought": thinking behaviour alignment).

It learns the target's own greedy chains, which are shorter than its own: the loss is the mean cross
entropy of a chain's tokens, those of the question being given. The chain's end is learned with it,
so that the draft stops where the target would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from forethought.chains import Chain
from forethought.config import SamplingParams, require
from forethought.config_cot import CotConfig
from forethought.evaluators.final_answer import same_answer
from forethought.model import Model, RunStopped
from forethought.prompts import task_named
from forethought.thinking_tags import CLOSE, has_think_tags, is_closed, opening_of
from forethought.training.about import about
from forethought.training.base_model import load_base
from forethought.training.encoder import HeaderEncoder, open_encoder
from forethought.training.lora import LoraConfig, Losses, Progress
from forethought.training.samples import GREEDY
from forethought.training.split import Split
from forethought.training.trainer import LoraTrainer

_IGNORED = -100  # torch's label of a place that is not in the loss


@dataclass(frozen=True, slots=True)
class DraftConfig(LoraConfig):
    """How the draft is aligned, and the `task` whose prompt its chains stand behind."""

    task: str = "math"


@dataclass(frozen=True, slots=True)
class ChainExample:
    """A question and its chain as the model reads them: the chain begins at `start`, above 0."""

    tokens: list[int]
    start: int


def chain_examples(
    chains: list[Chain], encoder: HeaderEncoder, config: CotConfig
) -> list[ChainExample]:
    """The target's chains behind the prompt that the draft writes after; chains that do not fit
    the encoder's context with it are left out.

    Raises:
        ConfigError: none is left.
    """
    model = cast("Model", encoder)  # to open a prompt computes nothing
    task, is_reasoning = task_named(config.task), has_think_tags(model, config.reasoning)
    examples = []
    for chain in target_chains(chains):
        opening = opening_of(model, task, chain.question, config.reasoning)
        tokens = opening + _written(chain, encoder, is_reasoning=is_reasoning)
        if len(tokens) < encoder.context_size:
            examples.append(ChainExample(tokens, len(opening)))
    require(
        bool(examples),
        f"none of {len(chains)} chains is the target's, is whole and has less than "
        f"{encoder.context_size} tokens with its question: sample chains, or raise max_tokens",
    )
    return examples


def target_chains(chains: list[Chain]) -> list[Chain]:
    """Those that the target wrote to their end: to an answer, or out of its think block."""
    return [c for c in chains if c.source == "target" and (c.stated or is_closed(_text(c)))]


def _written(chain: Chain, encoder: HeaderEncoder, *, is_reasoning: bool) -> list[int]:
    """The chain's tokens in the draft's vocabulary, up to what ends it there: the closing think
    tag, or the end of the turn."""
    thinking, tag, behind = _text(chain).partition(CLOSE)
    end = encoder.encode(CLOSE, special=True) if is_reasoning else encoder.end_tokens()
    if chain.vocabulary != encoder.vocabulary or bool(tag) != is_reasoning or behind:
        return encoder.encode(f"{thinking.rstrip()}\n" if is_reasoning else thinking) + end
    tokens = [token for step in chain.steps for token in step.tokens]
    return tokens if tag else tokens + end


def _text(chain: Chain) -> str:
    return "".join(step.text for step in chain.steps)


class DraftTrainer(LoraTrainer[ChainExample]):
    """Trains an adapter to go on after a question as the chains do."""

    def loss(self, batch: list[ChainExample]) -> Any:
        """The mean over the examples of each one's mean cross entropy, in nats per chain token."""
        torch = self._torch
        first = min(example.start for example in batch) - 1
        width = max(len(example.tokens) for example in batch)
        logits = self._logits(batch, list(range(first, width - 1)))
        labels = torch.full((len(batch), width - 1 - first), _IGNORED)
        for row, example in zip(labels, batch, strict=True):
            learned = torch.tensor(example.tokens[example.start :])
            place = example.start - 1 - first
            row[place : place + len(learned)] = learned
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), labels, ignore_index=_IGNORED, reduction="none"
        )
        return (losses.sum(1) / (labels != _IGNORED).sum(1)).mean()


def train_draft(
    base: Path,
    data: Split,
    *,
    config: DraftConfig,
    out: Path,
    report: Callable[[Progress], None],
) -> Losses:
    """Train an adapter for the GGUF file `base`, take the loss on the questions held out, and write
    it to `out` with what it is. Goes on from `out`'s checkpoint if there is one.

    Raises:
        ConfigError: no chain can be learned, or the checkpoint is of another run.
        MissingExtra, ModelLoadError: see `forethought.training.base_model`.
    """
    with open_encoder(base, max_tokens=config.max_tokens) as encoder:
        examples, tests = (
            chain_examples(chains, encoder, CotConfig(task=config.task))
            for chains in (data.kept, data.held)
        )
    trainer = DraftTrainer(load_base(base), config)
    trainer.train([examples] * config.epochs, out.with_suffix(".checkpoint"), report)
    losses = trainer.losses(tests)
    info = {**about(base, target_chains(data.kept)), "task": config.task, **losses.figures()}
    trainer.export(out, "draft", info)
    return losses


@dataclass(frozen=True, slots=True)
class DraftCheck:
    """Greedy chains of a model on `num_questions`: their mean length in its tokens, the share that
    ended before the limit, and the share whose answer is the target's."""

    num_questions: int
    mean_tokens: float
    ended: float
    agreement: float


def check_draft(
    model: Model, config: CotConfig, chains: Sequence[Chain], params: SamplingParams = GREEDY
) -> DraftCheck:
    """Let the model solve the questions of the target's `chains`, in one batch.

    Raises:
        ConfigError: there are no chains.
        RunStopped: the caller's run was cancelled.
        EngineError: see `forethought.errors`.
    """
    require(bool(chains), "there are no chains of the target to compare with")
    task = task_named(config.task)
    prompts = [opening_of(model, task, chain.question, config.reasoning) for chain in chains]
    params = replace(params, stop=(CLOSE,) if has_think_tags(model, config.reasoning) else ())
    completions = model.generate(prompts, params)
    for completion in completions:
        if completion.finish_reason in ("cancelled", "deadline"):
            raise RunStopped(completion.finish_reason)
    agreed = [
        _agrees(task.find_answer(completion.text), chain.stated)
        for completion, chain in zip(completions, chains, strict=True)
    ]
    return DraftCheck(
        num_questions=len(chains),
        mean_tokens=fmean(len(completion.tokens) for completion in completions),
        ended=fmean(completion.finish_reason != "length" for completion in completions),
        agreement=fmean(agreed),
    )


def _agrees(stated: str | None, expected: str | None) -> bool:
    return stated is not None and expected is not None and same_answer(stated, expected)
