"""Models behind a server: their answers cut as an engine's are, their failures met in time."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_chat import FakeChat
from fake_openai import FakeServer, Judge, Kind, Script, serving
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from scripted_search import QUESTION, Call, Pair, Stated, Writer, everywhere, scores, step

from forethought.cli.main import run
from forethought.config import SamplingParams, SearchConfig
from forethought.engine import ScriptedModel
from forethought.errors import ConfigError, EngineClosed, PromptTooLong, RemoteError
from forethought.evaluators import Evaluator
from forethought.evaluators import Judge as ModelJudge
from forethought.evaluators.likelihood import Likelihood
from forethought.graphs import spec_search
from forethought.model import Message, Model, RunStopped, Scope, run_scope
from forethought.prompts import GO_ON, MATH
from forethought.remote import (
    FallbackModel,
    LangChainChat,
    OpenAIServer,
    RemoteConfig,
    RemoteModel,
    pieces,
)
from forethought.remote.settings import address_of, is_address
from forethought.solve import Listener, Solution, solve
from forethought.thoughts import Thought

QUICK = RemoteConfig(attempts=3, timeout=0.5, max_wait=0.05)
ASKED: list[Message] = [{"role": "user", "content": "Tell me."}]
KINDS: tuple[Kind, ...] = ("vllm", "llama", "plain")
PARAMS = SamplingParams(stop=("\n\n",), keep_stop=True, seed=3)

each_kind = pytest.mark.parametrize("kind", KINDS)


def steps(prompt: str, seed: int, index: int) -> str:
    return "First.\n\nSecond.\n\nThird." if "First" not in prompt else "Second.\n\nThird."


@contextmanager
def remote(
    script: Script = steps,
    *,
    kind: Kind = "vllm",
    judge: Judge | None = None,
    config: RemoteConfig = QUICK,
) -> Iterator[tuple[FakeServer, RemoteModel]]:
    """A server and the model behind it, its trials made."""
    with (
        serving(script, kind=kind, judge=judge) as server,
        RemoteModel(OpenAIServer(server.url, "large", config=config)) as model,
    ):
        assert model.context_size > 0
        server.bodies.clear()
        yield server, model


# Pieces


@given(st.text())
def test_pieces_spell_the_text_that_they_were_made_from(text: str) -> None:
    tokens = pieces.encode(text)
    assert pieces.decode(tokens) == text.encode("utf-8", "replace").decode()
    assert all(3 < token < 2**53 for token in tokens)


@given(st.lists(st.sampled_from(["system", "user", "assistant"])), st.text(), st.text())
def test_a_conversation_is_read_back_from_its_pieces(
    roles: list[Any], content: str, begun: str
) -> None:
    messages: list[Message] = [{"role": role, "content": "hm"} for role in roles]
    messages.append({"role": "user", "content": content.replace("\ud800", "")})
    talk = pieces.conversation(pieces.opened(messages) + pieces.encode(begun))
    assert list(talk.messages) == messages
    assert talk.prefix == begun


def test_text_before_any_turn_is_the_users() -> None:
    marker = pieces.opened([])
    talk = pieces.conversation([*pieces.encode("Pick one."), *marker, *pieces.encode("It is ")])
    assert talk.messages == ({"role": "user", "content": "Pick one."},)
    assert talk.prefix == "It is "


# Writing


@each_kind
def test_a_thought_ends_with_its_delimiter_and_goes_on_from_there(kind: Kind) -> None:
    with remote(kind=kind) as (_, model):
        opening = model.chat(ASKED)
        (first,) = model.generate([opening], PARAMS)
        assert (first.text, first.finish_reason) == ("First.\n\n", "stop")
        (second,) = model.generate([opening + first.tokens], PARAMS)
        assert (second.text, second.finish_reason) == ("Second.\n\n", "stop")


@each_kind
def test_the_end_of_an_answer_is_told_from_a_stop_string(kind: Kind) -> None:
    with remote(lambda *_: "All done.", kind=kind) as (_, model):
        (whole,) = model.generate([model.chat(ASKED)], replace(PARAMS, keep_stop=False))
        assert whole.text == "All done."
        # asked in words, a model ends after every step
        assert whole.finish_reason == ("stop" if kind == "plain" else "eos")


def test_a_stop_string_that_is_not_kept_is_cut_off() -> None:
    with remote() as (_, model):
        (cut,) = model.generate([model.chat(ASKED)], replace(PARAMS, keep_stop=False))
        assert (cut.text, cut.finish_reason) == ("First.", "stop")
        assert model.decode(cut.tokens) == cut.text


def test_an_answer_that_reaches_its_limit_says_so() -> None:
    with remote(lambda *_: "one two three four") as (_, model):
        (cut,) = model.generate([model.chat(ASKED)], SamplingParams(max_tokens=2))
        assert (cut.text, cut.finish_reason) == ("one two", "length")


def test_equal_prompts_are_one_request_and_are_drawn_apart() -> None:
    with remote(lambda prompt, seed, index: f"draw {index}\n\nmore") as (server, model):
        opening = model.chat(ASKED)
        found = model.generate([opening, model.chat([*ASKED, *ASKED]), opening], PARAMS)
        assert [one.text for one in found] == ["draw 0\n\n", "draw 0\n\n", "draw 1\n\n"]
        assert sorted(body.get("n", 1) for body in server.drawn) == [1, 2]


def test_a_server_that_gives_one_answer_is_asked_several_times_with_other_seeds() -> None:
    with remote(lambda prompt, seed, index: f"seed {seed}\n\n", kind="llama") as (server, model):
        found = model.generate([model.chat(ASKED)] * 3, PARAMS)
        assert len({one.text for one in found}) == 3
        assert len(server.drawn) == 3
        again = model.generate([model.chat(ASKED)] * 3, PARAMS)
        assert [one.text for one in again] == [one.text for one in found]


def test_the_servers_own_count_is_what_the_answers_cost() -> None:
    with remote() as (server, model), run_scope(Scope()) as scope:
        found = model.generate([model.chat(ASKED)] * 2, PARAMS)
        total = scope.meter.totals()["large"]
        assert (total.cached_tokens, total.generated_tokens) == (2, 2 * 2)
        assert total.prompt_tokens == 5 - 2
        assert sum(one.usage.generated_tokens for one in found) == 4
        assert total.seconds == pytest.approx(sum(one.usage.seconds for one in found), rel=0.2)
        assert len(server.drawn) == 1


def test_where_the_connection_is_closed_early_tokens_are_counted_as_they_came() -> None:
    with remote(lambda *_: "a b\n\n" + "c " * 5000, kind="llama") as (_, model):
        (found,) = model.generate([model.chat(ASKED)], PARAMS)
        assert found.usage.generated_tokens == 3
        assert found.usage.prompt_tokens == len(model.chat(ASKED))


def test_a_server_is_hung_up_on_when_no_answer_has_more_to_come() -> None:
    with remote(lambda *_: "a b\n\n" + "c " * 500, kind="llama") as (server, model):
        server.pause = 0.005
        model.generate([model.chat(ASKED)], PARAMS)
        until = time.monotonic() + 5
        while server.running and time.monotonic() < until:
            time.sleep(0.01)
        assert server.hung_up == 1


def test_log_probabilities_are_those_of_the_tokens() -> None:
    with remote() as (_, model):
        (found,) = model.generate([model.chat(ASKED)], replace(PARAMS, logprob=True))
        assert found.logprob == pytest.approx(-0.25)


def test_in_words_the_line_that_is_repeated_is_left_out() -> None:
    cue = "The answer is \\boxed{"
    with remote(lambda *_: cue + "42}.", kind="plain") as (server, model):
        params = replace(PARAMS, stop=("}",))
        (found,) = model.generate([model.chat(ASKED) + model.encode("Hm.\n\n" + cue)], params)
        assert found.text == "42}"
        assert server.drawn[0]["messages"][-1] == {"role": "user", "content": GO_ON}


def test_behind_a_template_the_prompt_is_text() -> None:
    config = replace(QUICK, template="chatml")
    with remote(lambda *_: "go on", config=config) as (server, model):
        model.generate([model.chat(ASKED) + model.encode("So")], PARAMS)
        turns = "<|im_start|>user\nTell me.<|im_end|>\n<|im_start|>assistant\n"
        assert server.drawn[0]["prompt"] == turns + "So"


def test_a_template_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        OpenAIServer("http://h/v1", "m", config=RemoteConfig(template="no-such.jinja"))
    with pytest.raises(ConfigError, match="needs a template"):
        RemoteConfig(continues="template")
    with pytest.raises(ConfigError, match="leave one"):
        RemoteConfig(continues="asked", template="chatml")


def test_no_more_requests_run_at_a_time_than_allowed() -> None:
    with remote(config=replace(QUICK, concurrency=2)) as (server, model):
        server.pause, server.most_at_once = 0.01, 0
        model.generate([model.chat(ASKED) + model.encode(one) for one in "abcdef"], PARAMS)
        assert server.most_at_once == 2


# Reading


def test_a_judge_reads_what_the_server_tells_of_the_next_token() -> None:
    judge = {" correct": 0.6, "\u0120wrong": 0.1, " incorrect": 0.1, " odd": 0.1}
    with remote(judge=lambda _: judge) as (_, model):
        run = Pair(scores({1: [0.5]}), scores({1: [0.5]})).run(max_depth=1)
        path = run.thoughts()[:1]
        (score,) = ModelJudge(model, MATH).score(QUESTION, [path])
        assert score == pytest.approx(0.6 / 0.8)


@pytest.mark.parametrize("template", [None, "chatml"])
def test_a_text_is_as_likely_as_the_servers_tokens_in_it(template: str | None) -> None:
    with remote(judge=lambda _: {"a": 0.5, "b": 0.5}, config=replace(QUICK, template=template)) as (
        _,
        model,
    ):
        tail = model.encode(" two words")
        ((first, *rest),) = model.readings([model.chat(ASKED) + model.encode("So") + tail], [2])
        assert first.logprob + math.fsum(one.logprob for one in rest) == pytest.approx(-1.0)
        assert math.isnan(first.entropy)


def test_what_a_server_does_not_tell_is_refused() -> None:
    with remote(kind="plain") as (_, model):
        prompt = model.chat(ASKED)
        with pytest.raises(ConfigError, match="judge:draft"):
            model.probs([prompt], [model.encode("a")])
        with pytest.raises(ConfigError, match="how probable"):
            model.readings([prompt], [1])
        with pytest.raises(ConfigError, match="hidden states"):
            model.hidden([prompt])
        assert Likelihood(model, MATH).name == "likelihood:large:logprob"


def test_trials_are_made_once_and_tell_what_a_server_can_do() -> None:
    found = {}
    for kind in KINDS:
        with serving(steps, kind=kind, judge=lambda _: {"a": 0.5, "b": 0.5}) as server:
            backend = OpenAIServer(server.url, "large", config=QUICK)
            with RemoteModel(backend) as model:
                model.generate([model.chat(ASKED)], PARAMS)
                count = len(server.bodies)
                model.generate([model.chat(ASKED)], PARAMS)
                assert len(server.bodies) == count + 1
                found[kind] = backend.known
    assert [can and can.continues for can in found.values()] == ["flags", "last", "asked"]
    assert [can and can.draws_many for can in found.values()] == [True, False, True]
    assert [can and can.keeps_stop for can in found.values()] == [True, False, False]
    assert [can and can.filters for can in found.values()] == [True, True, False]
    assert [can and can.context_size for can in found.values()] == [4096, None, None]


def test_a_model_that_the_server_lacks_is_named_with_those_that_it_has() -> None:
    with (
        serving(steps) as server,
        RemoteModel(OpenAIServer(server.url, "huge", config=QUICK)) as model,
        pytest.raises(ConfigError, match=r"no model 'huge'; it offers: large"),
    ):
        model.generate([model.chat(ASKED)], PARAMS)


# Failures


@pytest.mark.parametrize(
    "fault", ["reset", "429 0", "500", "503", "truncated", "drop", "garbled", "hang"]
)
def test_a_passing_failure_is_tried_again_and_leaves_no_trace(fault: str) -> None:
    with remote() as (server, model):
        server.faults = [fault, fault]
        (found,) = model.generate([model.chat(ASKED)], PARAMS)
        assert found.text == "First.\n\n"
        assert len(server.drawn) == 3


@pytest.mark.parametrize("fault", ["reset", "500", "garbled"])
def test_a_failure_that_lasts_is_told_after_the_last_try(fault: str) -> None:
    with remote() as (server, model):
        server.faults = [fault] * 9
        with pytest.raises(RemoteError, match=r"cannot be reached|status|sent what"):
            model.generate([model.chat(ASKED)], PARAMS)
        assert len(server.drawn) == QUICK.attempts


def test_a_server_is_given_the_time_that_it_asks_for() -> None:
    with remote(config=replace(QUICK, max_wait=5.0)) as (server, model):
        server.faults = ["429 0.4"]
        started = time.monotonic()
        model.generate([model.chat(ASKED)], PARAMS)
        assert time.monotonic() - started >= 0.4


@pytest.mark.parametrize("fault", ["401", "404"])
def test_a_refusal_is_not_tried_again(fault: str) -> None:
    with remote() as (server, model):
        server.faults = [fault]
        with pytest.raises(RemoteError, match=f"status {fault}: not now"):
            model.generate([model.chat(ASKED)], PARAMS)
        assert len(server.drawn) == 1


def test_a_prompt_that_does_not_fit_is_one_of_its_kind() -> None:
    with remote() as (server, model):
        server.faults = ["too long"]
        with pytest.raises(PromptTooLong, match="maximum context length"):
            model.generate([model.chat(ASKED)], PARAMS)
        with pytest.raises(PromptTooLong, match="empty"):
            model.generate([[]], PARAMS)


def test_a_deadline_ends_an_answer_that_goes_on_and_keeps_what_came() -> None:
    with remote(lambda *_: "word " * 1000) as (server, model):
        server.pause = 0.02
        with run_scope(Scope(deadline=time.monotonic() + 0.3)):
            started = time.monotonic()
            (found,) = model.generate([model.chat(ASKED)], PARAMS)
        assert time.monotonic() - started < 10
        assert found.finish_reason == "deadline"
        assert found.text.startswith("word word")
        assert found.usage.generated_tokens > 1


def test_a_cancelled_run_does_not_wait_for_a_server_that_hangs() -> None:
    with remote(config=replace(QUICK, timeout=30.0)) as (server, model):
        server.faults = ["hang"]
        scope = Scope()
        threading.Timer(0.2, scope.cancel.set).start()
        started = time.monotonic()
        with run_scope(scope):
            (found,) = model.generate([model.chat(ASKED)], PARAMS)
            assert found.finish_reason == "cancelled"
            with pytest.raises(RunStopped):
                model.probs([model.chat(ASKED)], [model.encode("a")])
        assert time.monotonic() - started < 10


def test_a_closed_model_refuses_and_lets_go_of_who_waits() -> None:
    with remote(config=replace(QUICK, timeout=30.0)) as (server, model):
        server.faults = ["hang"]
        threading.Timer(0.2, model.close).start()
        with pytest.raises(EngineClosed):
            model.generate([model.chat(ASKED)], PARAMS)
        with pytest.raises(EngineClosed):
            model.generate([model.chat(ASKED)], PARAMS)


def test_the_key_comes_from_the_environment_and_stays_out_of_every_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_KEY", "hush-hush")
    caplog.set_level(logging.DEBUG)
    with remote(config=replace(QUICK, api_key_env="SOME_KEY")) as (server, model):
        server.faults = ["401"]
        with pytest.raises(RemoteError, match="SOME_KEY") as caught:
            model.generate([model.chat(ASKED)], PARAMS)
        assert server.headers[-1]["Authorization"] == "Bearer hush-hush"
    assert "hush" not in caplog.text + repr(caught.value) + repr(model)


def test_addresses_name_a_server_and_a_model() -> None:
    assert address_of("https://host:8/v1/#org/large") == ("https://host:8/v1", "org/large")
    assert is_address("http://host/v1")
    assert not is_address("models/large.gguf")
    with pytest.raises(ConfigError, match="environment"):
        address_of("https://key@host/v1#large")
    with pytest.raises(ConfigError, match="https://host"):
        address_of("https:///v1")
    with pytest.raises(ConfigError, match=r"name the model behind .* https://host/v1#model"):
        OpenAIServer.at("https://host/v1")


# Searches


def search(
    draft: Model,
    target: Model,
    *,
    evaluator: Evaluator | None = None,
    listen: Listener | None = None,
    **settings: Any,
) -> Solution:
    graph = spec_search(draft=draft, target=target, evaluator=evaluator or Stated())
    small: dict[str, Any] = {"tree_width": 2, "beam_width": 1, "max_depth": 4}
    return solve(QUESTION, graph, config=SearchConfig(**(small | settings)), listen=listen)


def scripted(script: Any, name: str) -> tuple[Writer, ScriptedModel]:
    writer = Writer(name, script)
    return writer, ScriptedModel(writer, name=name)


@each_kind
def test_a_search_with_a_remote_target_is_the_search_with_a_local_one(kind: Kind) -> None:
    draft_table, target_table = everywhere(0.6, depths=3), everywhere(0.8, depths=3)
    local = Pair(scores(draft_table, ends=3), scores(target_table, ends=3)).run(max_depth=4)
    target = Writer("target", scores(target_table, ends=3))
    with remote(target if kind != "plain" else in_words(target), kind=kind) as (_, model):
        solution = search(scripted(scores(draft_table, ends=3), "draft")[1], model)
    assert solution.answer.finish_reason == "answer"
    assert {t.vocabulary for t in solution.answer.path} == {pieces.VOCABULARY}
    if kind == "vllm":
        assert solution.answer.text == local.solution.answer.text
    assert {entry.model for entry in solution.answer.ledger.entries} == {"draft", "large"}


def in_words(writer: Writer) -> Script:
    """What `writer` says where the begun answer is a turn of its own."""

    def says(prompt: str, seed: int, index: int) -> str:
        begun, _, _ = prompt.partition(f"\nuser: {GO_ON}")
        return writer(begun, seed, index).partition("\n\n")[0]

    return says


def test_a_lost_target_leaves_the_search_its_best_answer() -> None:
    events: list[dict[str, Any]] = []
    table = everywhere(0.1, depths=9)
    target = Writer("target", scores(everywhere(0.8, depths=9)))
    with remote(target) as (server, model):

        def fails(call: Call) -> str:
            server.faults = ["reset"] * 99
            return step(call, table[call.depth][0])

        solution = search(scripted(fails, "draft")[1], model, listen=events.append)
    assert solution.answer.finish_reason == "lost"
    assert solution.answer.text.startswith("target1")
    told = [one["message"] for one in events if one["event"] == "lost"]
    assert told
    assert all("large" in message or server.url in message for message in told)


def test_a_judge_that_is_lost_at_the_first_scoring_leaves_the_drafts() -> None:
    class Lost(Stated):
        def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
            raise RemoteError("the judge is gone")

    draft = scripted(scores({1: [0.5]}), "draft")[1]
    target = ScriptedModel(lambda *_: "7}", name="large")
    events: list[dict[str, Any]] = []
    answer = search(draft, target, evaluator=Lost(), listen=events.append, policy="fixed").answer
    assert answer.finish_reason == "lost"
    assert answer.text.startswith("draft1")
    assert [one["message"] for one in events if one["event"] == "lost"] == ["the judge is gone"]


def test_a_target_that_is_lost_before_anything_was_thought_is_an_error() -> None:
    with remote() as (server, model):
        server.faults = ["reset"] * 99
        with pytest.raises(RemoteError):
            search(scripted(scores({1: [0.5]}), "draft")[1], model)


def test_a_lost_target_is_stood_in_for_by_the_draft(caplog: pytest.LogCaptureFixture) -> None:
    target = Writer("target", scores(everywhere(0.8, depths=9)))
    writer, draft = scripted(scores(everywhere(0.1, depths=4), ends=4), "draft")
    with remote(target) as (server, model):

        def fails(prompt: str, seed: int, index: int) -> str:
            server.faults = ["reset"] * 99
            return writer(prompt, seed, index)

        draft = ScriptedModel(fails, name="small")
        solution = search(draft, FallbackModel(model, draft))
    assert solution.answer.finish_reason == "answer"
    revised = {e.model for e in solution.answer.ledger.entries if e.role == "revised"}
    assert revised == {"large", "small"}
    assert "large is lost, small takes its place" in caplog.text


def test_a_stand_in_judges_with_its_own_tokens() -> None:
    def judge(prompt: str) -> list[float]:
        assert prompt.endswith("above is")
        return [0.7, 0.1]

    local = ScriptedModel(steps, judge=judge, name="small")
    with remote(judge=lambda _: {"a": 0.5, "b": 0.5}) as (server, model):
        server.faults = ["reset"] * 99
        both = FallbackModel(model, local)
        prompt = both.chat(ASKED) + both.encode("Check: the step above is")
        choices = [both.encode(" correct")[:1], both.encode(" wrong")[:1]]
        assert both.probs([prompt], choices) == [[0.7, 0.1]]
        assert both.decode(both.start_tokens()) == ""
        assert both.stats().usage.generated_tokens == 0
        with pytest.raises(ConfigError, match="hidden"):
            both.hidden([prompt])


# LangChain


def test_a_chat_model_is_a_target() -> None:
    target = in_words(Writer("target", scores(everywhere(0.8, depths=3), ends=3)))

    def respond(_: str, __: dict[str, Any]) -> AIMessage:
        turns = "".join(f"{_role(m)}: {m.content}\n" for m in chat.prompts[-1])
        usage = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
        return AIMessage(target(turns + "assistant: ", 0, len(chat.prompts)), usage_metadata=usage)

    chat = FakeChat(respond=respond)
    with RemoteModel(LangChainChat(chat, concurrency=1)) as model:
        solution = search(scripted(scores(everywhere(0.1, depths=9)), "draft")[1], model)
        assert solution.answer.finish_reason == "answer"
        assert solution.answer.target_share == 1.0
        with pytest.raises(ConfigError, match="chat model"):
            model.probs([model.chat(ASKED)], [model.encode("a")])
    totals = {e.model: e.usage for e in solution.answer.ledger.entries if e.role == "revised"}
    assert totals["fake"].generated_tokens == 4 * len(chat.prompts)


def _role(message: Any) -> str:
    return str({"human": "user", "ai": "assistant"}.get(message.type, message.type))


def test_a_chat_model_that_fails_is_lost() -> None:
    def respond(_: str, __: dict[str, Any]) -> AIMessage:
        raise OSError("no route")

    with (
        RemoteModel(LangChainChat(FakeChat(respond=respond))) as model,
        pytest.raises(RemoteError, match="no route"),
    ):
        model.generate([model.chat(ASKED)], PARAMS)


# The command line


def test_the_command_line_tells_what_a_server_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(steps, judge=lambda _: {"a": 0.5, "b": 0.5}) as server:
        assert run(["models", "check-remote", f"{server.url}#large"]) == 0
        told = capsys.readouterr().out
        assert run(["models", "check-remote", server.url]) == 0
        assert capsys.readouterr().out == "large\n"
    assert "continues: flags\ncontext_size: 4096\nkeeps_stop: yes\n" in told
    assert run(["models", "check-remote", "not/a/server"]) == 1
    assert "https://host/v1#model" in capsys.readouterr().err


def test_the_command_line_searches_with_a_remote_pair(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORETHOUGHT_DATA", str(tmp_path))
    table = scores(everywhere(0.8, depths=4), ends=3)  # a judge's request reaches the script, too
    judge = {" correct": 0.9, " wrong": 0.1}
    with serving(Writer("either", table), judge=lambda _: judge) as server:
        pair = ["--draft", f"{server.url}#large", "--target", f"{server.url}#large"]
        arguments = ["solve", QUESTION, *pair, "--plain", "--seed", "1"]
        assert run(arguments) == 0
        assert "large" in capsys.readouterr().out
        assert run([*arguments, "--gamma", "2"]) == 1
        assert "two local models" in capsys.readouterr().err
        assert run(["solve", QUESTION, *pair[:2], "--target", server.url]) == 1
        assert "name the model" in capsys.readouterr().err
