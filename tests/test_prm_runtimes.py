"""Process reward models on tiny random weights: each family's score is the same on llama.cpp, on
transformers, and in a few lines of torch that follow the family's own code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from safetensors import safe_open  # noqa: E402
from tiny_models import (  # noqa: E402 - only where torch is
    NUM_BLOCKS,
    WIDTH,
    add_head,
    make_lively,
    write_checkpoint,
    write_gguf,
)
from tiny_vocabularies import Kind  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from forethought.chains import Chain, Step  # noqa: E402
from forethought.config import EngineConfig  # noqa: E402
from forethought.engine import Engine  # noqa: E402
from forethought.engine.torch_reader import TorchReader  # noqa: E402
from forethought.errors import (  # noqa: E402
    ConfigError,
    EvaluatorError,
    ModelLoadError,
    PromptTooLong,
    UnknownModel,
)
from forethought.evaluators.causal_prm import CausalPrm  # noqa: E402
from forethought.evaluators.head_prm import HeadPrm  # noqa: E402
from forethought.evaluators.heads import Head, Layer, extract_head, load_head, save_head  # noqa: E402
from forethought.model import Reader, RunStopped, Scope, run_scope  # noqa: E402
from forethought.prompts_prm import (  # noqa: E402
    MATH_PSA,
    MATH_SHEPHERD,
    QWEN_MATH_PRM,
    RLHFLOW_MISTRAL,
    SKYWORK_PRM,
    TRL_PRM,
    StepMarks,
    StepTags,
    StepTurns,
)
from forethought.thoughts import Thought  # noqa: E402

pytestmark = pytest.mark.torch

KINDS: tuple[Kind, ...] = ("mistral", "qwen2", "llama")
QUESTION = "A jar holds 12 nuts. Ann takes 5 and puts 3 back. How many are in it?"
# float32 all through: what is left is the order of summation
EXACT = EngineConfig(
    context_size=2048,
    max_sequences=16,
    kv_type="f32",
    flash_attention=False,
    hidden_states=True,
)

# llama.cpp rounds activations to float16 before it multiplies them with float16 weights
TOLERANCE = {"F32": 1e-5, "F16": 1e-3}

# the tiny vocabularies have other ids than the models that the formats belong to
CAUSAL: list[tuple[Kind, StepTags | StepTurns]] = [
    ("mistral", replace(MATH_SHEPHERD, token_ids=None)),
    ("qwen2", replace(MATH_PSA, token_ids=None)),
    ("llama", replace(RLHFLOW_MISTRAL, token_ids=None)),
]
QWEN = replace(QWEN_MATH_PRM, token_id=None)
SKYWORK = replace(SKYWORK_PRM, token_id=None)
each_causal = pytest.mark.parametrize(("kind", "form"), CAUSAL, ids=lambda given: str(given)[:7])
each_kind = pytest.mark.parametrize("kind", KINDS)
each_type = pytest.mark.parametrize("numbers", ["F32", "F16"])


def path_of(*texts: str) -> list[Thought]:
    steps = [Step(text + "\n\n", []) for text in texts]
    return Chain("p", QUESTION, "10", "draft", "m", "v", steps, None, True).path()


WHOLE = path_of("First, 12 - 5 = 7.", "Then 7 + 3 = 10; the rest stays.", "So it's \\boxed{10}.")
PATHS = [
    WHOLE[:1],
    WHOLE[:2],
    WHOLE,
    path_of("12 + 5 = 17"),
    path_of("First, 12 - 5 = 7.", "Then 7 - 3 = 4?"),
    path_of("Ünïts: \n* nuts\n* jars <|im_end|> ки"),
]


@dataclass(frozen=True)
class Tiny:
    """The files of the tiny models."""

    folder: Path

    def checkpoint(self, kind: Kind) -> Path:
        return self.folder / kind

    def gguf(self, kind: Kind, numbers: str) -> Path:
        return self.folder / f"{kind}-{numbers}.gguf"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    found = Tiny(tmp_path_factory.mktemp("tiny"))
    for kind in KINDS:
        write_checkpoint(kind, found.checkpoint(kind))
        for numbers in ("F32", "F16"):
            write_gguf(kind, found.checkpoint(kind), found.gguf(kind, numbers), numbers)
    return found


@pytest.fixture(scope="module")
def torch_readers(tiny: Tiny) -> dict[Kind, TorchReader]:
    return {kind: TorchReader(tiny.checkpoint(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def engines(tiny: Tiny) -> Iterator[dict[tuple[Kind, str], Engine]]:
    with ExitStack() as opened:
        yield {
            (kind, numbers): opened.enter_context(Engine(tiny.gguf(kind, numbers), config=EXACT))
            for kind in KINDS
            for numbers in ("F32", "F16")
        }


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def native(kind_of_model: Any, checkpoint: Path) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    return tokenizer, kind_of_model.from_pretrained(checkpoint).eval()


def steps_of(path: list[Thought]) -> list[str]:
    return [thought.text.strip() for thought in path]


def prefixes(path: list[Thought]) -> list[list[Thought]]:
    return [path[:end] for end in range(1, len(path) + 1)]


def random_head(*shapes: tuple[int, int], names: tuple[str, ...]) -> dict[str, Any]:
    numbers = np.random.default_rng(3)
    tensors = {}
    for name, (rows, columns) in zip(names, shapes, strict=True):
        weight = 1.5 * numbers.normal(size=(rows, columns)) / columns**0.5
        tensors[f"{name}.weight"] = weight.astype(np.float32)
        tensors[f"{name}.bias"] = numbers.normal(size=rows).astype(np.float32) / 8
    return tensors


# Scores by a token


@each_type
@each_causal
def test_both_runtimes_give_one_score(
    kind: Kind,
    form: StepTags | StepTurns,
    numbers: str,
    torch_readers: dict[Kind, TorchReader],
    engines: dict[tuple[Kind, str], Engine],
) -> None:
    slow = CausalPrm(torch_readers[kind], form)
    fast = CausalPrm(engines[kind, numbers], form)
    assert [fast.prompt(QUESTION, p) for p in PATHS] == [slow.prompt(QUESTION, p) for p in PATHS]
    scores = slow.score(QUESTION, PATHS)
    assert fast.score(QUESTION, PATHS) == pytest.approx(scores, abs=TOLERANCE[numbers])
    assert max(scores) - min(scores) > 0.02
    assert all(type(score) is float and 0.0 <= score <= 1.0 for score in scores)


@each_causal
def test_an_engine_as_users_open_it_stays_close(
    kind: Kind, form: StepTags | StepTurns, tiny: Tiny, torch_readers: dict[Kind, TorchReader]
) -> None:
    scores = CausalPrm(torch_readers[kind], form).score(QUESTION, PATHS)
    with Engine(tiny.gguf(kind, "F16"), config=EngineConfig(context_size=2048)) as engine:
        assert CausalPrm(engine, form).score(QUESTION, PATHS) == pytest.approx(scores, abs=2e-3)


@pytest.mark.parametrize(
    ("kind", "form", "text"),
    [
        (*CAUSAL[0], "{question} {0} ки\n{1} ки\n{2} ки\n"),
        (*CAUSAL[1], "{question} {0} \n\n\n\n\n {1} \n\n\n\n\n {2} \n\n\n\n\n "),
    ],
    ids=["math-shepherd", "math-psa"],
)
def test_tags_are_read_where_openr_reads_them(
    kind: Kind, form: StepTags, text: str, tiny: Tiny, torch_readers: dict[Kind, TorchReader]
) -> None:
    tokenizer, model = native(AutoModelForCausalLM, tiny.checkpoint(kind))
    # with more than one tag in the text, all steps are scored in one forward pass
    ids = torch.tensor([tokenizer.encode(text.format(*steps_of(WHOLE), question=QUESTION))])
    good, bad, tag = (
        tokenizer.encode(piece, add_special_tokens=False)[-1]
        for piece in (form.good, form.bad, form.tag)
    )
    shares = model(ids).logits[:, :, [good, bad]].softmax(dim=-1)[:, :, 0]
    expected = shares[ids == tag].tolist()
    assert len(expected) == len(WHOLE)
    scores = CausalPrm(torch_readers[kind], form).score(QUESTION, prefixes(WHOLE))
    assert scores == pytest.approx(expected, abs=1e-5)


def test_turns_are_read_where_rlhflow_reads_them(
    tiny: Tiny, torch_readers: dict[Kind, TorchReader]
) -> None:
    kind, form = CAUSAL[2]
    tokenizer, model = native(AutoModelForCausalLM, tiny.checkpoint(kind))
    good, bad = (tokenizer.encode(piece)[-1] for piece in "+-")
    turns: list[dict[str, str]] = []
    expected = []
    for number, step in enumerate(steps_of(WHOLE)):
        said = step if number else f"{QUESTION} {step}"
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": "+"}]
        rendered = tokenizer.apply_chat_template(turns, tokenize=False)
        ids = torch.tensor([tokenizer.encode(rendered, add_special_tokens=False)])
        assert ids[0, -2] == good
        expected.append(float(model(ids).logits[0, -3, [good, bad]].softmax(dim=-1)[0]))
    scores = CausalPrm(torch_readers[kind], form).score(QUESTION, prefixes(WHOLE))
    assert scores == pytest.approx(expected, abs=1e-5)


@each_causal
def test_siblings_share_all_but_their_last_step(
    kind: Kind, form: StepTags | StepTurns, torch_readers: dict[Kind, TorchReader]
) -> None:
    prm = CausalPrm(torch_readers[kind], form)
    for path in PATHS:
        *_, parent, whole = [[], *(prm.prompt(QUESTION, part) for part in prefixes(path))]
        assert whole[: len(parent)] == parent


# Scores by a head


def mlp_head() -> dict[str, Any]:
    return random_head((WIDTH, WIDTH), (2, WIDTH), names=("score.0", "score.2"))


@each_type
@pytest.mark.parametrize(
    ("kind", "form", "head"),
    [
        ("qwen2", QWEN, mlp_head()),
        ("qwen2", SKYWORK, random_head((1, WIDTH), names=("v_head.summary",))),
        *((kind, TRL_PRM, random_head((2, WIDTH), names=("score",))) for kind in KINDS),
    ],
    ids=["qwen", "skywork", "trl-mistral", "trl-qwen2", "trl-llama"],
)
def test_both_runtimes_give_one_score_by_a_head(
    kind: Kind,
    form: StepMarks,
    head: dict[str, Any],
    numbers: str,
    tiny: Tiny,
    engines: dict[tuple[Kind, str], Engine],
    tmp_path: Path,
) -> None:
    checkpoint = add_head(tiny.checkpoint(kind), tmp_path / "prm", "SomeProcessRewardModel", head)
    saved = tmp_path / "head.safetensors"
    save_head(extract_head(checkpoint), saved)
    slow = HeadPrm(TorchReader(checkpoint), form, extract_head(checkpoint))
    fast = HeadPrm(engines[kind, numbers], form, load_head(saved))
    assert [fast.prompt(QUESTION, p) for p in PATHS] == [slow.prompt(QUESTION, p) for p in PATHS]
    scores = slow.score(QUESTION, PATHS)
    assert fast.score(QUESTION, PATHS) == pytest.approx(scores, abs=TOLERANCE[numbers])
    assert max(scores) - min(scores) > 0.02
    assert all(type(score) is float and 0.0 <= score <= 1.0 for score in scores)


@each_kind
def test_a_token_classifier_scores_as_transformers_own_class(
    kind: Kind, tiny: Tiny, tmp_path: Path
) -> None:
    config = AutoConfig.from_pretrained(tiny.checkpoint(kind), num_labels=2)
    torch.manual_seed(1)
    model = AutoModelForTokenClassification.from_config(config).eval()
    make_lively(model)
    model.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny.checkpoint(kind))
    tokenizer.save_pretrained(tmp_path)
    # as trl's PRMTrainer.tokenize_row
    ids = tokenizer(QUESTION, add_special_tokens=False)["input_ids"]
    if tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id, *ids]
    ends = []
    for step in steps_of(WHOLE):
        ids += tokenizer(step, add_special_tokens=False)["input_ids"]
        ids += tokenizer.encode("\n", add_special_tokens=False)
        ends.append(len(ids) - 1)
    expected = model(torch.tensor([ids])).logits[0, ends].softmax(dim=-1)[:, 1].tolist()
    scores = HeadPrm(TorchReader(tmp_path), TRL_PRM, extract_head(tmp_path)).score(
        QUESTION, prefixes(WHOLE)
    )
    assert scores == pytest.approx(expected, abs=1e-5)


class QwenProcessRewardModel(torch.nn.Module):  # type: ignore[misc]
    """Qwen2.5-Math-PRM's architecture."""

    def __init__(self, checkpoint: Path, head: dict[str, Any]) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(checkpoint).eval()
        self.score = torch.nn.Sequential(
            torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 2)
        )
        weights = {name.removeprefix("score."): torch.tensor(head[name]) for name in head}
        self.score.load_state_dict(weights)

    def forward(self, ids: Any) -> Any:
        return self.score(self.model(ids).last_hidden_state)


