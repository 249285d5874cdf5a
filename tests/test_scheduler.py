"""Continuous batching and prefix sharing against a plain model of the KV cache."""

from __future__ import annotations

import random
from typing import cast

import numpy as np
import pytest
from fake_context import FakeContext
from test_rejection import given

from forethought.config import SamplingParams
from forethought.engine.cache import PrefixCache
from forethought.engine.context import Context, Row
from forethought.engine.rejection import Proposal, Verify
from forethought.engine.request import Request, Sequence
from forethought.engine.scheduler import Scheduler, prefill_rows


def make_scheduler(
    context: FakeContext, *, max_sequences: int = 8
) -> tuple[Scheduler, PrefixCache]:
    cache = PrefixCache(cast("Context", context))
    scheduler = Scheduler(
        cache,
        max_sequences=max_sequences,
        max_rows=context.num_rows,
        max_outputs=context.num_sequences,
    )
    return scheduler, cache


def submit(scheduler: Scheduler, prompts: list[list[int]]) -> list[Sequence]:
    request = Request(prompts, None, SamplingParams())
    sequences = [Sequence(request, i, list(prompt)) for i, prompt in enumerate(prompts)]
    scheduler.waiting.extend(sequences)
    return sequences


def step(scheduler: Scheduler, context: FakeContext) -> list[Sequence]:
    """One step; returns the sequences whose next token is due."""
    rows = scheduler.plan()
    assert rows
    while not context.decode(rows):
        assert scheduler.preempt()
        rows = scheduler.plan()
    scheduler.advance(rows, 1.0)
    return [sequence for sequence, _ in scheduler.due(rows)]


@pytest.mark.parametrize("seed", range(30))
def test_any_mix_of_prompts_keeps_the_cache_true_and_the_count_exact(seed: int) -> None:
    chance = random.Random(seed)
    context = FakeContext(num_cells=chance.choice([60, 120, 400]), num_sequences=12, num_rows=24)
    scheduler, cache = make_scheduler(context, max_sequences=6)
    stems = [[chance.randrange(3) for _ in range(chance.randrange(1, 25))] for _ in range(4)]
    unfinished: set[int] = set()
    for _ in range(400):
        if chance.random() < 0.2 and len(unfinished) < 20:
            stem = chance.choice(stems)
            prompts = [
                stem + [chance.randrange(3) for _ in range(chance.randrange(1, 12))]
                for _ in range(chance.randrange(1, 5))
            ]
            unfinished |= {id(s) for s in submit(scheduler, prompts)}
        if not scheduler.is_busy:
            continue
        for sequence in step(scheduler, context):
            assert context.text(sequence.id) == sequence.tokens
            if chance.random() < 0.3 or len(sequence.tokens) > 45:
                unfinished.discard(id(sequence))
                scheduler.retire(sequence)
            else:
                sequence.tokens.append(chance.randrange(3))
                sequence.sampled.append(sequence.tokens[-1])
        assert context.num_cells - cache.num_free_cells == len(context.cells)


class ReadMany:
    """Wants the last `counts[i]` rows of prompt i."""

    layer = None
    draws = False

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts

    def num_rows(self, index: int) -> int:
        return self.counts[index]

    def row(self, context: Context, row: int, index: int, before: list[None]) -> None: ...

    def result(self, rows: list[object]) -> list[object]:
        return rows


@pytest.mark.parametrize("seed", range(20))
def test_every_wanted_row_is_handed_out_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)
    context = FakeContext(num_cells=chance.choice([60, 300]), num_sequences=10, num_rows=12)
    scheduler, cache = make_scheduler(context, max_sequences=5)
    positions: dict[int, list[int]] = {}
    unfinished = 0
    for _ in range(300):
        if chance.random() < 0.3 and unfinished < 15:
            prompts = [
                [chance.randrange(2) for _ in range(chance.randrange(1, 30))]
                for _ in range(chance.randrange(1, 4))
            ]
            counts = [chance.randrange(1, len(prompt) + 1) for prompt in prompts]
            request = Request(prompts, None, ReadMany(counts))
            scheduler.waiting.extend(Sequence(request, i, list(p)) for i, p in enumerate(prompts))
            unfinished += len(prompts)
        if not scheduler.is_busy:
            continue
        rows = scheduler.plan()
        assert sum(row.wants_logits for row in rows) <= 10
        assert context.decode(rows)
        scheduler.advance(rows, 1.0)
        for sequence, index in scheduler.due(rows):
            sequence.rows_read.append(None)
            found = positions.setdefault(id(sequence), [])
            found[:] = [*found[: len(sequence.rows_read) - 1], rows[index].position]
            if len(found) == len(sequence.tokens) - sequence.first_wanted:
                end = len(sequence.tokens)
                assert found == list(range(end - len(found), end))
                assert context.text(sequence.id) == sequence.tokens
                del positions[id(sequence)]
                scheduler.retire(sequence)
                unfinished -= 1
        assert context.num_cells - cache.num_free_cells == len(context.cells)


