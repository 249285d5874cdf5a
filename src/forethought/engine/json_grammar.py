"""JSON schemas as GBNF grammars: what such a grammar lets through parses, and fits the schema.

Held are types, properties (in the schema's order, no others beside them), required ones, items,
counts and lengths, enumerations, constants, alternatives, references, and the formats date, time,
date-time and uuid. Bounds of numbers and uniqueness are left to whoever reads the value, but for
integers between two near bounds; what else narrows a value is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from forethought.config import require
from forethought.errors import ConfigError

_RULES = {
    "ws": '" "?',
    "any": "object | array | string | number | boolean | null",
    "object": '"{" (pair ("," ws pair)*)? "}"',
    "pair": 'string ":" ws any',
    "array": '"[" (any ("," ws any)*)? "]"',
    "string": r'"\"" char* "\""',
    # no control characters, and no half of a surrogate pair
    "char": r'[^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | "u" code)',
    "code": "[0-9a-cA-CefEF] hex{3} | [dD] [0-7] hex{2}",
    "hex": "[0-9a-fA-F]",
    "number": 'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "date": '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])',
    "time": '([01] [0-9] | "2" [0-3]) ":" sixty ":" sixty ("Z" | [-+] [01] [0-9] ":00")',
    "sixty": "[0-5] [0-9]",
    "date-time": 'date "T" time',
    "uuid": 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
}
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_FORMATS = ("date", "time", "date-time", "uuid")
_HELD = {"type", "properties", "required", "additionalProperties", "items", "prefixItems"}
_HELD |= {"minItems", "maxItems", "minLength", "maxLength", "format", "enum", "const"}
_HELD |= {"anyOf", "oneOf", "allOf", "$ref", "minimum", "maximum"}
_LEFT = {
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "uniqueItems",
    "$defs",
    "definitions",
}
_LEFT |= {"title", "description", "default", "example", "examples", "deprecated", "discriminator"}
_LEFT |= {"readOnly", "writeOnly", "$schema", "$id", "$comment", "strict"}
_NEAR = 256


def json_grammar(schema: Mapping[str, Any]) -> str:
    """The grammar of one JSON value that fits `schema`.

    Raises:
        ConfigError: a grammar cannot hold what the schema says.
    """
    rules = Rules()
    return rules.grammar(rules.schema(schema))


class Rules:
    """The rules of one grammar; several schemas may share it."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}

    def grammar(self, root: str) -> str:
        """All of it as text; `root` is the body of its first rule."""
        rules = {"root": root, **self._rules, **_RULES}
        return "".join(f"{name} ::= {body}\n" for name, body in rules.items())

    def add(self, body: str) -> str:
        """A new rule's name."""
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        return name

    def schema(self, schema: Mapping[str, Any]) -> str:
        """The name of the rule for a schema whose references point into itself. Raises
        ConfigError."""
        try:
            return _Schema(schema, self).rule(schema)
        except RecursionError as error:
            raise ConfigError("the JSON schema is nested too deeply") from error

    def replace(self, name: str, body: str) -> None:
        """Give a rule another body."""
        self._rules[name] = body


