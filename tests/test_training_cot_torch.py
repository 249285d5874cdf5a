"""Training a draft and a selector on tiny random weights: losses against slow ones, and what torch
trains is what the engine computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from tiny_models import write_checkpoint, write_gguf  # noqa: E402 - only where torch is
from tiny_vocabularies import Kind  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from forethought.chains import Chain, Step  # noqa: E402
from forethought.config import EngineConfig  # noqa: E402
from forethought.config_cot import CotConfig  # noqa: E402
from forethought.engine import Engine  # noqa: E402
from forethought.engine.header import header_texts, weights_identity  # noqa: E402
from forethought.errors import ConfigError, ModelFileError  # noqa: E402
from forethought.evaluators.trained import check_adapter  # noqa: E402
from forethought.nodes.selection import Selector  # noqa: E402
from forethought.prompts import MATH  # noqa: E402
from forethought.training.draft import (  # noqa: E402
    ChainExample,
    DraftConfig,
    DraftTrainer,
    chain_examples,
    train_draft,
)
from forethought.training.encoder import open_encoder  # noqa: E402
from forethought.training.lora import LoraConfig, Progress  # noqa: E402
from forethought.training.selector import (  # noqa: E402
    SelectionExample,
    SelectorConfig,
    SelectorTrainer,
    check_selector,
    selection_examples,
    selections,
    train_selector,
)
from forethought.training.split import split_by_question  # noqa: E402
from forethought.training.trainer import LoraTrainer  # noqa: E402

pytestmark = pytest.mark.torch

KINDS: tuple[Kind, ...] = ("mistral", "qwen2", "llama")
DRAFT = DraftConfig(rate=2e-2, epochs=6)
SELECTOR = SelectorConfig(rate=2e-2, epochs=6, num_drafts=3, max_tokens=500)
EXACT = EngineConfig(context_size=1024, max_sequences=16, kv_type="f32", flash_attention=False)

CHAINS = [
    ChainExample([70, 71, 72, 80, 81, 82, 83], 3),
    ChainExample([70, 90, 91, 92, 93], 1),
    ChainExample([70, 71, 72, 73, 74, 80, 81], 5),
    ChainExample([70, 72, 80, 85, 80, 85, 80, 85], 2),
]
PICKS = [
    SelectionExample([70, 71, 72], [60]),
    SelectionExample([71, 72, 73, 74, 75], [61, 62]),
    SelectionExample([72, 73, 74], [60, 61, 62, 63]),
]


class Tiny:
    """One tiny model as a checkpoint and as a GGUF file."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.checkpoint = write_checkpoint(kind, folder / "checkpoint")
        self.gguf = write_gguf(kind, self.checkpoint, folder / "base.gguf", "F32")

    def model(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.checkpoint, dtype=torch.float32)

    def draft(self, config: LoraConfig = DRAFT) -> DraftTrainer:
        return DraftTrainer(self.model(), config)

    def selector(self, config: LoraConfig = SELECTOR) -> SelectorTrainer:
        return SelectorTrainer(self.model(), config)


@pytest.fixture(scope="module", params=KINDS)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny("qwen2", tmp_path_factory.mktemp("one"))


def questions(num: int, sources: tuple[str, ...] = ("target",)) -> list[Chain]:
    """Sums, of which every second solution is right, but of every third question none."""
    found = []
    for number in range(num):
        for place, source in enumerate(sources):
            total = number + 3 + (place + number) % 2 + number % 3 // 2
            texts = [f"{number} + 3 = {total}.\n\n", f"So it's \\boxed{{{total}}}."]
            found.append(
                Chain(
                    problem=str(number),
                    question=f"What is {number} + 3?",
                    answer=str(number + 3),
                    source="target" if source == "target" else "draft",
                    model="m",
                    vocabulary="another",
                    steps=[Step(text, []) for text in texts],
                    stated=str(total),
                    is_right=total == number + 3,
                )
            )
    return found


def ignore(_: Progress) -> None:
    pass


# Losses against slow ones


def slow_chain_loss(model: Any, example: ChainExample) -> float:
    """One token after the other, each read behind a prompt of its own."""
    losses = []
    for end in range(example.start, len(example.tokens)):
        with torch.no_grad():
            logits = model(torch.tensor([example.tokens[:end]])).logits[0, -1].double()
        losses.append(-float(logits.log_softmax(0)[example.tokens[end]]))
    return sum(losses) / len(losses)


