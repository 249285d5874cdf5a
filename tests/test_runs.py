"""Runs that are kept: they go on after a kill, stay small, and fork."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import pytest
from killed_run import QUESTION, Scores, main, main_on_weights, slow_graph, told
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Overwrite
from scripted_cot import choosing, stated, writing
from scripted_search import Pair, everywhere, scores

from forethought import Scope, ScriptedModel, SearchConfig, ThinkingConfig, solve, spec_search
from forethought.config import SamplingParams
from forethought.config_cot import CotConfig
from forethought.errors import ConfigError
from forethought.graphs import speculative_cot
from forethought.graphs.registry import AnyGraph
from forethought.model import Completion, current_scope, run_scope
from forethought.runs import compact_serializer, fork, open_runs
from forethought.solve import Kept, run

SMALL = SearchConfig(max_depth=5, beam_width=2, tree_width=3, refill="width")
WORDS = (
    "the farm has barns with hens in each and after that we multiply by them to get the sum of "
    "all which is then added once more so that nothing is left out of what was asked for"
)
SAVER: RunnableConfig = {"configurable": {"thread_id": "one"}}


def quick() -> AnyGraph:
    return slow_graph(pause=0.0)


def answered(**options: Any) -> dict[str, object]:
    """What an uninterrupted run says."""
    return told(solve(QUESTION, quick(), config=replace(SMALL, **options)))


# Kept and gone on with


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path: Path) -> None:
    processes, dice, num_kills = get_context("forkserver"), random.Random(11), 0
    processes.set_forkserver_preload(["killed_run"])
    out = tmp_path / "out.json"
    while not out.exists():
        process = processes.Process(target=main, args=(str(tmp_path / "runs"), "one", str(out)))
        process.start()
        process.join(None if num_kills == 20 else 0.03 + dice.random() / 8)
        if process.exitcode is None:
            process.kill()
            process.join()
            num_kills += 1
    assert num_kills == 20
    resumed = json.loads(out.read_text(encoding="utf-8"))
    main(str(tmp_path / "whole"), "one", str(out))
    assert resumed == json.loads(out.read_text(encoding="utf-8"))
    ids = [thought[0] for thought in resumed["thoughts"]]
    assert len(ids) == len(set(ids)) > 20


@pytest.mark.weights
def test_on_weights_a_run_that_is_killed_ends_as_one_that_was_not(
    smollm_path: Path, tmp_path: Path
) -> None:
    def ended(name: str, num_steps: int) -> tuple[int | None, Any]:
        out = tmp_path / "out.json"
        out.unlink(missing_ok=True)
        arguments = (str(smollm_path), str(tmp_path / name), str(out), num_steps)
        process = get_context("spawn").Process(target=main_on_weights, args=arguments)
        process.start()
        process.join()
        return process.exitcode, json.loads(out.read_text("utf-8")) if out.exists() else None

    assert [ended("killed", 1)[0] for _ in range(2)] == [-signal.SIGKILL] * 2
    code, resumed = ended("killed", 99)
    assert (code, resumed) == (0, ended("whole", 99)[1])
    assert len(resumed["thoughts"]) > 2


class Dying(ScriptedModel):
    """Raises at its n-th call, as a process might end there."""

    left = 10**9

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().generate(prompts, params)


def cot_graph(cls: type[ScriptedModel] = ScriptedModel) -> tuple[AnyGraph, Any]:
    draft = writing(stated(1, "1"), stated(2, "2"))
    target = choosing([0.1, 0.2, 0.7], own="Own thinking.")
    dying = cls(target._reply, judge=target._judge, name="large")
    return speculative_cot(draft=draft, target=dying), dying


@pytest.mark.parametrize("after", range(2))
def test_chosen_chains_go_on_where_their_process_ended(after: int) -> None:
    saver = InMemorySaver()
    graph, dying = cot_graph(Dying)
    dying.left = after
    config = CotConfig(num_chains=2)
    with pytest.raises(KeyboardInterrupt):
        solve(QUESTION, graph, config=config, checkpointer=saver, thread_id="one")
    dying.left = 10
    resumed = solve(None, graph, checkpointer=saver, thread_id="one")
    assert told(resumed) == told(solve(QUESTION, cot_graph()[0], config=config))
    assert dying.left == 10 - (2 - after)


@pytest.mark.parametrize("kind", ["search", "thinking"])
@pytest.mark.parametrize("left", [0, 1, 4, 6])
def test_a_cancelled_run_goes_on_as_if_it_had_not_been(kind: str, left: int) -> None:
    saver, graph, scope = InMemorySaver(), slow_graph(kind, pause=0.0), Scope()
    config = SMALL if kind == "search" else ThinkingConfig(max_tokens=900)

    def listen(event: dict[str, Any]) -> None:
        nonlocal left
        left -= event["event"] == "decided"
        if left < 0:
            scope.cancel.set()

    kept: Any = {"checkpointer": saver, "thread_id": "one"}
    cut = solve(QUESTION, graph, config=config, scope=scope, listen=listen, **kept)
    assert cut.answer.finish_reason == "cancelled"
    resumed = solve(None, graph, **kept)
    assert told(resumed) == told(solve(QUESTION, graph, config=config))


def test_a_run_that_has_ended_is_not_thought_again() -> None:
    saver, events = InMemorySaver(), list[dict[str, Any]]()
    first = solve(QUESTION, quick(), config=SMALL, checkpointer=saver, thread_id="one")
    again = solve(None, quick(), listen=events.append, checkpointer=saver, thread_id="one")
    assert told(again) == told(first)
    assert again.config == SMALL
    (event,) = events
    assert event["event"] == "resumed"
    assert event["offset"] == len(first.answer.text)


def test_a_run_is_gone_on_with_under_its_own_question_and_settings() -> None:
    saver = InMemorySaver()
    solve(QUESTION, quick(), config=SMALL, checkpointer=saver, thread_id="one")
    with pytest.raises(ConfigError, match="another question"):
        solve("Why?", quick(), checkpointer=saver, thread_id="one")
    with pytest.raises(ConfigError, match="max_depth"):
        solve(None, quick(), config=SearchConfig(), checkpointer=saver, thread_id="one")
    with pytest.raises(ConfigError, match="SearchConfig, not ThinkingConfig"):
        solve(None, slow_graph("thinking"), checkpointer=saver, thread_id="one")
    with pytest.raises(ConfigError, match="no such run"):
        solve(None, quick(), checkpointer=saver, thread_id="two")
    with pytest.raises(ConfigError, match="name"):
        solve(QUESTION, quick(), checkpointer=saver)


def test_a_thread_takes_another_question_and_nothing_of_the_first_is_left() -> None:
    graph = quick().compile(checkpointer=InMemorySaver())
    config: Any = {**SAVER, "recursion_limit": 1000}
    graph.invoke({"question": "Another?"}, config, context=SMALL)
    state = graph.invoke({"question": QUESTION}, config, context=SMALL)
    alone = solve(QUESTION, quick(), config=SMALL)
    assert [t.text for t in state["thoughts"]] == [t.text for t in alone.thoughts]
    assert state["answer"].ledger.total.generated_tokens == (
        alone.answer.ledger.total.generated_tokens
    )


def test_the_time_a_process_was_dead_does_not_count_against_the_deadline() -> None:
    saver, graph = InMemorySaver(), slow_graph(pause=0.001)
    config = replace(SMALL, deadline=30.0)
    events = run(QUESTION, graph, config=config, kept=Kept(saver, "one"))
    next(event for event in events if event["event"] == "selected")
    events.close()
    place = graph.compile(checkpointer=saver).get_state(SAVER)
    assert 0 < place.values["seconds"] < 5
    assert "started_at" not in place.values
    solution = solve(None, graph, checkpointer=saver, thread_id="one")
    assert solution.answer.finish_reason != "deadline"


def test_a_strict_allowlist_lets_every_kind_of_state_pass() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from langgraph.checkpoint.memory import InMemorySaver
from test_runs import cot_graph, kinds, solve, QUESTION
from forethought.thoughts import Thought, Answer, Plan
for graph, config in kinds():
    saver = InMemorySaver()
    first = solve(QUESTION, graph, config=config, checkpointer=saver, thread_id="one")
    again = solve(None, graph, checkpointer=saver, thread_id="one")
    assert type(again.answer) is Answer, again.answer
    assert again.thoughts == first.thoughts
    assert again.answer.ledger.entries == first.answer.ledger.entries
    place = dict(configurable=dict(thread_id="one"))
    for past in graph.compile(checkpointer=saver).get_state_history(place):
        lists = [past.values.get(name, []) for name in ("thoughts", "candidates", "chains")]
        assert all(type(one) is Thought for thoughts in lists for one in thoughts), past
        assert all(type(plan) is Plan for plan in past.values.get("plans", [])), past
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"LANGGRAPH_STRICT_MSGPACK": "true", "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert "Blocked" not in done.stderr
    assert "allowlist" not in done.stderr


def kinds() -> Iterator[tuple[AnyGraph, Any]]:
    """Every graph, with settings that are soon done."""
    yield quick(), SMALL
    yield quick(), replace(SMALL, search="mcts", num_paths=2)
    yield slow_graph("thinking", pause=0.0), ThinkingConfig(max_tokens=900)
    yield cot_graph()[0], CotConfig(num_chains=2)


# Size


def test_a_run_of_a_thousand_thoughts_takes_two_kilobytes_of_each(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    sizes = {}
    for depth in (40, 120):
        with open_runs(path.with_stem(str(depth))) as runs:
            solution = solve(
                QUESTION,
                wordy(),
                config=SearchConfig(max_depth=depth, max_tokens=10**9, refill="width"),
                checkpointer=runs,
                thread_id="one",
            )
        size = path.with_stem(str(depth)).stat().st_size
        sizes[len(solution.thoughts)] = size / len(solution.thoughts)
    few, many = sizes
    assert many >= 1000
    assert sizes[many] <= 2048
    assert sizes[many] <= sizes[few]  # linear


class Wordy(ScriptedModel):
    """One token per word, with ids as large as a real vocabulary's."""

    words: ClassVar[dict[str, int]] = {}

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        parts = text.split(" ")
        return [self.words.setdefault(word, 1000 + 977 * len(self.words)) for word in parts]

    def decode(self, tokens: list[int]) -> str:
        by_id = {number: word for word, number in self.words.items()}
        return " ".join(by_id[token] for token in tokens)


