"""The systems of the benchmark, one line each: a graph under settings of its own, or one model that
writes whole solutions by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from forethought.config import SearchConfig
from forethought.evaluators.registry import Role
from forethought.graphs import GRAPHS, Graph, RunConfig
from forethought.presets import PRESETS

Writer = Literal["draft", "target", "speculating"]
Form = Literal["spec-search", "speculative-thinking", "speculative-cot", "greedy", "majority"]


@dataclass(frozen=True, slots=True)
class System:
    """A line of the table. `form`: the name of a graph runs it with `settings` put over the run's
    and `writer` as its target; `greedy` and `majority` let `writer` write one solution at
    temperature 0, or several of which the most frequent answer is taken. `speculating` is the
    target with token-level speculation by the draft. `evaluator` is its own where a system is not
    itself without it; with `is_untrained` the selector is the target as it comes, without adapter
    and calibration."""

    name: str
    about: str
    form: Form = "spec-search"
    writer: Writer = "target"
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluator: str | None = None
    is_untrained: bool = False

    @property
    def graph(self) -> Graph | None:
        """The graph that it runs; None where one model writes alone."""
        return GRAPHS.get(self.form)

    @property
    def asks_evaluator(self) -> bool:
        """Whether anything is scored by an evaluator."""
        return self.graph is not None and self.graph.asks_evaluator

    @property
    def run_settings(self) -> type[RunConfig]:
        """The class of its runs' settings."""
        return self.graph.settings if self.graph else SearchConfig

    @property
    def roles(self) -> frozenset[Role]:
        """The models that it needs."""
        if self.graph or self.writer == "speculating":
            return frozenset(("draft", "target"))
        return frozenset(("draft",)) if self.writer == "draft" else frozenset(("target",))


_BEAM, _MCTS = {"search": "beam"}, {"search": "mcts"}
_NEVER, _EMA = {"policy": "never"}, {"policy": "ema"}


def _preset(name: str) -> System:
    preset = PRESETS[name]
    settings = _BEAM | dict(preset.settings)
    return System(name, preset.about, settings=settings, evaluator=preset.evaluator)


def _thinking(variant: str, about: str, **settings: Any) -> System:
    return System(
        f"speculative-thinking{variant}", about, "speculative-thinking", settings=settings
    )


def _cot(variant: str, about: str, *, is_untrained: bool = False, **settings: Any) -> System:
    return System(
        f"speculative-cot{variant}",
        about,
        "speculative-cot",
        settings=settings,
        is_untrained=is_untrained,
    )


SYSTEMS: Final = (
    System("target-greedy", "the target alone, one solution at temperature 0", "greedy"),
    System("draft-greedy", "the draft alone, one solution at temperature 0", "greedy", "draft"),
    System("sps-greedy", "target-greedy with token-level speculation", "greedy", "speculating"),
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
    _thinking("", "draft and target write one chain of thought in turns"),
    _thinking(
        ":not-reasoning",
        "the same for a draft that does not reason: a turn of the target behind every paragraph",
        not_reasoning=True,
        begin=True,
    ),
    _thinking(":no-take-over", "sentences that reflect stay the draft's", take_over=False),
    _thinking(":no-verify", "nothing is verified by the target", verify=False),
    _thinking(":no-recheck", "excessive reflection is let be", recheck=False),
    _cot("", "the draft writes whole chains, the target picks one or thinks again"),
    _cot(":single", "one chain of the draft's, always picked", num_chains=1, correction=False),
    _cot(":untrained", "the selector without adapter and calibration", is_untrained=True),
    _cot(":no-correction", "a chain is always picked", correction=False),
    _cot(":majority", "the chains' most frequent answer picks", selector="majority"),
)
# what speed-ups are told against, where they were run
BASELINES: Final = ("ar-beam", "sps-beam", "ar-mcts", "sps-mcts")
# ... and of methods that write whole chains
CHAIN_BASELINES: Final = ("target-greedy", "sps-greedy")