def test_a_qwen_prm_scores_as_its_model_card_does(tiny: Tiny, tmp_path: Path) -> None:
    checkpoint, head = tiny.checkpoint("qwen2"), mlp_head()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    answer = "<extra_0>".join(steps_of(WHOLE)) + "<extra_0>"
    turns = [
        {
            "role": "system",
            "content": "Please reason step by step, and put your final answer within \\boxed{}.",
        },
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": answer},
    ]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = torch.tensor([tokenizer.encode(rendered)])
    shares = QwenProcessRewardModel(checkpoint, head)(ids).softmax(dim=-1)[:, :, 1]
    expected = shares[ids == tokenizer.convert_tokens_to_ids("<extra_0>")].tolist()
    assert len(expected) == len(WHOLE)
    directory = add_head(checkpoint, tmp_path / "prm", "Qwen2ForProcessRewardModel", head)
    prm = HeadPrm(TorchReader(directory), QWEN, extract_head(directory))
    assert prm.score(QUESTION, prefixes(WHOLE)) == pytest.approx(expected, abs=1e-5)


def test_a_skywork_prm_scores_as_its_inference_code_does(tiny: Tiny, tmp_path: Path) -> None:
    checkpoint = tiny.checkpoint("qwen2")
    head = random_head((1, WIDTH), names=("v_head.summary",))
    tokenizer, model = native(AutoModel, checkpoint)
    ids = tokenizer.encode("<|endoftext|>" + QUESTION + "\n")
    ends = []
    for step in steps_of(WHOLE):
        ids += [*tokenizer.encode(step), tokenizer.encode("\n\n")[-1]]
        ends.append(len(ids) - 1)
    weight, bias = (torch.tensor(head[f"v_head.summary.{part}"]) for part in ("weight", "bias"))
    states = model(torch.tensor([ids])).last_hidden_state[0, ends]
    expected = (states @ weight.T + bias).sigmoid()[:, 0].tolist()
    directory = add_head(checkpoint, tmp_path / "prm", "Qwen2ForPrmModel", head)
    prm = HeadPrm(TorchReader(directory), SKYWORK, extract_head(directory))
    assert prm.score(QUESTION, prefixes(WHOLE)) == pytest.approx(expected, abs=1e-5)