def slow_pick_loss(model: Any, example: SelectionExample) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([example.tokens])).logits[0, -1].double()
    whole = math.log(sum(math.exp(value) for value in logits.tolist()))
    return min(whole - float(logits[answer]) for answer in example.answers)


def test_a_chains_loss_is_the_mean_over_its_own_tokens(one: Tiny) -> None:
    model = one.model().eval()
    slow = [slow_chain_loss(model, example) for example in CHAINS]
    trainer = one.draft()
    trainer.model.eval()
    each = [float(trainer.loss([example]).detach()) for example in CHAINS]
    assert each == pytest.approx(slow, abs=1e-4)
    together = float(trainer.loss(CHAINS).detach())
    assert together == pytest.approx(sum(slow) / len(slow), abs=1e-4)
    assert trainer.mean_loss(CHAINS) == pytest.approx(sum(slow) / len(slow), abs=1e-4)


def test_the_selectors_loss_is_the_least_over_the_right_answers(one: Tiny) -> None:
    model = one.model().eval()
    slow = [slow_pick_loss(model, example) for example in PICKS]
    trainer = one.selector()
    trainer.model.eval()
    each = [float(trainer.loss([example]).detach()) for example in PICKS]
    assert each == pytest.approx(slow, abs=1e-4)
    assert float(trainer.loss(PICKS).detach()) == pytest.approx(sum(slow) / 3, abs=1e-4)


def computed_logits(trainer: LoraTrainer[Any], batch: list[Any]) -> Any:
    """All logits that a loss computes, with the gradient they get."""
    seen: list[Any] = []

    def keep(_: object, __: object, output: Any) -> None:
        output.retain_grad()
        seen.append(output)

    head = trainer.model.base_model.model.get_output_embeddings()
    hook = head.register_forward_hook(keep)
    trainer.loss(batch).backward()
    hook.remove()
    (logits,) = seen
    return logits


def test_question_tokens_get_no_gradient(one: Tiny) -> None:
    logits = computed_logits(one.draft(), [CHAINS[0]])
    assert logits.shape[1] == len(CHAINS[0].tokens) - CHAINS[0].start
    early, late = CHAINS[1], CHAINS[2]
    logits = computed_logits(one.draft(), [early, late])
    learned = logits.grad.abs().sum(-1) > 0
    # from the place before a chain's first token to that before its last
    assert learned.tolist() == [[True] * 4 + [False] * 2, [False] * 4 + [True] * 2]


def test_only_the_last_place_of_a_selection_is_computed(one: Tiny) -> None:
    assert computed_logits(one.selector(), [PICKS[1]]).shape[1] == 1


# Training


@pytest.mark.parametrize("recompute", [False, True])
def test_training_lowers_the_losses(one: Tiny, tmp_path: Path, recompute: bool) -> None:
    config = replace(DRAFT, recompute=recompute)
    pairs: list[tuple[LoraTrainer[Any], list[Any]]] = [
        (one.draft(config), CHAINS),
        (one.selector(replace(SELECTOR, recompute=recompute)), PICKS),
    ]
    for trainer, examples in pairs:
        untouched = trainer.mean_loss(examples)
        trainer.train([examples] * 6, tmp_path / "c", ignore)
        losses = trainer.losses(examples)
        assert losses.num_examples == len(examples)
        assert losses.before == pytest.approx(untouched, abs=1e-6)
        assert losses.after < 0.8 * losses.before


def test_recomputed_activations_change_nothing(one: Tiny, tmp_path: Path) -> None:
    kept, recomputed = (one.draft(replace(DRAFT, recompute=flag)) for flag in (False, True))
    for trainer in (kept, recomputed):
        trainer.train([CHAINS], tmp_path / "c", ignore)
    for name, pair in kept.pairs().items():
        assert pair.b == pytest.approx(recomputed.pairs()[name].b, abs=1e-6)
    counts = []
    for trainer in (kept, recomputed):
        calls: list[object] = []
        block = trainer.model.base_model.model.model.layers[1].mlp
        hook = block.register_forward_pre_hook(lambda *_, calls=calls: calls.append(None))
        trainer.model.train()
        trainer.loss(CHAINS).backward()
        hook.remove()
        counts.append(len(calls))
    assert counts == [1, 2]


