"""A target that this package serves in another process, and its end in the middle of a search."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from serving_client import process

from forethought.config import SamplingParams, SearchConfig
from forethought.engine import ScriptedModel
from forethought.graphs import spec_search
from forethought.remote import OpenAIServer, RemoteConfig, RemoteModel
from forethought.solve import Solution, solve
from forethought.thoughts import Thought


class Fixed:
    """Rejects every other draft."""

    name = "fixed"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return [0.4 + 0.2 * (path[-1].source == "target") for path in paths]


def target_at(url: str) -> RemoteModel:
    config = RemoteConfig(template="chatml", attempts=1)
    return RemoteModel(OpenAIServer(f"{url}/v1", "large", config=config))


def search(target: RemoteModel, draft: Callable[..., str], **settings: Any) -> Solution:
    graph = spec_search(draft=ScriptedModel(draft, name="small"), target=target, evaluator=Fixed())
    config = SearchConfig(tree_width=2, beam_width=1, policy="fixed", threshold=0.5, **settings)
    return solve("How many?", graph, config=config)


def test_a_served_model_writes_reads_and_judges_for_another_process() -> None:
    with process() as (url, _), target_at(url) as target:
        prompt = target.chat([{"role": "user", "content": "How many?"}])
        (written,) = target.generate([prompt], SamplingParams(stop=("\n\n",), keep_stop=True))
        assert written.text == "Step 1 of 0.\n\n"
        ((reading,),) = target.readings([prompt + target.encode("S")], [1])
        assert reading.logprob == -math.log(128)
        solution = search(target, lambda *_: "So.\n\n")
    assert solution.answer.finish_reason == "answer"
    assert [thought.source for thought in solution.answer.path] == ["target"] * 3
    assert solution.answer.answer == "7"


def test_a_server_that_is_killed_leaves_the_search_what_it_has() -> None:
    with process() as (url, server), target_at(url) as target:

        def fatal(prompt: str, seed: int, index: int) -> str:
            if "Step 1" in prompt:
                server.kill()
                server.wait()
            return f"So{'.' * index}\n\n"

        solution = search(target, fatal)
    assert solution.answer.finish_reason == "lost"
    assert solution.answer.text.startswith("Step 1")
