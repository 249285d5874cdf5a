"""The probe and the small PRM without weights: what they read, and which files they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluator_contract import Subject, contract_test, path_of

from forethought.engine import ScriptedModel
from forethought.engine.header import BASE, header_texts
from forethought.errors import ModelFileError, UnknownModel
from forethought.evaluators import Head, Layer, Probe, SmallPrm, load_probe, save_head, trained
from forethought.evaluators.small_prm import opening_tokens
from forethought.evaluators.trained import adapter_prefix, shipped, ships
from forethought.prompts import MATH
from forethought.prompts_prm import SMALL_PRM

HEAD = Head((Layer(np.ones((1, 8), np.float32), np.zeros(1, np.float32)),), output="sigmoid")


class FileModel(ScriptedModel):
    """A scripted model that says it came from a file."""

    path = Path("model.gguf")


def model() -> FileModel:
    return FileModel(lambda *_: "", judge=lambda prompt: [0.2 + len(prompt) % 7 / 10, 0.3])


def broken() -> ScriptedModel:
    return ScriptedModel(lambda *_: "", judge=lambda _: [0.0, 0.0])


def wide() -> Probe:
    layer = Layer(np.ones((1, 9), np.float32), np.zeros(1, np.float32))
    return Probe(model(), MATH, Head((layer,), output="sigmoid"))


test_contract = contract_test(
    [
        Subject("probe", lambda: Probe(model(), MATH, HEAD, 3), broken=(wide,), tolerance=1e-6),
        Subject("small-prm", lambda: SmallPrm(model()), broken=(lambda: SmallPrm(broken()),)),
    ]
)


def test_the_probe_reads_the_closed_path_where_it_was_trained() -> None:
    reader = model()
    path = path_of("One.\n\n", "Two.")
    (score,) = Probe(reader, MATH, HEAD, 3).score("Q?", [path])
    prompt = reader.chat(MATH.messages("Q?")) + reader.encode("One.\n\nTwo.\n\n")
    (state,) = reader.hidden([prompt], layer=3)
    assert score == pytest.approx(1 / (1 + np.exp(-state.sum())), rel=1e-5)


def test_the_small_prm_answers_behind_the_closed_path() -> None:
    prompts: list[str] = []

    def judge(prompt: str) -> list[float]:
        prompts.append(prompt)
        return [0.3, 0.1]

    prm = SmallPrm(ScriptedModel(lambda *_: "", judge=judge))
    assert prm.score(" Q? ", [path_of("One.\n\n", "Two.")]) == [pytest.approx(0.75)]
    assert prompts == ["Q?\n\nOne.\n\nTwo.\n\n"]
    assert opening_tokens(model(), "Q", SMALL_PRM) == [ord(c) for c in "Q\n\n"]


def test_a_probe_is_refused_on_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forethought.evaluators.trained.weights_identity", lambda _: "abc")
    path = tmp_path / "p.safetensors"
    info = {"kind": "probe", "layer": "7", BASE: "abc", "base": "that model"}
    save_head(Head(HEAD.layers, "sigmoid", info=info), path)
    assert load_probe(path, model(), MATH).layer == 7
    save_head(Head(HEAD.layers, "sigmoid", info={**info, BASE: "other", "layer": "0"}), path)
    with pytest.raises(ModelFileError, match="trained on that model"):
        load_probe(path, model(), MATH)
    with pytest.raises(ModelFileError, match="from a GGUF file"):
        load_probe(path, broken(), MATH)
    save_head(HEAD, path)
    with pytest.raises(ModelFileError, match="no probe"):
        load_probe(path, model(), MATH)
    with pytest.raises(UnknownModel):
        load_probe(tmp_path / "none", model(), MATH)


def test_where_nothing_ships_the_message_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forethought.evaluators.trained.weights_identity", lambda _: "f" * 64)
    for reader in (model(), broken()):
        assert not ships("probe", reader)
        with pytest.raises(ModelFileError, match="forethought train probe"):
            shipped("probe", reader)


def test_what_ships_says_what_it_is_and_belongs_to_its_name() -> None:
    folder = Path(trained.__file__).parent / "shipped"
    files = list(folder.iterdir())
    assert files
    for path in files:
        info = header_texts(path, adapter_prefix("prm"))
        assert path.name == f"prm-{info[BASE][:16]}.gguf"
        assert {"base", "labels", "trained_on", "auc_last", "pairs"} <= set(info)
