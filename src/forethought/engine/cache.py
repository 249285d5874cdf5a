"""The KV cache's book-keeping: sequence ids, shared prefixes, and who gives way when it is full.

A sequence id is *free*, *active* (a request decodes in it) or *idle* (it only holds a prefix that a
later prompt may share). Idle ones are let go oldest first. One that ends in guesses, a draft's
proposals, is let go as soon as another sequence has gone on from it with those that were right.
"""

from __future__ import annotations

from forethought.engine.context import Context
from forethought.engine.radix import RadixTree


class PrefixCache:
    """Sequences of one context, their prefixes in a radix tree.

    Idle prefixes go when more than `keep` cells are in use: attention passes over every cell up to
    the last one in use, whosever it is.
    """

    def __init__(self, context: Context, *, keep: int | None = None) -> None:
        self._context = context
        self._keep = context.num_cells if keep is None else keep
        self._tree = RadixTree()
        self._free = list(range(context.num_sequences - 1, -1, -1))
        # insertion order is age; how many tokens are certain, where the last ones are guesses
        self._idle: dict[int, int | None] = {}
        self._superseded: set[int] = set()  # of the idle
        self._private: dict[int, int] = {}  # active: cells beyond what stands in the tree

    @property
    def num_free_cells(self) -> int:
        """KV cells that nothing holds."""
        return self._context.num_cells - self._tree.num_tokens - sum(self._private.values())

    def open(self, tokens: list[int]) -> tuple[int, int] | None:
        """An active sequence that shares the longest cached prefix of `tokens`, and that length;
        None where every sequence id is active."""
        length, holder = self._tree.match(tokens)
        if holder in self._idle:  # used again: the youngest
            certain = self._idle[holder] = self._idle.pop(holder)
            if certain is not None and length >= certain:
                self._superseded.add(holder)
        if not self._free and not self._evict_one(spare=holder):
            return None
        sequence = self._free.pop()
        if holder is not None:
            self._context.copy_cells(holder, sequence, 0, length)
            self._tree.insert(sequence, tokens[:length])
        self._private[sequence] = 0
        return sequence, length

    def grow(self, sequence: int, num_cells: int) -> None:
        """Count cells that a decode has filled for an active sequence."""
        self._private[sequence] += num_cells

    def publish(self, sequence: int, tokens: list[int]) -> None:
        """Let others share `tokens`, all computed, of an active sequence.

        What another sequence computed meanwhile is kept once: this one's copies are let go.
        """
        known = len(self._tree.path(sequence))
        length, holder = self._tree.match(tokens)
        if length > known and holder is not None:
            self._context.free_cells(sequence, known, length)
            self._context.copy_cells(holder, sequence, known, length)
        self._tree.insert(sequence, tokens)
        self._private[sequence] = 0

    def retire(self, sequence: int, tokens: list[int], *, num_certain: int | None = None) -> None:
        """End an active sequence; its computed `tokens` stay shareable while there is room. Those
        behind the first `num_certain` are guesses, where that is given."""
        for stale in self._superseded:
            del self._idle[stale]
            self._release(stale)
        self._superseded.clear()
        self.publish(sequence, tokens)
        del self._private[sequence]
        if not tokens or self._tree.is_shared(sequence):
            self._release(sequence)
        else:
            self._idle[sequence] = num_certain
        self.make_room(self._context.num_cells - self._keep)

    def make_room(self, num_cells: int) -> bool:
        """Let idle prefixes go, oldest first, until `num_cells` are free; False if it fails."""
        while self.num_free_cells < num_cells:
            if not self._evict_one():
                return False
        return True

    def drop(self, sequence: int) -> None:
        """End an active sequence and forget its cells."""
        del self._private[sequence]
        self._release(sequence)

    def forget(self, keep: list[int]) -> None:
        """Let all idle prefixes go, but for what is cached of `keep`."""
        opened = self.open(keep) if self._idle else None
        while self._evict_one():
            pass
        if opened is not None:
            sequence, length = opened
            self.retire(sequence, keep[:length])

    def _evict_one(self, spare: int | None = None) -> bool:
        oldest = next((s for s in self._idle if s != spare), None)
        if oldest is None:
            return False
        del self._idle[oldest]
        self._superseded.discard(oldest)
        self._release(oldest)
        return True

    def _release(self, sequence: int) -> None:
        self._tree.remove(sequence)
        self._context.free_cells(sequence)
        self._free.append(sequence)
