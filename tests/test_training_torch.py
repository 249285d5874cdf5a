"""Training the small PRM on tiny random weights: what torch trains is what the engine computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from tiny_models import write_checkpoint, write_gguf  # noqa: E402 - only where torch is
from tiny_vocabularies import Kind  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from forethought.chains import Chain, Step  # noqa: E402
from forethought.config import EngineConfig  # noqa: E402
from forethought.engine import Engine  # noqa: E402
from forethought.engine.header import header_texts, weights_identity  # noqa: E402
from forethought.engine.vocabulary import Vocabulary  # noqa: E402
from forethought.engine.weights import Weights  # noqa: E402
from forethought.errors import ConfigError, ModelFileError, ModelLoadError  # noqa: E402
from forethought.evaluators.small_prm import answer_tokens, open_small_prm  # noqa: E402
from forethought.evaluators.trained import adapter_prefix  # noqa: E402
from forethought.prompts_prm import SMALL_PRM  # noqa: E402
from forethought.training.adapter import shape_of, write_adapter  # noqa: E402
from forethought.training.base_model import load_base  # noqa: E402
from forethought.training.lora import Progress  # noqa: E402
from forethought.training.prm import PrmConfig, PrmTrainer, make_examples  # noqa: E402
from forethought.training.small_prm import train_small_prm  # noqa: E402

pytestmark = pytest.mark.torch

KINDS: tuple[Kind, ...] = ("mistral", "qwen2", "llama")
CONFIG = PrmConfig(rank=4, layers=2, rate=2e-2, epochs=20, batch_tokens=200)
EXACT = EngineConfig(context_size=1024, max_sequences=16, kv_type="f32", flash_attention=False)


def chains(model: Engine | Vocabulary, num: int = 16) -> list[Chain]:
    """Right sums and wrong ones."""
    found = []
    for number in range(num):
        total = number + 3 + number % 2
        texts = [f"{number} + 3 = {total}.\n\n", f"So it's \\boxed{{{total}}}."]
        steps = [Step(text, model.encode(text)) for text in texts]
        question = f"What is {number} + 3?"
        found.append(
            Chain(question, question, "", "draft", "m", "", steps, None, is_right=number % 2 == 0)
        )
    return found


class Tiny:
    """One tiny model: its checkpoint, its GGUF file, and its chains as examples."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.checkpoint = write_checkpoint(kind, folder / "checkpoint")
        self.gguf = write_gguf(kind, self.checkpoint, folder / "base.gguf", "F32")
        header = Weights.header(self.gguf)
        vocabulary = Vocabulary(header)
        self.chains = chains(vocabulary)
        self.examples = make_examples(self.chains, vocabulary, CONFIG)
        self.answers = answer_tokens(vocabulary, SMALL_PRM)
        header.close()

    def trainer(self, config: PrmConfig = CONFIG) -> PrmTrainer:
        base = AutoModelForCausalLM.from_pretrained(self.checkpoint, dtype=torch.float32)
        return PrmTrainer(base, self.answers, config)


@pytest.fixture(scope="module", params=KINDS)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny("qwen2", tmp_path_factory.mktemp("one"))


def trained(tiny: Tiny, folder: Path) -> tuple[PrmTrainer, list[Progress]]:
    trainer, reports = tiny.trainer(), list[Progress]()
    trainer.train([tiny.examples] * CONFIG.epochs, folder / "checkpoint", reports.append)
    return trainer, reports


def test_the_engine_scores_with_the_adapter_as_torch_does(tiny: Tiny, tmp_path: Path) -> None:
    untrained = [score for row in tiny.trainer().score(tiny.examples) for score in row]
    trainer, _ = trained(tiny, tmp_path)
    expected = [score for row in trainer.score(tiny.examples) for score in row]
    path = tmp_path / "prm.gguf"
    trainer.export(path, "prm", {"base_sha256": weights_identity(tiny.gguf)})
    with Engine(tiny.gguf, config=EXACT) as base, open_small_prm(path, base, config=EXACT) as prm:
        given = []
        for chain in tiny.chains:
            whole = [replace(t, vocabulary=base.vocabulary) for t in chain.path()]
            given += prm.score(chain.question, [whole[:1], whole])
        before = base.probs([base.encode("So")], [[token] for token in tiny.answers])
    with Engine(tiny.gguf, config=EXACT) as plain:
        assert before == plain.probs([plain.encode("So")], [[token] for token in tiny.answers])
    # the adapter is kept in float16
    assert given == pytest.approx(expected, abs=3e-3)
    assert max(abs(a - b) for a, b in zip(given, untrained, strict=True)) > 0.1


def test_training_learns_what_it_is_shown(one: Tiny, tmp_path: Path) -> None:
    _, reports = trained(one, tmp_path)
    assert reports[-1].step == reports[-1].num_steps
    assert reports[-1].loss < 0.6 * reports[0].loss


