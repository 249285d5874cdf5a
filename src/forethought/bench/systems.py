"""The methods of the benchmark, one line each, and how one of them solves one problem.

A search method is the graph under settings of its own; the others let one model write whole
solutions by itself. All draw with the sampler and the limits of one `SearchConfig`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from forethought.config import SamplingParams, SearchConfig, require, require_at_least
from forethought.errors import ConfigError
from forethought.evaluators import Cached, Evaluator, same_answer
from forethought.evaluators.registry import Role
from forethought.graphs import spec_search
from forethought.model import Completion, Model, Scope, run_scope
from forethought.prompts import Task, task_named
from forethought.solve import Solution, solve
from forethought.stores import ThresholdStore
from forethought.thoughts import ROOT, Answer, EndReason, LedgerEntry, Source, Thought, close_ledger

Writer = Literal["draft", "target", "speculating"]
Form = Literal["search", "greedy", "majority"]

_REASONS: Final[dict[str, EndReason]] = {
    "stop": "answer",
    "eos": "answer",
    "length": "limit",
    "cancelled": "cancelled",
    "deadline": "deadline",
}


@dataclass(frozen=True, slots=True)
class System:
    """A line of the table. `form`: `search` runs the graph with `settings` put over the run's and
    `writer` as its target; `greedy` and `majority` let `writer` write one solution at temperature
    0, or several of which the most frequent answer is taken. `speculating` is the target with
    token-level speculation by the draft."""

    name: str
    about: str
    form: Form = "search"
    writer: Writer = "target"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def roles(self) -> frozenset[Role]:
        """The models that it needs."""
        if self.form == "search" or self.writer == "speculating":
            return frozenset(("draft", "target"))
        return frozenset(("draft",)) if self.writer == "draft" else frozenset(("target",))


SYSTEMS: Final = (
    System("target-greedy", "the target alone, one solution at temperature 0", "greedy"),
    System("draft-greedy", "the draft alone, one solution at temperature 0", "greedy", "draft"),
    System("self-consistency", "the target alone, the answer of most of k solutions", "majority"),
    System(
        "self-consistency:draft",
        "the draft alone, the answer of most of k solutions",
        "majority",
        "draft",
    ),
    System("ar-beam", "beam search, the target writes everything", settings={"policy": "never"}),
    System("spec-search-beam", "beam search, SpecSearch", settings={"policy": "ema"}),
)
# what speed-ups are told against, where they were run
BASELINES: Final = ("ar-beam", "sps-beam", "ar-mcts", "sps-mcts")


@dataclass(frozen=True, slots=True)
class Method:
    """A system as `--methods` names it: `label` is NAME or NAME@SPEC, `spec` the evaluator's, None
    for a system that scores nothing."""

    label: str
    system: System
    spec: str | None


def parse_methods(text: str, default_spec: str) -> list[Method]:
    """The methods of a list `NAME[@SPEC],...`; searches without SPEC take the default evaluator.

    Raises:
        ConfigError: a name is unknown or given twice, or a method that scores nothing has a SPEC.
    """
    methods = [_method(label.strip(), default_spec) for label in text.split(",")]
    labels = [method.label for method in methods]
    twice = [label for label in labels if labels.count(label) > 1]
    require(not twice, f"method {twice[:1]} is given twice: every method runs once")
    return methods


def _method(label: str, default_spec: str) -> Method:
    name, has_spec, spec = label.partition("@")
    system = next((one for one in SYSTEMS if one.name == name), None)
    if system is None:
        known = ", ".join(one.name for one in SYSTEMS)
        raise ConfigError(f"there is no method {name!r}; known: {known}; NAME@EVALUATOR chooses")
    if system.form != "search":
        require(not has_spec, f"method {name} scores nothing: leave @{spec} out")
        return Method(label, system, None)
    require(bool(spec) or not has_spec, f"{label!r} names no evaluator behind @")
    return Method(label, system, spec or default_spec)


@dataclass(frozen=True, slots=True)
class Entrant:
    """A method ready to run: its evaluator, where it scores, and the store of its own thresholds,
    where runs start from earlier ones."""

    method: Method
    evaluator: Evaluator | None = None
    store: ThresholdStore | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """What all methods run with: the models by the role that they write in, the settings, and
    `num_samples` solutions for a majority.

    Raises:
        ConfigError: `num_samples` is below 1.
    """

    models: Mapping[Writer, Model]
    config: SearchConfig
    num_samples: int

    def __post_init__(self) -> None:
        require_at_least("num_samples", self.num_samples, 1)

    def settings_of(self, system: System) -> SearchConfig:
        """The run's settings under the system's own."""
        return replace(self.config, **system.settings)

    def solve(self, entrant: Entrant, question: str, *, seed: int) -> Solution:
        """One question solved by one method.

        Raises:
            SearchError, PromptTooLong, EvaluatorError, EngineError: see `forethought.errors`.
        """
        system = entrant.method.system
        config = replace(self.settings_of(system), seed=seed)
        model = self.models[system.writer]
        if system.form != "search":
            source: Source = "draft" if system.writer == "draft" else "target"
            alone = Alone(model, source, config)
            return alone.solve(question, 1 if system.form == "greedy" else self.num_samples)
        assert entrant.evaluator is not None
        graph = spec_search(
            draft=self.models["draft"],
            target=model,
            # scores are not kept from one run to the next, which would make later methods cheaper
            evaluator=Cached(entrant.evaluator),
            thresholds=entrant.store,
        )
        return solve(question, graph, config=config)


@dataclass(frozen=True, slots=True)
class Alone:
    """One model that writes whole solutions: one at temperature 0, or several at the temperature of
    `config`, whose most frequent answer wins (self-consistency, Wang et al., arXiv:2203.11171)."""

    model: Model
    source: Source
    config: SearchConfig

    def solve(self, question: str, count: int) -> Solution:
        """The model's answer; its `thoughts` are the `count` solutions, each one thought long.

        Raises:
            PromptTooLong, EngineError: see `forethought.errors`.
        """
        started = time.perf_counter()
        task = task_named(self.config.task)
        deadline = self.config.deadline
        with run_scope(Scope(deadline=deadline and time.monotonic() + deadline)) as scope:
            prompt = self.model.chat(task.messages(question))
            completions = self.model.generate([prompt] * count, self._params(count))
        texts = [solution_text(completion.text, task) for completion in completions]
        chosen = majority(texts, task)
        thoughts = [
            self._thought(number, completion, is_chosen=number == chosen)
            for number, completion in enumerate(completions)
        ]
        role: Literal["drafted", "revised"] = "drafted" if self.source == "draft" else "revised"
        entries = [LedgerEntry(name, role, used) for name, used in scope.meter.totals().items()]
        ledger = close_ledger(entries, thoughts)
        answer = Answer(
            text=texts[chosen],
            answer=task.answer_of(texts[chosen]),
            path=[thoughts[chosen]],
            finish_reason=_REASONS[completions[chosen].finish_reason],
            ledger=replace(ledger, wall_seconds=time.perf_counter() - started),
        )
        return Solution(question, answer, thoughts, {}, self.config)

    def _params(self, count: int) -> SamplingParams:
        """A solution may be as long as a path of the search, all together as a run of it."""
        config = self.config
        longest = min(config.thought_tokens * config.max_depth, config.max_tokens // count)
        params = config.sampling(seed=config.seed)
        params = replace(params, max_tokens=max(1, longest), keep_stop=False)
        return params if count > 1 else replace(params, temperature=0.0)

    def _thought(self, number: int, completion: Completion, *, is_chosen: bool) -> Thought:
        return Thought(
            id=number + 1,
            parent=ROOT,
            depth=1,
            text=completion.text,
            tokens=completion.tokens,
            vocabulary=self.model.vocabulary,
            source=self.source,
            is_terminal=True,
            usage=completion.usage,
            status="final" if is_chosen else "pruned",
        )


def solution_text(text: str, task: Task) -> str:
    """A whole solution up to the end of the thought that ends its path in a search."""
    if not task.answer_ends_path:
        return text
    parts = text.split(task.delimiter)
    for end in range(1, len(parts)):
        whole = task.delimiter.join(parts[:end])
        if task.find_answer(whole) is not None:
            return whole
    return text


def majority(texts: list[str], task: Task) -> int:
    """The place of the first text that states the answer stated most often; of answers stated as
    often the one stated first, and 0 where none is. Code is the same where its text is."""
    is_same: Callable[[str, str], bool] = str.__eq__ if task.name == "code" else same_answer
    groups: list[list[int]] = []
    stated = [task.find_answer(text) for text in texts]
    for place, answer in enumerate(stated):
        if answer is None:
            continue
        own = next((group for group in groups if is_same(stated[group[0]] or "", answer)), None)
        if own is None:
            groups.append([place])
        else:
            own.append(place)
    return max(groups, key=len)[0] if groups else 0
