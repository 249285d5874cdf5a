"""Problems and chains, and their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forethought.chains import (
    Chain,
    Problem,
    Step,
    append_chains,
    load_problems,
    parsed_chain,
    read_chains,
)
from forethought.errors import ConfigError

CHAIN = Chain(
    problem="p1",
    question="How many legs have\u2028 2 cows?",
    answer="8",
    source="draft",
    model="m",
    vocabulary="v",
    steps=[Step("2 * 4 = 8.\n\n", [1, 2]), Step("The answer is \\boxed{8}.", [3], 1.0)],
    stated="8",
    is_right=True,
)


def test_a_file_gives_back_the_chains_that_were_added(tmp_path: Path) -> None:
    path = tmp_path / "chains.jsonl"
    append_chains(path, [CHAIN])
    append_chains(path, [CHAIN, CHAIN])
    assert read_chains(path) == [CHAIN] * 3
    assert parsed_chain(json.loads(json.dumps(CHAIN.document()))) == CHAIN


def test_a_chain_is_a_path_whose_last_thought_is_terminal() -> None:
    first, last = CHAIN.path()
    assert (first.parent, first.depth, first.is_terminal) == (0, 1, False)
    assert (last.parent, last.depth, last.is_terminal) == (first.id, 2, True)
    assert last.tokens == [3]


@pytest.mark.parametrize("line", ["no json", "{}", "[]", '{"problem": "p", "steps": [{}]}'])
def test_a_line_that_is_no_chain_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "chains.jsonl"
    append_chains(path, [CHAIN])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ConfigError, match=r"chains\.jsonl:2 is no chain"):
        read_chains(path)


def test_problems_are_named_by_id_or_by_place(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    rows = [{"question": "a\u2028b", "answer": 1, "id": "x/1"}, {"question": "c", "answer": "2"}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert load_problems(path, 5) == [Problem("x/1", "a\u2028b", "1"), Problem("set/2", "c", "2")]
    assert len(load_problems(path, 1)) == 1


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", '{"question": "a"}\n'])
def test_a_file_without_problems_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"set\.jsonl"):
        load_problems(path, 5)
