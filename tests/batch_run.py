"""A batch on scripted models, in a process of its own that tests may kill.

    python batch_run.py QUESTIONS OUT CONCURRENCY PAUSE [KILLED_LINE KILLED_BYTE]

Every reply takes PAUSE seconds. With the last two, the process kills itself (SIGKILL) when it has
written KILLED_BYTE bytes of its KILLED_LINE-th line, which stands on the disk by then.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import zlib
from io import FileIO
from pathlib import Path

from scripted_search import stated_score

from forethought import batch
from forethought.batch import Asker, Tally, answer_all
from forethought.config import SearchConfig
from forethought.engine import ScriptedModel
from forethought.graphs import spec_search
from forethought.graphs.spec_search import SpecSearchGraph
from forethought.questions import parse_questions
from forethought.thoughts import Thought

CONFIG = SearchConfig(tree_width=2, beam_width=1, max_depth=3)


class ByText:
    """Scores a thought by what it says of itself."""

    name = "by text"

    def score(self, question: str, paths: list[list[Thought]]) -> list[float]:
        return [stated_score(path[-1].text) for path in paths]


def thoughtful_graph(pause: float = 0.0) -> SpecSearchGraph:
    """A pair whose thoughts depend on the question and the seed, and end at the second step."""

    def reply(prompt: str, seed: int, index: int) -> str:
        time.sleep(pause)
        drawn = zlib.crc32(f"{prompt}/{seed}/{index}".encode()) % 1000
        is_last = "\n\n" in prompt.rpartition("assistant: ")[2]
        answer = f" \\boxed{{{drawn}}}" if is_last else ""
        return f"So V=0.{drawn:03} it is.{answer}\n\n"

    models = [ScriptedModel(reply, name=name) for name in ("small", "large")]
    return spec_search(draft=models[0], target=models[1], evaluator=ByText())


def run(questions: Path, out: Path, concurrency: int = 2, pause: float = 0.0) -> Tally:
    """The whole batch, or what is left of it."""
    asker = Asker(thoughtful_graph(pause), CONFIG, concurrency)
    return answer_all(asker, parse_questions(questions.read_bytes(), "questions"), out)


def die_while_writing(line: int, byte: int) -> None:
    """Be killed while the file is written to."""
    written = 0

    def torn(file: FileIO, path: Path, row: batch.Row) -> None:
        nonlocal written
        written += 1
        if written == line:
            file.write(batch.encoded(row)[:byte])
            os.kill(os.getpid(), signal.SIGKILL)
        whole(file, path, row)

    whole, batch.append = batch.append, torn


if __name__ == "__main__":
    if sys.argv[5:]:
        die_while_writing(*map(int, sys.argv[5:]))
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
