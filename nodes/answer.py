"""The last node: the best finished path's answer, or the best path so far brought to an end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from langgraph.types import Overwrite

from forethought.config import SearchConfig
from forethought.model import Model
from forethought.nodes.closing import Closing, ForcedEnd, forced_end
from forethought.nodes.commits import commit
from forethought.nodes.state import (
    SearchRuntime,
    SearchState,
    next_id,
    settings,
    tell,
)
from forethought.prompts import Task, task_named
from forethought.stores import ThresholdKey, ThresholdStore
from forethought.thoughts import (
    Answer,
    Thought,
    close_ledger,
    merge_entries,
    path_to,
    text_of,
)


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """Picks among finished paths; where there is none, the target closes the best open one with
    the task's answer cue, greedily. A cancelled run gets its best path as it stands."""

    model: Model
    store: ThresholdStore | None
    key: ThresholdKey

    def __call__(self, state: SearchState, runtime: SearchRuntime) -> dict[str, Any]:
        config = settings(runtime)
        task = task_named(config.task)
        tree = [*state["thoughts"], *state["candidates"]]
        end = ForcedEnd([], "answer", [])
        if finished_paths(state):
            path = choose_path(state, config, task)
        else:
            path = best_open_path(state, tree)
            end = forced_end(state, runtime, config, path, lambda: self._close(state, path, task))
        path = path + end.added
        text = text_of(path)
        spent = merge_entries(state["ledger"], end.entries)
        ledger = close_ledger(spent, tree, plans=state["plans"])
        answer = Answer(text, task.answer_of(text), path, end.reason, ledger)
        told = commit(state, runtime, path)
        tell(runtime, "answered", answer=answer)
        self._remember(state, config)
        on_path = {thought.id for thought in path}
        undecided = [
            t.marked("rejected") if t.status == "proposed" and t.id not in on_path else t
            for t in state["candidates"]
        ]
        return told | {
            "answer": answer,
            "ledger": end.entries,
            "thoughts": undecided + end.added,
            "candidates": Overwrite([]),
        }

    def _remember(self, state: SearchState, config: SearchConfig) -> None:
        """Tell the store what this run's target scores have set; once, by the run's id."""
        learned = learned_thresholds([*state["thoughts"], *state["candidates"]], state)
        if self.store is not None and learned:
            key = replace(self.key, task=config.task)
            self.store.observe(key, thresholds=learned, observation_id=state["run_id"])

    def _close(self, state: SearchState, path: list[Thought], task: Task) -> Thought | None:
        """The forced end of a path; None where it has ended, or the run may not write any more."""
        if path and path[-1].is_terminal:
            return None
        opening = task.opening(self.model, state["question"])
        return Closing(self.model, task).end(opening, path, next_id(state))


def finished_paths(state: SearchState) -> list[list[Thought]]:
    """Paths that came to their own end, each once: MCTS may walk one again, or into a dead end."""
    paths = [path_to(end, state["thoughts"]) for end in dict.fromkeys(state["finished"])]
    return [path for path in paths if path and path[-1].is_terminal]


def choose_path(state: SearchState, config: SearchConfig, task: Task) -> list[Thought]:
    """The finished path with the best last score; by vote, the best of the answer whose paths'
    scores sum highest (OpenR, `prm_last_vote`)."""
    paths = finished_paths(state)
    paths.sort(key=lambda path: path[-1].score or 0.0, reverse=True)
    if config.answer_by == "best":
        return paths[0]
    votes: dict[str, float] = {}
    for path in paths:
        answer = task.answer_of("".join(t.text for t in path))
        votes[answer] = votes.get(answer, 0.0) + (path[-1].score or 0.0)
    winner = max(votes, key=lambda answer: votes[answer])
    return next(p for p in paths if task.answer_of("".join(t.text for t in p)) == winner)


def learned_thresholds(tree: list[Thought], state: SearchState) -> dict[int, float]:
    """Thresholds by depth that target scores of this run have moved; the others say nothing new.

    Depth 1 has none of its own: what the root's thoughts set for depth 2 stands for it.
    """
    scored = {t.depth for t in tree if t.source == "target" and t.score is not None}
    betas = state["thresholds"]
    learned = {depth + 1: betas[depth + 1] for depth in scored if depth + 1 in betas}
    return {1: learned[2], **learned} if 2 in learned else learned


def best_open_path(state: SearchState, tree: list[Thought]) -> list[Thought]:
    """The best path that was not selected as finished: by its last thought's score, deepest first.

    Thoughts in work count too, and may have ended: when the run is stopped before anything was
    selected, they are all there is.
    """
    open_ids = {*state["frontier"], *(t.id for t in state["candidates"] if t.status != "rejected")}
    ends = [t for t in tree if t.id in open_ids]
    if not ends:
        ends = [t for t in tree if t.status in ("accepted", "revised")]
    if not ends:
        return []
    best = max(ends, key=lambda t: (t.score is not None, t.depth, t.score or 0.0))
    return path_to(best.id, tree)