def wordy() -> AnyGraph:
    """Thoughts of 30 words that are not much alike."""

    def reply(prompt: str, seed: int, index: int) -> str:
        dice = random.Random(f"{seed} {len(prompt)} {index}")
        return " ".join(dice.choice(WORDS.split()) for _ in range(30)) + "\n\n"

    draft, target = Wordy(reply, name="small"), Wordy(reply, name="large")
    return spec_search(draft=draft, target=target, evaluator=Scores())


def test_what_is_deflated_is_read_by_its_own_types_alone() -> None:
    serializer = compact_serializer()
    value = {"config": SMALL, "thought": solve(QUESTION, quick(), config=SMALL).thoughts[0]}
    kind, data = serializer.dumps_typed(value)
    back = serializer.loads_typed((kind, data))
    assert back["thought"] == value["thought"]
    assert not isinstance(back["config"], SearchConfig)
    with pytest.raises(ConfigError, match="aes"):
        serializer.loads_typed((kind.replace("deflate", "aes"), data))
    plain = JsonPlusSerializer().dumps_typed([1])
    assert serializer.loads_typed(plain) == [1]


# Forks


def scored_half(depths: int = 4) -> Pair:
    table = scores(everywhere(0.5, depths=depths), ends=depths)
    return Pair(scores({1: [0.9], 2: [0.6, 0.4], 3: [0.6, 0.4], 4: [0.6]}, ends=4), table)


