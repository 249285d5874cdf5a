"""Solutions sampled from a model, cut into thoughts as in a search, and graded.

Several questions are in work at once, so that the engine's batch stays full.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path

from forethought.bench.scoring import Progress
from forethought.chains import Chain, Problem, Step, append_chains, read_chains
from forethought.config import SamplingParams, SearchConfig, require_at_least
from forethought.evaluators.final_answer import same_answer
from forethought.model import Model, RunStopped
from forethought.prompts import Task
from forethought.thinking_tags import CLOSE, opening_of
from forethought.thoughts import Source

DRAWN = replace(SearchConfig().sampling(), max_tokens=512)
"""As a search draws its thoughts, but whole solutions."""
GREEDY = replace(DRAWN, temperature=0.0)
_QUESTIONS_AT_ONCE = 16  # more than a batch holds, so that it stays full


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


@dataclass(frozen=True, slots=True)
class ChainSampler:
    """One model writing whole solutions in the role of `source`; `seed` fixes all draws, whatever
    that of `params` is. With `thinks`, it writes what stands in its think tags, the closing one
    included, and no more."""

    model: Model
    task: Task
    source: Source
    seed: int
    params: SamplingParams = DRAWN
    thinks: bool = False

    def write(self, problem: Problem, num_chains: int) -> list[Chain]:
        """Graded solutions of one problem; blank ones are left out. Raises as `sample_chains`."""
        opening = self._opening(problem.question)
        written = self._continued([opening] * num_chains, problem.name)
        return [self._chain(problem, steps) for steps in written if steps]

    def values(self, chain: Chain, num_rollouts: int) -> list[float]:
        """For each step the share of `num_rollouts` ways to go on from it that end right: the soft
        labels of Math-Shepherd (Wang et al. 2024, section 3.2); above 0 is its hard label.

        The last step's is 1 or 0: there is nothing left to write.
        """
        prompt = self._opening(chain.question)
        text, prompts, texts = "", [], []
        for step in chain.steps[:-1]:
            prompt, text = prompt + step.tokens, text + step.text
            prompts += [prompt] * num_rollouts
            texts += [text] * num_rollouts
        name = f"{chain.problem}/{chain.source}/{text}"
        rights = [
            self._is_right(text + "".join(step.text for step in steps), chain.answer)
            for text, steps in zip(texts, self._continued(prompts, name), strict=True)
        ]
        groups = [rights[i : i + num_rollouts] for i in range(0, len(rights), num_rollouts)]
        return [sum(group) / num_rollouts for group in groups] + [float(chain.is_right)]

    def _opening(self, question: str) -> list[int]:
        return opening_of(self.model, self.task, question, "on" if self.thinks else "off")

    def _continued(self, prompts: list[list[int]], name: str) -> list[list[Step]]:
        """What the model writes after each prompt, cut into thoughts as a search would.

        Solutions are written in one go, because thoughts of one question would wait for each other;
        few go on behind their answer, which is cut off.
        """
        params = replace(self.params, seed=self._seed(name))
        if self.thinks:
            params = replace(params, stop=(CLOSE,), keep_stop=True)
        completions = self.model.generate(prompts, params)
        for completion in completions:
            if completion.finish_reason in ("cancelled", "deadline"):
                raise RunStopped(completion.finish_reason)
        return [self._steps(completion.tokens) for completion in completions]

    def _steps(self, tokens: list[int]) -> list[Step]:
        """Tokens cut where a thought ends, up to the one that ends the path."""
        steps: list[Step] = []
        start = 0
        for end in range(1, len(tokens) + 1):
            text = self.model.decode(tokens[start:end])
            is_whole = self.task.delimiter in text.lstrip() or end == len(tokens)
            if is_whole and text.strip():
                steps.append(Step(text, tokens[start:end]))
                start = end
                if self._is_end(text):
                    break
        return steps

    def _is_end(self, text: str) -> bool:
        """Whether a step ends the solution: one that answers, but not within a think block."""
        if self.thinks or not self.task.answer_ends_path:
            return False
        return self.task.find_answer(text) is not None

    def _seed(self, name: str) -> int:
        label = f"{self.seed}/{self.source}/{name}"
        return int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")

    def _chain(self, problem: Problem, steps: list[Step]) -> Chain:
        text = "".join(step.text for step in steps)
        return Chain(
            problem=problem.name,
            question=problem.question,
            answer=problem.answer,
            source=self.source,
            model=self.model.name,
            vocabulary=self.model.vocabulary,
            steps=steps,
            stated=self.task.find_answer(text),
            is_right=self._is_right(text, problem.answer),
        )

    def _is_right(self, text: str, answer: str) -> bool:
        stated = self.task.find_answer(text)
        return stated is not None and same_answer(stated, answer)
