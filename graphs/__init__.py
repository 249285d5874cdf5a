"""How steps are joined: one file per published system, each an uncompiled `StateGraph`."""

from forethought.graphs.spec_search import spec_search
from forethought.graphs.speculative_cot import speculative_cot

__all__ = ["spec_search", "speculative_cot"]