def test_a_run_that_was_cut_off_draws_the_same_dropout(one: Tiny, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(progress: Progress) -> None:
        if progress.step == 27:
            raise Killed

    config = replace(DRAFT, epochs=8, dropout=0.3)
    whole, cut, resumed = (one.draft(config) for _ in range(3))
    epochs = [CHAINS] * config.epochs
    whole.train(epochs, tmp_path / "a", ignore)
    with pytest.raises(Killed):
        cut.train(epochs, tmp_path / "b", kill)
    torch.manual_seed(99)  # whatever was drawn in between
    steps: list[int] = []
    resumed.train(epochs, tmp_path / "b", lambda progress: steps.append(progress.step))
    assert steps[0] == 26
    for name, pair in whole.pairs().items():
        assert pair.b.tolist() == resumed.pairs()[name].b.tolist()


def test_a_checkpoint_of_other_chains_is_refused(one: Tiny, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == 26:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.draft().train([CHAINS] * 7, tmp_path / "c", stop)
    others = [replace(CHAINS[0], start=4), *CHAINS[1:]]
    with pytest.raises(ConfigError, match="other settings or chains"):
        one.draft().train([others] * 7, tmp_path / "c", ignore)


def test_by_default_queries_and_values_of_all_blocks_are_adapted(one: Tiny) -> None:
    names = one.draft().pairs()
    assert {name.rsplit(".", 1)[1] for name in names} == {"q_proj", "v_proj"}
    assert {name.split(".")[2] for name in names} == {"0", "1", "2"}
    upper = one.draft(replace(DRAFT, layers=1)).pairs()
    assert {name.split(".")[2] for name in upper} == {"2"}


def test_a_projection_that_no_model_has_is_an_error(one: Tiny) -> None:
    with pytest.raises(ConfigError, match="cannot adapt x_proj"):
        one.draft(replace(DRAFT, projections=("x_proj",)))


def test_the_learning_rate_rises_and_falls() -> None:
    plain = LoraConfig(rate=1e-2)
    assert [plain.rate_at(step, 4) for step in (1, 2, 3, 4)] == pytest.approx(
        [1e-2, 7.5e-3, 5e-3, 2.5e-3]
    )
    warm = LoraConfig(rate=1e-2, warm_up=0.5)
    assert [warm.rate_at(step, 4) for step in (1, 2, 3)] == pytest.approx([5e-3, 7.5e-3, 5e-3])


# What the engine makes of it


def test_the_adapted_engines_logits_are_torchs(tiny: Tiny, tmp_path: Path) -> None:
    trainer = tiny.draft()
    trainer.train([CHAINS] * 6, tmp_path / "c", ignore)
    path = tmp_path / "draft.gguf"
    trainer.export(path, "draft", {"base_sha256": weights_identity(tiny.gguf)})
    with torch.no_grad():  # the adapter is kept in float16
        for name, values in trainer.model.named_parameters():
            if "lora_" in name:
                values.copy_(values.half().float())
    trainer.model.eval()
    prompt = CHAINS[3].tokens
    with torch.no_grad():
        expected = trainer.model(torch.tensor([prompt])).logits[0].log_softmax(-1)
    with Engine(tiny.gguf, config=EXACT, adapter=path) as engine:
        (readings,) = engine.readings([prompt], [len(prompt) - 1])
        choices = [[token] for token in range(0, 250, 7)]
        (row,) = engine.probs([prompt], choices)
    given = [reading.logprob for reading in readings]
    wanted = [float(expected[i, token]) for i, token in enumerate(prompt[1:])]
    assert given == pytest.approx(wanted, abs=1e-3)
    logs = [float(expected[-1, token]) for (token,) in choices]
    assert [math.log(value) for value in row] == pytest.approx(logs, abs=1e-3)
    with Engine(tiny.gguf, config=EXACT) as base, base.adapted(path) as adapted:
        assert adapted.readings([prompt], [1])[0][0].logprob == pytest.approx(given[-1], abs=1e-5)
        untrained = base.readings([prompt], [len(prompt) - 1])[0]
    assert max(abs(a.logprob - b) for a, b in zip(untrained, given, strict=True)) > 0.1


def test_an_engine_refuses_what_was_trained_on_another_model(one: Tiny, tmp_path: Path) -> None:
    other = write_checkpoint("qwen2", tmp_path / "other", seed=1)
    file = write_gguf("qwen2", other, tmp_path / "other.gguf", "F32")
    path = tmp_path / "selector.gguf"
    info = {"base_sha256": weights_identity(one.gguf), "base": "that-model"}
    one.selector().export(path, "selector", info)
    check_adapter(path, "selector")
    with pytest.raises(ModelFileError, match="no aligned draft: make one with `forethought train"):
        check_adapter(path, "draft")
    with pytest.raises(ModelFileError, match="trained on that-model, not on other"):
        Engine(file, config=EXACT, adapter=path)
    with Engine(file, config=EXACT) as engine:
        with pytest.raises(ModelFileError, match=r"\(forethought train selector\)"):
            engine.adapted(path)
        assert engine.probs([[5, 6]], [[7]])


# Examples, and the whole way


def test_a_chain_stands_behind_the_drafts_prompt_and_ends_its_turn(tiny: Tiny) -> None:
    (chain,) = questions(1)
    with Engine(tiny.gguf, config=EXACT) as engine:
        opening = engine.chat(MATH.messages(chain.question))
        written = engine.encode("".join(step.text for step in chain.steps))
        own = replace(chain, vocabulary=engine.vocabulary, steps=[Step("x", [65, 66])])
        with engine.open_vocabulary() as vocabulary:
            end = vocabulary.end_tokens()
            assert len(end) == 1
            assert vocabulary.is_end(end[0])
    with open_encoder(tiny.gguf, max_tokens=1000) as encoder:
        first, second = chain_examples([chain, own], encoder, CotConfig())
        with pytest.raises(ConfigError, match="none of 2 chains"):
            chain_examples(
                [replace(chain, source="draft"), replace(chain, stated=None)], encoder, CotConfig()
            )
    assert first == ChainExample(opening + written + end, len(opening))
    assert second.tokens[second.start :] == [65, 66, *end]
    with (
        open_encoder(tiny.gguf, max_tokens=len(first.tokens) - 1) as encoder,
        pytest.raises(ConfigError, match="raise max_tokens"),
    ):
        chain_examples([chain], encoder, CotConfig())


def test_a_thinking_draft_learns_the_block_and_its_end(
    one: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forethought.thinking_tags.is_reasoning_model", lambda _: True)
    plain = questions(1)[0]
    thought = replace(plain, stated=None, steps=[Step("Well.\n</think>\n\nSo 3.", [])])
    cut = replace(thought, steps=[Step("Well", [])])
    with open_encoder(one.gguf, max_tokens=1000) as encoder:
        examples = chain_examples([plain, thought, cut], encoder, CotConfig())
        texts = [encoder.decode(e.tokens[e.start :]) for e in examples]
        assert encoder.decode(examples[0].tokens[: examples[0].start]).endswith("<think>\n")
    assert texts == [
        "0 + 3 = 3.\n\nSo it's \\boxed{3}.\n</think>",
        "Well.\n</think>",
    ]


def test_selections_are_asked_as_the_graph_asks_them(one: Tiny) -> None:
    found = selections(questions(2, ("draft",) * 3), 3)
    with Engine(one.gguf, config=EXACT) as engine:
        asks = Selector(engine)
        examples = selection_examples(found, asks, SELECTOR)
        numbers = asks.numbers(4)
        assert examples[0].tokens == asks.prompt(found[0].question, found[0].texts())
    assert [found[0].right, found[1].right] == [[1, 3], [2]]
    assert examples[0].answers == numbers[0] + numbers[2]
    assert examples[1].answers == numbers[1]


def whole_way(
    train: Callable[..., Any], one: Tiny, out: Path, config: LoraConfig
) -> dict[str, str]:
    sources = ("draft", "draft", "draft", "target")
    data = split_by_question(questions(30, sources))
    losses = train(one.gguf, data, config=config, out=out, report=ignore)
    kind = "draft" if isinstance(config, DraftConfig) else "selector"
    info = header_texts(out, f"forethought.{kind}.")
    assert info["kind"] == kind
    assert info["base_sha256"] == weights_identity(one.gguf)
    assert float(info["loss_after"]) == pytest.approx(losses.after, abs=1e-4)
    assert losses.after < losses.before
    return info


def test_the_whole_way_to_an_aligned_draft(one: Tiny, tmp_path: Path) -> None:
    info = whole_way(train_draft, one, tmp_path / "d.gguf", replace(DRAFT, epochs=1))
    assert info["task"] == "math"
    num_chains = int(info["trained_on"].split()[0])
    assert 20 <= num_chains < 30


def test_the_whole_way_to_a_selector(one: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "s.gguf"
    config = replace(SELECTOR, epochs=1, layers=1)
    info = whole_way(train_selector, one, out, config)
    assert info["num_drafts"] == "3"
    assert int(info["trained_on"].split()[0]) % 3 == 0
    found = selections(questions(4, ("draft",) * 3), 3)
    with Engine(one.gguf, config=EXACT, adapter=out) as adapted:
        check = check_selector(adapted, found)
    assert check.num_solvable + check.num_unsolvable == 4