def test_equal_prompts_are_computed_once() -> None:
    context = FakeContext(num_cells=100, num_sequences=8)
    scheduler, _ = make_scheduler(context)
    submit(scheduler, [[1, 2, 3, 4]] * 4)
    due = step(scheduler, context)
    assert len(due) == 4
    assert len(context.cells) == 4


def test_prompts_that_branch_share_their_trunk() -> None:
    context = FakeContext(num_cells=100, num_sequences=8)
    scheduler, _ = make_scheduler(context)
    due = submit(scheduler, [[1, 2, 3, 7], [1, 2, 3, 8, 9], [1, 2, 4]])
    assert {s.index for s in step(scheduler, context)} == {0, 1, 2}
    assert len(context.cells) == 3 + 1 + 2 + 1
    assert [s.num_prefilled for s in due] == [4, 2, 1]
    assert [s.num_cached for s in due] == [0, 3, 2]


def test_a_prompt_that_is_a_prefix_of_another_is_due_once_at_its_own_end() -> None:
    context = FakeContext(num_cells=100, num_sequences=8)
    scheduler, _ = make_scheduler(context)
    submit(scheduler, [[1, 2], [1, 2, 3]])
    rows = scheduler.plan()
    assert context.decode(rows)
    scheduler.advance(rows, 1.0)
    assert [(s.index, rows[i].position) for s, i in scheduler.due(rows)] == [(0, 1), (1, 2)]


def test_a_later_prompt_takes_its_prefix_from_the_cache_but_never_its_last_token() -> None:
    context = FakeContext(num_cells=100, num_sequences=8)
    scheduler, _ = make_scheduler(context)
    (first,) = submit(scheduler, [[1, 2, 3, 4]])
    step(scheduler, context)
    scheduler.retire(first)
    (second,) = submit(scheduler, [[1, 2, 3, 4]])
    step(scheduler, context)
    assert (second.num_cached, second.num_prefilled) == (3, 1)


def test_prefixes_out_of_use_go_once_too_many_cells_are_used() -> None:
    context = FakeContext(num_cells=100, num_sequences=8)
    cache = PrefixCache(cast("Context", context), keep=10)
    for number in range(5):
        sequence, num_cached = cache.open([number]) or (-1, -1)
        assert num_cached == 0
        context.decode([Row(number, i, [sequence]) for i in range(4)])
        cache.grow(sequence, 4)
        cache.retire(sequence, [number] * 4)
        assert len(context.cells) == min(4 * (number + 1), 8)
    assert {cell.token for cell in context.cells} == {3, 4}


@pytest.mark.parametrize(("prompt", "is_gone_on_from"), [([1, 2, 3, 8], True), ([1, 2, 9], False)])
def test_guesses_go_once_a_prompt_goes_on_from_before_them(
    prompt: list[int], is_gone_on_from: bool
) -> None:
    context = FakeContext(num_cells=100, num_sequences=8)
    scheduler, _ = make_scheduler(context)
    proposals = [[Proposal(token, given({token: 1.0})) for token in (4, 5)]]
    ask = Verify(SamplingParams(), proposals, [np.zeros((3, 2))])
    verifying = Sequence(Request([[]], None, ask), 0, [1, 2, 3, 4, 5])
    scheduler.waiting.append(verifying)
    step(scheduler, context)
    scheduler.retire(verifying)
    (next_one,) = submit(scheduler, [prompt])
    step(scheduler, context)
    assert next_one.num_cached == len(prompt) - 1
    scheduler.retire(next_one)
    assert ({4, 5} & {cell.token for cell in context.cells} == set()) is is_gone_on_from


def test_a_budget_that_cuts_the_trie_leaves_no_gaps() -> None:
    request = Request([], None, SamplingParams())
    prompts = [[1, 2, 3, 4, 5], [1, 2, 3, 9, 9, 9], [1, 2, 8]]
    for budget in range(1, 10):
        context = FakeContext(num_cells=100, num_sequences=8)
        sequences = [Sequence(request, i, p, id=i) for i, p in enumerate(prompts)]
        while any(s.num_computed < len(s.tokens) for s in sequences):
            todo = [s for s in sequences if s.num_computed < len(s.tokens)]
            rows = prefill_rows(todo, budget)
            assert 0 < len(rows) <= budget
            assert context.decode(rows)
            for row in rows:
                for number in row.sequences:
                    sequences[number].num_computed += 1
        assert [context.text(i) for i in range(3)] == prompts


def test_what_is_forgotten_is_computed_again_but_for_what_is_to_be_kept() -> None:
    context = FakeContext(num_cells=100, num_sequences=4, num_rows=24)
    scheduler, cache = make_scheduler(context)
    for tail in ([7, 8], [9]):
        (sequence,) = submit(scheduler, [[1, 2, 3, *tail]])
        assert step(scheduler, context) == [sequence]
        scheduler.retire(sequence)
    scheduler.forget([1, 2, 4])
    assert cache.num_free_cells == 98
    (again,) = submit(scheduler, [[1, 2, 3, 7, 8]])
    step(scheduler, context)
    assert again.num_cached == 2
    scheduler.forget([])
    assert cache.num_free_cells == 95  # what is in use stays
    scheduler.retire(again)
    scheduler.forget([])
    assert cache.num_free_cells == 100
