"""A scripted model in an engine's place."""

from __future__ import annotations

from forethought import ScriptedModel
from forethought.config import SamplingParams
from forethought.engine import EngineStats
from forethought.model import Completion, Usage


class CountedModel(ScriptedModel):
    """A scripted model that counts like an engine."""

    usage = Usage()

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        completions = super().generate(prompts, params)
        self.usage = sum((c.usage for c in completions), self.usage)
        return completions

    def stats(self) -> EngineStats:
        return EngineStats(usage=self.usage)
