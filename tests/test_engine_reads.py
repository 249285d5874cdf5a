"""What the engine reads off prompts: hidden states and how tokens are met, on real weights."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import variant

from forethought.config import EngineConfig
from forethought.engine import Engine
from forethought.engine.header import header_texts, weights_identity
from forethought.errors import ConfigError, ModelLoadError, PromptTooLong, UnknownModel
from forethought.model import RunStopped, Scope, run_scope

pytestmark = pytest.mark.weights

TEXT = "The farmer has 12 hens and buys 7 more, so there are 12 + 7 = 19 hens in the yard now."


@pytest.fixture(scope="module")
def engine(smollm_path: Path) -> Iterator[Engine]:
    config = EngineConfig(
        context_size=2048, max_sequences=4, batch_tokens=32, threads=1, hidden_states=True
    )
    with Engine(smollm_path, config=config) as opened:
        yield opened


def test_tokens_are_met_as_their_probabilities_say(engine: Engine) -> None:
    prompt = engine.encode(TEXT)
    (readings,) = engine.readings([prompt], [len(prompt) - 1])
    assert len(readings) == len(prompt) - 1
    for end in (1, 5, len(prompt) - 1):
        ((probability,),) = engine.probs([prompt[:end]], [[prompt[end]]])
        assert math.exp(readings[end - 1].logprob) == pytest.approx(probability, rel=0.02, abs=1e-6)


def test_readings_describe_the_whole_distribution(engine: Engine) -> None:
    prompt = engine.encode("Two plus two is four")
    ((reading,),) = engine.readings([prompt], [1])
    ids = [[token] for token in range(engine._vocabulary.size)]
    (row,) = engine.probs([prompt[:-1]], ids)
    p = np.array(row)
    assert reading.entropy == pytest.approx(float(-(p * np.log(p)).sum()), rel=1e-3)
    certainty = float(-np.log(len(p)) - np.log(p).mean())
    assert reading.certainty == pytest.approx(certainty, rel=1e-3)


def test_more_rows_are_read_than_one_batch_may_hand_out(engine: Engine) -> None:
    prompt = engine.encode(TEXT * 4)
    prompts = [prompt[: len(prompt) - n] for n in range(6)]
    counts = [len(p) - 1 for p in prompts]
    together = engine.readings(prompts, counts)
    assert [len(rows) for rows in together] == counts
    alone = engine.readings(prompts[2:3], counts[2:3])[0]
    given = [reading.logprob for reading in together[2]]
    # where cells lie moves the rounding a little
    assert given == pytest.approx([reading.logprob for reading in alone], abs=0.2)


@pytest.mark.parametrize("layer", [None, 1, 15, 30])
def test_states_of_a_batch_are_those_of_each_prompt_alone(
    engine: Engine, layer: int | None
) -> None:
    prompts = [engine.encode(TEXT)[:n] for n in (3, 9, 20, 21)]
    together = engine.hidden(prompts, layer=layer)
    for prompt, state in zip(prompts, together, strict=True):
        (alone,) = engine.hidden([prompt], layer=layer)
        assert alone.shape == (engine.width,)
        assert np.dot(alone, state) > 0.999 * np.linalg.norm(alone) * np.linalg.norm(state)
    assert not np.allclose(together[0], together[1], rtol=0.1)


def test_layers_differ_and_lie_within_the_model(engine: Engine) -> None:
    prompt = engine.encode(TEXT)
    first, last, final = (engine.hidden([prompt], layer=n)[0] for n in (1, engine.num_layers, None))
    assert not np.allclose(first, last)
    assert not np.allclose(last, final)
    for layer in (0, engine.num_layers + 1):
        with pytest.raises(ConfigError, match="layer must lie in"):
            engine.hidden([prompt], layer=layer)


def test_generation_goes_on_beside_reading(engine: Engine) -> None:
    prompt = engine.encode(TEXT)
    before = engine.probs([prompt], [[5], [6]])
    states: list[object] = []
    threads = [
        threading.Thread(target=lambda: states.append(engine.hidden([prompt], layer=9)[0])),
        threading.Thread(target=lambda: states.append(engine.readings([prompt], [4])[0])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(states) == 2
    assert engine.probs([prompt], [[5], [6]])[0] == pytest.approx(before[0], rel=0.05)


def test_what_cannot_be_read_is_refused(engine: Engine, smollm: Engine) -> None:
    prompt = engine.encode("One two three")
    with pytest.raises(ConfigError, match="hidden_states=True"):
        smollm.hidden([prompt])
    for count in (0, len(prompt)):
        with pytest.raises(ConfigError, match="count must lie in"):
            engine.readings([prompt], [count])
    with pytest.raises(ConfigError, match="1 counts for 2 prompts"):
        engine.readings([prompt, prompt], [1])
    with pytest.raises(PromptTooLong):
        engine.hidden([prompt * 2000])
    scope = Scope()
    scope.cancel.set()
    with run_scope(scope), pytest.raises(RunStopped):
        engine.readings([prompt], [1])
    assert engine.hidden([]) == engine.readings([], []) == []


def test_a_model_keeps_its_identity_through_quantisation(smollm_path: Path) -> None:
    identity = weights_identity(smollm_path)
    assert identity == weights_identity(variant("smollm2-135m", "q8_0"))
    assert len(identity) == 64
    assert header_texts(smollm_path, "general.")["architecture"] == "llama"


def test_a_header_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        weights_identity(tmp_path / "none.gguf")
    path = tmp_path / "torn.gguf"
    path.write_bytes(b"GGUF\x03\x00\x00\x00torn")
    with pytest.raises(ModelLoadError, match="damaged"):
        header_texts(path, "general.")