def kept_search() -> tuple[Any, Any, Any]:
    """A compiled search that has ended, its place, and its state."""
    graph = scored_half().graph().compile(checkpointer=InMemorySaver())
    config: Any = {**SAVER, "recursion_limit": 1000}
    settings = SearchConfig(tree_width=2, beam_width=1, max_depth=4, refill="width")
    state = graph.invoke({"question": QUESTION}, config, context=settings)
    return graph, config, state


def test_a_fork_decides_anew_on_the_thought_that_it_begins_at() -> None:
    graph, config, state = kept_search()
    refused = next(t for t in state["thoughts"] if t.status == "rejected" and t.depth == 2)
    forked = fork(graph, config, refused.id, policy="always")
    settings = SearchConfig(
        tree_width=2, beam_width=1, max_depth=4, refill="width", policy="always"
    )
    assert graph.get_state(forked).values["settings"]["policy"] == "always"
    other = graph.invoke(None, {**forked, "recursion_limit": 1000}, context=settings)
    again = next(t for t in other["thoughts"] if t.id == refused.id)
    assert again.text == refused.text
    assert again.status != "rejected"
    before = [t for t in state["thoughts"] if t.depth == 1]
    assert [t for t in other["thoughts"] if t.depth == 1] == before


def test_a_fork_takes_another_moving_threshold() -> None:
    graph, config, state = kept_search()
    refused = next(t for t in state["thoughts"] if t.status == "rejected" and t.depth == 2)
    forked = fork(graph, config, refused.id, beta=0.1)
    other = graph.invoke(None, {**forked, "recursion_limit": 1000}, context=SearchConfig())
    assert next(t for t in other["thoughts"] if t.id == refused.id).status != "rejected"


