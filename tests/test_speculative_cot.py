"""Speculative Chain-of-Thought as a graph, with scripted models."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from scripted_cot import CUE, QUESTION, Noted, choosing, is_selection, run_cot, stated, writing

from forethought.bench.recompute import Recorder
from forethought.config import SamplingParams
from forethought.config_cot import CotConfig
from forethought.engine import Engine, ScriptedModel
from forethought.errors import ConfigError, PromptTooLong, SearchError
from forethought.graphs import speculative_cot
from forethought.model import Completion, Scope, Usage
from forethought.nodes import after_chains, after_choice
from forethought.thinking_tags import CLOSE, OPEN
from forethought.thoughts import Ledger, LedgerEntry

CHAINS = [stated(number, str(number)) for number in (1, 2, 3)]
SECOND = [0.1, 0.5, 0.1, 0.2]
NONE = [0.1, 0.2, 0.1, 0.5]


def test_the_settings_are_the_papers() -> None:
    config = CotConfig()
    assert (config.num_chains, config.temperature, config.top_p, config.top_k) == (5, 0.6, 1.0, 0)
    limits = (config.draft_tokens, config.think_tokens, config.answer_tokens)
    assert limits == (5000, 20480, 10240)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_chains": 0}, r"num_chains must lie in 1\.\.8, not 0"),
        ({"num_chains": 9}, r"num_chains must lie in 1\.\.8, not 9"),
        ({"selector": "best"}, "selector must be one of model, none, majority, not 'best'"),
        ({"reasoning": "yes"}, "reasoning must be one of auto, on, off, not 'yes'"),
        ({"all_wrong_bias": float("nan")}, "all_wrong_bias must be a finite number, not nan"),
        ({"draft_tokens": 0}, "draft_tokens must be at least 1, not 0"),
        ({"think_tokens": 0}, "think_tokens must be at least 1, not 0"),
        ({"answer_tokens": 0}, "answer_tokens must be at least 1, not 0"),
        ({"temperature": -1.0}, "temperature must lie"),
        ({"deadline": 0.0}, "deadline must be above 0 seconds, not 0"),
    ],
)
def test_a_setting_out_of_range_is_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CotConfig(**settings)


# A chain is picked


def test_all_chains_are_drafted_in_one_batch() -> None:
    draft = writing(*CHAINS)
    run_cot(draft, choosing(SECOND), num_chains=3, seed=5, temperature=0.9)
    ((prompts, params),) = draft.written
    assert len(prompts) == 3
    assert len(set(prompts)) == 1
    assert (params.temperature, params.top_p, params.top_k, params.seed) == (0.9, 1.0, 0, 5)


def test_the_target_writes_only_the_answer_behind_the_chain_picked() -> None:
    target = choosing(SECOND)
    run = run_cot(writing(*CHAINS), target, num_chains=3)
    (prompt,) = target.prompts
    assert prompt.endswith(f"user: {QUESTION}\nassistant: {CHAINS[1]}\n\n{CUE}")
    assert CHAINS[0] not in prompt
    assert run.answer.answer == "7"
    assert run.answer.text == f"{CHAINS[1]}\n\n{CUE}7}}"
    assert run.answer.finish_reason == "answer"
    assert [t.source for t in run.answer.path] == ["draft", "target"]
    assert [(t.id, t.parent, t.depth) for t in run.answer.path] == [(2, 0, 1), (4, 2, 2)]


def test_selection_is_one_call_with_one_prompt_and_generates_nothing() -> None:
    target = choosing(SECOND)
    run = run_cot(writing(*CHAINS), target, num_chains=3)
    (((prompt,), numbers),) = target.read
    assert is_selection(prompt)
    assert numbers == ["1", "2", "3", "4"]
    (entry,) = [e for e in run.answer.ledger.entries if e.role == "scored"]
    assert entry.usage.generated_tokens == 0
    assert entry.usage.prompt_tokens == len(prompt)
    assert not any(is_selection(written) for written in target.prompts)


def test_choice_and_shares_stand_in_state_and_events() -> None:
    run = run_cot(writing(*CHAINS), choosing([0.01, 0.05, 0.01, 0.03]), num_chains=3)
    assert run.state["choice"] == 2
    assert run.state["shares"] == pytest.approx([0.1, 0.5, 0.1, 0.3])
    (chosen,) = run.of("chosen")
    assert chosen["choice"] == 2
    assert chosen["shares"] == run.state["shares"]
    thoughts = run.state["thoughts"]
    assert [t.score for t in thoughts] == [*run.state["shares"][:3], None]
    assert [t.status for t in thoughts] == ["rejected", "accepted", "rejected", "final"]
    names = [event["event"] for event in run.events]
    assert names == [
        "drafting",
        "proposed",
        "scoring",
        "scored",
        "chosen",
        "decided",
        "committed",
        "selected",
        "committed",
        "answered",
    ]


def test_another_selector_picks_and_the_target_answers() -> None:
    selector = Noted(lambda *_: "", judge=lambda prompt: list(SECOND), name="large+selector")
    target = choosing([])
    run = run_cot(writing(*CHAINS), target, selector=selector, num_chains=3)
    assert target.read == []
    assert selector.written == []
    assert {(e.model, e.role) for e in run.answer.ledger.entries} == {
        ("small", "drafted"),
        ("large+selector", "scored"),
        ("large", "answered"),
    }


# All are wrong


def test_a_target_that_thinks_again_never_sees_a_draft() -> None:
    target = choosing(NONE)
    run = run_cot(writing(*CHAINS), target, num_chains=3)
    assert run.state["choice"] == 4
    assert all(chain not in prompt for chain in CHAINS for prompt in target.prompts)
    assert all("Path" not in prompt for prompt in target.prompts)
    (prompt,) = target.prompts
    assert prompt.endswith(f"user: {QUESTION}\nassistant: ")
    assert target.written[0][1].temperature == 0.0
    assert run.answer.answer == "9"
    assert run.answer.finish_reason == "answer"
    assert run.roles() == ["drafted", "scored", "revised"]
    assert [t.status for t in run.state["thoughts"]] == ["rejected"] * 3 + ["revised"]
    assert [t.id for t in run.answer.path] == [4]


def test_own_thinking_without_an_answer_is_brought_to_one() -> None:
    target = choosing(NONE, own="I do not know yet.")
    run = run_cot(writing(*CHAINS), target, num_chains=3)
    assert target.prompts[1].endswith(f"assistant: I do not know yet.\n\n{CUE}")
    assert all(chain not in target.prompts[1] for chain in CHAINS)
    assert run.answer.answer == "7"
    assert run.roles() == ["drafted", "scored", "revised", "answered"]


def test_a_bias_moves_the_last_option_only() -> None:
    for bias, choice in ((0.0, 2), (0.8, 2), (1.0, 4), (-9.0, 2)):
        run = run_cot(writing(*CHAINS), choosing(SECOND), num_chains=3, all_wrong_bias=bias)
        assert run.state["choice"] == choice  # log(0.5 / 0.2) = 0.916
        assert run.state["shares"] == pytest.approx([0.1 / 0.9, 0.5 / 0.9, 0.1 / 0.9, 0.2 / 0.9])


# Ablations


def test_without_correction_the_best_chain_is_taken() -> None:
    target = choosing(NONE)
    run = run_cot(writing(*CHAINS), target, num_chains=3, correction=False)
    assert run.state["choice"] == 2
    assert run.state["shares"][-1] == pytest.approx(5 / 9)
    assert run.roles() == ["drafted", "scored", "answered"]


def test_a_lone_chain_that_may_not_be_refused_needs_no_selection() -> None:
    target = choosing([])
    run = run_cot(writing(CHAINS[0]), target, num_chains=1, correction=False)
    assert target.read == []
    assert run.state["choice"] == 1
    assert run.roles() == ["drafted", "answered"]


def test_a_lone_chain_may_be_refused() -> None:
    run = run_cot(writing(CHAINS[0]), choosing([0.1, 0.2]), num_chains=1)
    assert run.state["choice"] == 2
    assert run.answer.answer == "9"


def test_without_a_selector_the_first_chain_is_taken() -> None:
    target = choosing([])
    graph = speculative_cot(draft=writing(*CHAINS), target=target).compile()
    state = graph.invoke({"question": QUESTION}, context=CotConfig(num_chains=3, selector="none"))
    assert state["choice"] == 1
    assert state["shares"] == []
    assert target.read == []


def test_the_most_frequent_answer_wins_by_majority() -> None:
    chains = [stated(1, "4"), stated(2, "5"), "No answer here.", stated(3, "5.0")]
    target = choosing([])
    graph = speculative_cot(draft=writing(*chains), target=target).compile()
    config = CotConfig(num_chains=4, selector="majority")
    state = graph.invoke({"question": QUESTION}, context=config)
    assert state["choice"] == 2
    assert target.read == []


# What the draft may do


def test_blank_chains_are_not_offered() -> None:
    target = choosing([0.2, 0.5, 0.1])
    run = run_cot(writing("  \n", CHAINS[0], "", CHAINS[1]), target, num_chains=4)
    (_, numbers) = target.read[0]
    assert numbers == ["1", "2", "3"]
    assert [t.text for t in run.state["thoughts"]][:2] == CHAINS[:2]
    assert run.answer.path[0].text == CHAINS[1]
    kept, rejected = run.answer.ledger.kept, run.answer.ledger.rejected
    (drafted,) = [e.usage for e in run.answer.ledger.entries if e.role == "drafted"]
    assert (kept + rejected).generated_tokens == drafted.generated_tokens


@pytest.mark.parametrize("correction", [True, False])
def test_where_all_chains_are_blank_the_target_thinks(correction: bool) -> None:
    target = choosing([])
    run = run_cot(writing(" "), target, num_chains=3, correction=correction)
    assert target.read == []
    assert run.state["choice"] is None
    assert run.answer.answer == "9"
    assert run.roles() == ["drafted", "revised"]


def test_a_chain_cut_at_its_limit_is_still_offered() -> None:
    run = run_cot(
        writing("a" * 50, CHAINS[0]), choosing([0.5, 0.1, 0.1]), num_chains=2, draft_tokens=44
    )
    first, second = run.state["thoughts"][:2]
    assert (first.text, first.is_terminal) == ("a" * 44, False)
    assert (len(second.text) < 60, second.status) == (True, "rejected")
    assert run.state["choice"] == 1
    assert run.answer.answer == "7"
    assert run.answer.finish_reason == "limit"


def test_what_a_draft_writes_behind_its_answer_is_cut_off() -> None:
    run = run_cot(
        writing(f"{CHAINS[0]}\n\nAnd now another question: 2 + 2?"),
        choosing([0.5, 0.1]),
        num_chains=1,
    )
    chain = run.state["thoughts"][0]
    assert chain.text == CHAINS[0]
    assert chain.tokens == [ord(character) for character in CHAINS[0]]


def test_limits_are_lowered_to_what_the_context_holds() -> None:
    draft = writing("a" * 9000)
    draft.context_size = 2000
    target = choosing(NONE, own="b" * 9000, context_size=1500)
    run = run_cot(draft, target, num_chains=3)
    ((prompts, params),) = draft.written
    assert (
        3 * params.max_tokens + len(prompts[0])
        <= 2000
        < 3 * (params.max_tokens + 1) + len(prompts[0])
    )
    own, answer = run.answer.path
    assert len(target.prompts[0]) + len(own.text) + len(answer.text) < 1500
    assert not own.is_terminal
    assert run.answer.finish_reason == "limit"
    assert run.answer.answer == "7"


def test_models_of_different_vocabularies_pass_text() -> None:
    class Doubled(Noted):
        """Two ids per character."""

        def encode(self, text: str, *, special: bool = False) -> list[int]:
            return [id for character in text for id in (ord(character), 0)]

        def decode(self, tokens: list[int]) -> str:
            return "".join(map(chr, tokens[::2]))

    draft = Doubled(lambda *_: CHAINS[0], name="small", vocabulary="pairs")
    target = choosing([0.5, 0.1])
    run = run_cot(draft, target, num_chains=1)
    assert target.prompts[0].endswith(f"{CHAINS[0]}\n\n{CUE}")
    assert run.answer.answer == "7"


# Think tags


def test_reasoning_models_answer_behind_a_closed_think_block() -> None:
    thinking = f"\nSo many.\n{CLOSE}\n\nnot for anybody"
    draft = writing(thinking)

    def reply(prompt: str, seed: int, index: int) -> str:
        assert prompt.count(OPEN) == prompt.count(CLOSE) == 1
        return "There are \\boxed{3} left."

    target = Noted(reply, judge=lambda prompt: [0.5, 0.1], name="large")
    run = run_cot(draft, target, num_chains=1, reasoning="on")
    (((draft_prompt,), params),) = draft.written
    assert draft_prompt.endswith(f"assistant: {OPEN}\n")
    assert "baker" not in draft_prompt  # a worked example shows no thinking
    assert params.stop == (CLOSE,)
    assert run.state["thoughts"][0].text == "\nSo many.\n"
    assert target.prompts[0].endswith(f"{OPEN}\n\nSo many.\n{CLOSE}\n\n")
    (((selection,), _),) = target.read
    assert CLOSE not in selection
    assert "Reason 1:\nSo many.\n\nReason 2:" in selection
    assert run.answer.answer == "3"
    assert run.answer.finish_reason == "answer"


def test_reasoning_that_does_not_end_is_closed_at_its_limit() -> None:
    def reply(prompt: str, seed: int, index: int) -> str:
        return "It is \\boxed{8}." if CLOSE in prompt else "hm " * 50

    target = Noted(reply, judge=lambda prompt: [0.1, 0.5], name="large")
    run = run_cot(writing("hm"), target, num_chains=1, reasoning="on", think_tokens=30)
    assert run.answer.path[0].text == "hm " * 10
    assert target.prompts[-1].endswith(f"hm \n{CLOSE}\n\n")
    assert run.answer.answer == "8"
    assert run.answer.finish_reason == "limit"
    assert run.roles() == ["drafted", "scored", "revised", "answered"]


# Ends


class Cancelling(Noted):
    """Cancels the run when a call is made for which `when` holds."""

    def __init__(self, inner: Noted, when: Callable[[str], bool], cancel: threading.Event) -> None:
        super().__init__(inner._reply, judge=inner._judge, name=inner.name)
        self.when, self.cancel = when, cancel

    def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        if self.when(self.decode(prompts[0])):
            self.cancel.set()
        return super().generate(prompts, params)

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        if self.when(self.decode(prompts[0])):
            self.cancel.set()
        return super().probs(prompts, choices)


def cancelled(when: Callable[[str], bool], *, shares: list[float]) -> Any:
    scope = Scope()
    target = Cancelling(choosing(shares), when, scope.cancel)
    return run_cot(writing(*CHAINS), target, scope=scope, num_chains=3)


def test_a_run_cancelled_before_anything_is_empty() -> None:
    scope = Scope()
    draft = Cancelling(writing(*CHAINS), lambda _: True, scope.cancel)
    run = run_cot(draft, choosing(SECOND), scope=scope, num_chains=3)
    assert (run.answer.text, run.answer.finish_reason) == ("", "cancelled")
    assert run.answer.path == []


def test_a_run_cancelled_in_selection_has_the_first_chain() -> None:
    run = cancelled(is_selection, shares=SECOND)
    assert (run.answer.text, run.answer.finish_reason) == (CHAINS[0], "cancelled")
    assert run.state["choice"] is None
    assert run.answer.path[0].status == "accepted"


def test_a_run_cancelled_in_thinking_again_has_the_likeliest_chain() -> None:
    run = cancelled(lambda prompt: prompt.endswith("assistant: "), shares=NONE)
    assert (run.answer.text, run.answer.finish_reason) == (CHAINS[1], "cancelled")
    assert [t.status for t in run.state["thoughts"]] == ["rejected", "accepted", "rejected"]


def test_a_run_cancelled_in_answering_has_the_chain_picked() -> None:
    run = cancelled(lambda prompt: prompt.endswith(CUE), shares=SECOND)
    assert (run.answer.text, run.answer.finish_reason) == (CHAINS[1], "cancelled")
    assert run.answer.answer == "2"


def test_a_chain_that_ended_is_better_than_one_that_was_cut() -> None:
    scope = Scope()
    target = Cancelling(choosing([]), is_selection, scope.cancel)
    run = run_cot(writing("a" * 99, CHAINS[0]), target, scope=scope, num_chains=2, draft_tokens=60)
    assert run.answer.text == CHAINS[0]


def test_the_deadline_leaves_time_for_an_answer() -> None:
    class Slow(Noted):
        def generate(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
            completions = super().generate(prompts, params)
            pause.wait(0.9)
            return completions

    pause = threading.Event()
    draft = Slow(lambda *_: CHAINS[0], name="small")
    target = choosing([])
    run = run_cot(draft, target, num_chains=2, deadline=1.0)
    assert target.read == []
    assert run.answer.finish_reason == "deadline"
    assert run.answer.answer == "7"


def test_chains_that_the_selector_cannot_read_end_in_an_answer_all_the_same() -> None:
    selector = Noted(lambda *_: "", name="narrow", context_size=100)
    run = run_cot(writing(*CHAINS), choosing([]), selector=selector, num_chains=3)
    assert run.state["choice"] is None
    assert run.answer.finish_reason == "limit"
    assert run.answer.answer == "7"


def test_a_question_that_fits_no_context_is_told() -> None:
    draft = writing(*CHAINS)
    draft.context_size = 20
    with pytest.raises(PromptTooLong):
        run_cot(draft, choosing(SECOND), num_chains=3)
    target = choosing(SECOND, context_size=20)
    with pytest.raises(PromptTooLong):
        run_cot(writing(" "), target, num_chains=3)


def test_a_target_without_room_for_an_answer_leaves_the_chain_as_it_is() -> None:
    target = choosing([], context_size=520)
    graph = speculative_cot(draft=writing("x" * 300), target=target).compile()
    config = CotConfig(num_chains=1, selector="none")
    answer = graph.invoke({"question": QUESTION}, context=config)["answer"]
    assert (answer.text, answer.finish_reason) == ("x" * 300, "limit")


@pytest.mark.parametrize(
    ("question", "settings", "error", "message"),
    [
        (" \n", {}, SearchError, "the question is empty"),
        ("?", {"task": "art"}, ConfigError, "task must be one of"),
    ],
)
def test_what_cannot_work_is_told_before_drafting(
    question: str, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    draft = writing(*CHAINS)
    graph = speculative_cot(draft=draft, target=choosing(SECOND)).compile()
    with pytest.raises(error, match=message):
        graph.invoke({"question": question}, context=CotConfig(**settings))
    assert draft.written == []


# Edges and ledger


def test_the_edges_are_functions_of_the_state() -> None:
    run = run_cot(writing(*CHAINS), choosing(SECOND), num_chains=3)
    chains = run.state["thoughts"][:3]
    state: Any = {"chains": chains, "stop": None, "choice": 2}
    assert after_chains(state) == "choose"
    assert after_chains(state | {"chains": []}) == "think_again"
    assert after_chains(state | {"stop": "cancelled"}) == "answer"
    assert after_choice(state) == "answer"
    assert after_choice(state | {"choice": 4}) == "think_again"
    assert after_choice(state | {"choice": None, "stop": "deadline"}) == "answer"


def test_the_ledger_adds_up_to_what_the_meter_counted() -> None:
    for shares in (SECOND, NONE):
        scope = Scope()
        run = run_cot(writing(*CHAINS), choosing(shares, own="Hm."), scope=scope, num_chains=3)
        ledger = run.answer.ledger
        assert ledger.entries == run.state["ledger"]
        assert ledger.total == sum(scope.meter.totals().values(), Usage())
        drafted = sum((e.usage for e in ledger.entries if e.role == "drafted"), Usage())
        assert ledger.kept + ledger.rejected == drafted
        assert (ledger.kept == Usage()) == (shares is NONE)


def test_the_think_phase_is_all_but_the_answer() -> None:
    roles = {"drafted": 1.0, "scored": 0.25, "revised": 2.0, "answered": 8.0}
    entries = [LedgerEntry("m", role, Usage(seconds=s)) for role, s in roles.items()]  # type: ignore[arg-type]
    assert Ledger(entries).think_phase_seconds == 3.25


def test_the_same_seed_gives_the_same_run() -> None:
    def reply(prompt: str, seed: int, index: int) -> str:
        return stated(index, str(seed))

    texts = [
        run_cot(ScriptedModel(reply, name="small"), choosing([0.5, 0.1, 0.1]), num_chains=2, seed=s)
        for s in (1, 1, 2)
    ]
    first, again, other = ([t.text for t in run.state["thoughts"]] for run in texts)
    assert first == again != other


# With weights


@pytest.mark.weights
@pytest.mark.parametrize(("bias", "role"), [(-50.0, "answered"), (50.0, "revised")])
def test_no_prompt_token_is_computed_twice(smollm: Engine, bias: float, role: str) -> None:
    recorder = Recorder(smollm)
    graph = speculative_cot(draft=recorder, target=recorder).compile()
    config = CotConfig(
        task="general", num_chains=3, draft_tokens=16, think_tokens=16, all_wrong_bias=bias
    )
    state = graph.invoke({"question": "A box holds 3 pens. How many do 4 hold?"}, context=config)
    ledger = state["answer"].ledger
    assert role in [entry.role for entry in ledger.entries]
    assert state["answer"].text
    assert recorder.num_computed <= 1.02 * recorder.num_new
    assert recorder.num_computed == ledger.total.prompt_tokens


@pytest.mark.weights
def test_selection_is_one_prefill(smollm: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    probs = smollm.probs

    def noted(prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        asked.append(len(prompts))
        return probs(prompts, choices)

    monkeypatch.setattr(smollm, "probs", noted)
    graph = speculative_cot(draft=smollm, target=smollm).compile()
    config = CotConfig(task="general", num_chains=4, draft_tokens=8, correction=False)
    state = graph.invoke({"question": "What is 2 + 2?"}, context=config)
    (scored,) = [e.usage for e in state["answer"].ledger.entries if e.role == "scored"]
    assert asked == [1]
    assert scored.generated_tokens == 0
    assert scored.prompt_tokens > 0
    assert sum(state["shares"]) == pytest.approx(1.0)
