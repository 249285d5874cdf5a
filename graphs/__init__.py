"""How steps are joined: one file per published system, each an uncompiled `StateGraph`."""

from forethought.graphs.spec_search import spec_search

__all__ = ["spec_search"]