def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(one: Tiny, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(progress: Progress) -> None:
        if progress.step == 30:
            raise Killed

    config = replace(CONFIG, epochs=12)
    whole, cut, resumed = (one.trainer(config) for _ in range(3))
    examples = [one.examples] * config.epochs
    whole.train(examples, tmp_path / "a", lambda _: None)
    with pytest.raises(Killed):
        cut.train(examples, tmp_path / "b", kill)
    steps: list[int] = []
    resumed.train(examples, tmp_path / "b", lambda progress: steps.append(progress.step))
    assert steps[0] == 26
    for name, pair in whole.pairs().items():
        assert torch.allclose(torch.tensor(pair.b), torch.tensor(resumed.pairs()[name].b))
    assert not (tmp_path / "b").exists()


def test_a_checkpoint_of_other_settings_is_refused(one: Tiny, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == 26:
            raise KeyboardInterrupt

    config = replace(CONFIG, epochs=12)
    examples = [one.examples] * config.epochs
    with pytest.raises(KeyboardInterrupt):
        one.trainer(config).train(examples, tmp_path / "c", stop)
    other = one.trainer(replace(config, rate=1e-3))
    with pytest.raises(ConfigError, match="other settings"):
        other.train(examples, tmp_path / "c", lambda _: None)


def test_padding_does_not_move_a_score(one: Tiny) -> None:
    trainer = one.trainer(replace(CONFIG, batch_tokens=10_000))
    alone = one.trainer(replace(CONFIG, batch_tokens=1))
    together = [score for row in trainer.score(one.examples) for score in row]
    one_by_one = [score for row in alone.score(one.examples) for score in row]
    assert together == pytest.approx(one_by_one, abs=1e-5)


def test_only_the_upper_blocks_are_adapted(one: Tiny) -> None:
    names = one.trainer(replace(CONFIG, layers=1)).pairs()
    last = max(int(name.split(".")[2]) for name in names)
    assert {name.split(".")[2] for name in names} == {str(last)}
    assert len(names) == 5


def test_a_gguf_file_gives_back_the_weights_it_was_made_of(tiny: Tiny) -> None:
    base = load_base(tiny.gguf)
    original = AutoModelForCausalLM.from_pretrained(tiny.checkpoint, dtype=torch.bfloat16)
    tokens = torch.tensor([[5, 9, 20, 31]])
    with torch.no_grad():
        ours, theirs = base(tokens).logits, original(tokens).logits
    assert torch.allclose(ours.float(), theirs.float(), atol=0.05)


def test_a_file_of_another_kind_is_no_base(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF and nothing else")
    with pytest.raises(ModelLoadError, match=r"x\.gguf"):
        load_base(path)


def test_the_whole_way_from_chains_to_a_file_that_knows_its_base(one: Tiny, tmp_path: Path) -> None:
    with Engine(one.gguf, config=EXACT) as engine:
        found = chains(engine, num=60)
    out = tmp_path / "prm.gguf"
    config = replace(CONFIG, epochs=2)
    ranking = train_small_prm(one.gguf, found, config=config, out=out, report=lambda _: None)
    info = header_texts(out, adapter_prefix("prm"))
    assert info["base_sha256"] == weights_identity(one.gguf)
    assert info["kind"] == "prm"
    assert ranking.num_chains + int(info["trained_on"].split()[0]) == 60
    other = write_checkpoint("qwen2", tmp_path / "other", seed=1)
    file = write_gguf("qwen2", other, tmp_path / "other.gguf", "F32")
    with Engine(file, config=EXACT) as engine, pytest.raises(ModelFileError, match="trained on"):
        open_small_prm(out, engine).__enter__()


def test_an_adapted_engine_outlives_the_one_it_shares_weights_with(
    one: Tiny, tmp_path: Path
) -> None:
    path = tmp_path / "zero.gguf"
    trainer = one.trainer()  # untrained: the update is zero
    shape = shape_of(trainer.model.config)
    write_adapter(path, trainer.pairs(), shape=shape, alpha=8.0, metadata={})
    base = Engine(one.gguf, config=EXACT)
    expected = base.probs([[5, 6]], [[7]])
    with base.adapted(path) as adapted:
        base.close()
        assert adapted.name == "base+zero"
        assert adapted.plan.weights == 0
        assert adapted.probs([[5, 6]], [[7]]) == expected


def test_an_adapter_that_is_none_is_refused(one: Tiny, tmp_path: Path) -> None:
    with Engine(one.gguf, config=EXACT) as engine:
        with pytest.raises(ModelFileError, match="no small PRM"):
            open_small_prm(one.gguf, engine).__enter__()
        with pytest.raises(ModelLoadError, match="cannot apply"):
            engine.adapted(one.gguf)
        assert engine.probs([[5, 6]], [[7]])


def test_examples_without_room_are_an_error() -> None:
    with pytest.raises(ConfigError, match="at most"):
        make_examples([], Letters(), CONFIG)


class Letters:
    """One token per character."""

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def start_tokens(self) -> list[int]:
        return []
