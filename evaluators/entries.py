"""The table of evaluators that have a name, and how each is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from forethought.config import require_one_of
from forethought.errors import ConfigError
from forethought.evaluators.aggregate import Aggregate
from forethought.evaluators.agreement import Agreement
from forethought.evaluators.causal_prm import CausalPrm
from forethought.evaluators.digit_judge import DigitJudge
from forethought.evaluators.ensemble import Ensemble
from forethought.evaluators.equations import Equations
from forethought.evaluators.evaluator import Evaluator
from forethought.evaluators.head_prm import HeadPrm
from forethought.evaluators.heads import load_head
from forethought.evaluators.judge import Judge
from forethought.evaluators.likelihood import Likelihood
from forethought.evaluators.probe import load_probe
from forethought.evaluators.shortlist import Shortlist
from forethought.evaluators.small_prm import SmallPrm
from forethought.evaluators.trained import check_adapter, shipped, ships
from forethought.evaluators.visible_tests import VisibleTests
from forethought.model import Reader
from forethought.prompts import MATH, Task
from forethought.prompts_prm import (
    MATH_PSA,
    MATH_SHEPHERD,
    QWEN_MATH_PRM,
    RLHFLOW_DEEPSEEK,
    RLHFLOW_MISTRAL,
    SKYWORK_PRM,
    TRL_PRM,
)

Role = Literal["draft", "target"]


class Opens(Protocol):
    """Opens models for evaluators; closing them is its own affair."""

    def model(self, file: str) -> Reader:
        """The model in a file."""
        ...

    def adapted(self, base: Reader, adapter: Path) -> Reader:
        """The weights of `base` with a LoRA adapter applied."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What evaluators are built from. `draft` and `target` are None where they are not open;
    `opener` opens what else an evaluator reads with."""

    draft: Reader | None
    target: Reader | None
    task: Task
    opener: Opens | None = None

    @property
    def opens(self) -> Opens:
        """Opens models. Raises ConfigError where none are opened."""
        if self.opener is None:
            raise ConfigError("no model is opened here: give an evaluator that reads with the pair")
        return self.opener


@dataclass(frozen=True, slots=True)
class Entry:
    """An evaluator that has a name.

    `build` gets the parts, the reader where `reads_with` names the role that reads unless the spec
    names another, and the spec's arguments, which `arguments` describes; the first `num_required`
    of them cannot be left out, and the last may hold colons. `needs` is what it needs beside the
    pair's weights, `cost` what a thought costs, in words; `needs_states`: it reads hidden states;
    `asks_draft`: it looks at the draft, too, whoever reads.
    """

    name: str
    about: str
    build: Callable[..., Evaluator]
    cost: str
    needs: str = ""
    reads_with: Role | None = "target"
    needs_states: bool = False
    asks_draft: bool = False
    arguments: tuple[str, ...] = ()
    num_required: int = 0

    @property
    def form(self) -> str:
        """How its spec is written, what may be left out in brackets."""
        parts = [
            f":{argument}" if number < self.num_required else f"[:{argument}]"
            for number, argument in enumerate(self.arguments)
        ]
        return self.name + "".join(parts) + ("[:ROLE]" if self.reads_with else "")


_CAUSAL: Final = {f.name: f for f in (MATH_SHEPHERD, MATH_PSA, RLHFLOW_MISTRAL, RLHFLOW_DEEPSEEK)}
_SPOILING: Final = Aggregate(Equations(), "min")  # one that does not hold spoils all after it
_HEADED: Final = {f.name: f for f in (QWEN_MATH_PRM, SKYWORK_PRM, TRL_PRM)}


def _causal_prm(parts: Parts, form: str, file: str) -> Evaluator:
    require_one_of("format", form, tuple(_CAUSAL))
    return CausalPrm(parts.opens.model(file), _CAUSAL[form])


def _head_prm(parts: Parts, form: str, head: str, file: str) -> Evaluator:
    require_one_of("format", form, tuple(_HEADED))
    loaded = load_head(Path(head))
    return HeadPrm(parts.opens.model(file), _HEADED[form], loaded)


def _probe(parts: Parts, reader: Reader, file: str = "") -> Evaluator:
    return load_probe(Path(file) if file else shipped("probe", reader), reader, parts.task)


def _small_prm(parts: Parts, reader: Reader, file: str = "") -> Evaluator:
    path = Path(file) if file else shipped("prm", reader)
    check_adapter(path, "prm")
    return SmallPrm(parts.opens.adapted(reader, path))


def _shortlist(parts: Parts, reader: Reader) -> Evaluator:
    cheap = Ensemble((Agreement(parts.task), _SPOILING))
    return Shortlist(cheap, Judge(reader, parts.task))


def _auto(parts: Parts, reader: Reader) -> Evaluator:
    # what ships has read nothing but math
    if parts.task.name == MATH.name and parts.draft and ships("prm", parts.draft):
        return Ensemble((_small_prm(parts, parts.draft), _SPOILING))
    return Judge(reader, parts.task)


_PROGRAM: Final[dict[str, Any]] = {"cost": "no model", "reads_with": None}
ENTRIES: Final = (
    Entry(
        name="auto",
        about="math: small-prm+equations@min, where one ships for the draft; else judge",
        build=_auto,
        cost="as what it is",
        asks_draft=True,
    ),
    Entry(
        name="judge",
        about="the model's own yes or no to whether the step is correct",
        build=lambda parts, reader: Judge(reader, parts.task),
        cost="reads the thought and a short question",
    ),
    Entry(
        name="shortlist",
        about="judge, of the two best by agreement+equations@min; the others are not read",
        build=_shortlist,
        cost="a quarter of the judge's",
    ),
    Entry(
        name="digit-judge",
        about="the digit that the model would grade the step with",
        build=lambda parts, reader, *how: DigitJudge(reader, parts.task, *how),
        cost="reads the thought and a question",
        arguments=("greedy|average",),
    ),
    Entry(
        name="likelihood",
        about="how sure the model is of the step's tokens",
        build=lambda parts, reader, how: Likelihood(reader, parts.task, how),
        cost="reads the thought",
        arguments=("logprob|certainty|entropy",),
        num_required=1,
    ),
    Entry(
        "agreement",
        "how many siblings come to its result",
        lambda parts: Agreement(parts.task),
        **_PROGRAM,
    ),
    Entry("equations", "whether the equations in it hold", lambda _: Equations(), **_PROGRAM),
    Entry(
        name="visible-tests",
        about="whether code passes the examples in its docstring; unfinished code as judge",
        build=lambda parts, reader: VisibleTests(Judge(reader, parts.task)),
        cost="runs a program, or as judge",
        needs="a system that isolates programs",
    ),
    Entry(
        name="probe",
        about="a small head on a hidden state of the draft",
        build=_probe,
        cost="one row of a decode",
        needs="a file of `forethought train probe`",
        reads_with="draft",
        needs_states=True,
        arguments=("FILE",),
    ),
    Entry(
        name="small-prm",
        about="the draft with an adapter that tells right steps from wrong ones",
        build=_small_prm,
        cost="the draft reads the thought",
        needs="a file of `forethought train prm`",
        reads_with="draft",
        arguments=("FILE",),
    ),
    Entry(
        name="prm",
        about="a process reward model that answers with a token: " + ", ".join(_CAUSAL),
        build=_causal_prm,
        cost="its model reads the thought",
        needs="the model",
        reads_with=None,
        arguments=("FORMAT", "FILE"),
        num_required=2,
    ),
    Entry(
        name="head-prm",
        about="a process reward model with a head: " + ", ".join(_HEADED),
        build=_head_prm,
        cost="its model reads the thought",
        needs="the model, its head as safetensors",
        reads_with=None,
        arguments=("FORMAT", "HEAD", "FILE"),
        num_required=3,
    ),
)
