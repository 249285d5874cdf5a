"""Draft and target take turns in one chain of thought, as the published loop has them."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.event_hooks import register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from scripted_thinking import QUESTION, Run, Shifted, Speaker, Voice, think

from forethought.config import EngineConfig
from forethought.config_thinking import ThinkingConfig
from forethought.engine import Engine, ScriptedModel
from forethought.errors import ConfigError, PromptTooLong, SearchError
from forethought.graphs import speculative_thinking
from forethought.model import Scope
from forethought.sentences import HINT, asks_to_verify, contradicts, stance_of
from forethought.solve import solve
from forethought.thoughts import Thought, path_to

DOCS = Path(__file__).parent.parent / "docs"
END = "It is \\boxed{4}."
CHUNK, N1, N2, N3 = 1024, 20, 125, 125


# Rule 1: affirmation and reflection


def test_behind_a_statement_the_draft_goes_on_and_the_probe_is_thrown_away() -> None:
    run = think(["First two.\n\nand on", "So the sum is…", END])
    assert run.turns == [("small", CHUNK), ("small", N1), ("small", CHUNK)]
    assert run.chain == f"First two.\n\n{END}"
    assert run.rejected() == [("draft", "So the sum is.......")]
    assert run.calls[1].chain == run.calls[2].chain == "First two.\n\n"


@pytest.mark.parametrize("opening", ["Yes, it is so…", "Wait, is it…"])
def test_the_target_writes_in_place_of_a_sentence_that_affirms_or_reflects(opening: str) -> None:
    run = think(["First two.\n\nand on", opening, END], ["No more than two…"])
    assert run.turns == [("small", CHUNK), ("small", N1), ("large", N1), ("small", CHUNK)]
    assert run.chain == f"First two.\n\nNo more than two....{END}"
    assert run.rejected() == [("draft", (opening.replace("…", "." * N1))[:N1])]
    # target and draft go on from the very same place
    assert run.calls[1].chain == run.calls[2].chain


def test_a_chunk_without_a_delimiter_is_gone_on_with() -> None:
    run = think(["word…", END], chunk_tokens=20)
    assert run.turns == [("small", 20), ("small", 20)]
    assert run.written() == ["word" + "." * 16, END]


def test_delimiters_in_the_targets_words_trigger_nothing() -> None:
    run = think(["A.\n\n", "Wait…", END], ["No.\n\nYes, wait.\n\n…"])
    assert run.turns == [("small", CHUNK), ("small", N1), ("large", N1), ("small", CHUNK)]
    assert run.written("target") == ["No.\n\nYes, wait.\n\n..."]


def test_a_delimiter_inside_a_chunk_ends_it_wherever_it_stands() -> None:
    run = think(["\n\nA.\n\nB", "So…", "A.\n\nB", "So…", END])
    assert run.written() == ["\n\n", "A.\n\n", END]
    assert [n for _, n in run.turns] == [CHUNK, N1, CHUNK, N1, CHUNK]


# Rule 2: verification


def test_behind_a_call_for_verification_the_target_goes_on() -> None:
    run = think(["A.\n\n", "Wait…", END], ["Let me check this: …", "2 and 2 …"])
    assert run.turns[2:] == [("large", N1), ("large", N2), ("small", CHUNK)]
    assert [len(text) for text in run.written("target")] == [N1, N2]
    assert run.calls[3].chain == run.calls[2].chain + "Let me check this: ."


@pytest.mark.parametrize(("cues", "is_verified"), [("adopted", False), ("any", True)])
def test_the_call_may_also_be_looked_for_in_the_drafts_sentence(
    cues: str, is_verified: bool
) -> None:
    run = think(["A.\n\n", "Let me verify…", END], ["It is fine…", "Sure…"], cues=cues)
    assert (("large", N2) in run.turns) is is_verified


# Rule 3: excessive reflection


def reflecting(num_rechecks: int) -> tuple[Voice, Voice]:
    """Both reflect in every sentence, until the target was given so many hints."""

    def draft(chain: str) -> str:
        if chain.count(HINT) >= num_rechecks:
            return END
        return "wait…" if chain.endswith("\n\n") else "\n\nand on"

    return draft, lambda chain: "so it is…" if chain.endswith(HINT) else "wait…"


def rounds(run: Run) -> tuple[list[int], list[int]]:
    """Reflections before each recheck, and its tokens."""
    counts, lengths, count = [], [], 0
    for name, num_tokens in run.turns:
        if name == "large" and num_tokens == N1:
            count += 1
        elif name == "large":
            counts.append(count)
            lengths.append(num_tokens)
            count = 0
    return counts, lengths


def test_rechecks_come_later_and_last_longer_each_time() -> None:
    run = think(*reflecting(5))
    assert rounds(run) == ([15, 20, 25, 30, 30], [125, 150, 175, 200, 200])
    assert run.chain.count(HINT) == 5
    assert all(len(text) == N1 or text.startswith(HINT) for text in run.written("target"))


def test_without_growth_rechecks_stay_as_in_the_paper() -> None:
    run = think(*reflecting(3), recheck_growth=0, limit_growth=0)
    assert rounds(run) == ([15, 15, 15], [125, 125, 125])


def test_a_recheck_comes_instead_of_a_probe_and_starts_the_count_anew() -> None:
    draft = ["A.\n\n", "wait…", "B.\n\n", "C.\n\n", "wait…", END]
    run = think(draft, ["wait…", "no…", "so…"], reflection_limit=1, hint="Look:")
    assert run.turns == [
        ("small", CHUNK),
        ("small", N1),
        ("large", N1),
        ("small", CHUNK),
        ("large", N3),
        ("small", CHUNK),
        ("small", N1),
        ("large", N1),
        ("small", CHUNK),
    ]
    assert run.calls[4].chain.endswith("B.\n\nLook:")
    assert run.written("target")[1] == "Look:no" + "." * (N3 - 2)


@pytest.mark.parametrize(("counted", "is_rechecked"), [("adopted", False), ("any", True)])
def test_reflection_may_also_be_counted_in_the_drafts_sentence(
    counted: str, is_rechecked: bool
) -> None:
    draft = ["A.\n\n", "wait…", "B.\n\n", "So…", END]
    run = think(draft, ["fine…", "so…"], reflection_limit=1, counted=counted)
    assert (HINT in run.chain) is is_rechecked


# Switches


@pytest.mark.parametrize(
    ("draft", "target", "source"),
    [
        ("wait", "fine", "target"),
        ("wait", "yes", "target"),
        ("wait", "another", "draft"),
        ("yes", "wait", "target"),
        ("yes", "fine", "draft"),
        ("yes", "yeah", "draft"),
    ],
)
def test_the_target_may_be_adopted_only_where_it_contradicts(
    draft: str, target: str, source: str
) -> None:
    run = think(["A.\n\n", f"{draft}…", END], [f"{target}…"], choose_target=False)
    adopted, left = (target, draft) if source == "target" else (draft, target)
    assert run.solution.answer.path[1].source == source
    assert run.solution.answer.path[1].text == adopted + "." * (N1 - len(adopted))
    assert run.rejected()[0][1] == left + "." * (N1 - len(left))


def test_a_sentence_of_the_drafts_that_is_adopted_counts_and_calls_like_any() -> None:
    draft = ["A.\n\n", "check…", "B.\n\n", END]
    run = think(draft, ["wait…", "so…", "look…"], choose_target=False, reflection_limit=1)
    assert run.turns[3:] == [("large", N2), ("small", CHUNK), ("large", N3), ("small", CHUNK)]


def test_without_take_overs_the_drafts_sentence_stays_and_counts_and_calls_as_any() -> None:
    settings = {"take_over": False, "reflection_limit": 2, "max_reflection_limit": 2}
    draft = ["A.\n\n", "Wait, check…", "B.\n\n", "Wait…", "C.\n\n", END]
    run = think(draft, ["Checked…", "Rechecked…"], **settings)
    assert "".join(name[0] for name, _ in run.turns) == "sslsssls"
    assert [call.num_tokens for call in run.calls if call.name == "large"] == [125, 125]
    assert run.written("draft")[1].startswith("Wait, check")
    assert run.rejected() == []


def test_without_verification_a_call_for_it_is_passed_over() -> None:
    run = think(["A.\n\n", "Wait…", END], ["Let me check…"], verify=False)
    assert run.turns == [("small", 1024), ("small", 20), ("large", 20), ("small", 1024)]


def test_without_rechecks_reflection_is_never_excessive() -> None:
    draft = ["A.\n\n", "Wait…"] * 4 + [END]
    settings: dict[str, Any] = {"reflection_limit": 1, "max_reflection_limit": 1}
    lengths = {
        recheck: [n for name, n in think(draft, ["Wait…"] * 9, recheck=recheck, **settings).turns]
        for recheck in (True, False)
    }
    assert 125 in lengths[True]
    assert 125 not in lengths[False]


def test_an_instruct_draft_is_followed_by_the_target_behind_every_paragraph() -> None:
    run = think(["A.\n\n", "So…", "B.\n\n", "Then…", END], ["1…", "2…"], not_reasoning=True)
    assert [name for name, n in run.turns if n == N1] == ["small", "large"] * 2


def test_the_target_may_open_the_chain() -> None:
    run = think([END], ["Let us see.\n\nYes, wait…"], begin=True, begin_tokens=30)
    assert run.turns == [("large", 30), ("small", CHUNK)]
    assert len(run.written("target")[0]) == 30
    assert think([END], ["Let…"], begin=True).turns[0] == ("large", 100)


def test_with_word_boundaries_a_part_of_a_word_hands_nothing_over() -> None:
    texts = ["A.\n\n", "Yesterday…", END]
    assert ("large", N1) in think(texts, ["B…"]).turns
    assert ("large", N1) not in think(texts, ["B…"], word_boundary=True).turns


def test_what_is_put_before_a_probe_stays_with_what_is_adopted() -> None:
    draft = ["A.\n\n", "so…", "B.\n\n", "yes…", END]
    run = think(draft, ["fine…"], probe_opening="Wait, ")
    assert run.written() == ["A.\n\n", "B.\n\n", "Wait, fine" + "." * 16, END]
    assert [call.chain[-6:] for call in run.calls if call.num_tokens == N1] == ["Wait, "] * 3
    assert run.solution.answer.path[2].tokens == run.target.encode(run.written()[2])


def remembered(text: str) -> Voice:
    """Goes on with `text` wherever it stands in it, as a greedy model would."""
    return lambda chain: text[len(chain) :]


STATEMENTS = "One apple is red.\n\nTwo.\n\nThree apples are green, and so on.\n\n" + END


def test_a_statement_probe_that_is_kept_changes_nothing_that_is_written() -> None:
    plain = think(remembered(STATEMENTS))
    kept = think(remembered(STATEMENTS), reuse_statement_probe=True)
    assert plain.chain == kept.chain == STATEMENTS
    assert kept.written()[1:3] == ["Two.\n\n", "Three apples are gre"]
    assert kept.rejected() == []
    assert len(plain.rejected()) == 3
    sampled = [
        sum(e.usage.generated_tokens for e in r.solution.answer.ledger.entries)
        for r in (plain, kept)
    ]
    assert sampled[1] < sampled[0]


def test_a_chain_may_end_where_the_answer_is_stated() -> None:
    texts = ["So \\boxed{3}.\n\nBut", "On and…", END]
    assert think(texts).solution.answer.answer == "4"
    run = think(texts, stop_at_answer=True)
    assert (run.solution.answer.answer, len(run.calls)) == ("3", 1)
    inside = think(texts, stop_at_answer=True, reasoning="on")
    assert inside.solution.answer.answer == "4"
    behind = ["So \\boxed{3}.\n</think>\n\nIt", "Is…", "\\boxed{5}\n\nbut", END]
    assert think(behind, stop_at_answer=True, reasoning="on").solution.answer.answer == "5"


# Ends of texts


ENDINGS: dict[str, tuple[list[str], list[str], dict[str, Any]]] = {
    "a paragraph": (["A.\n\n", "So…", END], [], {}),
    "the sentence of the target's": (["A.\n\n", "Wait…"], ["Yes."], {}),
    "a verification": (["A.\n\n", "Wait…"], ["I will check that…", END], {}),
    "a recheck": (
        ["A.\n\n", "wait…", "B.\n\n"],
        ["wait…", END],
        {"reflection_limit": 1},
    ),
    "the beginning": ([], [END], {"begin": True}),
    "a statement that is kept": (["A.\n\n", "So 4."], [], {"reuse_statement_probe": True}),
    "a sentence of the draft's that is adopted": (
        ["A.\n\n", "Yes."],
        ["Fine…"],
        {"choose_target": False},
    ),
}


@pytest.mark.parametrize("where", ENDINGS)
def test_the_chain_ends_where_a_model_ends_its_text(where: str) -> None:
    draft, target, settings = ENDINGS[where]
    run = think([*draft, "never"], [*target, "never"], **settings)
    assert run.solution.answer.finish_reason == "answer"
    assert run.solution.answer.path[-1].is_terminal
    assert run.solution.answer.path[-1].status == "final"
    assert "never" not in run.chain
    assert len(run.calls) == len(draft) + len(target)


def test_an_end_in_a_probe_that_is_thrown_away_or_replaced_ends_nothing() -> None:
    thrown = think(["A.\n\n", "So 4.", "B.", "never"])
    assert thrown.chain == "A.\n\nB."
    replaced = think(["A.\n\n", "Yes.", END], ["No, it is…"])
    assert replaced.chain == "A.\n\nNo, it is" + "." * 11 + END


def test_a_model_that_has_nothing_to_add_ends_the_chain() -> None:
    run = think(["It is \\boxed{4}.\n\n", "So…", ""])
    assert run.solution.answer.finish_reason == "answer"
    assert run.solution.answer.answer == "4"
    assert run.solution.answer.path[-1].is_terminal


def test_where_nothing_at_all_was_written_the_target_answers() -> None:
    run = think([""], ["7} and"])
    assert (run.solution.answer.answer, run.solution.answer.finish_reason) == ("7", "limit")
    assert run.solution.answer.text == "The answer is \\boxed{7}"


# Limits


def test_at_the_token_limit_the_target_closes_the_chain() -> None:
    voice: Voice = lambda _: "word. " * 400  # noqa: E731
    run = think(voice, lambda _: "9} and", max_tokens=3000, limit_counts_prompt=False)
    answer = run.solution.answer
    assert (answer.finish_reason, answer.answer) == ("limit", "9")
    assert sum(len(thought.tokens) for thought in answer.path[:-1]) == 3000
    assert answer.path[-1].status == "final"
    assert answer.ledger.entries[-1].role == "answered"


def test_the_limit_counts_the_prompt_as_published() -> None:
    voice: Voice = lambda _: "word. " * 400  # noqa: E731
    run = think(voice, lambda _: "9} and", max_tokens=3000)
    written = sum(len(thought.tokens) for thought in run.solution.answer.path[:-1])
    num_prompt = len(run.calls[0].prompt)
    assert written == 3000 - num_prompt > 0


@pytest.mark.parametrize("settings", [{}, {"begin": True}, {"not_reasoning": True}])
def test_a_chain_that_fills_the_context_is_closed_within_it(settings: dict[str, Any]) -> None:
    def draft(chain: str) -> str:
        return "word.\n\n and on" if len(chain) % 2 else "word…"

    def target(chain: str) -> str:
        return "9} and" if chain.endswith("{") else "on…"

    run = think(draft, target, models={"context_size": 2000}, chunk_tokens=97, **settings)
    answer = run.solution.answer
    assert (answer.finish_reason, answer.answer) == ("limit", "9")
    assert all(len(call.prompt) + call.num_tokens <= 2000 for call in run.calls)
    assert len(run.calls[-1].prompt) > 1800


def test_a_question_that_does_not_fit_the_context_is_refused() -> None:
    openings: list[dict[str, Any]] = [{}, {"begin": True}]
    for settings in openings:
        with pytest.raises(PromptTooLong, match="does not fit 100"):
            think([END], [END], models={"context_size": 100}, **settings)


def test_an_unfinished_think_block_is_closed_before_the_answer() -> None:
    settings: dict[str, Any] = {"reasoning": "on", "max_tokens": 300}
    run = think(lambda _: "hmm…", lambda _: "9} and", **settings)
    assert run.calls[0].chain == "<think>\n"
    assert run.calls[-1].chain.endswith(".\n</think>\n\nThe answer is \\boxed{")
    assert run.chain.count("</think>") == 1
    closed = think(
        lambda chain: "So 4.\n</think>\n\n" if len(chain) < 9 else "hm…",
        lambda _: "9} and",
        **settings,
    )
    assert closed.chain.count("</think>") == 1
    assert closed.solution.answer.answer == "9"


def test_reasoning_models_are_asked_in_one_turn_and_others_by_example() -> None:
    shown = {
        reasoning: run.draft.decode(run.calls[0].prompt)
        for reasoning in ("on", "off", "auto")
        for run in [think([END], reasoning=reasoning)]
    }
    assert shown["on"].count("user: ") == 1
    assert "system: " not in shown["on"]
    assert shown["on"].endswith(f"{QUESTION}\nassistant: <think>\n")
    assert shown["off"] == shown["auto"]
    assert "<think>" not in shown["off"]
    assert shown["off"].startswith("system: ")


def test_at_the_deadline_the_chain_so_far_is_the_answer() -> None:
    def slow(_: str) -> str:
        time.sleep(0.05)
        return "word.\n\n"

    run = think(slow, lambda _: "9} and", deadline=0.4)
    answer = run.solution.answer
    assert (answer.finish_reason, answer.answer) == ("deadline", "9")
    assert answer.text.startswith("word.\n\nword.")


@pytest.mark.parametrize("turn", [1, 2, 3, 4, 5])
def test_a_cancelled_run_returns_the_chain_as_it_stands(turn: int) -> None:
    scope, asked = Scope(), 0

    def stopping(words: str) -> Voice:
        def voice(_: str) -> str:
            nonlocal asked
            asked += 1
            if asked == turn:
                scope.cancel.set()
            return words

        return voice

    run = think(stopping("check.\n\n…"), stopping("check…"), scope=scope)
    answer = run.solution.answer
    assert answer.finish_reason == "cancelled"
    assert answer.text.startswith("check.")
    assert all(t.status != "proposed" for t in run.solution.thoughts)


def test_a_run_that_is_cancelled_before_it_begins_ends_in_order() -> None:
    scope = Scope()
    scope.cancel.set()
    openings: list[dict[str, Any]] = [{}, {"begin": True}]
    for settings in openings:
        run = think([END], [END], scope=scope, **settings)
        assert (run.solution.answer.finish_reason, run.solution.answer.text) == ("cancelled", "")


@pytest.mark.parametrize("question", ["", "  \n\t "])
def test_an_empty_question_is_refused(question: str) -> None:
    model = ScriptedModel(lambda *_: END)
    with pytest.raises(SearchError, match="empty"):
        solve(question, speculative_thinking(draft=model, target=model))


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="poetry"):
        think([END], task="poetry")


# Tokens and vocabularies


def test_prompts_grow_by_exactly_what_was_appended() -> None:
    run = think(*reflecting(1))
    opening = run.calls[0].prompt
    chain = [t for thought in run.solution.answer.path for t in thought.tokens]
    whole = opening + chain
    for call in run.calls:
        hint = len(HINT) if call.chain.endswith(HINT) else 0
        assert call.prompt == whole[: len(call.prompt)]
        assert hint == 0 or call.prompt[-hint:] == run.target.encode(HINT)
    for name in ("small", "large"):
        lengths = [len(call.prompt) for call in run.calls if call.name == name]
        assert lengths == sorted(lengths)


@pytest.mark.parametrize("kinds", [(Speaker, Shifted), (Shifted, Speaker), (Shifted, Shifted)])
def test_models_of_different_vocabularies_read_each_others_words_as_text(
    kinds: tuple[type[Speaker], type[Speaker]],
) -> None:
    plain = think(*reflecting(2))
    run = think(*reflecting(2), kinds=kinds)
    assert run.chain == plain.chain
    assert run.turns == plain.turns
    models = {"small": run.draft, "large": run.target}
    for call, known in zip(run.calls, plain.calls, strict=True):
        assert call.chain == known.chain
        assert call.prompt == models[call.name].encode(models[call.name].decode(call.prompt))
    for thought in run.solution.answer.path:
        writer = run.draft if thought.source == "draft" else run.target
        assert thought.vocabulary == writer.vocabulary
        assert writer.decode(thought.tokens) == thought.text


def test_models_of_one_vocabulary_pass_on_the_sampled_ids() -> None:
    class Merging(Speaker):
        """Samples its ids one by one, but would encode a text otherwise."""

        def encode(self, text: str, *, special: bool = False) -> list[int]:
            return [ord("~") if c == "w" else ord(c) for c in text] if text else []

        def generate(self, prompts: Any, params: Any) -> Any:
            made = super().generate(prompts, params)
            for completion in made:
                completion.tokens[:] = [ord(c) for c in completion.text]
            return made

    texts = ["A.\n\n", "wait…", "B.\n\n", "So…", END]
    run = think(texts, ["wait…"], kinds=(Merging, Merging))
    assert [call.chain for call in run.calls if "~" in call.chain] == []
    assert "wait" in run.calls[-1].chain


# The published loop, written plainly


def babble(name: str, seed: int) -> Voice:
    """What follows a chain, drawn from the chain itself; silence once it is long."""
    words = ["wait", "yes", "check", "so", "two", "confident", "\n\n", "\n\n", ".\n\n", "and", " "]

    def voice(chain: str) -> str:
        chance = random.Random(f"{name} {seed} {chain}")
        if len(chain) > 800 or chance.random() < 0.02:
            return "It is"[: chance.randrange(6)]
        return " ".join(chance.choices(words, k=chance.choice([2, 60, 200])))

    return voice


def published(draft: Voice, target: Voice, config: ThinkingConfig) -> list[tuple[str, str]]:
    """The loop of the published code on characters: who wrote what of the chain."""
    chain: list[tuple[str, str]] = []
    count, limit, recheck = 0, config.reflection_limit, config.recheck_tokens

    def said() -> str:
        return "".join(text for _, text in chain)

    def reply(voice: Voice, num_tokens: int, opening: str = "") -> tuple[str, bool]:
        text = voice(said() + opening)
        return opening + text[:num_tokens], len(text) < num_tokens

    if config.begin:
        text, has_ended = reply(target, config.begin_tokens)
        chain.append(("target", text))
        if has_ended:
            return chain
    while True:
        text, has_ended = reply(draft, config.chunk_tokens)
        head, delimiter, _ = text.partition("\n\n")
        chain.append(("draft", head + delimiter))
        if has_ended and not delimiter:
            return chain
        if not delimiter:
            continue
        if count >= limit:
            text, has_ended = reply(target, recheck, HINT)
            chain.append(("target", text))
            count = 0
            recheck = min(recheck + config.recheck_growth, config.max_recheck_tokens)
            limit = min(limit + config.limit_growth, config.max_reflection_limit)
            if has_ended:
                return chain
            continue
        probe, probe_ended = reply(draft, config.takeover_tokens)
        if stance_of(probe) == "statement" and not config.not_reasoning:
            continue
        own, own_ended = reply(target, config.takeover_tokens)
        adopted, has_ended = ("target", own), own_ended
        if not config.choose_target and not contradicts(stance_of(probe), stance_of(own)):
            adopted, has_ended = ("draft", probe), probe_ended
        chain.append(adopted)
        count += stance_of(adopted[1]) == "reflection"
        if has_ended:
            return chain
        if asks_to_verify(adopted[1]):
            text, has_ended = reply(target, config.verification_tokens)
            chain.append(("target", text))
            if has_ended:
                return chain


@examples(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    begin=st.booleans(),
    not_reasoning=st.booleans(),
    choose_target=st.booleans(),
    reflection_limit=st.integers(1, 4),
)
def test_a_chain_is_that_of_the_published_loop(seed: int, **settings: Any) -> None:
    config: dict[str, Any] = {
        **settings,
        "begin_tokens": 30,
        "chunk_tokens": 50,
        "recheck_tokens": 40,
        "max_recheck_tokens": 80,
        "max_reflection_limit": 6,
    }
    draft, target = babble("draft", seed), babble("target", seed)
    run = think(draft, target, **config)
    expected = published(draft, target, ThinkingConfig(**config))
    if run.solution.answer.finish_reason == "answer":
        found = [(t.source, t.text) for t in run.solution.answer.path]
        assert [turn for turn in found if turn[1]] == [turn for turn in expected if turn[1]]
    else:
        assert "".join(text for _, text in expected).strip() == ""


@examples(max_examples=25)
@given(seed=st.integers(0, 10_000), not_reasoning=st.booleans())
def test_a_kept_probe_of_a_greedy_model_leaves_the_chain_as_it_is(
    seed: int, not_reasoning: bool
) -> None:
    chance = random.Random(seed)
    words = ["apples", "so", "two", "\n\n", ".\n\n", "red and green", "wait", "check"]
    text = " ".join(chance.choices(words, k=60))
    settings: dict[str, Any] = {"not_reasoning": not_reasoning}
    plain = think(remembered(text), remembered(text), **settings)
    kept = think(remembered(text), remembered(text), reuse_statement_probe=True, **settings)
    assert plain.chain == kept.chain
    # where paragraphs are shorter than probes both hand over at the same places
    assert plain.written("target") == kept.written("target")


# Events, ledger and the graph as an object


def test_events_tell_who_wrote_what_as_it_is_written() -> None:
    run = think(["A.\n\n", "Wait…", "B.\n\n", "So…", END], ["Let me check…", "Fine…"])
    told = [
        (e["event"], e.get("rule"), [(t.source, t.status) for t in e.get("thoughts", [])])
        for e in run.events
        if e["event"] != "committed"
    ]
    assert told == [
        ("drafting", None, []),
        ("decided", None, [("draft", "accepted")]),
        ("probing", None, []),
        ("proposed", None, [("draft", "proposed")]),
        ("revising", "take_over", []),
        ("decided", None, [("draft", "rejected"), ("target", "revised")]),
        ("revising", "verify", []),
        ("decided", None, [("target", "revised")]),
        ("drafting", None, []),
        ("decided", None, [("draft", "accepted")]),
        ("probing", None, []),
        ("proposed", None, [("draft", "proposed")]),
        ("decided", None, [("draft", "rejected")]),
        ("drafting", None, []),
        ("decided", None, [("draft", "final")]),
        ("answered", None, []),
    ]
    stances = [event["stance"] for event in run.events if event["event"] == "proposed"]
    assert stances == ["reflection", "statement"]
    last: dict[int, Thought] = {}
    for event in run.events:
        last |= {thought.id: thought for thought in event.get("thoughts", [])}
    assert sorted(last.values(), key=lambda t: t.id) == sorted(
        run.solution.thoughts, key=lambda t: t.id
    )


def test_thoughts_have_their_own_ids_and_the_chain_is_connected() -> None:
    run = think(*reflecting(1), choose_target=False)
    ids = [thought.id for thought in run.solution.thoughts]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    path = run.solution.answer.path
    assert [thought.parent for thought in path] == [0, *(t.id for t in path[:-1])]
    assert [thought.depth for thought in path] == list(range(1, len(path) + 1))


def test_no_two_turns_of_a_run_share_a_seed_nor_do_runs_of_neighbouring_seeds() -> None:
    seeds = [call.params.seed for s in (0, 1) for call in think(*reflecting(1), seed=s).calls]
    assert len(set(seeds)) == len(seeds)


def test_models_draw_with_the_settings_of_the_run() -> None:
    run = think(["A.\n\n", "Wait…", END], ["B…"])
    assert {(c.params.temperature, c.params.top_p, c.params.top_k) for c in run.calls} == {
        (0.6, 0.95, 50)
    }
    other = think([END], temperature=0.0, top_p=0.5, top_k=3, min_p=0.1).calls[0].params
    assert (other.temperature, other.top_p, other.top_k, other.min_p) == (0.0, 0.5, 3, 0.1)


def test_the_ledger_tells_roles_and_what_was_thrown_away() -> None:
    run = think(["A.\n\n", "So…", "B.\n\n", "Wait…", END], ["Fine…"])
    ledger = run.solution.answer.ledger
    assert {(e.model, e.role) for e in ledger.entries} == {
        ("small", "drafted"),
        ("large", "revised"),
    }
    assert ledger.rejected.generated_tokens == 2 * N1
    assert ledger.kept.generated_tokens == len("A.\n\nB.\n\n" + END)
    assert ledger.total.generated_tokens == sum(len(t.tokens) for t in run.solution.thoughts)
    assert ledger.wall_seconds > 0


def test_an_answer_tells_the_share_that_the_target_wrote() -> None:
    run = think(["A.\n\n", "Wait…", END], ["Fine…"])
    assert run.solution.answer.target_share == pytest.approx(20 / (4 + 20 + len(END)))
    scope = Scope()
    scope.cancel.set()
    assert think([END], scope=scope).solution.answer.target_share == 0.0


def test_the_state_survives_the_strict_serialiser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langgraph._internal._serde.STRICT_MSGPACK_ENABLED", True)
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    draft, target = reflecting(1)
    graph = speculative_thinking(
        draft=Speaker("small", draft, []), target=Speaker("large", target, [])
    ).compile(checkpointer=saver)
    thread: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": 1000}
    events: list[Any] = []
    unregister = register_serde_event_listener(events.append)
    try:
        final = graph.invoke({"question": QUESTION}, thread)
        saved = graph.get_state(thread).values
        history = [snapshot.values for snapshot in graph.get_state_history(thread)]
    finally:
        unregister()
    assert events == []
    assert saved == final
    probes = [state["probe"] for state in history if state.get("probe")]
    assert len(probes) == 15
    assert all(isinstance(probe, Thought) for probe in probes)


def test_a_graph_without_a_context_runs_with_the_default_settings() -> None:
    calls: list[Any] = []
    small, large = Speaker("small", lambda _: END, calls), Speaker("large", lambda _: "", calls)
    compiled = speculative_thinking(draft=small, target=large).compile()
    assert compiled.invoke({"question": "2 + 2?"})["answer"].answer == "4"
    assert calls[0].num_tokens == ThinkingConfig().chunk_tokens


def test_the_graph_looks_as_it_is_drawn_in_the_documents() -> None:
    model = ScriptedModel(lambda *_: END)
    drawn = speculative_thinking(draft=model, target=model).compile().get_graph().draw_mermaid()
    page = (DOCS / "speculative_thinking.md").read_text(encoding="utf-8")
    assert drawn.strip() in page


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {"takeover_tokens": 0},
        {"verification_tokens": 0},
        {"recheck_tokens": 0},
        {"begin_tokens": 0},
        {"chunk_tokens": 0},
        {"max_tokens": 0},
        {"reflection_limit": 0},
        {"recheck_growth": -1},
        {"limit_growth": -1},
        {"max_recheck_tokens": 124},
        {"max_reflection_limit": 14},
        {"hint": " "},
        {"cues": "all"},
        {"counted": "all"},
        {"reasoning": "maybe"},
        {"temperature": -1.0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"min_p": 2.0},
        {"seed": -1},
        {"deadline": 0.0},
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, Any]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=name) as error:
        ThinkingConfig(**settings)
    assert str(value).strip() in str(error.value)


def test_every_setting_is_in_the_documents_with_its_default() -> None:
    page = (DOCS / "speculative_thinking.md").read_text(encoding="utf-8")
    for name in ThinkingConfig.__dataclass_fields__:
        value = getattr(ThinkingConfig(), name)
        shown = {True: "true", False: "false", None: "unset", "": "empty"}
        default = shown[value] if isinstance(value, bool | None) or value == "" else str(value)
        assert f"| `{name}` | {default} |" in page, name


# Real weights


@pytest.mark.weights
def test_a_hand_over_costs_one_prefill_of_what_the_other_wrote(smollm_path: Path) -> None:
    config = EngineConfig(context_size=2048, threads=1)
    with Engine(smollm_path, config=config) as draft, Engine(smollm_path, config=config) as target:
        settings = ThinkingConfig(task="general", not_reasoning=True, max_tokens=300, seed=1)
        solution = solve(
            "Tell me how to bake bread, in five paragraphs.",
            speculative_thinking(draft=draft, target=target),
            config=settings,
        )
    turns = sorted(solution.thoughts, key=lambda t: t.id)
    last: dict[str, int] = {}
    found = []
    for turn in turns[:-1]:  # the last is the forced answer, behind a cue
        before = path_to(turn.parent, turns)
        if turn.source in last:
            since = [t for t in before if t.id > last[turn.source] and t.source != turn.source]
            found.append((turn.usage.prompt_tokens, sum(len(t.tokens) for t in since)))
        last[turn.source] = turn.id
    assert {t.source for t in turns} == {"draft", "target"}
    assert sum(foreign > 0 for _, foreign in found) >= 4
    # one more: a prompt is never wholly cached; fewer: where a probe began as the target did
    assert all(1 <= computed <= foreign + 1 for computed, foreign in found), found
