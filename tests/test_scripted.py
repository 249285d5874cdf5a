"""The model without weights, the settings, and the engine's parts that need no llama.cpp."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from forethought.config import EngineConfig, SamplingParams, SearchConfig
from forethought.engine import ScriptedModel
from forethought.engine.continuation import stop_position
from forethought.engine.radix import RadixTree
from forethought.engine.scripted import cut_reply
from forethought.errors import ConfigError, PromptTooLong
from forethought.model import Message, Model, RunStopped, Scope, Usage, current_scope, run_scope

PROMPT = [ord(c) for c in "Hi: "]


def says(reply: str, **settings: Any) -> ScriptedModel:
    return ScriptedModel(lambda *_: reply, **settings)


def completed(reply: str, **settings: Any) -> tuple[str, str]:
    (completion,) = says(reply).generate([PROMPT], SamplingParams(**settings))
    return completion.text, completion.finish_reason


# The scripted model


def test_a_scripted_model_is_a_model() -> None:
    model: Model = says("")
    assert (model.name, model.vocabulary, model.context_size) == (
        "scripted",
        "code points",
        1_000_000,
    )


@pytest.mark.parametrize("text", ["", "plain", "naïve 🙂 \n\n<|im_start|>"])
def test_text_survives_its_tokens(text: str) -> None:
    model = says("")
    assert model.decode(model.encode(text)) == text


def test_a_chat_names_every_turn_and_opens_the_assistants() -> None:
    turns: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]
    model = says("")
    assert model.decode(model.chat(turns)) == "system: Be brief.\nuser: Why?\nassistant: "


def test_the_reply_is_asked_for_with_prompt_seed_and_index() -> None:
    seen: list[tuple[str, int, int]] = []

    def reply(prompt: str, seed: int, index: int) -> str:
        seen.append((prompt, seed, index))
        return str(index)

    model = ScriptedModel(reply)
    done = model.generate([model.encode("a"), model.encode("b")], SamplingParams(seed=7))
    assert seen == [("a", 7, 0), ("b", 7, 1)]
    assert [c.text for c in done] == ["0", "1"]


def test_no_prompts_give_no_completions() -> None:
    assert says("x").generate([], SamplingParams()) == []
    assert says("x").probs([], [[1]]) == []


@pytest.mark.parametrize(
    ("reply", "settings", "expected"),
    [
        ("one\n\ntwo", {"stop": ("\n\n",)}, ("one", "stop")),
        ("one\n\ntwo", {"stop": ("\n\n",), "keep_stop": True}, ("one\n\n", "stop")),
        ("\n\none\n\ntwo", {"stop": ("\n\n",)}, ("", "stop")),
        ("\n\none\n\ntwo", {"stop": ("\n\n",), "keep_stop": True}, ("\n\none\n\n", "stop")),
        (" \n\n ", {"stop": ("\n\n",), "keep_stop": True}, (" \n\n ", "eos")),
        ("one}two", {"stop": ("\n\n", "}")}, ("one", "stop")),
        ("one}\n\ntwo", {"stop": ("\n\n", "}"), "keep_stop": True}, ("one}", "stop")),
        # the first to be complete, not the first to begin
        ("abcd", {"stop": ("abcd", "b")}, ("a", "stop")),
        ("abcd", {"stop": ("abcd", "bc"), "keep_stop": True}, ("abc", "stop")),
        ("cab", {"stop": ("b", "ab")}, ("c", "stop")),
        ("one", {"stop": ("\n\n",)}, ("one", "eos")),
        ("one", {}, ("one", "eos")),
        ("", {}, ("", "eos")),
        ("one", {"max_tokens": 2}, ("on", "length")),
        # as with a real model: the end of text would have been the next token
        ("one", {"max_tokens": 3}, ("one", "length")),
        ("one", {"max_tokens": 4}, ("one", "eos")),
        ("one\n\n", {"max_tokens": 5, "stop": ("\n\n",), "keep_stop": True}, ("one\n\n", "stop")),
        ("one\n\n", {"max_tokens": 4, "stop": ("\n\n",), "keep_stop": True}, ("one\n", "length")),
    ],
)
def test_a_reply_ends_where_a_real_models_would(
    reply: str, settings: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert completed(reply, **settings) == expected


def test_kept_tokens_decode_to_the_text() -> None:
    model = says("one\n\ntwo")
    (done,) = model.generate([PROMPT], SamplingParams(stop=("\n\n",), keep_stop=True))
    assert model.decode(done.tokens) == done.text == "one\n\n"


def test_without_a_judge_every_choice_is_equally_likely() -> None:
    assert says("").probs([PROMPT, PROMPT], [[1], [2], [3], [4]]) == [[0.25] * 4] * 2


def test_a_judge_gives_the_probabilities() -> None:
    model = says("", judge=lambda prompt: [0.9, 0.1] if prompt == "good" else [0.2, 0.8])
    prompts = [model.encode("good"), model.encode("bad")]
    assert model.probs(prompts, [[1], [2]]) == [[0.9, 0.1], [0.2, 0.8]]


def test_a_judge_that_gives_the_wrong_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="judge gave 3 numbers for 2"):
        says("", judge=lambda _: [0.1, 0.2, 0.7]).probs([PROMPT], [[1], [2]])


@pytest.mark.parametrize("length", [0, 10, 11])
def test_a_prompt_that_does_not_fit_is_refused(length: int) -> None:
    model = says("x", context_size=10)
    for call in (
        lambda: model.generate([[1] * length], SamplingParams()),
        lambda: model.probs([[1] * length], [[1]]),
    ):
        with pytest.raises(PromptTooLong, match=f"{length} tokens does not fit 10"):
            call()


def test_the_longest_prompt_that_fits_is_served() -> None:
    assert says("x", context_size=10).generate([[65] * 9], SamplingParams())[0].text == "x"


def test_usage_is_reported_and_metered() -> None:
    model = says("one", name="small")
    with run_scope(Scope()) as scope:
        done = model.generate([PROMPT, PROMPT], SamplingParams())
        model.probs([PROMPT], [[1]])
    assert [c.usage for c in done] == [Usage(prompt_tokens=4, generated_tokens=3)] * 2
    assert scope.meter.totals() == {"small": Usage(prompt_tokens=12, generated_tokens=6)}


@pytest.mark.parametrize("reason", ["cancelled", "deadline"])
def test_a_run_that_has_stopped_gets_no_replies_and_no_scores(reason: str) -> None:
    def reply(*_: Any) -> str:
        raise AssertionError("asked for a reply")

    scope = Scope(deadline=time.monotonic() - 1 if reason == "deadline" else None)
    if reason == "cancelled":
        scope.cancel.set()
    model = ScriptedModel(reply)
    with run_scope(scope):
        done = model.generate([PROMPT, PROMPT], SamplingParams())
        with pytest.raises(RunStopped) as stopped:
            model.probs([PROMPT], [[1]])
    assert [(c.text, c.tokens, c.finish_reason) for c in done] == [("", [], reason)] * 2
    assert stopped.value.reason == reason


# Scopes


def test_a_scope_ends_with_its_block_and_the_outer_one_is_back() -> None:
    assert current_scope() is None
    with run_scope(Scope()) as outer:
        inner = Scope()
        with pytest.raises(KeyError, match="True"), run_scope(inner):
            raise KeyError(current_scope() is inner)
        assert current_scope() is outer
    assert current_scope() is None


def test_cancellation_is_reported_before_the_deadline() -> None:
    scope = Scope(deadline=time.monotonic() - 1)
    assert scope.stop_reason() == "deadline"
    scope.cancel.set()
    assert scope.stop_reason() == "cancelled"
    assert Scope(deadline=time.monotonic() + 100).stop_reason() is None


def test_a_meter_loses_nothing_when_threads_add() -> None:
    scope = Scope()
    adds = [
        threading.Thread(
            target=lambda: [scope.meter.add("m", Usage(1, 2, 3, 0.5)) for _ in range(200)]
        )
        for _ in range(4)
    ]
    for thread in adds:
        thread.start()
    for thread in adds:
        thread.join()
    assert scope.meter.totals() == {"m": Usage(800, 1600, 2400, 400.0)}


# Where a text stops


def obvious_stop(text: str, params: SamplingParams) -> tuple[int, int] | None:
    """Length at which the first stop string is complete, and where the text is cut then."""
    start = len(text) - len(text.lstrip()) if params.keep_stop else 0
    for length in range(1, len(text) + 1):
        head = text[:length]
        positions = [head.find(stop, start) for stop in params.stop]
        if any(position >= 0 for position in positions):
            return length, min(p for p in positions if p >= 0)
    return None


@pytest.mark.parametrize("seed", range(20))
def test_stops_are_found_where_an_obvious_search_finds_them(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        text = "".join(chance.choices("ab \n", k=chance.randrange(1, 12)))
        stops = tuple("".join(chance.choices("ab\n", k=chance.randint(1, 3))) for _ in range(2))
        params = SamplingParams(stop=stops, keep_stop=chance.random() < 0.5)
        expected = obvious_stop(text, params)
        data, found = b"", None
        for character in text:
            known = len(data)
            data += character.encode()
            if (position := stop_position(data, params, known)) is not None:
                found = (len(data), position)
                break
        assert found == expected
        cut, reason = cut_reply(text, params)
        if expected is None:
            assert (cut, reason) == (text, "eos")
        else:
            assert (cut, reason) == (text[: expected[not params.keep_stop]], "stop")


def test_a_stop_string_may_span_tokens_and_characters() -> None:
    params = SamplingParams(stop=("ä\n",))
    data = "xä\n".encode()
    assert [stop_position(data[:n], params, n - 1) for n in (1, 2, 3)] == [None] * 3
    assert stop_position(data, params, 3) == 1


def test_without_stop_strings_nothing_stops() -> None:
    assert stop_position(b"\n\n", SamplingParams(), 0) is None


# The radix tree


class ObviousTree:
    """Every path as it is; prefixes found by comparing with all of them."""

    def __init__(self) -> None:
        self.paths: dict[int, list[int]] = {}

    def prefixes(self) -> set[tuple[int, ...]]:
        return {tuple(p[:n]) for p in self.paths.values() for n in range(1, len(p) + 1)}

    def match(self, tokens: list[int]) -> int:
        known = self.prefixes()
        lengths = [n for n in range(1, len(tokens) + 1) if tuple(tokens[:n]) in known]
        return max(lengths, default=0)

    def is_shared(self, sequence: int) -> bool:
        path = self.paths[sequence]
        others = [p for s, p in self.paths.items() if s != sequence]
        return any(other[: len(path)] == path for other in others)


@pytest.mark.parametrize("seed", range(10))
def test_the_radix_tree_equals_an_obvious_one(seed: int) -> None:
    chance, tree, obvious = random.Random(seed), RadixTree(), ObviousTree()
    for _ in range(150):
        sequence = chance.randrange(8)
        if chance.random() < 0.3:
            tree.remove(sequence)
            obvious.paths.pop(sequence, None)
        else:
            path = tree.path(sequence) + chance.choices([1, 2], k=chance.randint(1, 4))
            tree.insert(sequence, path)
            obvious.paths[sequence] = path
        assert tree.num_tokens == len(obvious.prefixes())
        for number, path in obvious.paths.items():
            assert tree.path(number) == path
            assert tree.is_shared(number) == obvious.is_shared(number)
        wanted = chance.choices([1, 2], k=chance.randint(0, 12))
        length, holder = tree.match(wanted)
        assert length == obvious.match(wanted)
        if length:
            assert holder is not None
            assert tree.path(holder)[:length] == wanted[:length]
        else:
            assert holder is None


def test_an_empty_tree_holds_nothing() -> None:
    tree = RadixTree()
    tree.remove(3)
    assert (tree.match([1, 2]), tree.num_tokens, tree.path(3)) == ((0, None), 0, [])


# Settings


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (
            SamplingParams,
            {"temperature": -0.1},
            r"temperature must lie in 0\.0\.\.10\.0, not -0\.1",
        ),
        (SamplingParams, {"temperature": float("nan")}, "temperature must lie in .*, not nan"),
        (SamplingParams, {"top_p": 1.1}, r"top_p must lie in 0\.0\.\.1\.0, not 1\.1"),
        (SamplingParams, {"top_k": -1}, "top_k must be at least 0, not -1"),
        (SamplingParams, {"min_p": 2}, "min_p must lie in .*, not 2"),
        (SamplingParams, {"max_tokens": 0}, "max_tokens must be at least 1, not 0"),
        (SamplingParams, {"stop": ("a", "")}, "stop strings must not be empty"),
        (SamplingParams, {"seed": -1}, "seed must be at least 0, not -1"),
        (EngineConfig, {"context_size": -1}, "context_size must be at least 0, not -1"),
        (EngineConfig, {"max_sequences": 0}, r"max_sequences must lie in 1\.\.192, not 0"),
        (EngineConfig, {"max_sequences": 193}, r"max_sequences must lie in 1\.\.192, not 193"),
        (EngineConfig, {"batch_tokens": 0}, "batch_tokens must be at least 1, not 0"),
        (
            EngineConfig,
            {"batch_tokens": 8, "max_sequences": 9},
            r"batch_tokens \(8\) must be at least max_sequences \(9\)",
        ),
        (EngineConfig, {"threads": -1}, "threads must be at least 0, not -1"),
        (EngineConfig, {"gpu_layers": -2}, "gpu_layers must be .*, not -2"),
        (EngineConfig, {"split_mode": "rows"}, "split_mode must be one of .*, not 'rows'"),
        (EngineConfig, {"tensor_split": (1.0, -1.0)}, "tensor_split must not be negative"),
        (EngineConfig, {"main_gpu": -1}, "main_gpu must be at least 0, not -1"),
        (EngineConfig, {"kv_type": "q2"}, "kv_type must be one of .*, not 'q2'"),
        (
            EngineConfig,
            {"kv_type": "q8_0", "flash_attention": False},
            "kv_type q8_0 needs flash attention",
        ),
        (SearchConfig, {"tree_width": 0}, "tree_width must be at least 1, not 0"),
        (SearchConfig, {"beam_width": 0}, "beam_width must be at least 1, not 0"),
        (SearchConfig, {"max_depth": 0}, "max_depth must be at least 1, not 0"),
        (SearchConfig, {"draft_multiplier": 0}, "draft_multiplier must be at least 1, not 0"),
        (SearchConfig, {"thought_tokens": 0}, "thought_tokens must be at least 1, not 0"),
        (SearchConfig, {"max_tokens": 0}, "max_tokens must be at least 1, not 0"),
        (SearchConfig, {"extra_large_thoughts": -1}, "extra_large_thoughts .*, not -1"),
        (SearchConfig, {"theta": 1.01}, r"theta must lie in 0\.0\.\.1\.0, not 1\.01"),
        (SearchConfig, {"theta": float("nan")}, "theta must lie in .*, not nan"),
        (SearchConfig, {"ucb_c": -1}, "ucb_c must be at least 0.0, not -1"),
        (SearchConfig, {"policy": "sometimes"}, "policy must be one of ema, .*, not 'sometimes'"),
        (SearchConfig, {"theta_estimator": "min"}, "theta_estimator must be one of .*, not 'min'"),
        (SearchConfig, {"init_estimator": "min"}, "init_estimator must be one of .*, not 'min'"),
        (SearchConfig, {"estimator_pool": "all"}, "estimator_pool must be one of .*, not 'all'"),
        (SearchConfig, {"init": "draft"}, "init must be one of target, store, not 'draft'"),
        (SearchConfig, {"answer_by": "luck"}, "answer_by must be one of best, vote, not 'luck'"),
        (SearchConfig, {"deadline": 0}, "deadline must be above 0 seconds, not 0"),
        (SearchConfig, {"deadline": float("nan")}, "deadline must be above 0 seconds, not nan"),
        (SearchConfig, {"temperature": 11}, "temperature must lie in .*, not 11"),
        (SearchConfig, {"top_p": -1}, "top_p must lie in .*, not -1"),
        (SearchConfig, {"top_k": -1}, "top_k must be at least 0, not -1"),
        (SearchConfig, {"min_p": -1}, "min_p must lie in .*, not -1"),
        (SearchConfig, {"seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_name_and_value(
    make: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**settings)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (SamplingParams, {"temperature": 0, "top_p": 0, "top_k": 0, "min_p": 1, "max_tokens": 1}),
        (EngineConfig, {"gpu_layers": -1, "max_sequences": 1, "batch_tokens": 1}),
        (EngineConfig, {"max_sequences": 192, "batch_tokens": 192}),
        (EngineConfig, {"kv_type": "q8_0", "flash_attention": True}),
        (EngineConfig, {"kv_type": "bf16", "flash_attention": False}),
        (SearchConfig, {"theta": 0, "ucb_c": 0, "tree_width": 1, "beam_width": 1, "max_depth": 1}),
        (SearchConfig, {"theta": 1, "deadline": 0.001, "init_estimator": "ucb"}),
    ],
)
def test_settings_at_the_edge_of_their_range_are_taken(make: Any, settings: dict[str, Any]) -> None:
    made = make(**settings)
    assert all(getattr(made, name) == value for name, value in settings.items())
    assert replace(made) == made


def test_a_thoughts_sampling_takes_the_searchs_settings() -> None:
    config = SearchConfig(temperature=0.3, top_p=0.4, top_k=5, min_p=0.6, thought_tokens=7, seed=8)
    assert config.sampling(seed=9) == SamplingParams(
        temperature=0.3, top_p=0.4, top_k=5, min_p=0.6, max_tokens=7, keep_stop=True, seed=9
    )
