"""Which tokens the next step computes: continuous batching over one KV cache.

Every decoding sequence adds its newest token; prompts fill the rest of the batch. Prompts that wait
together are laid out as a trie: a token that several of them share is one row that belongs to all.
"""

from __future__ import annotations

from collections import deque

from forethought.engine.cache import PrefixCache
from forethought.engine.context import Row
from forethought.engine.radix import common_prefix
from forethought.engine.request import Sequence, Write


class Scheduler:
    """Waiting and active sequences of one engine."""

    def __init__(
        self, cache: PrefixCache, *, max_sequences: int, max_rows: int, max_outputs: int
    ) -> None:
        self._cache = cache
        self._max_sequences = max_sequences
        self._max_rows = max_rows
        self._max_outputs = max_outputs
        self.waiting: deque[Sequence] = deque()
        self.active: dict[int, Sequence] = {}

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to compute."""
        return bool(self.waiting or self.active)

    def plan(self) -> list[Row]:
        """Rows of the next step, room for them made; may put the youngest sequences back to wait.

        Empty where the only active sequence has filled the whole cache.
        """
        while True:
            self._admit()
            rows = self._rows()
            if self._cache.make_room(len(rows)):
                return rows
            if not self.preempt():
                return []

    def preempt(self) -> bool:
        """Put the youngest active sequence back to wait, what it computed forgotten; False where it
        is the only one."""
        if len(self.active) == 1:
            return False
        youngest = max(self.active.values(), key=lambda sequence: sequence.age)
        del self.active[youngest.id]
        self._cache.drop(youngest.id)
        youngest.id, youngest.num_computed = -1, 0
        youngest.rows_read.clear()
        self.waiting.appendleft(youngest)
        return True

    def advance(self, rows: list[Row], seconds: float) -> None:
        """Count what a step has computed; its time is shared by the rows."""
        prefilling: dict[int, Sequence] = {}
        for row in rows:
            owner = self.active[row.sequences[0]]
            owner.seconds += seconds / len(rows)
            self._cache.grow(owner.id, 1)
            for number in row.sequences:
                sequence = self.active[number]
                if sequence.is_prefilling:
                    prefilling[number] = sequence
                    sequence.num_prefilled += sequence is owner
                    sequence.num_cached += sequence is not owner
                sequence.num_computed += 1
        # at once, so that a cell which several share is counted while any of them lives
        for number, sequence in prefilling.items():
            self._cache.publish(number, sequence.tokens[: sequence.num_computed])

    def layers(self) -> frozenset[int]:
        """Hidden layers that active sequences are to be read at."""
        asks = (sequence.request.ask for sequence in self.active.values())
        layers = (None if isinstance(ask, Write) else ask.layer for ask in asks)
        return frozenset(layer for layer in layers if layer is not None)

    def due(self, rows: list[Row]) -> list[tuple[Sequence, int]]:
        """Sequences with the indices of those of their rows whose logits are wanted, in order.

        Of the sequences that share a row, some may not want it.
        """
        owners = [
            (self.active[number], index)
            for index, row in enumerate(rows)
            if row.wants_logits
            for number in row.sequences
        ]
        return [(s, index) for s, index in owners if rows[index].position >= s.first_wanted]

    def retire(self, sequence: Sequence) -> None:
        """Take a finished sequence out; its computed prefix stays shareable."""
        if sequence.id >= 0:
            del self.active[sequence.id]
            tokens, guessed = sequence.tokens[: sequence.num_computed], sequence.num_guessed
            num_certain = len(sequence.tokens) - guessed if guessed else None
            self._cache.retire(sequence.id, tokens, num_certain=num_certain)
        else:
            self.waiting.remove(sequence)

    def forget(self, keep: list[int]) -> None:
        """Let go of all cached prefixes that nothing is computed from, but for that of `keep`."""
        self._cache.forget(keep)

    def drop_active(self) -> list[Sequence]:
        """Take out everything active after a failed decode; their cells cannot be trusted."""
        dropped = list(self.active.values())
        for sequence in dropped:
            self._cache.drop(sequence.id)
        self.active.clear()
        return dropped

    def _admit(self) -> None:
        """Give sequence ids to waiting sequences, oldest first, while their prompts fit."""
        pending = sum(len(s.tokens) - s.num_computed for s in self.active.values())
        previous: list[int] = []
        while self.waiting and len(self.active) < self._max_sequences:
            sequence = self.waiting[0]
            # rows that are wanted must be computed, so they are never taken from the cache
            opened = self._cache.open(sequence.tokens[: sequence.first_wanted])
            if opened is None:
                return
            number, num_cached = opened
            # neighbours share rows, so only what the previous one does not bring needs cells
            shared = max(num_cached, common_prefix(previous, sequence.tokens))
            pending += len(sequence.tokens) - shared
            if not self._cache.make_room(pending) and self.active:
                self._cache.drop(number)
                return
            self.waiting.popleft()
            if not sequence.num_prefilled:
                sequence.num_cached = num_cached
            sequence.id, sequence.num_computed = number, num_cached
            self.active[number] = sequence
            previous = sequence.tokens

    def _rows(self) -> list[Row]:
        decoding = [s for s in self.active.values() if not s.is_prefilling]
        rows = [Row(s.tokens[-1], len(s.tokens) - 1, [s.id], True) for s in decoding]
        prefilling = [s for s in self.active.values() if s.is_prefilling]
        wants_many = any(s.first_wanted < len(s.tokens) - 1 for s in prefilling)
        budget = min(self._max_rows, self._max_outputs) if wants_many else self._max_rows
        return rows + prefill_rows(prefilling, budget - len(rows))


def prefill_rows(sequences: list[Sequence], budget: int) -> list[Row]:
    """The first `budget` rows of the trie that the uncomputed tokens of `sequences` form.

    Depth first, so that every sequence's rows are contiguous and a cut never leaves a gap. Two
    sequences share rows only where they start from the same computed length: what one has computed
    and the other has not is not shared.
    """
    rows: list[Row] = []
    previous: Sequence | None = None
    path: list[Row] = []  # rows of the previous sequence, from its computed length on
    for sequence in sorted(sequences, key=lambda s: (s.num_computed, s.tokens)):
        start = sequence.num_computed
        shared = 0
        if previous is not None and previous.num_computed == start:
            shared = max(0, common_prefix(previous.tokens, sequence.tokens) - start)
        path = path[:shared]
        for row in path:
            row.sequences.append(sequence.id)
        first = start + len(path)
        count = min(len(sequence.tokens) - first, budget - len(rows))
        # a path that the budget cut short must not be continued behind the cut
        if count > 0 and len(path) == shared:
            new = [Row(sequence.tokens[i], i, [sequence.id]) for i in range(first, first + count)]
            rows += new
            path = path + new
        for row in path[max(0, sequence.first_wanted - start) :]:
            row.wants_logits = True
        previous = sequence
    return rows
