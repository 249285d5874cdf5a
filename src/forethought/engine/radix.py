"""A radix tree over token ids: which prefixes are in the KV cache, and which sequence holds them.

It knows ids and numbers only; copying and freeing cells is the cache's job. Every node's tokens
stand in the KV cache exactly once, held by every sequence whose path runs through the node, so the
lengths of all nodes add up to the cells in use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile


@dataclass(slots=True)
class _Node:
    tokens: list[int]
    children: dict[int, _Node] = field(default_factory=dict)
    holders: set[int] = field(default_factory=set)


class RadixTree:
    """Paths of token ids, each held by at least one sequence id."""

    def __init__(self) -> None:
        self._root = _Node([])
        self._paths: dict[int, list[int]] = {}
        self.num_tokens = 0

    def match(self, tokens: list[int]) -> tuple[int, int | None]:
        """Length of the longest prefix of `tokens` in the tree, and a sequence that holds it."""
        node, length, holder = self._root, 0, None
        while child := node.children.get(tokens[length]) if length < len(tokens) else None:
            common = common_prefix(child.tokens, tokens, length)
            length, holder = length + common, next(iter(child.holders))
            if common < len(child.tokens):
                break
            node = child
        return length, holder

    def insert(self, sequence: int, tokens: list[int]) -> None:
        """Let `sequence` hold the path `tokens`, which must extend the path it held before."""
        node, length = self._root, 0
        while length < len(tokens):
            child = node.children.get(tokens[length])
            if child is None:
                child = _Node(tokens[length:])
                node.children[tokens[length]] = child
                self.num_tokens += len(child.tokens)
            common = common_prefix(child.tokens, tokens, length)
            if common < len(child.tokens):
                _split(child, common)
            child.holders.add(sequence)
            node, length = child, length + common
        self._paths[sequence] = tokens

    def remove(self, sequence: int) -> None:
        """Let go of a sequence's path; nodes that nobody holds any more leave the tree."""
        tokens = self._paths.pop(sequence, [])
        node, length = self._root, 0
        while length < len(tokens):
            child = node.children[tokens[length]]
            child.holders.discard(sequence)
            if not child.holders:
                self.num_tokens -= _count(child)
                del node.children[tokens[length]]
                return
            node, length = child, length + len(child.tokens)

    def is_shared(self, sequence: int) -> bool:
        """Whether another sequence holds all of this one's path."""
        tokens = self._paths[sequence]
        node, length = self._root, 0
        while length < len(tokens):
            node = node.children[tokens[length]]
            length += len(node.tokens)
        return len(node.holders) > 1

    def path(self, sequence: int) -> list[int]:
        """The path that `sequence` holds; empty where it holds none."""
        return self._paths.get(sequence, [])


def common_prefix(edge: list[int], tokens: list[int], offset: int = 0) -> int:
    """How many leading ids of `edge` equal those of `tokens` from `offset`."""
    if edge == tokens[offset : offset + len(edge)]:
        return len(edge)
    pairs = zip(edge, tokens[offset : offset + len(edge)], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _split(node: _Node, length: int) -> None:
    """Cut a node in two: the first `length` tokens stay, the rest become its only child."""
    rest = _Node(node.tokens[length:], node.children, set(node.holders))
    node.tokens, node.children = node.tokens[:length], {rest.tokens[0]: rest}


def _count(node: _Node) -> int:
    return len(node.tokens) + sum(map(_count, node.children.values()))
