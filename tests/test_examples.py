"""The examples that need no weights run, and the list of them is whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
ANSWERS = {
    "approve_thoughts.py": "29",
    "batch.py": "2 answered, 0 failed",
    "chat.py": "36",
    "own_evaluator.py": "42",
    "own_policy.py": "7",
    "remote_target.py": "29",
    "workflow.py": "How many wheels has a car? 4",
}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_an_example_comes_to_its_answer(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--scripted"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ANSWERS[name]


def test_the_list_of_examples_is_whole() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in listed, path