def test_a_fork_with_another_target_is_gone_on_with_by_name() -> None:
    pair, saver = scored_half(), InMemorySaver()
    settings = SearchConfig(tree_width=2, beam_width=1, max_depth=4, refill="width")
    first = solve(QUESTION, pair.graph(), config=settings, checkpointer=saver, thread_id="one")
    other = Pair(pair.draft_script, scores(everywhere(0.95, depths=4), ends=4))
    refused = [t for t in first.thoughts if t.status == "rejected" and t.depth == 3]
    fork(other.graph().compile(checkpointer=saver), SAVER, refused[0].id, seed=9)
    second = solve(None, other.graph(), checkpointer=saver, thread_id="one")
    assert second.config == replace(settings, seed=9)
    assert [t for t in second.thoughts if t.depth < 3] == [t for t in first.thoughts if t.depth < 3]
    assert other.target.calls


def test_a_fork_says_what_it_cannot_do() -> None:
    graph, config, _ = kept_search()
    with pytest.raises(ConfigError, match="no thought 99"):
        fork(graph, config, 99)
    with pytest.raises(ConfigError, match="no setting 'hint'"):
        fork(graph, config, 1, hint="Hm.")
    with pytest.raises(ConfigError, match="theta must lie"):
        fork(graph, config, 1, theta=2.0)


def test_a_chain_forks_within() -> None:
    graph = slow_graph("thinking", pause=0.0).compile(checkpointer=InMemorySaver())
    config: Any = {**SAVER, "recursion_limit": 1000}
    state = graph.invoke({"question": QUESTION}, config, context=ThinkingConfig(max_tokens=900))
    middle = state["thoughts"][5]
    forked = fork(graph, config, middle.id, seed=3)
    settings = ThinkingConfig(max_tokens=900, seed=3)
    other = graph.invoke(None, {**forked, "recursion_limit": 1000}, context=settings)
    assert other["thoughts"][:5] == state["thoughts"][:5]
    assert other["thoughts"][8:] != state["thoughts"][8:]
    with pytest.raises(ConfigError, match="moving threshold"):
        fork(graph, config, middle.id, beta=0.5)


# A person in between


