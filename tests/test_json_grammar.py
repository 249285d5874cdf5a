"""JSON under grammars: what is let through, what is refused, and what a small model makes of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from forethought.config import SamplingParams
from forethought.engine import Engine
from forethought.engine.json_grammar import json_grammar
from forethought.errors import ConfigError

NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ['a "quoted" one', "back\\slash", "naïve"]},
        "amount": {"type": "number"},
        "grade": {"type": "integer", "minimum": 1, "maximum": 3},
        "marks": {"type": "array", "items": {"$ref": "#/$defs/mark"}, "minItems": 1, "maxItems": 2},
        "note": {"anyOf": [{"type": "string", "maxLength": 8}, {"type": "null"}]},
        "day": {"type": "string", "format": "date"},
    },
    "required": ["kind", "amount", "grade", "marks", "day"],
    "$defs": {
        "mark": {
            "type": "object",
            "properties": {"at": {"type": "boolean"}, "kind": {"const": 7}},
            "required": ["at", "kind"],
        }
    },
}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["left"],
}


def fits_nested(value: Any) -> None:
    assert set(value) - {"note"} == {"kind", "amount", "grade", "marks", "day"}
    assert value["kind"] in NESTED["properties"]["kind"]["enum"]
    assert isinstance(value["amount"], int | float)
    assert value["grade"] in (1, 2, 3)
    assert 1 <= len(value["marks"]) <= 2
    assert all(set(m) == {"at", "kind"} and m["kind"] == 7 for m in value["marks"])
    assert value.get("note") is None or len(value["note"]) <= 8


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"not": {"type": "string"}}, "'not'"),
        ({"type": "string", "pattern": "^a+$"}, "'pattern'"),
        ({"type": "number", "patternProperties": {}}, "'patternProperties'"),
        ({"$ref": "https://example.org/schema"}, "outside itself"),
        ({"$ref": "#/$defs/missing"}, "missing"),
        ({"type": "tuple"}, "'tuple'"),
        ({"anyOf": []}, "no alternative"),
        ({"properties": {"a": False}, "required": ["a"]}, "false"),
        ({"allOf": [{"type": "string"}, {"type": "number"}]}, "two things of 'type'"),
    ],
)
def test_what_a_grammar_cannot_hold_is_refused_by_name(schema: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        json_grammar(schema)


def test_a_schema_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(ConfigError, match="deeply"):
        json_grammar(schema)


def written(engine: Engine, schema: Any, count: int, most: int = 300) -> list[Any]:
    params = SamplingParams(temperature=1.0, max_tokens=most, grammar=json_grammar(schema), seed=3)
    prompt = engine.chat([{"role": "user", "content": "Tell me about it in JSON."}])
    done = engine.generate([prompt] * count, params)
    return [json.loads(one.text) for one in done if one.finish_reason == "eos"]


@pytest.mark.weights
def test_a_small_model_at_temperature_one_writes_json_that_fits(smollm: Engine) -> None:
    values = written(smollm, NESTED, 12)
    assert len(values) >= 9
    for value in values:
        fits_nested(value)


@pytest.mark.weights
def test_recursive_and_open_schemas_are_held_too(smollm: Engine) -> None:
    params = SamplingParams(temperature=1.0, max_tokens=40, grammar=json_grammar(TREE))
    for tree in smollm.generate([smollm.encode("A tree:")] * 4, params):
        assert re.fullmatch(r'(\{"left": ?)*(n?u?l?l?\}*|\{?"?l?e?f?t?"?)', tree.text)
    numbers = written(smollm, {"type": "object", "additionalProperties": {"type": "integer"}}, 4)
    assert all(isinstance(n, int) for value in numbers for n in value.values())
    assert written(smollm, {"type": "object", "properties": {}}, 1) == [{}]


@pytest.mark.weights
def test_filters_choose_among_what_fits(smollm: Engine) -> None:
    params = SamplingParams(temperature=1.0, top_k=1, max_tokens=8, grammar='root ::= "zebra"')
    prompt = smollm.chat([{"role": "user", "content": "Say hello."}])
    (done,) = smollm.generate([prompt], params)
    assert (done.text, done.finish_reason) == ("zebra", "eos")


@pytest.mark.weights
def test_a_grammar_that_cannot_be_read_is_refused_before_it_is_asked_for(smollm: Engine) -> None:
    prompt = smollm.chat([{"role": "user", "content": "Say hello."}])
    for grammar in ("root ::= (", "start ::= [a]", "root ::= root", "root ::= \0"):
        with pytest.raises(ConfigError, match="cannot be read"):
            smollm.generate([prompt], SamplingParams(grammar=grammar))
    with pytest.raises(ConfigError, match="cannot be read"):
        smollm.generate([prompt], SamplingParams(grammar=json_grammar({"anyOf": [{"$ref": "#"}]})))
