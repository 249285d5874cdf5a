"""Process reward models: what each family reads, to the token, and its arithmetic by hand."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from forethought.chains import Chain, Step
from forethought.config import EngineConfig
from forethought.engine.template import ChatTemplate
from forethought.engine.torch_checkpoint import libraries
from forethought.engine.torch_reader import TorchReader
from forethought.engine.vocabulary import Vocabulary
from forethought.engine.weights import Weights
from forethought.errors import (
    ConfigError,
    EvaluatorError,
    MissingExtra,
    ModelFileError,
    UnknownModel,
)
from forethought.evaluators.causal_prm import CausalPrm
from forethought.evaluators.head_prm import HeadPrm
from forethought.evaluators.heads import Head, Layer, extract_head, load_head, save_head
from forethought.evaluators.tensors import write_tensors
from forethought.model import Message, Reading
from forethought.models import resolve
from forethought.prompts_prm import (
    MATH_PSA,
    MATH_SHEPHERD,
    QWEN_MATH_PRM,
    RLHFLOW_DEEPSEEK,
    RLHFLOW_MISTRAL,
    SKYWORK_PRM,
    TRL_PRM,
    StepMarks,
    StepTags,
    StepTurns,
)
from forethought.thoughts import Thought

BOS = 1
# tokens of the models' own vocabularies, by the text that they stand for
MISTRAL = {"ки": 12902, " ки": 12902, "+": 648, "-": 387}
QWEN = {
    " \n\n\n\n\n": 76325,
    " +": 488,
    " -": 481,
    "\n\n": 271,
    "\n": 198,
    "<|endoftext|>": 151643,
    "<extra_0>": 151651,
}
LLAMA = {"+": 10, "-": 12}

Judge = Callable[[list[int]], list[float]]
State = Callable[[list[int]], list[float]]


class FakeReader:
    """Knows some tokens, and takes each character that none covers for a token of its own."""

    name = "fake"
    vocabulary = "fake"
    context_size = 10_000

    def __init__(
        self,
        tokens: dict[str, int],
        *,
        start: list[int] | None = None,
        judge: Judge | None = None,
        state: State | None = None,
    ) -> None:
        self._tokens = tokens
        self._start = start or []
        self._judge = judge
        self._state = state
        self.choices: list[list[int]] = []

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        known = [one for one in self._tokens if special or not one.startswith("<")]
        ids = []
        while text:
            piece = max((one for one in known if text.startswith(one)), key=len, default=text[0])
            ids.append(self._tokens.get(piece) or character(piece))
            text = text[len(piece) :]
        return ids

    def start_tokens(self) -> list[int]:
        return list(self._start)

    def chat(self, messages: list[Message]) -> list[int]:
        turns = "".join(f"[{m['role']}]{m['content']}" for m in messages)
        return self.encode(turns + "[assistant]")

    def probs(self, prompts: list[list[int]], choices: list[list[int]]) -> list[list[float]]:
        assert self._judge is not None
        self.choices = choices
        return [self._judge(prompt) for prompt in prompts]

    def hidden(
        self, prompts: list[list[int]], *, layer: int | None = None
    ) -> list[NDArray[np.float32]]:
        assert self._state is not None
        assert layer is None
        return [np.array(self._state(prompt), np.float32) for prompt in prompts]

    def readings(self, prompts: list[list[int]], counts: list[int]) -> list[list[Reading]]:
        raise AssertionError


def character(one: str) -> int:
    return 1_000_000 + ord(one)


def characters(text: str) -> list[int]:
    return [character(one) for one in text]


def path_of(*texts: str) -> list[Thought]:
    steps = [Step(text, []) for text in texts]
    return Chain("p", "Q?", "7", "draft", "m", "v", steps, None, True).path()


PATH = path_of("A.\n\n", " B \n\n")


# What is read


def test_math_shepherd_reads_a_line_per_step_closed_by_its_tag() -> None:
    prm = CausalPrm(FakeReader(MISTRAL, start=[BOS]), MATH_SHEPHERD)
    assert MATH_SHEPHERD.text("Q?", ["A.", "B"]) == "Q? A. ки\nB ки"
    first = [BOS, *characters("Q? A."), 12902]
    assert prm.prompt("Q?", PATH[:1]) == first
    assert prm.prompt("Q?", PATH) == [*first, *characters("\nB"), 12902]


def test_math_psa_reads_one_text_with_its_tag_behind_each_step() -> None:
    prm = CausalPrm(FakeReader(QWEN), MATH_PSA)
    assert MATH_PSA.text("Q?", ["A.", "B"]) == "Q? A. \n\n\n\n\n B \n\n\n\n\n"
    first = [*characters("Q? A."), 76325]
    assert prm.prompt("Q?", PATH[:1]) == first
    assert prm.prompt("Q?", PATH) == [*first, *characters(" B"), 76325]


@pytest.mark.parametrize("form", [RLHFLOW_MISTRAL, RLHFLOW_DEEPSEEK], ids=lambda form: form.name)
def test_rlhflow_reads_a_turn_per_step_answered_by_plus(form: StepTurns) -> None:
    assert form.messages("Q?", ["A.", "B", "C"]) == [
        {"role": "user", "content": "Q? A."},
        {"role": "assistant", "content": "+"},
        {"role": "user", "content": "B"},
        {"role": "assistant", "content": "+"},
        {"role": "user", "content": "C"},
    ]
    reader = FakeReader(LLAMA)
    expected = reader.encode("[user]Q? A.[assistant]+[user]B[assistant]")
    assert CausalPrm(reader, form).prompt("Q?", PATH) == expected


def test_qwen_math_prm_reads_a_chat_with_its_mark_behind_each_step() -> None:
    reader = FakeReader(QWEN)
    system = "Please reason step by step, and put your final answer within \\boxed{}."
    opening = characters(f"[system]{system}[user]Q?[assistant]")
    prompt = HeadPrm(reader, QWEN_MATH_PRM, two_layers()).prompt("Q?", PATH)
    assert prompt == [*opening, *characters("A."), 151651, *characters("B"), 151651]


def test_skywork_reads_its_start_token_the_question_and_steps_closed_by_a_blank_line() -> None:
    prompt = HeadPrm(FakeReader(QWEN), SKYWORK_PRM, two_layers()).prompt("Q?", PATH)
    assert prompt == [151643, *characters("Q?"), 198, *characters("A."), 271, *characters("B"), 271]


def test_skywork_keeps_the_last_token_of_a_mark_of_several() -> None:
    form = replace(SKYWORK_PRM, mark=" \n", token_id=198)
    prompt = HeadPrm(FakeReader(QWEN), form, two_layers()).prompt("Q?", PATH[:1])
    assert prompt[-3:] == [*characters("A."), 198]


def test_trls_models_read_the_bare_question_and_steps_closed_by_the_separator() -> None:
    reader = FakeReader({"\n": 198}, start=[BOS])
    prompt = HeadPrm(reader, TRL_PRM, two_layers()).prompt("Q?", PATH)
    assert prompt == [BOS, *characters("Q?A."), 198, *characters("B"), 198]
    several = HeadPrm(reader, replace(TRL_PRM, mark="#\n"), two_layers()).prompt("Q?", PATH)
    assert several == [BOS, *characters("Q?A.#"), 198, *characters("B#"), 198]


@pytest.mark.parametrize("form", [MATH_SHEPHERD, SKYWORK_PRM], ids=lambda form: form.name)
def test_control_tokens_in_a_thought_stay_text(form: StepTags | StepMarks) -> None:
    said = path_of("<|endoftext|><extra_0>")
    reader = FakeReader({**QWEN, **MISTRAL})
    if isinstance(form, StepTags):
        prompt = CausalPrm(reader, form).prompt("Q?", said)
    else:
        prompt = HeadPrm(reader, form, two_layers()).prompt("Q?", said)
    assert 151651 not in prompt
    assert prompt.count(151643) == isinstance(form, StepMarks)


def test_blank_thoughts_are_left_out() -> None:
    prm = CausalPrm(FakeReader(MISTRAL), MATH_SHEPHERD)
    with_blanks = path_of("A.\n\n", " \n\n", "B", "\n\n")
    assert prm.prompt("Q?", with_blanks) == prm.prompt("Q?", path_of("A.", "B"))
    for path in ([], path_of(" \n\n")):
        with pytest.raises(EvaluatorError, match=f"a path of {len(path)} thoughts has no text"):
            prm.prompt("Q?", path)


# Scores by a token


@pytest.mark.parametrize(
    ("form", "tokens", "candidates"),
    [
        (MATH_SHEPHERD, MISTRAL, (648, 387)),
        (MATH_PSA, QWEN, (488, 481)),
        (RLHFLOW_MISTRAL, LLAMA, (10, 12)),
        (RLHFLOW_DEEPSEEK, LLAMA, (10, 12)),
    ],
    ids=["math-shepherd", "math-psa", "rlhflow-mistral", "rlhflow-deepseek"],
)
def test_a_score_is_the_softmax_over_the_two_answers(
    form: StepTags | StepTurns, tokens: dict[str, int], candidates: tuple[int, int]
) -> None:
    # logits 3 and 1 for good and bad, 0 for each of 98 others: softmax over the two is 1/(1+e^-2)
    total = math.exp(3) + math.exp(1) + 98
    row = [math.exp(3) / total, math.exp(1) / total]
    reader = FakeReader(tokens, judge=lambda _: row)
    prm = CausalPrm(reader, form)
    assert prm.score("Q?", [PATH]) == pytest.approx([0.8807970779778823])
    assert reader.choices == [[candidates[0]], [candidates[1]]]
    assert prm.name == f"{form.name}:fake"


def test_every_path_gets_the_score_of_its_own_last_step() -> None:
    def judge(prompt: list[int]) -> list[float]:
        return [0.03, 0.01] if prompt[-2] == character(".") else [0.01, 0.03]

    prm = CausalPrm(FakeReader(MISTRAL, judge=judge), MATH_SHEPHERD)
    scores = prm.score("Q?", [PATH[:1], PATH, path_of("C.")])
    assert scores == pytest.approx([0.75, 0.25, 0.75])
    assert all(type(score) is float for score in scores)


def test_no_paths_ask_no_model() -> None:
    mute = FakeReader({})
    assert CausalPrm(mute, MATH_SHEPHERD).score("Q?", []) == []
    assert HeadPrm(mute, QWEN_MATH_PRM, two_layers()).score("Q?", []) == []


def test_a_model_that_gives_neither_answer_a_probability_has_no_score() -> None:
    prm = CausalPrm(FakeReader(MISTRAL, judge=lambda _: [0.0, 0.0]), MATH_SHEPHERD)
    with pytest.raises(EvaluatorError, match=r"\[0\.0, 0\.0\]"):
        prm.score("Q?", [PATH])


@pytest.mark.parametrize(
    ("form", "tokens", "said"),
    [
        (MATH_SHEPHERD, LLAMA, "'ки' is .* not the token 12902"),
        (MATH_SHEPHERD, {**MISTRAL, "+": 10}, r"'\+' is \[10\] .* not the token 648"),
        (replace(MATH_SHEPHERD, token_ids=None), LLAMA, "'ки' is .* not one token"),
        (MATH_PSA, MISTRAL, "not the token 76325"),
        (RLHFLOW_MISTRAL, MISTRAL, r"'\+' is \[648\] .* not the token 10"),
    ],
)
def test_a_model_of_another_vocabulary_is_refused(
    form: StepTags | StepTurns, tokens: dict[str, int], said: str
) -> None:
    with pytest.raises(EvaluatorError, match=said):
        CausalPrm(FakeReader(tokens, judge=lambda _: [0.5, 0.5]), form).score("Q?", [PATH])


def test_a_tag_that_grows_into_its_step_is_refused() -> None:
    reader = FakeReader({**MISTRAL, "! ки": 7}, judge=lambda _: [0.5, 0.5])
    prm = CausalPrm(reader, MATH_SHEPHERD)
    assert prm.score("Q?", [PATH]) == [0.5]
    with pytest.raises(EvaluatorError, match="behind 'B!', the tag of math-shepherd"):
        prm.score("Q?", [path_of("A.", "B!")])


# Scores by a head


def two_layers() -> Head:
    """Reads [x, y] and weighs relu(x) and relu(1 - y)."""
    first = Layer(np.array([[1, 0], [0, -1]], np.float32), np.array([0, 1], np.float32))
    second = Layer(np.array([[1, 0], [3, 5]], np.float32), np.array([0, -1], np.float32))
    return Head((first, second), "softmax")


def one_number() -> Head:
    return Head((Layer(np.array([[2, -1]], np.float32), np.array([0.5], np.float32)),), "sigmoid")


@pytest.mark.parametrize(
    ("head", "state", "expected"),
    [
        # relu([1, -1]) = [1, 0]; logits [1, 2]; 1 / (1 + e^-1)
        (two_layers(), [1, 2], 0.7310585786300049),
        # relu([-4, 1]) = [0, 1]; logits [0, 4]; 1 / (1 + e^-4)
        (two_layers(), [-4, 0], 0.9820137900379085),
        (replace(two_layers(), activation="tanh"), [0, 1], 1 / (1 + math.exp(1))),
        # 2 * 1 - 3 + 0.5 = -0.5
        (one_number(), [1, 3], 0.3775406687981454),
        (one_number(), [1e4, 0], 1.0),
        (one_number(), [-1e4, 0], 0.0),
    ],
)
def test_a_heads_arithmetic(head: Head, state: list[float], expected: float) -> None:
    (score,) = head.apply([np.array(state, np.float32)])
    assert score == pytest.approx(expected, abs=1e-7)
    assert type(score) is float


@pytest.mark.parametrize("form", [QWEN_MATH_PRM, SKYWORK_PRM, TRL_PRM], ids=lambda form: form.name)
def test_a_head_scores_the_state_at_the_last_mark(form: StepMarks) -> None:
    mark = {QWEN_MATH_PRM: 151651, SKYWORK_PRM: 271, TRL_PRM: 198}[form]

    def state(prompt: list[int]) -> list[float]:
        assert prompt[-1] == mark
        return [1, 2] if prompt.count(mark) == 1 else [-4, 0]

    prm = HeadPrm(FakeReader(QWEN, state=state), form, two_layers())
    scores = prm.score("Q?", [PATH[:1], PATH])
    assert scores == pytest.approx([0.7310586, 0.9820138], abs=1e-6)
    assert prm.name == f"{form.name}:fake:{two_layers().fingerprint}"


def test_heads_are_told_apart_by_their_names() -> None:
    assert two_layers().fingerprint != one_number().fingerprint


@pytest.mark.parametrize(
    ("form", "tokens", "said"),
    [
        (QWEN_MATH_PRM, {}, "'<extra_0>' is .* not the token 151651"),
        (QWEN_MATH_PRM, {"<extra_0>": 9}, r"\[9\] .* not the token 151651"),
        (SKYWORK_PRM, {**QWEN, "\n\n": 9}, "ends with the token 9 .* not with 271"),
        (replace(SKYWORK_PRM, token_id=None), {}, r"'<\|endoftext\|>' is .* not one token"),
    ],
)
def test_a_head_on_a_model_of_another_vocabulary_is_refused(
    form: StepMarks, tokens: dict[str, int], said: str
) -> None:
    reader = FakeReader(tokens, state=lambda _: [0, 0])
    with pytest.raises(EvaluatorError, match=said):
        HeadPrm(reader, form, two_layers()).score("Q?", [PATH])


@pytest.mark.parametrize("state", [[1], [1, 2, 3], [math.nan, 0], [math.inf, 0], [3e38, -3e38]])
def test_states_that_do_not_fit_have_no_score(state: list[float]) -> None:
    with pytest.raises(EvaluatorError, match="belongs to another model"):
        one_number().apply([np.array(state, np.float32)])


def floats(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


def test_heads_of_unfit_layers_are_refused() -> None:
    for weight, bias in ((floats(2), floats(2)), (floats(2, 3), floats(3))):
        with pytest.raises(ConfigError, match=r"must be \[out, in\]"):
            Layer(weight, bias)
    with pytest.raises(ConfigError, match="must be float32, not float64"):
        Layer(np.zeros((1, 2)), floats(1))  # type: ignore[arg-type]
    narrow, wide = Layer(floats(2, 3), floats(2)), Layer(floats(1, 4), floats(1))
    for layers, output, said in (
        ((), "sigmoid", "at least one layer"),
        ((narrow, wide), "sigmoid", "4 inputs stands on 2 outputs"),
        ((narrow,), "sigmoid", "sigmoid needs 1 outputs, not 2"),
        ((wide,), "softmax", "softmax needs 2 outputs, not 1"),
        ((wide,), "max", "output must be one of softmax, sigmoid, not 'max'"),
    ):
        with pytest.raises(ConfigError, match=said):
            Head(layers, output)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="activation must be one of relu, tanh, not 'gelu'"):
        Head((wide,), "sigmoid", "gelu")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="info must not hold output"):
        Head((wide,), "sigmoid", info={"output": "1"})


# Heads in files


@pytest.mark.parametrize("head", [two_layers(), replace(one_number(), activation="tanh")])
def test_a_saved_head_is_loaded_as_it_was(head: Head, tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    save_head(replace(head, info={"model": "Größe", "layer": "12"}), file)
    loaded = load_head(file)
    assert (loaded.output, loaded.activation) == (head.output, head.activation)
    assert loaded.info == {"model": "Größe", "layer": "12"}
    assert loaded.fingerprint == head.fingerprint
    for one, other in zip(loaded.layers, head.layers, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_files_that_hold_no_head_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    with pytest.raises(UnknownModel, match="there is no file"):
        load_head(file)
    for data in (b"", b"GGUF", b"\xff" * 64, (2).to_bytes(8, "little") + b"[]"):
        file.write_bytes(data)
        with pytest.raises(ModelFileError, match="is no safetensors file"):
            load_head(file)
    write_tensors(file, {"layers.0.weight": floats(1, 2)}, {"format": "another"})
    with pytest.raises(ModelFileError, match="holds no head"):
        load_head(file)
    about = {"format": "forethought-head-1", "output": "sigmoid", "activation": "relu"}
    write_tensors(file, {"a": floats(1, 2), "b": floats(1)}, about)
    with pytest.raises(ModelFileError, match=r"missing: layers\.0\.weight"):
        load_head(file)
    save_head(one_number(), file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match=r"is damaged: .*bias is cut short"):
        load_head(file)


BODY = {"model.embed_tokens.weight": floats(4, 2)}


@pytest.mark.parametrize(
    ("names", "head"),
    [
        (("score.0", "score.2"), two_layers()),
        (("score",), Head((two_layers().layers[1],), "softmax")),
        (("v_head.summary",), one_number()),
    ],
)
def test_a_head_is_taken_out_of_a_checkpoint(
    names: tuple[str, ...], head: Head, tmp_path: Path
) -> None:
    tensors: dict[str, Any] = dict(BODY)
    for name, layer in zip(names, head.layers, strict=True):
        tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    write_tensors(tmp_path / "model.safetensors", tensors, {"format": "pt"})
    found = extract_head(tmp_path)
    state = [np.array([1, 3], np.float32)]
    assert found.apply(state) == head.apply(state)
    assert found.output == head.output
    assert found.info == {"checkpoint": tmp_path.name}


def test_a_head_is_found_across_shards(tmp_path: Path) -> None:
    head = two_layers()
    first, second = head.layers
    shards = {
        "1.safetensors": {**BODY, "score.2.weight": second.weight, "score.0.bias": first.bias},
        "2.safetensors": {"score.0.weight": first.weight, "score.2.bias": second.bias},
    }
    for name, tensors in shards.items():
        write_tensors(tmp_path / name, tensors, {})
    placed = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    state = [np.array([1, 2], np.float32)]
    assert extract_head(tmp_path).apply(state) == head.apply(state)
    (tmp_path / "2.safetensors").unlink()
    with pytest.raises(UnknownModel, match=r"2\.safetensors"):
        extract_head(tmp_path)
    index.write_text("{}")
    with pytest.raises(ModelFileError, match="no index"):
        extract_head(tmp_path)


def raw_checkpoint(directory: Path, kind: str, data: bytes, shape: list[int]) -> Path:
    entry = {"dtype": kind, "shape": shape, "data_offsets": [0, len(data)]}
    header = json.dumps({"score.weight": entry}).encode()
    file = directory / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return directory


def test_bfloat16_is_read_and_a_missing_bias_is_zero(tmp_path: Path) -> None:
    # 1.5 is 0x3FC0 as bfloat16, -2 is 0xC000
    checkpoint = raw_checkpoint(tmp_path, "BF16", bytes.fromhex("c03f00c0"), [1, 2])
    (layer,) = extract_head(checkpoint).layers
    np.testing.assert_array_equal(layer.weight, [[1.5, -2.0]])
    np.testing.assert_array_equal(layer.bias, [0.0])


def test_checkpoints_without_a_readable_head_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="there is no file"):
        extract_head(tmp_path)
    with pytest.raises(ModelFileError, match="of type I8"):
        extract_head(raw_checkpoint(tmp_path, "I8", b"12", [1, 2]))
    with pytest.raises(ModelFileError, match="cut short"):
        extract_head(raw_checkpoint(tmp_path, "F32", b"12", [1, 2]))
    write_tensors(tmp_path / "model.safetensors", BODY, {})
    with pytest.raises(EvaluatorError, match="has no head"):
        extract_head(tmp_path)


# Torch


def test_a_torch_reader_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    libraries.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'forethought\[transformers\]'"):
        TorchReader("anything")


# The real vocabulary of Qwen2.5


class VocabularyReader(FakeReader):
    """A real vocabulary with no model behind it."""

    def __init__(self, weights: Weights) -> None:
        super().__init__({})
        self._vocabulary = Vocabulary(weights)
        self._template = ChatTemplate(weights, self._vocabulary)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        return self._vocabulary.encode(text, special=special)

    def chat(self, messages: list[Message]) -> list[int]:
        return self._template.tokens(messages)


@pytest.fixture(scope="module")
def qwen() -> Iterator[VocabularyReader]:
    weights = Weights.load(resolve("qwen2.5-coder-0.5b", quant="original"), EngineConfig())
    yield VocabularyReader(weights)
    weights.close()


@pytest.mark.pair
def test_qwens_vocabulary_has_the_documented_ids(qwen: VocabularyReader) -> None:
    for text, token in QWEN.items():
        if text != "<extra_0>":
            assert qwen.encode(text, special=True) == [token]
    assert MATH_PSA.token_ids == (76325, 488, 481)
    assert SKYWORK_PRM.token_id == 271
    # the printable bytes are numbered as in Llama 3's vocabulary, which has these ids too
    assert (qwen.encode("+"), qwen.encode("-")) == ([10], [12])


@pytest.mark.pair
def test_siblings_share_their_prompts_in_qwens_vocabulary(qwen: VocabularyReader) -> None:
    path = path_of("So 3 + 4 = 7.", "- it\n- ends\n\n", "  (odd) `x  ` ...", "ки 12", "\\boxed{7}")
    prms: list[CausalPrm | HeadPrm] = [
        CausalPrm(qwen, MATH_PSA),
        HeadPrm(qwen, SKYWORK_PRM, two_layers()),
        HeadPrm(qwen, TRL_PRM, two_layers()),
    ]
    for prm in prms:
        for question in ("How many?", "Code:\n\n", " 7 ", "x = 1 \n\n\n\n\n"):
            whole = prm.prompt(question, path)
            for end in range(1, len(path)):
                prefix = prm.prompt(question, path[:end])
                assert whole[: len(prefix)] == prefix


@pytest.mark.pair
def test_a_qwen_without_the_mark_is_refused(qwen: VocabularyReader) -> None:
    # 151651 is <|quad_end|> in Qwen2.5's own vocabulary, whose place <extra_0> took in the PRM's
    assert qwen.encode("<|quad_end|>", special=True) == [151651]
    with pytest.raises(EvaluatorError, match=r"'<extra_0>' is .* not the token 151651"):
        HeadPrm(qwen, QWEN_MATH_PRM, two_layers()).prompt("Q?", PATH)
