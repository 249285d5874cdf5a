"""A target that this package serves in another process, and its end in the middle of a search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from serving_client import process

from forethought.chat import PlainReplier
from forethought.config import SamplingParams, SearchConfig
from forethought.engine import ScriptedModel
from forethought.errors import ConfigError
from forethought.graphs import spec_search
from forethought.remote import OpenAIServer, RemoteConfig, RemoteModel
from forethought.replies import Ask, Ended, Piece, Turn
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


def test_what_is_elsewhere_speaks_and_completes_and_refuses_what_needs_a_grammar() -> None:
    with process() as (url, _), target_at(url) as target:
        replier = PlainReplier(target)
        ask = Ask((Turn("user", "How many?"),), SamplingParams(max_tokens=50, stop=("\n",)))
        *pieces, end = replier.reply(ask)
        assert pieces == [Piece("text", "Step 1 of 0.")]
        assert isinstance(end, Ended)
        assert end.finish_reason == "stop"
        with pytest.raises(ConfigError, match="takes no grammar"):
            list(replier.reply(replace(ask, schema={"type": "object"})))
        with pytest.raises(ConfigError, match="does not tell log-probabilities"):
            list(replier.reply(replace(ask, top_logprobs=0)))