class _Schema:
    """One schema on its way into the rules."""

    def __init__(self, root: Mapping[str, Any], rules: Rules) -> None:
        self._root, self._rules = root, rules
        self._names: dict[str, str] = {}

    def rule(self, node: Any) -> str:
        """The name of a rule for `node`."""
        require(node is not False, "no JSON value fits the schema `false`")
        require(node is True or isinstance(node, Mapping), f"{node!r} is no JSON schema")
        if node is True or not set(node) & _HELD:
            self._check(node)
            return "any"
        return self._rules.add(self._body(node))

    def _body(self, node: Mapping[str, Any]) -> str:
        self._check(node)
        if "$ref" in node:
            return self._referred(node)
        for word in ("anyOf", "oneOf"):
            if word in node:
                rest = {key: value for key, value in node.items() if key != word}
                return _either([self.rule(_merged(rest, one)) for one in node[word]])
        if "allOf" in node:
            merged: Mapping[str, Any] = {k: v for k, v in node.items() if k != "allOf"}
            for one in node["allOf"]:
                merged = _merged(merged, self._followed(one))
            return self.rule(merged)
        if "enum" in node or "const" in node:
            return _either([_text(value) for value in node.get("enum", [node.get("const")])])
        kinds = node.get("type", _types_told_by(node))
        if isinstance(kinds, str):
            require(kinds in _TYPES, f"JSON schemas have no type {kinds!r}")
            return str(getattr(self, f"_{kinds}", lambda _: kinds)(node))
        return _either([self.rule({**node, "type": kind}) for kind in kinds])

    def _check(self, node: Any) -> None:
        unknown = set() if node is True else set(node) - _HELD - _LEFT
        require(
            not unknown,
            f"a grammar cannot hold {', '.join(map(repr, sorted(unknown)))} of the JSON schema",
        )

    def _referred(self, node: Mapping[str, Any]) -> str:
        pointer = str(node["$ref"])
        require(set(node) - _LEFT == {"$ref"}, f"{pointer!r} must stand alone in the JSON schema")
        if pointer not in self._names:
            self._names[pointer] = name = self._rules.add("")  # it may refer to itself
            self._rules.replace(name, self.rule(self._followed(node)))
        return self._names[pointer]

    def _followed(self, node: Any) -> Any:
        """What a reference points to; any other schema is itself."""
        if not isinstance(node, Mapping) or "$ref" not in node:
            return node
        pointer, found = str(node["$ref"]), self._root
        require(pointer.startswith("#"), f"the JSON schema refers outside itself: {pointer!r}")
        for part in pointer[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            require(isinstance(found, Mapping) and key in found, f"there is no {pointer!r}")
            found = found[key]
        return found

    def _object(self, node: Mapping[str, Any]) -> str:
        required = node.get("required", [])
        others = node.get("additionalProperties", True)
        properties = dict(node.get("properties", {}))
        if not properties and not required:
            if others is False or "properties" in node:
                return '"{}"'
            pair = f'string ":" ws {self.rule(others)}'
            return f'"{{" ({pair} ("," ws {pair})*)? "}}"'
        for name in required:
            properties.setdefault(name, others)
        # `first`: no property stands before; `later`: one does
        first = later = ""
        for name in reversed(properties):
            pair = f'{_text(name)} ":" ws {self.rule(properties[name])}'
            if name in required:
                first, later = f"{pair} {later}", f'"," ws {pair} {later}'
            else:
                first = _either([f"{pair} {later}", first])
                later = f'("," ws {pair})? {later}'
            first, later = self._rules.add(first), self._rules.add(later)
        return f'"{{" {first} "}}"'

    def _array(self, node: Mapping[str, Any]) -> str:
        if "prefixItems" in node:
            return '"[" ' + ' "," ws '.join(map(self.rule, node["prefixItems"])) + ' "]"'
        item = self.rule(node.get("items", True))
        least, most = int(node.get("minItems", 0)), node.get("maxItems")
        if most == 0:
            return '"[]"'
        times = f"{{{max(0, least - 1)},{'' if most is None else int(most) - 1}}}"
        some = f'{item} ("," ws {item}){times}'
        return f'"[" {some} "]"' if least else f'"[" ({some})? "]"'

    def _string(self, node: Mapping[str, Any]) -> str:
        if node.get("format") in _FORMATS:
            return rf'"\"" {node["format"]} "\""'
        if "minLength" in node or "maxLength" in node:
            return rf'"\"" char{{{int(node.get("minLength", 0))},{node.get("maxLength", "")}}} "\""'
        return "string"

    def _integer(self, node: Mapping[str, Any]) -> str:
        low, high = node.get("minimum"), node.get("maximum")
        if low is not None and high is not None and 0 <= high - low <= _NEAR:
            return _either([f'"{number}"' for number in range(int(low), int(high) + 1)])
        return '"0" | [1-9] [0-9]{0,15}' if low is not None and low >= 0 else "integer"


def _types_told_by(node: Mapping[str, Any]) -> str | list[str]:
    if {"properties", "required", "additionalProperties"} & set(node):
        return "object"
    if {"items", "prefixItems", "minItems", "maxItems"} & set(node):
        return "array"
    return "string" if {"minLength", "maxLength", "format"} & set(node) else list(_TYPES)


def _merged(left: Mapping[str, Any], right: Any) -> dict[str, Any]:
    """A schema of what both say."""
    left = {key: value for key, value in left.items() if key not in _LEFT}
    right = {} if right is True else {k: v for k, v in right.items() if k not in _LEFT}
    merged = {**left, **right}
    for key in set(left) & set(right):
        if key == "properties":
            merged[key] = {**left[key], **right[key]}
        elif key == "required":
            merged[key] = [*left[key], *right[key]]
        else:
            require(left[key] == right[key], f"the JSON schema says two things of {key!r}")
    return merged


def _either(bodies: list[str]) -> str:
    require(bool(bodies), "the JSON schema leaves no alternative")
    return "(" + " | ".join(body or '""' for body in bodies) + ")"


def _text(value: object) -> str:
    """A literal for the JSON text of a value."""
    text = json.dumps(value, ensure_ascii=False)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
