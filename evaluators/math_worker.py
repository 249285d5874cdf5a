"""The inner half of `final_answer`: a script that asks math-verify whether answers are the same.

It reads one JSON list of two LaTeX texts a line and prints `true` or `false` for each. A process of
its own because sympy can be kept busy for hours by a short text, and only a process can be stopped:
an alarm without a handler ends this one, whatever it is doing. It imports nothing of Forethought.
"""

from __future__ import annotations

import importlib
import json
import logging
import resource
import signal
import sys

SECONDS = 10
MEMORY_BYTES = 4 << 30


def main() -> None:
    """Answer until standard input ends."""
    logging.disable()
    parse = importlib.import_module("math_verify.parser")
    grade = importlib.import_module("math_verify.grader")
    # LaTeX alone: the other reader that math-verify has goes through Python's own eval
    latex = [parse.LatexExtractionConfig(boxed_match_priority=0)]
    if sys.platform != "darwin":  # whose kernel refuses to limit address space
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        signal.alarm(SECONDS)
        given, expected = (
            parse.parse(f"\\boxed{{{text}}}", extraction_config=latex, parsing_timeout=None)
            for text in json.loads(line)
        )
        is_same = bool(grade.verify(expected, given, timeout_seconds=None))
        signal.alarm(0)
        print(json.dumps(is_same), flush=True)


if __name__ == "__main__":
    main()
