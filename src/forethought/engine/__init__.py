"""The batched llama.cpp engine; the one place that knows llama.cpp."""

from forethought.engine.engine import Engine
from forethought.engine.plan import MemoryPlan, plan_engine
from forethought.engine.scripted import ScriptedModel
from forethought.engine.speculative import SpeculationStats, SpeculativeModel
from forethought.engine.torch_reader import TorchReader
from forethought.engine.worker import EngineStats

__all__ = [
    "Engine",
    "EngineStats",
    "MemoryPlan",
    "ScriptedModel",
    "SpeculationStats",
    "SpeculativeModel",
    "TorchReader",
    "plan_engine",
]
