"""A stand-in for the engine's context: a plain, slow model of llama.cpp's unified KV cache.

Cells hold a token, a position and the set of sequences that see it. Decoding checks what llama.cpp
checks (consecutive positions, coupled sequences of equal length, room), and `text` reads back what
a sequence would attend to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from forethought.engine.context import Row


@dataclass
class Cell:
    token: int
    position: int
    sequences: set[int]


@dataclass
class FakeContext:
    num_cells: int
    num_sequences: int
    num_rows: int = 64
    cells: list[Cell] = field(default_factory=list)

    def decode(self, rows: list[Row]) -> bool:
        assert len(rows) <= self.num_rows
        ends = {s: self.end(s) for row in rows for s in row.sequences}
        if len(self.cells) + len(rows) > self.num_cells:
            return False
        for row in rows:
            assert row.sequences
            assert len(set(row.sequences)) == len(row.sequences)
            for sequence in row.sequences:
                assert row.position == ends[sequence], "positions must be consecutive"
                ends[sequence] += 1
            self.cells.append(Cell(row.token, row.position, set(row.sequences)))
        return True

    def copy_cells(self, source: int, target: int, start: int, end: int) -> None:
        for cell in self.cells:
            if source in cell.sequences and start <= cell.position < end:
                cell.sequences.add(target)

    def free_cells(self, sequence: int, start: int = 0, end: int = -1) -> None:
        for cell in self.cells:
            if cell.position >= start and (end < 0 or cell.position < end):
                cell.sequences.discard(sequence)
        self.cells = [cell for cell in self.cells if cell.sequences]

    def end(self, sequence: int) -> int:
        return max((c.position + 1 for c in self.cells if sequence in c.sequences), default=0)

    def text(self, sequence: int) -> list[int]:
        seen = sorted((c.position, c.token) for c in self.cells if sequence in c.sequences)
        assert [position for position, _ in seen] == list(range(len(seen))), "one cell a position"
        return [token for _, token in seen]
