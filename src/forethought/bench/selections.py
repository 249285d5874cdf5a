"""What a selector says of drafted chains whose outcome is known; resumable.

Every question's chains are drafted, read and kept as `forethought.graphs.speculative_cot` would
have drafted and read them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

from forethought.bench.problems import Posed
from forethought.bench.scoring import Progress
from forethought.config import require
from forethought.config_cot import CotConfig
from forethought.errors import ConfigError
from forethought.model import Model, RunStopped, current_scope
from forethought.nodes.selection import Selector
from forethought.nodes.whole_chains import ChainWriter
from forethought.prompts import task_named

# what decides neither the chains nor the shares
_AFTERWARDS = ("selector", "correction", "all_wrong_bias", "deadline")


@dataclass(frozen=True, slots=True)
class Selected:
    """One question's chains: `rights[i]` says whether chain i+1 is right, and `shares`, in [0, 1],
    are the selector's, one more than chains; both are empty where the draft wrote none. `settings`
    and `digest` tell how they came about and of which problem."""

    problem: str
    digest: str
    settings: str
    rights: list[bool]
    shares: list[float]

    def __post_init__(self) -> None:
        expected = len(self.rights) + 1 if self.rights else 0
        require(
            len(self.shares) == expected,
            f"{len(self.shares)} shares for {len(self.rights)} chains of {self.problem}",
        )

    @property
    def has_right(self) -> bool:
        """Whether any chain is right."""
        return any(self.rights)


@dataclass(frozen=True, slots=True)
class Choices:
    """How a selector chose: on `num_solvable` questions some chain is right, and it took a right
    one of `num_right`; on `num_unsolvable` none is, and it recognised that of `num_recognised`."""

    num_solvable: int
    num_right: int
    num_unsolvable: int
    num_recognised: int

    @property
    def picked_right(self) -> float | None:
        """The share of the solvable questions, in [0, 1]; None where there are none."""
        return self.num_right / self.num_solvable if self.num_solvable else None

    @property
    def recognised(self) -> float | None:
        """The share of the unsolvable questions, in [0, 1]; None where there are none."""
        return self.num_recognised / self.num_unsolvable if self.num_unsolvable else None


def counted(outcomes: Iterable[tuple[Sequence[bool], int]]) -> Choices:
    """Choices, each told by which chains of the question are right, and the number that was picked:
    from 1, one more than there are chains where all were called wrong."""
    hits = Counter[tuple[bool, bool]]()
    for rights, number in outcomes:
        is_solvable = any(rights)
        hits[is_solvable, [*rights, not is_solvable][number - 1]] += 1
    return Choices(
        num_solvable=hits[True, True] + hits[True, False],
        num_right=hits[True, True],
        num_unsolvable=hits[False, True] + hits[False, False],
        num_recognised=hits[False, True],
    )


@dataclass(frozen=True, slots=True)
class SelectionTrial:
    """A draft and a selector under the settings of runs, to be tried on problems with answers."""

    draft: Model
    selector: Selector
    config: CotConfig

    @property
    def settings(self) -> str:
        """Tells trials apart whose chains or shares may differ."""
        names = [f.name for f in fields(CotConfig) if f.name not in _AFTERWARDS]
        decisive = [getattr(self.config, name) for name in names]
        text = json.dumps([self.draft.name, self.selector.name, *decisive])
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def selected(self, posed: Posed) -> Selected:
        """One question's chains, drafted, graded and read.

        Raises:
            RunStopped: the caller's run was cancelled.
            ConfigError, EngineError, EvaluatorError: as drafting, selection and grading.
        """
        question, task = posed.problem.question, task_named(self.config.task)
        chains = ChainWriter(self.draft, "draft").drafts(question, self.config)
        scope = current_scope()
        if scope and (reason := scope.stop_reason()):
            raise RunStopped(reason)
        texts = [chain.text for chain in chains]
        return Selected(
            problem=posed.problem.name,
            digest=posed.digest,
            settings=self.settings,
            rights=[posed.is_solved_by(text, task) for text in texts],
            shares=self.selector.shares(question, texts) if texts else [],
        )


def try_selection(
    trial: SelectionTrial,
    problems: Sequence[Posed],
    *,
    path: Path,
    progress: Progress | None = None,
) -> list[Selected]:
    """One record per problem, in order. Those of the same trial that the file at `path` holds are
    not made again, and new ones are added to it, each when it is done.

    Raises:
        ConfigError: a whole line of the file is no such record.
        RunStopped, EngineError, EvaluatorError: as `SelectionTrial.selected`.
    """
    known = {record.digest: record for record in _read(path) if record.settings == trial.settings}
    done = []
    for number, posed in enumerate(problems, 1):
        record = known.get(posed.digest)
        if record is None:
            record = trial.selected(posed)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(record)) + "\n")
        done.append(record)
        if progress:
            progress(number, len(problems))
    return done


def _read(path: Path) -> list[Selected]:
    """The records of a file, a torn last line cut off it; none where there is no file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    records = []
    for number, line in enumerate(whole.decode("utf-8", "replace").split("\n")[:-1], 1):
        try:
            records.append(_parsed(json.loads(line)))
        except (ValueError, TypeError, ConfigError) as error:
            raise ConfigError(
                f"{path}:{number} is no selection ({error}): give another file"
            ) from error
    if data[len(whole) :] and not records:
        raise ConfigError(f"{path} is no file of selections: give another file")
    if len(whole) < len(data):
        with path.open("rb+") as file:
            file.truncate(len(whole))
    return records


def _parsed(document: dict[str, Any]) -> Selected:
    return Selected(**document)
