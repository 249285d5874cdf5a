"""A chat model of two: what is opened when, what its settings are, and what it lets go of."""

from __future__ import annotations

import functools
import gc
import operator
import weakref
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fake_openai import serving
from scripted_search import Writer, everywhere, scores

from forethought import ChatForethought
from forethought.chat import pair as pair_module
from forethought.chat.sharing import num_shared
from forethought.config import EngineConfig, SearchConfig
from forethought.engine import ScriptedModel
from forethought.errors import ConfigError


class Lease:
    """An engine without weights, which notes who holds it, and is closed where it is forgotten."""

    opened: ClassVar[list[tuple[str, EngineConfig]]]
    closed: ClassVar[list[str]]

    def __init__(self, path: Path, config: EngineConfig) -> None:
        type(self).opened.append((path.name, config))
        script = scores(everywhere(0.8, depths=2), ends=2)
        self.engine = ScriptedModel(
            Writer(path.name, script), judge=lambda _: [0.8, 0.1], name=path.name
        )
        self.close = weakref.finalize(self, type(self).closed.append, path.name)


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Lease]:
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path))
    monkeypatch.setattr(pair_module, "EngineLease", Lease)
    monkeypatch.setattr(pair_module, "resolve", lambda name, quant: Path(name))
    Lease.opened, Lease.closed = [], []
    return Lease


def test_the_pair_thinks_and_answers_from_its_first_call_on(leases: type[Lease]) -> None:
    chat = ChatForethought(
        draft="small", target="large", settings={"tree_width": 2, "beam_width": 1}
    )
    assert not leases.opened
    reply = chat.invoke("How many?")
    assert [name for name, _ in leases.opened] == ["small", "large"]
    assert reply.text == "small0"
    thoughts = [block["reasoning"] for block in reply.content_blocks if "reasoning" in block]
    assert "V=0.8" in "".join(thoughts)
    assert 0 <= reply.response_metadata["acceptance_rate"] <= 1
    chat.invoke("How many more?")
    assert len(leases.opened) == 2
    gc.collect()
    assert not leases.closed
    chat.close()
    chat.close()
    assert sorted(leases.closed) == ["large", "small"]
    chat.invoke("And now?")
    assert len(leases.opened) == 4


def test_settings_are_those_of_the_graph(leases: type[Lease]) -> None:
    further: dict[str, Any] = {"num_chains": 2}
    chat = ChatForethought(graph="speculative-cot", settings={"temperature": 0.5}, **further)
    assert chat.settings == {"temperature": 0.5, "num_chains": 2}
    assert chat._pair().config.temperature == 0.5
    assert chat.temperature is None, "that is the answer's own"
    assert not leases.opened


def test_a_conversations_search_commits_early_unless_told_otherwise(leases: type[Lease]) -> None:
    assert ChatForethought()._pair().config == SearchConfig(early_commits=1, early_width=1)
    late = ChatForethought(settings={"early_commits": 0, "early_width": None})
    assert late._pair().config == SearchConfig()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"bean_width": 1}, "neither the chat model nor the graph spec-search has bean_width"),
        ({"graph": "oracle"}, "graph must be one of"),
        ({"evaluator": "oracle"}, "oracle"),
        ({"task": "cooking"}, "cooking"),
        ({"beam_width": 0}, "beam_width"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_opened(
    leases: type[Lease], given: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        ChatForethought(**given)
    assert not leases.opened


def test_an_evaluator_that_reads_hidden_states_gets_an_engine_that_hands_them_out(
    leases: type[Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_module, "roles_with_states", lambda _: {"target"})
    ChatForethought(draft="small", target="large", engine=EngineConfig(threads=1)).invoke("Why?")
    assert [(name, one.hidden_states, one.threads) for name, one in leases.opened] == [
        ("small", False, 1),
        ("large", True, 1),
    ]


def test_a_target_behind_a_server_writes_with_a_draft_of_this_process(
    leases: type[Lease],
) -> None:
    script = Writer("large", scores(everywhere(0.8, depths=4), ends=3))
    with serving(script, judge=lambda _: {" correct": 0.9, " wrong": 0.1}) as server:
        chat = ChatForethought(
            draft="small", target=f"{server.url}#large", settings={"tree_width": 2}
        )
        assert chat.invoke("How many?").text
        assert [name for name, _ in leases.opened] == ["small"]
        chat.close()
        assert server.drawn
    with pytest.raises(ConfigError, match="name the model"):
        ChatForethought(target=server.url).invoke("How many?")


@pytest.mark.weights
def test_on_weights_a_pair_is_one_engine_where_both_are_one_file(
    smollm_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path))
    held = num_shared()
    chat = ChatForethought(
        draft=str(smollm_path),
        target=str(smollm_path),
        evaluator="equations",
        engine=EngineConfig(context_size=1024),
        settings={"tree_width": 2, "beam_width": 1, "max_depth": 2, "thought_tokens": 30},
        seed=3,
    )
    first, *rest = chat.stream("What is 2 + 3?")
    whole = functools.reduce(operator.add, rest, first)
    assert num_shared() == held + 1
    assert rest
    assert any(block["type"] == "reasoning" for block in whole.content_blocks)
    assert whole.response_metadata["finish_reason"] in ("stop", "length")
    chat.close()
    assert num_shared() == held
