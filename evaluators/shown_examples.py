"""The examples that docstrings show: calls, and what comes of them.

Two forms are read: doctest's (`>>>` lines with what they print), and one call a line with its value
behind an arrow or `==`, as people write them down: `area(3, 4) == 12`, `is_odd(2) => false`.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from collections.abc import Iterator

_WRITTEN = re.compile(
    r"^\s*(?:>>>\s*)?(?P<call>[A-Za-z_]\w*\(.*\))\s*"
    r"(?:==>|=>|==|->|➞|→|#\s*returns)\s*(?P<value>.*\S)\s*$",
    re.MULTILINE,
)
_CONSTANTS = {"true": "True", "false": "False", "null": "None", "none": "None"}
_Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module


def shown_pairs(source: str) -> Iterator[tuple[str, str]]:
    """An example's statement and what it prints, for each in the docstrings of `source`.

    Raises:
        SyntaxError, ValueError: `source` is no Python.
    """
    tree = ast.parse(source)
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, _Documented) and (text := ast.get_docstring(node)):
            found = _doctests(text)
            if found is None:  # a string in it that holds a line break, read as it is written
                found = _doctests(_as_written(node, source)) or []
            yield from found
            yield from _written_out(text, names)


def _doctests(text: str) -> list[tuple[str, str]] | None:
    """None where they are at odds with doctest's rules."""
    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return None
    # what is no Python fails whatever the code is, and says nothing of it
    return [(e.source, e.want) for e in examples if e.exc_msg is None and _is_python(e.source)]


def _as_written(node: _Documented, source: str) -> str:
    (statement, *_) = node.body
    text = ast.get_source_segment(source, statement) or ""
    return inspect.cleandoc(text.lstrip("rRuU").strip("'\""))


def _written_out(text: str, names: set[str]) -> Iterator[tuple[str, str]]:
    for found in _WRITTEN.finditer(text):
        call, value = found["call"], found["value"]
        try:
            called = ast.parse(call, mode="eval").body
            if not (isinstance(called, ast.Call) and isinstance(called.func, ast.Name)):
                continue
            for argument in (*called.args, *(keyword.value for keyword in called.keywords)):
                ast.literal_eval(argument)
            expected = ast.literal_eval(_CONSTANTS.get(value, value))
        except (SyntaxError, ValueError):
            continue
        if called.func.id in names:
            yield f"{call}\n", f"{expected!r}\n"


def _is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True