def test_a_person_approves_edits_and_rejects_before_thoughts_are_decided_on() -> None:
    pair = Pair(scores({2: [0.9, 0.2]}, ends=2), scores(everywhere(0.5, depths=2), ends=2))
    graph = pair.graph().compile(checkpointer=InMemorySaver(), interrupt_before=["accept"])
    config: Any = {**SAVER, "recursion_limit": 1000}
    settings = SearchConfig(tree_width=2, beam_width=1, max_depth=2, refill="width")
    state = graph.invoke({"question": QUESTION}, config, context=settings)
    assert {t.source for t in state["candidates"]} == {"target"}
    state = graph.invoke(None, config, context=settings)
    good, bad = state["candidates"]
    assert (good.source, good.score, bad.score) == ("draft", 0.9, 0.2)
    person = [good.marked("rejected"), bad.edited("As I say. \\boxed{8}\n\n").marked("accepted")]
    graph.update_state(config, {"candidates": person})
    state = graph.invoke(None, config, context=settings)
    while graph.get_state(config).next:
        state = graph.invoke(None, config, context=settings)
    by_id = {t.id: t for t in state["thoughts"]}
    assert by_id[good.id].status == "rejected"
    assert by_id[bad.id].text == "As I say. \\boxed{8}\n\n"
    assert by_id[bad.id].status in ("accepted", "pruned", "final")


def test_candidates_are_taken_out_by_overwriting_them() -> None:
    pair = Pair(scores({2: [0.9, 0.8]}, ends=2), scores(everywhere(0.5, depths=2), ends=2))
    graph = pair.graph().compile(checkpointer=InMemorySaver(), interrupt_before=["accept"])
    config: Any = {**SAVER, "recursion_limit": 1000}
    settings = SearchConfig(tree_width=2, beam_width=1, max_depth=2, refill="width")
    graph.invoke({"question": QUESTION}, config, context=settings)
    state = graph.invoke(None, config, context=settings)
    kept = state["candidates"][1:]
    graph.update_state(config, {"candidates": Overwrite(kept)})
    while graph.get_state(config).next:
        state = graph.invoke(None, config, context=settings)
    drafted = [t.id for t in state["thoughts"] if t.source == "draft"]
    assert drafted == [t.id for t in kept]


# Asyncio


class Patient(ScriptedModel):
    """Writes until its scope is cancelled."""

    def __init__(self) -> None:
        super().__init__(lambda *_: "x", name="patient")
        self.writing, self.ended = threading.Event(), threading.Event()

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        scope = current_scope()
        assert scope is not None
        self.writing.set()
        scope.cancel.wait(60)
        self.ended.set()
        return super().generate(prompts, params)


def test_a_graph_runs_under_asyncio_as_it_does_without() -> None:
    async def ask() -> Any:
        graph = quick().compile()
        return await graph.ainvoke({"question": QUESTION}, {"recursion_limit": 99}, context=SMALL)

    state = asyncio.run(ask())
    assert state["answer"].text == answered()["answer"]


@contextmanager
def optional_scope(scope: Scope | None) -> Iterator[None]:
    if scope is None:
        yield
    else:
        with run_scope(scope):
            yield


@pytest.mark.parametrize("scope", [None, Scope()])
def test_a_cancelled_task_cancels_the_model_calls_of_its_graph(scope: Scope | None) -> None:
    model = Patient()
    graph = spec_search(draft=model, target=model, evaluator=Scores()).compile()

    async def stream() -> None:
        async for _ in graph.astream({"question": QUESTION}, stream_mode="custom"):
            pass

    async def cancel() -> float:
        with optional_scope(scope):
            task = asyncio.create_task(stream())
        await asyncio.to_thread(model.writing.wait, 10)
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(model.ended.wait, 30)
        return time.monotonic() - started

    assert asyncio.run(cancel()) < 20
    assert model.ended.is_set()
    assert scope is None or scope.cancel.is_set()


def test_whoever_stops_listening_stops_the_run() -> None:
    model = Patient()
    graph = spec_search(draft=model, target=model, evaluator=Scores())
    events = run(QUESTION, graph)
    assert next(events)["event"] == "revising"
    started = time.monotonic()
    events.close()
    assert model.ended.is_set()
    assert time.monotonic() - started < 20
    assert current_scope() is None


def test_the_example_of_a_person_in_between_runs_without_weights() -> None:
    script = Path(__file__).parent.parent / "examples" / "approve_thoughts.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), "--scripted"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert "draft rejected" in done.stdout
    assert done.stdout.endswith("29\n")
