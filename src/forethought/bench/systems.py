"""The methods of the benchmark, one line each, and how one of them solves one problem.

A search method is the graph under settings of its own; the others let one model write whole
solutions by itself. All draw with the sampler and the limits of one `SearchConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from forethought.bench.alone import Alone
from forethought.config import SearchConfig, require, require_at_least
from forethought.errors import ConfigError
from forethought.evaluators import Cached, Evaluator
from forethought.evaluators.registry import Role
from forethought.graphs import spec_search
from forethought.model import Model
from forethought.presets import PRESETS
from forethought.solve import Solution, solve
from forethought.stores import ThresholdStore
from forethought.thoughts import Source

Writer = Literal["draft", "target", "speculating"]
Form = Literal["search", "greedy", "majority"]


@dataclass(frozen=True, slots=True)
class System:
    """A line of the table. `form`: `search` runs the graph with `settings` put over the run's and
    `writer` as its target; `greedy` and `majority` let `writer` write one solution at temperature
    0, or several of which the most frequent answer is taken. `speculating` is the target with
    token-level speculation by the draft. `evaluator` is its own where a system is not itself
    without it."""

    name: str
    about: str
    form: Form = "search"
    writer: Writer = "target"
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluator: str | None = None

    @property
    def roles(self) -> frozenset[Role]:
        """The models that it needs."""
        if self.form == "search" or self.writer == "speculating":
            return frozenset(("draft", "target"))
        return frozenset(("draft",)) if self.writer == "draft" else frozenset(("target",))


_BEAM, _MCTS = {"search": "beam"}, {"search": "mcts"}
_NEVER, _EMA = {"policy": "never"}, {"policy": "ema"}


def _preset(name: str) -> System:
    preset = PRESETS[name]
    settings = _BEAM | dict(preset.settings)
    return System(name, preset.about, settings=settings, evaluator=preset.evaluator)


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
    System("ar-beam", "beam search, the target writes everything", settings=_BEAM | _NEVER),
    System(
        "sps-beam",
        "the same with token-level speculation",
        writer="speculating",
        settings=_BEAM | _NEVER,
    ),
    System("spec-search-beam", "beam search, SpecSearch", settings=_BEAM | _EMA),
    System("ar-mcts", "tree search, the target writes everything", settings=_MCTS | _NEVER),
    System(
        "sps-mcts",
        "the same with token-level speculation",
        writer="speculating",
        settings=_MCTS | _NEVER,
    ),
    System("spec-search-mcts", "tree search, SpecSearch", settings=_MCTS | _EMA),
    _preset("rsd"),
    _preset("spec-reason"),
    System(
        "controlled-beam",
        "SpecSearch whose controller plans every step",
        settings=_BEAM | _EMA | {"controller": "on"},
    ),
    System("fixed-beam", "SpecSearch with a fixed threshold", settings=_BEAM | {"policy": "fixed"}),
    System(
        "random-beam",
        "drafts accepted by chance, whatever their score",
        settings=_BEAM | {"policy": "random"},
    ),
    System(
        "share-beam",
        "a fixed share of the thoughts by the target, nothing rejected",
        settings=_BEAM | {"policy": "share"},
    ),
    System("draft-beam", "beam search, the draft writes", settings=_BEAM | {"policy": "always"}),
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
    return Method(label, system, spec or system.evaluator or default_spec)


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
