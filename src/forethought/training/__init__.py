"""Evaluators made from what the pair itself writes: sample, label, train, export."""

from forethought.training.samples import ChainSampler, sample_chains

__all__ = ["ChainSampler", "sample_chains"]
