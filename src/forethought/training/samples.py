"""Solutions sampled from a model, thought by thought as in a search, and graded.

Several questions are in work at once, so that the engine's batch stays full.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path

from forethought.chains import Chain, Problem, Step, append_chains, read_chains
from forethought.config import SearchConfig, require_at_least
from forethought.evaluators.final_answer import same_answer
from forethought.model import Completion, Model, RunStopped
from forethought.nodes.writing import ends_path
from forethought.prompts import Task
from forethought.thoughts import Source

Progress = Callable[[int, int], None]

_MAX_STEPS = 24
_QUESTIONS_AT_ONCE = 16  # thoughts of one question end together, so more than a batch holds


def sample_chains(
    sampler: ChainSampler,
    problems: list[Problem],
    *,
    num_chains: int,
    path: Path,
    progress: Progress | None = None,
) -> None:
    """Add `num_chains` graded solutions of each problem to the file of chains at `path`.

    Problems that have chains of the sampler's source in the file already are passed over, so a run
    that was cut off goes on where it stopped.

    Raises:
        ConfigError: `num_chains` is below 1, or the file holds something else.
        RunStopped: the caller's run was cancelled; what was finished is in the file.
        EngineError: see `forethought.errors`.
    """
    require_at_least("num_chains", num_chains, 1)
    known = read_chains(path) if path.exists() else []
    done = {chain.question for chain in known if chain.source == sampler.source}
    todo = [problem for problem in problems if problem.question not in done]
    num_done = len(problems) - len(todo)
    with ThreadPoolExecutor(_QUESTIONS_AT_ONCE, "sample") as pool:
        # each thread needs the caller's scope, which is a context variable
        jobs = [pool.submit(copy_context().run, sampler.write, p, num_chains) for p in todo]
        try:
            for job in as_completed(jobs):
                append_chains(path, job.result())
                num_done += 1
                if progress:
                    progress(num_done, len(problems))
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(slots=True)
class _Path:
    """A solution while it is written."""

    tokens: list[int]
    steps: list[Step] = field(default_factory=list)
    is_open: bool = True

    def add(self, completion: Completion, task: Task) -> None:
        """Take one more thought."""
        if completion.text.strip():
            self.steps.append(Step(completion.text, completion.tokens))
            self.tokens = self.tokens + completion.tokens
        is_cut = completion.finish_reason == "length" or not completion.text.strip()
        is_last = is_cut or len(self.steps) >= _MAX_STEPS
        self.is_open = not is_last and not ends_path(completion, task)

    @property
    def text(self) -> str:
        """What was written."""
        return "".join(step.text for step in self.steps)


@dataclass(frozen=True, slots=True)
class ChainSampler:
    """One model writing whole solutions in the role of `source`, at the temperature, top-k and
    top-p of a search; `seed` fixes all draws."""

    model: Model
    task: Task
    source: Source
    seed: int

    def write(self, problem: Problem, num_chains: int) -> list[Chain]:
        """Graded solutions of one problem; blank ones are left out. Raises as `sample_chains`."""
        opening = self.model.chat(self.task.messages(problem.question))
        paths = [_Path(opening) for _ in range(num_chains)]
        self._finish(paths, problem.name)
        return [self._chain(problem, path) for path in paths if path.steps]

    def values(self, chain: Chain, num_rollouts: int) -> list[float]:
        """For each step the share of `num_rollouts` ways to go on from it that end right: the soft
        labels of Math-Shepherd (Wang et al. 2024, section 3.2); above 0 is its hard label.

        The last step's is 1 or 0: there is nothing left to write.
        """
        opening = self.model.chat(self.task.messages(chain.question))
        ends = [opening]
        for step in chain.steps:
            ends.append(ends[-1] + step.tokens)
        texts = ["".join(step.text for step in chain.steps[:n]) for n in range(1, len(ends))]
        paths = [_Path(end) for end in ends[1:-1] for _ in range(num_rollouts)]
        self._finish(paths, f"{chain.problem}/{chain.source}/{texts[-1]}")
        rights = [
            self._is_right(texts[number // num_rollouts] + path.text, chain.answer)
            for number, path in enumerate(paths)
        ]
        groups = [rights[i : i + num_rollouts] for i in range(0, len(rights), num_rollouts)]
        return [sum(group) / num_rollouts for group in groups] + [float(chain.is_right)]

    def _finish(self, paths: list[_Path], name: str) -> None:
        """Write on until every path has ended."""
        depth = 0
        while still_open := [path for path in paths if path.is_open]:
            params = replace(
                SearchConfig().sampling(seed=self._seed(name, depth)), stop=(self.task.delimiter,)
            )
            completions = self.model.generate([path.tokens for path in still_open], params)
            for path, completion in zip(still_open, completions, strict=True):
                if completion.finish_reason in ("cancelled", "deadline"):
                    raise RunStopped(completion.finish_reason)
                path.add(completion, self.task)
            depth += 1

    def _seed(self, name: str, depth: int) -> int:
        label = f"{self.seed}/{self.source}/{name}/{depth}"
        return int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")

    def _chain(self, problem: Problem, path: _Path) -> Chain:
        stated = self.task.find_answer(path.text)
        return Chain(
            problem=problem.name,
            question=problem.question,
            answer=problem.answer,
            source=self.source,
            model=self.model.name,
            vocabulary=self.model.vocabulary,
            steps=path.steps,
            stated=stated,
            is_right=self._is_right(path.text, problem.answer),
        )

    def _is_right(self, text: str, answer: str) -> bool:
        stated = self.task.find_answer(text)
        return stated is not None and same_answer(stated, answer)