def test_the_safetensors_package_reads_what_is_written_here(tmp_path: Path) -> None:
    layer = Layer(np.arange(6, dtype=np.float32).reshape(1, 6), np.ones(1, np.float32))
    save_head(Head((layer,), "sigmoid", info={"model": "Größe"}), tmp_path / "head")
    with safe_open(tmp_path / "head", framework="numpy") as file:
        assert file.metadata()["model"] == "Größe"
        np.testing.assert_array_equal(file.get_tensor("layers.0.weight"), layer.weight)
        np.testing.assert_array_equal(file.get_tensor("layers.0.bias"), layer.bias)


def test_a_head_of_another_width_is_refused(torch_readers: dict[Kind, TorchReader]) -> None:
    layer = Layer(np.ones((1, WIDTH + 1), np.float32), np.zeros(1, np.float32))
    head = Head((layer,), "sigmoid")
    with pytest.raises(EvaluatorError, match="belongs to another model"):
        HeadPrm(torch_readers["qwen2"], SKYWORK, head).score(QUESTION, PATHS)


# The readers themselves


def prompts_of(reader: Reader) -> list[list[int]]:
    texts = ["One.", "Two words of a longer prompt.", "3 + 4 = 7\n\nSo 7.", "One. And then some."]
    return [reader.start_tokens() + reader.encode(text) for text in texts]


