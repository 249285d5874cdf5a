"""Methods ready to run, and how one of them solves one problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from forethought.bench.alone import Alone
from forethought.bench.methods import Method
from forethought.bench.systems import Writer
from forethought.config import SearchConfig, require_at_least
from forethought.engine import Engine
from forethought.engine.radix import common_prefix
from forethought.evaluators import Cached, Evaluator
from forethought.graphs import Live, RunConfig
from forethought.model import Model, Reader
from forethought.nodes import Rules
from forethought.prompts import Task
from forethought.solve import Solution, solve
from forethought.stores import ThresholdStore
from forethought.thoughts import Source


@dataclass(frozen=True, slots=True)
class Entrant:
    """A method with its runs' settings, its evaluator, where it asks one, the store of its own
    thresholds, where runs start from earlier ones, and what its runs learn about costs."""

    method: Method
    config: RunConfig
    evaluator: Evaluator | None = None
    store: ThresholdStore | None = None
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all methods run with: the models by the role that they write in, and `num_samples`
    solutions for a majority. Speculative Chain-of-Thought drafts with `aligned` and picks with
    `selector`, where there are such: the draft, and the target, with an adapter.

    Raises:
        ConfigError: `num_samples` is below 1.
    """

    models: Mapping[Writer, Model]
    num_samples: int
    aligned: Model | None = None
    selector: Reader | None = None

    def __post_init__(self) -> None:
        require_at_least("num_samples", self.num_samples, 1)

    def solve(self, entrant: Entrant, question: str, *, seed: int) -> Solution:
        """One question solved by one method.

        Raises:
            SearchError, PromptTooLong, EvaluatorError, EngineError: see `forethought.errors`.
        """
        system, config = entrant.method.system, replace(entrant.config, seed=seed)
        if system.graph is not None:
            return solve(question, system.graph.build(self._live(entrant)), config=config)
        assert isinstance(config, SearchConfig)
        source: Source = "draft" if system.writer == "draft" else "target"
        alone = Alone(self.models[system.writer], source, config)
        return alone.solve(question, 1 if system.form == "greedy" else self.num_samples)

    def start_afresh(self, task: Task) -> None:
        """Let the engines forget what earlier runs left in their caches, but for the beginning that
        the prompts of all questions share: a method must not live on what another has computed."""
        for reader in (*self.models.values(), self.aligned, self.selector):
            if isinstance(reader, Engine):
                one, other = (task.opening(reader, question) for question in ("a", "b"))
                reader.forget(one[: common_prefix(one, other)])

    def _live(self, entrant: Entrant) -> Live:
        system, draft = entrant.method.system, self.models["draft"]
        is_cot = system.form == "speculative-cot"
        return Live(
            draft=(is_cot and self.aligned) or draft,
            target=self.models[system.writer],
            # scores are not kept from one run to the next, which would make later methods cheaper
            evaluator=entrant.evaluator and Cached(entrant.evaluator),
            thresholds=entrant.store,
            rules=entrant.rules,
            selector=None if system.is_untrained else self.selector,
        )
