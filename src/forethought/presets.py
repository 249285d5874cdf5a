"""Published systems as settings of the one search: what each sets, and the evaluator it uses.

Where a paper's evaluator has no weights here, the nearest that any model can be asked for stands
in, and another is one option away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from forethought.config import SearchConfig, require

_SINGLE_PATH = {"tree_width": 1, "beam_width": 1, "draft_multiplier": 1, "refill": "width"}


@dataclass(frozen=True, slots=True)
class Preset:
    """`settings` of `SearchConfig` that differ from its defaults; `evaluator` as the registry reads
    it, None for the default one; `about` says whose system it is."""

    about: str
    settings: Mapping[str, Any]
    evaluator: str | None = None

    def applied(self, config: SearchConfig) -> SearchConfig:
        """`config` with this preset's settings in place of its own."""
        return replace(config, **self.settings)


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "spec-search": Preset("SpecSearch over a beam (Wang et al., ICML 2025)", {}),
        "spec-search-paper": Preset(
            "SpecSearch with the paper's counts: N 6, 2N drafts, max, one more of the target's",
            {
                "tree_width": 6,
                "draft_multiplier": 2,
                "theta_estimator": "max",
                "extra_large_thoughts": 1,
                "refill": "width",
                "max_depth": 50,
            },
        ),
        "target-alone": Preset("the same search by the target alone", {"policy": "never"}),
        # BaohaoLiao/RSD, main_online.py: greedy, delta 0.7, at most 100 steps
        "rsd": Preset(
            "reward-guided speculative decoding (Liao et al. 2025): one path, reward >= 0.7",
            {
                **_SINGLE_PATH,
                "policy": "fixed",
                "threshold": 0.7,
                "temperature": 0.0,
                "max_depth": 100,
            },
        ),
        # ruipeterpan/specreason, spec_reason.py: threshold 7 of 9, T 0.6, top-p 0.95, 512 a step
        "spec-reason": Preset(
            "SpecReason (Pan et al. 2025): one path, the target's grade of a step >= 7 of 9",
            {
                **_SINGLE_PATH,
                "policy": "fixed",
                "threshold": 7 / 9,
                "temperature": 0.6,
                "top_p": 0.95,
                "top_k": 0,
                "thought_tokens": 512,
                "max_tokens": 8192,
                "max_depth": 100,
            },
            evaluator="digit-judge:greedy",
        ),
    }
)


def preset_named(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        ConfigError: there is none.
    """
    require(name in PRESETS, f"preset must be one of {', '.join(PRESETS)}, not {name!r}")
    return PRESETS[name]