@each_kind
def test_a_batch_is_read_as_its_prompts_are_alone(
    kind: Kind,
    tiny: Tiny,
    torch_readers: dict[Kind, TorchReader],
    engines: dict[tuple[Kind, str], Engine],
) -> None:
    choices = [[5], [9, 12]]
    narrow = TorchReader(tiny.checkpoint(kind), batch_tokens=40)
    readers: list[Reader] = [torch_readers[kind], narrow, engines[kind, "F32"]]
    for reader in readers:
        prompts = prompts_of(reader)
        together = reader.probs(prompts, choices)
        alone = [reader.probs([prompt], choices)[0] for prompt in prompts]
        np.testing.assert_allclose(together, alone, rtol=1e-4)
        assert len({row[0] for row in together}) == len(prompts)
        states = reader.hidden(prompts)
        alone_states = [reader.hidden([prompt])[0] for prompt in prompts]
        np.testing.assert_allclose(states, alone_states, atol=1e-4)


@each_kind
@pytest.mark.parametrize("layer", [None, *range(1, NUM_BLOCKS + 1)])
def test_both_runtimes_have_the_same_hidden_states(
    kind: Kind,
    layer: int | None,
    torch_readers: dict[Kind, TorchReader],
    engines: dict[tuple[Kind, str], Engine],
) -> None:
    prompts = prompts_of(torch_readers[kind])
    slow = torch_readers[kind].hidden(prompts, layer=layer)
    fast = engines[kind, "F32"].hidden(prompts, layer=layer)
    np.testing.assert_allclose(fast, slow, atol=1e-4)
    assert all(state.shape == (WIDTH,) and state.dtype == np.float32 for state in slow)


