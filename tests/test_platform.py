"""The graphs as LangGraph's server takes them: settings with defaults, nothing loaded at import."""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from scripted_search import QUESTION, Writer, everywhere, scores

from forethought import platform
from forethought.engine import ScriptedModel

REPOSITORY = Path(__file__).parent.parent


class Scripted(platform.Shelf):
    """Opens models without weights, and notes their names."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def model(self, name: str, *, hidden_states: bool = False) -> Any:
        self.names.append(name)
        writer = Writer(name, scores(everywhere(0.8, depths=2), ends=2))
        return ScriptedModel(writer, judge=lambda _: [0.8, 0.1], name=name)


@pytest.mark.parametrize("name", ["spec_search", "speculative_thinking", "speculative_cot"])
def test_every_setting_has_a_default_that_studio_can_show(name: str) -> None:
    graph = getattr(platform, name)
    shown = graph.get_context_jsonschema()["properties"]
    assert {"draft", "target", "task"} <= set(shown)
    assert all("default" in one for one in shown.values())
    assert graph.checkpointer is None
    assert graph.get_input_jsonschema()["required"] == ["question"]


def test_a_context_has_all_settings_of_its_graph() -> None:
    for settings, context in (
        (platform.SearchConfig, platform.SearchContext),
        (platform.ThinkingConfig, platform.ThinkingContext),
        (platform.CotConfig, platform.CotContext),
    ):
        own = {one.name for one in fields(settings)}
        assert own < {one.name for one in fields(context)}


def test_a_run_opens_the_models_that_its_context_names(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Scripted()
    monkeypatch.setattr(platform, "SHELF", shelf)
    graph = platform.graph_for(platform.SearchConfig, platform.SearchContext)
    context = {"draft": "small", "target": "large", "tree_width": 2, "beam_width": 1}
    found = asyncio.run(graph.ainvoke({"question": QUESTION}, context=context))
    assert shelf.names == ["small", "large"]
    assert found["finish_reason"] == "answer"
    assert f"\\boxed{{{found['answer']}}}" in found["text"]
    assert {one["source"] for one in found["thoughts"]} == {"draft", "target"}
    json.dumps(found)


def test_what_langgraph_json_exports_is_there() -> None:
    exported = json.loads((REPOSITORY / "langgraph.json").read_text(encoding="utf-8"))["graphs"]
    for entry in exported.values():
        path, _, name = entry["path"].partition(":")
        assert (REPOSITORY / path).is_file()
        assert hasattr(platform, name)
