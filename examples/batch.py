"""Many questions at once, resumable: `python examples/batch.py [--scripted] [FILE]`.

Searches share the engines' batches. Answers are added to FILE, answers.jsonl by default, one line
each; what stands there is not asked again.
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from forethought import (
    TASKS,
    Engine,
    Judge,
    Model,
    ScriptedModel,
    SearchConfig,
    resolve,
    spec_search,
)
from forethought.batch import Asker, answer_all
from forethought.questions import Question

QUESTIONS = [
    Question("jars", "A shelf holds 4 rows of 9 jars. How many jars are there?"),
    Question("hens", "A farmer has 12 hens and each lays 3 eggs. How many eggs are there?"),
]

given = [word for word in sys.argv[1:] if word != "--scripted"]
path = Path(given[0]) if given else Path("answers.jsonl")
with ExitStack() as opened:
    draft: Model = ScriptedModel(lambda *_: "It is \\boxed{36}.", name="small")
    target: Model = ScriptedModel(
        lambda *_: "Each by each: \\boxed{36}.", judge=lambda _: [0.9, 0.1], name="large"
    )
    if "--scripted" not in sys.argv:
        draft = opened.enter_context(Engine(resolve("qwen2.5-coder-0.5b")))
        target = opened.enter_context(Engine(resolve("qwen2.5-coder-1.5b")))
    graph = spec_search(draft=draft, target=target, evaluator=Judge(target, TASKS["math"]))
    asker = Asker(graph, SearchConfig(beam_width=1), concurrency=2)
    tally = answer_all(asker, QUESTIONS, path)

for line in path.read_text(encoding="utf-8").splitlines():
    row = json.loads(line)
    print(row["id"], row["answer"])
print(f"{tally.num_done} answered, {tally.num_failed} failed")