@each_kind
def test_both_runtimes_meet_tokens_alike(
    kind: Kind,
    torch_readers: dict[Kind, TorchReader],
    engines: dict[tuple[Kind, str], Engine],
) -> None:
    prompts = prompts_of(torch_readers[kind])
    counts = [1, 2, len(prompts[2]) - 1, 7]
    slow = torch_readers[kind].readings(prompts, counts)
    fast = engines[kind, "F32"].readings(prompts, counts)
    assert [len(row) for row in slow] == counts
    for one, other in zip(chain(*slow), chain(*fast), strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert one.entropy == pytest.approx(other.entropy, abs=1e-4)
        assert one.certainty == pytest.approx(other.certainty, abs=1e-4)


@each_kind
def test_both_runtimes_encode_alike_and_leave_control_tokens_of_others_text(
    kind: Kind,
    torch_readers: dict[Kind, TorchReader],
    engines: dict[tuple[Kind, str], Engine],
) -> None:
    slow, fast = torch_readers[kind], engines[kind, "F32"]
    control = "<extra_0>" if kind == "qwen2" else "</s>" if kind == "mistral" else "<|eot_id|>"
    for text in ("", " a\n\n\n\n\n b", "12345 Ünï ки", f"a{control}b"):
        assert fast.encode(text) == slow.encode(text)
        assert fast.encode(text, special=True) == slow.encode(text, special=True)
    assert len(slow.encode(control)) > 1
    assert len(slow.encode(control, special=True)) == 1
    assert fast.start_tokens() == slow.start_tokens()
    assert bool(slow.start_tokens()) is (kind != "qwen2")
    said = [{"role": "user", "content": f" a {control} b "}]
    assert fast.chat(said) == slow.chat(said)  # type: ignore[arg-type]
    assert slow.chat(said).count(slow.encode(control, special=True)[0]) == (kind == "llama")  # type: ignore[arg-type]


def test_a_torch_readers_calls_are_metered_and_stop_with_their_run(
    torch_readers: dict[Kind, TorchReader],
) -> None:
    reader = torch_readers["qwen2"]
    prompts, scope = prompts_of(reader), Scope()
    with run_scope(scope):
        reader.hidden(prompts)
        usage = scope.meter.totals()[reader.name]
        assert usage.prompt_tokens == sum(map(len, prompts))
        assert usage.seconds > 0
        scope.cancel.set()
        with pytest.raises(RunStopped, match="cancelled"):
            reader.probs(prompts, [[1]])
    assert scope.meter.totals()[reader.name] == usage


def test_a_torch_reader_refuses_what_it_cannot_read(
    torch_readers: dict[Kind, TorchReader],
) -> None:
    reader = torch_readers["llama"]
    assert reader.probs([], [[1]]) == []
    assert len(reader.hidden([[1] * reader.context_size])) == 1
    for prompt in ([], [1] * (reader.context_size + 1)):
        with pytest.raises(PromptTooLong, match=f"{len(prompt)} tokens"):
            reader.hidden([prompt])
    with pytest.raises(ConfigError, match="at least one token id"):
        reader.probs([[1]], [])
    with pytest.raises(ConfigError, match="count must lie in"):
        reader.readings([[1]], [1])
    for layer in (0, NUM_BLOCKS + 1):
        with pytest.raises(ConfigError, match=f"layer must be in 1..{NUM_BLOCKS}"):
            reader.hidden([[1]], layer=layer)


def test_a_checkpoint_with_a_head_has_hidden_states_only(tiny: Tiny, tmp_path: Path) -> None:
    head = random_head((2, WIDTH), names=("score",))
    reader = TorchReader(add_head(tiny.checkpoint("qwen2"), tmp_path / "prm", "X", head))
    assert len(reader.hidden([[1, 2]])) == 1
    with pytest.raises(ConfigError, match="opened without an output layer"):
        reader.probs([[1, 2]], [[1]])


def test_checkpoints_that_cannot_be_opened_say_why(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="there is no checkpoint"):
        TorchReader(tmp_path / "nowhere")
    headless = add_head(tiny.checkpoint("qwen2"), tmp_path / "headless", "Qwen2ForCausalLM", {})
    with pytest.raises(ModelLoadError, match=r"lacks weights of its own model: lm_head\.weight"):
        TorchReader(headless)
    weights = headless / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelLoadError, match="cannot open"):
        TorchReader(headless)
